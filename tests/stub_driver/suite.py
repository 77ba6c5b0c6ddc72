"""Scenes of whole calls on the stub: functions and kernels through the plan, the CUDA module and back, with launches in
the emulator; and which rows are computed where when the driver fails."""

from __future__ import annotations

import itertools
import math

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark import kernels
from gpuspark.accounting.work import Work
from gpuspark.bench.verify import same as close
from gpuspark.columns.types import of_arrow
from gpuspark.columns.values import same, to_python
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.errors import DeviceError, FallbackError
from gpuspark.execution.runner import FLOOR_ROWS, Runner
from gpuspark.execution.verify import tolerance
from gpuspark.testing import on_device, run_on
from stub_driver import any_program
from stub_driver.control import Stub
from tests.support.bodies import CASES
from tests.support.kernel_samples import SAMPLES, recorded
from tests.support.kernel_samples import columns as columns_of
from tests.test_host_ir import columns

FIRST_OF_EACH = list({case.f.__name__: case for case in reversed(CASES)}.values())[::-1]


@gs.udf("double")
def curve(a):
    return math.sqrt(a) + a / 2


def open_runner(stub: Stub, f: ScalarUDF, inputs: list[pa.Array], **flags: object) -> Runner:
    """Returns a runner on cuda, whose launches the stub runs."""
    names = tuple(f.signature.parameters)[: len(inputs)]
    config = Config(**{"device": "cuda", "fallback": "raise", **flags})  # type: ignore[arg-type]
    runner = Runner(f.scalar_function(names), [of_arrow(column.type) for column in inputs], config)
    if runner.plan.device == "cuda":
        stub.run_launches_of(runner.function.program(runner.types, config, "cuda"))
    return runner


def check(f: ScalarUDF, inputs: list[pa.Array], result: pa.Array) -> None:
    """Asserts that ``result`` equals that of plain Python."""
    names = tuple(f.signature.parameters)[: len(inputs)]
    expected = run_on("python", f, pa.table(dict(zip(names, inputs, strict=True))))
    assert expected.values is not None
    ulp = tolerance(f.scalar_function(names))
    for row, (value, wanted) in enumerate(zip(to_python(result), expected.values, strict=True)):
        close = ulp and isinstance(value, float) and math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9)
        assert close or same(value, wanted, ulp), (f.__name__, row, value, wanted)


def functions_and_kernels_give_pythons_answers(rows: int) -> None:
    stub = Stub()
    functions = [(case.f, case.types) for case in FIRST_OF_EACH]
    functions += [
        (kernel, ("double",) * len(kernel.signature.parameters))
        for kernel in kernels.CATALOGUE.values()
        if isinstance(kernel, kernels.Kernel)
    ]
    launches = 0
    for f, types in functions:
        inputs = [column.slice(3) for column in columns(types, rows + 3, seed=1)]
        names = tuple(f.signature.parameters)[: len(inputs)]
        expected = run_on("python", f, pa.table(dict(zip(names, inputs, strict=True))))
        runner = open_runner(stub, f, inputs)
        assert runner.plan.device == "cuda"
        if expected.error:
            errors = (ArithmeticError, ValueError, LookupError, TypeError, AssertionError, NameError)
            with pytest.raises(errors) as raised:
                runner.run(inputs, Work())
            assert type(raised.value).__name__ == expected.error.partition(":")[0]
        else:
            work = Work()
            check(f, inputs, runner.run(inputs, work))
            assert work.rows == {"cuda": rows}
        launches += 1
    assert len(stub.geometries) == launches == len(functions)
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


def array_kernels_give_pythons_answers(name: str) -> None:
    """Every array function of the kernel is launched, and only constants stay in device memory."""
    stub = Stub()
    stub.run_launches(any_program.find)
    with on_device("python"):
        expected = columns_of(SAMPLES[name]())
    with recorded() as used, on_device("cuda"):
        result = columns_of(SAMPLES[name]())
    assert used
    assert len(stub.geometries) >= len(used)
    assert all(close(column, wanted, 1e-9) for column, wanted in zip(result.values(), expected.values(), strict=True))
    open_device("cuda", Config(device="cuda")).forget()
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


def array_kernels_lose_no_row(code: int) -> None:
    """Each n-th driver call fails: the whole work is done on another device."""
    stub = Stub()
    stub.run_launches(any_program.find)
    with on_device("python"):
        expected = SAMPLES["dot_product"]()
    for every in (*range(1, 30), 100):
        stub.fail("*", code, every=every)
        with on_device("cuda", fallback="silent"):
            result = SAMPLES["dot_product"]()
        stub.heal()
        assert result.equals(expected)
        if code != 2:
            break
    assert stub.misuses() == 0


def no_row_is_lost_or_doubled(code: int) -> None:
    """Each n-th driver call fails: all rows are in the result, on whatever device they were computed."""
    stub = Stub()
    inputs = [pa.array([None if n % 9 == 0 else float(n) for n in range(3 * FLOOR_ROWS)])]
    devices: set[str] = set()
    for every in itertools.chain(range(1, 30), (50, 100, 1000)):
        runner = open_runner(stub, curve, inputs, fallback="silent", target_bytes=8 * FLOOR_ROWS)
        stub.fail("*", code, every=every)
        work = Work()
        result = runner.run(inputs, work)
        stub.heal()
        check(curve, inputs, result)
        assert sum(work.rows.values()) == len(result)
        assert set(work.rows) <= {"cuda", "cpu"}
        devices |= {name for name, rows in work.rows.items() if rows}
        if runner.plan.device == "cpu":
            assert runner.reasons[0].startswith("cuda: ")
        if code != 2:  # the context is broken, or the device refused: this process has no other
            break
    assert "cpu" in devices
    assert stub.misuses() == 0


def a_lost_device_is_no_device_for_the_next_task() -> None:
    stub = Stub()
    inputs = [pa.array([1.0, 4.0])]
    runner = open_runner(stub, curve, inputs, fallback="silent")
    stub.fail("cuStreamSynchronize", 700)
    check(curve, inputs, runner.run(inputs, Work()))
    stub.heal()
    later = open_runner(stub, curve, inputs, fallback="silent")
    assert later.plan.device == "cpu"
    assert "cannot use the GPU again" in later.reasons[0]
    assert later.plan.fell_back
    check(curve, inputs, later.run(inputs, Work()))
    with pytest.raises(FallbackError, match="cannot use the GPU again"):
        open_runner(stub, curve, inputs)


def a_bug_is_no_fallback() -> None:
    """Code 1, an invalid value, means that gpuspark called the driver wrongly."""
    stub = Stub()
    inputs = [pa.array([1.0, 4.0])]
    runner = open_runner(stub, curve, inputs, fallback="silent")
    stub.fail("cuMemcpyDtoH", 1)
    with pytest.raises(DeviceError, match="Please report this"):
        runner.run(inputs, Work())


def little_memory_means_smaller_batches() -> None:
    """A device of 256 KiB, of which half may be used: batches are halved, and all rows are computed on it."""
    stub = Stub()
    inputs = [pa.array([float(n) for n in range(20_000)])]
    runner = open_runner(stub, curve, inputs, memory_limit_fraction=1.0, max_concurrent_tasks=1)
    work = Work()
    check(curve, inputs, runner.run(inputs, work))
    assert work.rows == {"cuda": 20_000}
    assert work.retries >= 1
    assert len(stub.geometries) >= 2
    assert (stub.live(), stub.misuses()) == (0, 0)
