"""The public assertion passes for equal results, and fails for a device that gives wrong ones on purpose."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark import testing
from gpuspark.errors import FallbackError
from gpuspark.testing import Outcome, assert_same_on_all_devices, run_on

TABLE = pa.table({"a": [1.0, None, 3.0]})


@gs.udf("double")
def double(a):
    return a * 2


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """A list: an outcome put into it replaces that of the emulated device."""
    replacement: list[Outcome] = []
    run = testing.run_on

    def run_or_replace(device, f, table, **flags):
        return replacement[0] if replacement and device == "emulated" else run(device, f, table, **flags)

    monkeypatch.setattr(testing, "run_on", run_or_replace)
    return replacement


def test_equal_results_pass_and_pythons_outcome_is_returned(emulated) -> None:
    assert assert_same_on_all_devices(double, TABLE) == Outcome([2.0, None, 6.0], "double", "")
    emulated.append(Outcome([2.0, None, 6.000000000000001], "double", ""))
    assert_same_on_all_devices(double, TABLE, ulp=1)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome([2.0, None, 6.1], "double", ""), r"double on emulated, row 2 \{'a': 3\.0\}: 6\.1, in Python 6\.0"),
        (Outcome([2.0, 0.0, 6.0], "double", ""), r"row 1 \{'a': None\}: 0\.0, in Python None"),
        (Outcome([2.0, None, 6.0], "float", ""), "emulated: float, in Python double"),
        (Outcome(None, "", "ZeroDivisionError: division by zero"), "emulated: ZeroDivisionError"),
        (Outcome([2.0, None], "double", ""), "zip"),
    ],
)
def test_a_difference_is_described(emulated, outcome, message) -> None:
    emulated.append(outcome)
    with pytest.raises((AssertionError, ValueError), match=message):
        assert_same_on_all_devices(double, TABLE)


def test_units_in_the_last_place_can_be_set(emulated) -> None:
    emulated.append(Outcome([2.0, None, 6.000000000000001], "double", ""))
    with pytest.raises(AssertionError, match="row 2"):
        assert_same_on_all_devices(double, TABLE)  # plain arithmetic has no tolerance
    with pytest.raises(AssertionError, match="row 2"):
        assert_same_on_all_devices(double, TABLE, ulp=0)


def test_mathematical_functions_have_a_tolerance(emulated) -> None:
    root, power = gs.udf("double")(lambda a: math.sqrt(a)), gs.udf("double")(lambda a: math.exp(a))
    emulated.append(Outcome([math.nextafter(1.0, 2.0)], "double", ""))
    with pytest.raises(AssertionError, match="row 0"):
        assert_same_on_all_devices(root, pa.table({"a": [1.0]}))
    emulated[:] = [Outcome([math.nextafter(math.e, 3.0)], "double", "")]
    assert_same_on_all_devices(power, pa.table({"a": [1.0]}))


def test_a_device_that_cannot_run_the_function_fails() -> None:
    text = gs.udf("string")(lambda a: f"{a}")
    with pytest.raises(FallbackError, match="the result is string"):
        assert_same_on_all_devices(text, TABLE)


def test_chunks_and_record_batches() -> None:
    chunked = pa.concat_tables([TABLE, TABLE])
    assert run_on("cpu", double, chunked).values == [2.0, None, 6.0] * 2
    assert run_on("cpu", double, TABLE.to_batches()[0]).values == [2.0, None, 6.0]
