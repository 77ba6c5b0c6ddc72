"""Array functions: equal results on every device, constants that are copied once, faults and refusals."""

from __future__ import annotations

import http
import math
import pickle
import re
import types
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import cloudpickle
import numba
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import gpuspark as gs
from gpuspark import Constant, Out, Scratch, array_function
from gpuspark.accounting.work import Work
from gpuspark.compiler import Parameter
from gpuspark.compiler.fingerprint import fingerprint
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.errors import CallError, DeviceFault, FallbackError
from gpuspark.execution import arrays
from gpuspark.execution.array_runner import ArrayRunner
from gpuspark.execution.inside import TaskMemory
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

LIMIT = 4.0
HALVES = np.array([0.5, 1.5])


def runner_of(function: Any, parameters: tuple[Parameter, ...], config: Config) -> ArrayRunner:
    """Returns a runner of a decorated array function."""
    return ArrayRunner(function.name, function.__gpuspark_body__, parameters, config)


def clipped(x, limit):
    return min(x, limit)


@array_function
def smoothed(group, values, offsets, alpha, out):
    level = values[offsets[group]]
    for row in range(offsets[group], offsets[group + 1]):
        level += alpha * (clipped(values[row], LIMIT) - level)
        out[row] = level


@array_function
def reversed_in_scratch(item, values, width, out, work):
    for k in range(width):
        work[k] = values[item * width + width - 1 - k]
    for k in range(width):
        out[item * width + k] = work[k]


@array_function
def many_kinds(i, small, truth, flag, halves, sums, odd):
    value = np.int64(small[i])
    sums[i] = value + halves[i % 2] if flag else -1.0
    odd[i] = truth[i] and value % 2 == 1


@array_function
def outside(i, values, out):
    out[i] = values[i + 5]


@array_function
def impossible(i, values, out):
    out[i] = len(str(values[i]))


GROUPS = st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=5), max_size=6)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=30)
@given(groups=GROUPS, alpha=st.floats(0, 1))
def test_groups_are_smoothed_as_plain_python_does(device: str, groups: list[list[float]], alpha: float) -> None:
    flat = np.array([value for group in groups for value in group])
    offsets = np.cumsum([0, *map(len, groups)])
    with on_device(device):
        result = smoothed(len(groups), flat, offsets, alpha, Out("float64", len(flat)))
    expected = []
    for group in groups:
        level = group[0]
        for value in group:
            level += alpha * (min(value, 4.0) - level)
            expected.append(level)
    assert_array_equal(result, np.array(expected))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(items=st.integers(0, 700), width=st.integers(1, 5))
def test_each_item_has_its_own_scratch_memory(device: str, items: int, width: int) -> None:
    values = np.arange(items * width, dtype=np.int32)
    with on_device(device):
        result = reversed_in_scratch(items, values, width, Out(np.int32, items * width), Scratch(np.int32, 5))
    assert_array_equal(result, values.reshape(items, width)[:, ::-1].reshape(-1))


@pytest.mark.parametrize("device", DEVICES)
def test_arrays_numbers_constants_and_columns(device: str) -> None:
    small = gs.Column(pa.array([1, 2, 127, -128], pa.int8()).slice(1))
    truth = np.array([True, True, False])
    with on_device(device):
        sums, odd = many_kinds(3, small, truth, True, Constant(HALVES), Out("float64", 3), Out("bool", 3))
        other, _ = many_kinds(3, small, truth, False, Constant(HALVES), Out("float64", 3), Out("bool", 3))
    assert (sums.tolist(), odd.tolist(), odd.dtype) == ([2.5, 128.5, -127.5], [False, True, False], np.dtype(bool))
    assert other.tolist() == [-1.0] * 3


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(CallError, match=r"many_kinds.* was given 1 arguments"):
        many_kinds(3, HALVES)
    with pytest.raises(CallError, match="outside: values is a list"):
        outside(3, [1.0], Out("float64", 3))
    with pytest.raises(CallError, match="outside: values has 1 nulls"):
        outside(3, pa.array([1.0, None]), Out("float64", 2))
    with pytest.raises(CallError, match="takes a plain function, not a type"):
        array_function(int)


def test_what_does_not_compile_runs_in_python_and_says_why() -> None:
    result = impossible(2, np.array([1, 10]), Out("int64", 2))
    assert result.tolist() == [1, 2]
    runner = runner_of(impossible, (Parameter("int64", True), Parameter("int64", True)), Config(device="cpu"))
    assert runner.plan.device == "python"
    assert runner.placement.reasons[0].startswith("cpu: it creates arrays, lists or strings")
    with on_device("cpu"), pytest.raises(FallbackError, match="impossible"):
        impossible(2, np.array([1, 10]), Out("int64", 2))


def _looks(value):
    if value < 0:
        raise ValueError("negative")
    return value


@array_function
def raises(row, values, out):
    out[row] = _looks(values[row])


@array_function
def asserts(row, values, out):
    assert values[row] >= 0
    out[row] = values[row]


looking: Any = types.ModuleType("looking")
looking.compiled = numba.njit(_looks)


@array_function
def raises_in_a_module(row, values, out):
    out[row] = looking.compiled(values[row])


@pytest.mark.parametrize(
    ("function", "place"), [(raises, "_looks"), (asserts, "asserts"), (raises_in_a_module, "_looks")]
)
@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_errors_are_not_lost_by_compiling(function: Any, place: str, device: Any) -> None:
    """Machine code cannot raise: a function that may raise runs in Python, and the error is Python's."""
    runner = runner_of(function, (Parameter("int64", True), Parameter("int64", True)), Config(device=device))
    assert runner.plan.device == "python"
    assert re.match(rf"{device}: raise or assert in {place} \(test_arrays.py, line \d+\)", runner.placement.reasons[0])
    assert function(2, np.array([1, 2]), Out("int64", 2)).tolist() == [1, 2]
    with pytest.raises((ValueError, AssertionError)):
        function(2, np.array([1, -2]), Out("int64", 2))


@array_function
def steps(row, values, out):
    for n in range(0, 10, values[row]):
        out[row] = n


def test_an_error_that_machine_code_cannot_report_is_raised() -> None:
    with on_device("cpu"), pytest.raises(RuntimeError, match="see it with"):
        steps(2, np.array([1, 0]), Out("int64", 2))
    with on_device("python"), pytest.raises(ValueError, match="must not be zero"):
        steps(2, np.array([1, 0]), Out("int64", 2))


def test_reading_outside_an_array_is_a_fault_that_names_it() -> None:
    with on_device("emulated"), pytest.raises(DeviceFault, match="16 bytes after the end of an input") as fault:
        outside(3, np.arange(3.0), Out("float64", 3))
    assert "thread" in str(fault.value)


def test_constants_are_copied_to_a_device_once() -> None:
    table = Constant(np.arange(1000.0))
    device = open_device("emulated", Config(device="emulated"))
    device.forget()
    before = device.memory().free
    with on_device("emulated"):
        for _ in range(3):
            same = pickle.loads(pickle.dumps(table))
            outside(3, same, Out("float64", 3))
        assert before - device.memory().free == 8000
    assert (same, hash(same)) == (table, hash(table))
    assert same != Constant(np.arange(1000))
    device.forget()
    assert device.memory().free == before


def test_work_moves_to_the_cpu_if_a_device_is_full() -> None:
    values = np.arange(30_000.0)
    config = Config(device="emulated", emulated_memory=1 << 17, fallback="silent")
    runner, work = runner_of(outside, (Parameter("float64", True),) * 2, config), Work()
    (result,) = runner.run(10_000, [values, Out("float64", 10_000)], work)
    assert_array_equal(result, values[5:10_005])
    assert runner.plan.device == "cpu"
    assert runner.placement.reasons[0].startswith("emulated: ")
    assert work.retries == 1


def made(source: str, **names: Any) -> FunctionType:
    exec(source, names)
    return names["f"]


SOURCE = "def f(i, x, out):\n    out[i] = helper(x[i]) * K"


def test_the_cache_key_covers_everything_that_decides_the_code() -> None:
    first = made(SOURCE, helper=lambda x: x + 1, K=2)
    assert fingerprint(first) == fingerprint(made(SOURCE, helper=lambda x: x + 1, K=2))
    others = [
        made(SOURCE, helper=lambda x: x + 2, K=2),
        made(SOURCE, helper=lambda x: x + 1, K=2.0),
        made(SOURCE, helper=lambda x: x + 1, K=np.array([2])),
        made(SOURCE, helper=lambda x: x + 1, K=np.array([3])),
        made(SOURCE.replace("*", "+"), helper=lambda x: x + 1, K=2),
        made(SOURCE, helper=array_function(lambda x: x - 1), K=2),
        made(SOURCE, helper=math.sqrt, K=2),
    ]
    assert len({fingerprint(f) for f in [first, *others]}) == len(others) + 1


settings_module: Any = types.ModuleType("settings_module")


@array_function
def scaled_by_a_module(i, x, out):
    out[i] = x[i] * settings_module.ALPHA + settings_module.helper(x[i])


@pytest.mark.parametrize("device", DEVICES)
def test_values_of_modules_are_read_at_each_call(device: str) -> None:
    x = np.array([1.0, 2.0])
    settings_module.plain = lambda x: x + settings_module.SHIFT
    for alpha, shift in ((0.25, 1.0), (10.0, 1.0), (10.0, 2.0), (10, 2.0)):
        settings_module.ALPHA, settings_module.SHIFT = alpha, shift
        settings_module.helper = numba.njit(settings_module.plain) if device == "cpu" else settings_module.plain
        with on_device(device, fallback="silent"):
            result = scaled_by_a_module(2, x, Out("float64", 2))
        assert result.tolist() == [value * alpha + value + shift for value in (1.0, 2.0)]


def test_a_new_value_in_the_same_task_is_another_program(monkeypatch) -> None:
    """A task's cached program is only valid for the values that the function captured then."""
    task = TaskMemory()
    monkeypatch.setattr(arrays, "this_task", lambda: task)
    with on_device("cpu"):
        for limit in (4.0, 1.0):
            monkeypatch.setitem(smoothed.__gpuspark_body__.__globals__, "LIMIT", limit)
            result = smoothed(1, np.array([0.0, 9.0]), np.array([0, 2]), 1.0, Out("float64", 2))
            assert result.tolist() == [0.0, limit]


@array_function
def doubled_then_more(i, x, out):
    doubled_item(i, x, out)
    out[i] += 1


@array_function
def doubled_item(i, x, out):
    out[i] = 2 * x[i]


@pytest.mark.parametrize("device", ["python", *DEVICES])
def test_array_functions_call_each_other_as_plain_functions(device: str) -> None:
    with on_device(device):
        assert doubled_then_more(3, np.arange(3.0), Out("float64", 3)).tolist() == [1.0, 3.0, 5.0]


class Money(float):
    def __rmul__(self, other):
        return 0.0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Money(2), r"K is a Money \(a float with methods of its own\): use float"),
        (np.ma.array([1.0]), "K is a MaskedArray"),
        (http.HTTPStatus.OK, r"K is a HTTPStatus \(an IntEnum\): use HTTPStatus.OK.value"),
    ],
)
def test_objects_with_operators_of_their_own_are_not_compiled(value: Any, reason: str) -> None:
    f = array_function(made("def f(i, x, out):\n    out[i] = x[i] * K", K=value))
    runner = runner_of(f, (Parameter("float64", True),) * 2, Config(device="cpu"))
    assert runner.plan.device == "python"
    assert re.match(f"cpu: {reason}", runner.placement.reasons[0])


def test_functions_that_call_each_other_are_refused() -> None:
    names: dict[str, Any] = {}
    exec("def f(i, x, out): g(i, x, out)\ndef g(i, x, out): f(i - 1, x, out) if i else 0", names)
    runner = runner_of(array_function(names["f"]), (Parameter("float64", True),) * 2, Config(device="cpu"))
    assert runner.placement.reasons == ["cpu: f calls itself"]


def test_captured_values_and_functions_are_pickled() -> None:
    def scaled(by: float) -> Callable[..., Any]:
        @array_function
        def inner(i, x, out):
            out[i] = clipped(x[i], LIMIT) * by

        return inner

    travelled = pickle.loads(cloudpickle.dumps(scaled(3.0)))
    for device in ("cpu", "emulated", "python"):
        with on_device(device):
            assert travelled(2, np.array([1.0, 9.0]), Out("float64", 2)).tolist() == [3.0, 12.0]


@pytest.mark.parametrize("device", ["cpu", "emulated", "python"])
def test_inside_a_body_the_ledger_names_the_device(spark: Any, device: str) -> None:
    def body(segments: gs.Segments) -> gs.Batch:
        result = smoothed(len(segments), segments["x"], segments.offsets, 0.5, Out("float64", segments.num_rows))
        return segments.batch.with_column("s", result)

    spark.conf.set("spark.gpuspark.device", device)
    gs.ledger(spark).clear()
    frame = spark.createDataFrame([("a", 1.0, 1), ("a", 3.0, 2), ("b", 9.0, 1)], "k string, x double, t int")
    smooth = gs.apply_in_segments(frame, "k", body, "k string, x double, t int, s double", order_by="t")
    assert sorted((row.k, row.t, row.s) for row in smooth.collect()) == [("a", 1, 1.0), ("a", 2, 2.0), ("b", 1, 6.5)]
    records = gs.ledger(spark).records
    assert device in {record.device for record in records}
    assert sum(record.rows for record in records) == 3


def test_kernels_of_a_notebook_are_pickled_by_value(spark: Any) -> None:
    """A kernel that workers cannot import is pickled by value."""
    from gpuspark.kernels.spec import column_kernel

    @column_kernel("bigint", parameters={"x": "numbers"}, unit="1", reference="here")
    def plus_one(x):
        return pa.array(x.to_numpy() + 1)

    def rows() -> Iterator[int]:
        yield from (row[0] for row in spark.range(3).select(plus_one("id")).collect())

    assert list(rows()) == [1, 2, 3]
