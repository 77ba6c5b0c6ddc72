"""One function, every device, one answer: generated batches through every compiled device and plain Python.

``GPUSPARK_EXAMPLES`` is the number of batches in all (CONTRIBUTING has the command for the long run).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuspark.plan import DeviceName
from gpuspark.testing import assert_same_on_all_devices
from tests.bodies import CASES, Case
from tests.devices import ANY_COMPILED
from tests.strategies import tables

EXAMPLES = int(os.environ.get("GPUSPARK_EXAMPLES", "1000"))


@ANY_COMPILED
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(
    max_examples=-(-EXAMPLES // len(CASES)),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_every_device_gives_pythons_answer(case: Case, devices: tuple[DeviceName, ...], data: st.DataObject) -> None:
    names = tuple(case.f.signature.parameters)[: len(case.types)]
    assert_same_on_all_devices(case.f, data.draw(tables(names, case.types)), devices=devices)
