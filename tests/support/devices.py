"""The devices that behaviour tests run on. On ``cuda`` they carry the mark ``device``: `make device-suite` runs them,
unchanged but for where."""

from __future__ import annotations

import pytest

CUDA = pytest.param("cuda", marks=pytest.mark.device)
DEVICES = ("cpu", "emulated", "python", CUDA)
ANY_COMPILED = pytest.mark.parametrize(
    "devices",
    [pytest.param(("cpu", "emulated"), id="here"), pytest.param(("cuda",), id="cuda", marks=pytest.mark.device)],
)
"""For :func:`~gpuspark.testing.assert_same_on_all_devices`, which holds them against plain Python."""
