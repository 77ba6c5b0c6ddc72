"""Devices without room, rows that Python computes again, and errors that name their row."""

from __future__ import annotations

import datetime
import itertools
import math

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.accounting.work import Work
from gpuspark.columns.types import of_arrow
from gpuspark.config import Config
from gpuspark.errors import DeviceError, DeviceLost, DeviceUnavailable, FallbackError, GpusparkError
from gpuspark.execution import placement
from gpuspark.execution.runner import FLOOR_ROWS, Runner
from gpuspark.testing import assert_same_on_all_devices, run_on
from tests.support.devices import ANY_COMPILED, CUDA, DEVICES


def _runner(f, columns, **flags) -> Runner:
    config = Config(**{"device": "emulated", "fallback": "raise", **flags})
    names = tuple(f.signature.parameters)[: len(columns)]
    return Runner(f.scalar_function(names), [of_arrow(c.type) for c in columns], config)


@gs.udf("double")
def halve(a):
    return a / 2


def test_a_batch_larger_than_the_device_is_halved_without_loss() -> None:
    column = pa.array([float(n) for n in range(20_000)])
    runner = _runner(halve, [column], emulated_memory=300_000, memory_limit_fraction=1.0, max_concurrent_tasks=1)
    work = Work()
    assert runner.run([column], work).to_pylist() == [n / 2 for n in range(20_000)]
    assert work.retries >= 1
    assert work.rows == {"emulated": 20_000}


def test_the_memory_limit_counts_like_the_memory() -> None:
    column = pa.array([float(n) for n in range(20_000)])
    runner = _runner(halve, [column], emulated_memory=3_000_000, memory_limit_fraction=0.1, max_concurrent_tasks=1)
    work = Work()
    assert runner.run([column], work).to_pylist() == [n / 2 for n in range(20_000)]
    assert work.retries >= 1


@pytest.mark.parametrize("device", ["cpu", "emulated", CUDA])
def test_a_long_batch_is_sliced_to_the_target(device, monkeypatch) -> None:
    column = pa.array([None if n % 7 == 0 else float(n) for n in range(3 * FLOOR_ROWS + 5)]).slice(2)
    runner = _runner(halve, [column], device=device, target_bytes=8 * FLOOR_ROWS)
    assert runner.device is not None
    launched, launch = [], runner.device.launch

    def counted(program, arguments, count):
        launched.append(count)
        launch(program, arguments, count)

    monkeypatch.setattr(runner.device, "launch", counted)
    result = runner.run([column], Work())
    assert result.to_pylist() == [None if v is None else v / 2 for v in column.to_pylist()]
    assert launched == [FLOOR_ROWS, FLOOR_ROWS, FLOOR_ROWS, 3]


def test_an_error_in_a_later_slice_names_the_row_of_the_batch() -> None:
    @gs.udf("double")
    def inverse(a):
        return 1 / a

    column = pa.array([float(n != 2500) for n in range(3000)])
    with pytest.raises(ZeroDivisionError) as raised:
        _runner(inverse, [column], device="cpu", target_bytes=1).run([column], Work(), 10_000)
    assert "row=12500" in "".join(raised.value.__notes__)


def test_an_error_in_a_batch_at_the_calendars_end_names_its_row() -> None:
    """Such a batch runs in Python as a whole."""

    @gs.udf("bigint")
    def inverse(day, n):
        return 1 // n

    columns = [pa.array([datetime.date(9999, 12, 31)] * 3), pa.array([1, 2, 0])]
    runner, work = _runner(inverse, columns, device="cpu"), Work()
    assert runner.run([column[:2] for column in columns], work).to_pylist() == [1, 0]
    assert work.rows == {"python": 2}
    with pytest.raises(ZeroDivisionError) as raised:
        runner.run(columns, Work(), 10_000)
    assert "row=10002" in "".join(raised.value.__notes__)


def test_pieces_that_never_fit_run_on_the_cpu_with_a_reason() -> None:
    column = pa.array([float(n) for n in range(3000)])
    tiny = {"emulated_memory": 4096, "memory_limit_fraction": 1.0, "max_concurrent_tasks": 1}
    work = Work()
    result = _runner(halve, [column], fallback="silent", **tiny).run([column], work)
    assert result.to_pylist() == [n / 2 for n in range(3000)]
    assert work.rows == {"cpu": 3000}
    assert any("no room for" in reason for reason in work.reasons)
    with pytest.raises(GpusparkError, match=r"no room for \d+ rows.*memory\.limitFraction"):
        _runner(halve, [column], **tiny).run([column], Work())


def test_an_error_in_a_piece_that_did_not_fit_names_the_row_of_the_batch() -> None:
    @gs.udf("double")
    def inverse(a):
        return 1 / a

    column = pa.array([float(n != 2500) for n in range(3000)])
    tiny = {"emulated_memory": 4096, "memory_limit_fraction": 1.0, "max_concurrent_tasks": 1}
    with pytest.raises(ZeroDivisionError) as raised:
        _runner(inverse, [column], fallback="silent", **tiny).run([column], Work(), 10_000)
    assert "row=12500" in "".join(raised.value.__notes__)


@pytest.mark.parametrize("lost_at", [1, 3])
@pytest.mark.parametrize("kind", [DeviceLost, DeviceUnavailable])
def test_a_lost_device_is_not_used_again_and_no_row_is_lost_or_doubled(lost_at, kind, monkeypatch) -> None:
    column = pa.array([float(n) for n in range(4 * FLOOR_ROWS)])
    runner = _runner(halve, [column], fallback="silent", target_bytes=8 * FLOOR_ROWS)
    _lose(runner, lost_at, monkeypatch, kind)
    work = Work()
    assert runner.run([column], work).to_pylist() == [n / 2 for n in range(4 * FLOOR_ROWS)]
    before = (lost_at - 1) * FLOOR_ROWS
    assert {name: rows for name, rows in work.rows.items() if rows} == ({"emulated": before} if before else {}) | {
        "cpu": 4 * FLOOR_ROWS - before
    }
    assert runner.plan.device == "cpu"
    assert runner.reasons == ["emulated: it fell off the bus"]
    assert runner.plan.fell_back
    later = Work()
    runner.run([column], later)
    assert later.rows == {"cpu": 4 * FLOOR_ROWS}


def test_a_lost_device_is_an_error_if_fallback_is_forbidden(monkeypatch) -> None:
    column = pa.array([1.0])
    runner = _runner(halve, [column])
    _lose(runner, 1, monkeypatch)
    with pytest.raises(FallbackError, match="it fell off the bus"):
        runner.run([column], Work())


@pytest.mark.parametrize("refusal", [DeviceUnavailable("it is busy"), DeviceLost("it is busy")])
def test_a_device_that_cannot_be_opened_is_passed_over(refusal, monkeypatch) -> None:
    opened = placement.open_device

    def refuse(name, *more):
        if name == "emulated":
            raise refusal
        return opened(name, *more)

    monkeypatch.setattr(placement, "open_device", refuse)
    column = pa.array([1.0, None])
    runner = _runner(halve, [column], fallback="silent")
    assert (runner.plan.device, runner.reasons) == ("cpu", ["emulated: it is busy"])
    assert runner.run([column], Work()).to_pylist() == [0.5, None]
    with pytest.raises(FallbackError, match="it is busy"):
        _runner(halve, [column])


def _lose(runner: Runner, call: int, monkeypatch, kind: type[DeviceError] = DeviceLost) -> None:
    """Makes the runner's device fail in its ``call``-th launch."""
    assert runner.device is not None
    calls, launch = itertools.count(1), runner.device.launch

    def fail(*arguments):
        if next(calls) == call:
            raise kind("it fell off the bus")
        launch(*arguments)

    monkeypatch.setattr(runner.device, "launch", fail)


def test_device_memory_is_freed_after_a_batch() -> None:
    column = pa.array([1.0] * (FLOOR_ROWS * 2))
    runner = _runner(halve, [column])
    before = runner.device.memory().free
    runner.run([column], Work())
    assert runner.device.memory().free == before


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_the_body_keeps_its_type_and_names_function_row_and_values(device) -> None:
    @gs.udf("double")
    def inverse(a, b):
        return a / b

    table = pa.table({"a": [1.0] * 1000, "b": [1.0] * 777 + [0.0] + [1.0] * 222})
    outcome = run_on(device, inverse, table)
    assert outcome.error.startswith("ZeroDivisionError: float division by zero")
    assert "function=inverse row=777 device=python a=1.0 b=0.0" in outcome.error


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_rows_that_overflow_get_pythons_answer_and_the_rest_stays_compiled(device) -> None:
    @gs.udf("bigint")
    def mixed(a):
        return a * a % 1_000_003

    values = [3, 2**62, None, -5, 2**40]
    column = pa.array(values, pa.int64())
    work = Work()
    result = _runner(mixed, [column], device=device).run([column], work)
    assert result.to_pylist() == [None if v is None else v * v % 1_000_003 for v in values]
    assert any("computed again" in reason for reason in work.reasons)


@ANY_COMPILED
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_beyond_doubles_are_not_rounded_twice(sign, devices) -> None:
    """2**53 + 1 is not a double; Python divides the integers, and refuses to store them as doubles."""
    near = [sign * (2**53 + n) for n in range(-2, 3)] + [sign * (2**62 + 2**9 * 3), sign * (2**60 - 1)]
    pairs = [(a, b) for a in (*near, 1, 3, 10**18 + 1) for b in (*near, 3, 7)]
    columns = {"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}
    assert_same_on_all_devices(gs.udf("double")(lambda a, b: a / b), pa.table(columns), devices=devices)
    for whole in near:
        assert_same_on_all_devices(gs.udf("double")(lambda a: a), pa.table({"a": [whole]}), devices=devices)
        near_float = pa.table({"a": [sign * 2**24 + whole % 3]})
        assert_same_on_all_devices(gs.udf("float")(lambda a: a), near_float, devices=devices)


@ANY_COMPILED
def test_a_product_is_rounded_before_it_is_added_to(devices) -> None:
    """A fused multiply-add would give -2**-60."""
    table = pa.table({"a": [1 + 2.0**-30], "b": [1 - 2.0**-30], "c": [-1.0]})
    outcome = assert_same_on_all_devices(gs.udf("double")(lambda a, b, c: a * b + c), table, devices=devices)
    assert outcome.values == [0.0]


def test_an_integer_and_a_float_on_two_paths_keep_their_types() -> None:
    """Python's result for a = 0 is an integer, which a common type for both paths would round."""

    @gs.udf("bigint")
    def either(a):
        value = 2**53 + 1
        if a > 0:
            value = 0.5  # type: ignore[assignment]
        return value

    result = run_on("python", either, pa.table({"a": [0.0, 1.0]}))
    assert result.values == [2**53 + 1, 0]
    assert run_on("cpu", either, pa.table({"a": [0.0, 1.0]}), fallback="silent").values == result.values
    with pytest.raises(FallbackError, match="'value' is an integer on one path and float64 on another"):
        run_on("cpu", either, pa.table({"a": [0.0, 1.0]}))


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_native_arithmetic_wraps_and_gives_ieee_values(device) -> None:
    column = pa.array([2**62, 3], pa.int64())
    square = gs.udf("bigint")(lambda a: a * a)
    result = _runner(square, [column], device=device, arithmetic="native").run([column], Work())
    assert result.to_pylist() == [0, 9]
    inverse = gs.udf("double")(lambda a: 1 / a)
    zero = pa.array([0.0, -0.0, 2.0])
    actual = _runner(inverse, [zero], device=device, arithmetic="native").run([zero], Work()).to_pylist()
    assert actual == [math.inf, -math.inf, 0.5]


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_errors_of_the_body_are_raised_in_native_arithmetic_too(device) -> None:
    @gs.udf("double")
    def picky(a):
        if a < 0:
            raise ValueError("negative")
        return a

    with pytest.raises(ValueError, match="negative") as error:
        column = pa.array([1.0, -1.0])
        _runner(picky, [column], device=device, arithmetic="native").run([column], Work())
    assert "row=1" in error.value.__notes__[0]


@ANY_COMPILED
def test_a_loop_ends_when_its_row_is_marked(devices) -> None:
    @gs.udf("bigint")
    def collapses(n):
        while n != 0:
            n = n // (n - n)
        return n

    outcome = assert_same_on_all_devices(collapses, pa.table({"n": pa.array([5], pa.int64())}), devices=devices)
    assert outcome.error.startswith("ZeroDivisionError")


def test_fallback_raise_refuses_what_does_not_compile() -> None:
    text = gs.udf("string")(lambda a: str(a))
    with pytest.raises(FallbackError, match="the result is string"):
        run_on("cpu", text, pa.table({"a": [1.0]}))
    assert run_on("cpu", text, pa.table({"a": [1.0]}), fallback="silent").values == ["1.0"]


@ANY_COMPILED
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 1025])
@pytest.mark.parametrize("offset", [0, 1, 5, 8])
def test_sliced_columns_with_bitmaps_at_any_bit(length: int, offset: int, devices) -> None:
    @gs.udf("boolean", nulls="pass")
    def known_and_true(flag, n):
        return None if n is None else flag is not None and flag and n > 2

    flags = pa.array([None if i % 5 == 0 else i % 3 == 0 for i in range(length + offset)], pa.bool_())
    numbers = pa.array([None if i % 7 == 0 else i for i in range(length + offset)], pa.int32())
    table = pa.table({"flag": flags, "n": numbers}).slice(offset)
    assert_same_on_all_devices(known_and_true, table, devices=devices)


def test_inputs_are_never_written_to() -> None:
    column = pa.array([1.0, 2.0, 3.0])
    before = column.buffers()[1].to_pybytes()
    _runner(halve, [column], device="cpu").run([column], Work())
    assert column.buffers()[1].to_pybytes() == before


def test_all_elements_of_in_are_computed_before_the_first_is_compared() -> None:
    element = gs.udf("boolean")(lambda x, y: x in (1.0, math.trunc(y)))
    with pytest.raises(ValueError, match="cannot convert float NaN to integer"):
        element(pa.array([1.0]), pa.array([math.nan]))
    assert element(pa.array([1.0, 2.0, 3.0]), pa.array([7.0, 2.5, 2.5])).to_pylist() == [True, True, False]
