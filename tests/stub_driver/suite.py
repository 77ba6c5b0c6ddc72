"""Scenes of the whole path on the stub: functions and kernels through the plan, the CUDA module and back, with
launches that run the emulator; and what becomes of their rows when the driver fails."""

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


def opened(stub: Stub, f: ScalarUDF, given: list[pa.Array], **flags: object) -> Runner:
    """A runner on cuda, whose launches the stub runs."""
    names = tuple(f.signature.parameters)[: len(given)]
    config = Config(**{"device": "cuda", "fallback": "raise", **flags})  # type: ignore[arg-type]
    runner = Runner(f.scalar_function(names), [of_arrow(column.type) for column in given], config)
    if runner.plan.device == "cuda":
        stub.run_launches_of(runner.function.program(runner.types, config, "cuda"))
    return runner


def check(f: ScalarUDF, given: list[pa.Array], found: pa.Array) -> None:
    """Against plain Python."""
    names = tuple(f.signature.parameters)[: len(given)]
    expected = run_on("python", f, pa.table(dict(zip(names, given, strict=True))))
    assert expected.values is not None
    ulp = tolerance(f.scalar_function(names))
    for row, (one, other) in enumerate(zip(to_python(found), expected.values, strict=True)):
        close = ulp and isinstance(one, float) and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
        assert close or same(one, other, ulp), (f.__name__, row, one, other)


def functions_and_kernels_give_pythons_answers(rows: int) -> None:
    stub = Stub()
    tried = [(case.f, case.types) for case in FIRST_OF_EACH]
    tried += [
        (kernel, ("double",) * len(kernel.signature.parameters))
        for kernel in kernels.CATALOGUE.values()
        if isinstance(kernel, kernels.Kernel)
    ]
    launches = 0
    for f, types in tried:
        given = [column.slice(3) for column in columns(types, rows + 3, seed=1)]
        names = tuple(f.signature.parameters)[: len(given)]
        expected = run_on("python", f, pa.table(dict(zip(names, given, strict=True))))
        runner = opened(stub, f, given)
        assert runner.plan.device == "cuda"
        if expected.error:
            errors = (ArithmeticError, ValueError, LookupError, TypeError, AssertionError, NameError)
            with pytest.raises(errors) as raised:
                runner.run(given, Work())
            assert type(raised.value).__name__ == expected.error.partition(":")[0]
        else:
            work = Work()
            check(f, given, runner.run(given, work))
            assert work.rows == {"cuda": rows}
        launches += 1
    assert len(stub.geometries) == launches == len(tried)
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


def array_kernels_give_pythons_answers(name: str) -> None:
    """Every array function that the operation uses is launched, and nothing stays on the device but constants."""
    stub = Stub()
    stub.run_launches(any_program.find)
    with on_device("python"):
        expected = columns_of(SAMPLES[name]())
    with recorded() as used, on_device("cuda"):
        found = columns_of(SAMPLES[name]())
    assert used
    assert len(stub.geometries) >= len(used)
    assert all(close(one, other, 1e-9) for one, other in zip(found.values(), expected.values(), strict=True))
    open_device("cuda", Config(device="cuda")).forget()
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


def array_kernels_lose_no_row(code: int) -> None:
    """Each call in turn fails from the n-th on: the work is done elsewhere, whole."""
    stub = Stub()
    stub.run_launches(any_program.find)
    with on_device("python"):
        expected = SAMPLES["dot_product"]()
    for every in (*range(1, 30), 100):
        stub.fail("*", code, every=every)
        with on_device("cuda", fallback="silent"):
            found = SAMPLES["dot_product"]()
        stub.heal()
        assert found.equals(expected)
        if code != 2:
            break
    assert stub.misuses() == 0


def no_row_is_lost_or_doubled(code: int) -> None:
    """Each call in turn fails from the n-th on: the rows are all there, wherever they were computed."""
    stub = Stub()
    given = [pa.array([None if n % 9 == 0 else float(n) for n in range(3 * FLOOR_ROWS)])]
    places = set()
    for every in itertools.chain(range(1, 30), (50, 100, 1000)):
        runner = opened(stub, curve, given, fallback="silent", target_bytes=8 * FLOOR_ROWS)
        stub.fail("*", code, every=every)
        work = Work()
        found = runner.run(given, work)
        stub.heal()
        check(curve, given, found)
        assert sum(work.rows.values()) == len(found)
        assert set(work.rows) <= {"cuda", "cpu"}
        places |= {name for name, rows in work.rows.items() if rows}
        if runner.plan.device == "cpu":
            assert runner.reasons[0].startswith("cuda: ")
        if code != 2:  # the context is broken, or the device refused: this process has no other
            break
    assert "cpu" in places
    assert stub.misuses() == 0


def a_lost_device_is_no_device_for_the_next_task() -> None:
    stub = Stub()
    given = [pa.array([1.0, 4.0])]
    runner = opened(stub, curve, given, fallback="silent")
    stub.fail("cuStreamSynchronize", 700)
    check(curve, given, runner.run(given, Work()))
    stub.heal()
    later = opened(stub, curve, given, fallback="silent")
    assert later.plan.device == "cpu"
    assert "cannot use the GPU again" in later.reasons[0]
    assert later.plan.fell_back
    check(curve, given, later.run(given, Work()))
    with pytest.raises(FallbackError, match="cannot use the GPU again"):
        opened(stub, curve, given)


def a_bug_is_no_fallback() -> None:
    """Code 1, an invalid value: somebody called the driver wrongly, and that is us."""
    stub = Stub()
    given = [pa.array([1.0, 4.0])]
    runner = opened(stub, curve, given, fallback="silent")
    stub.fail("cuMemcpyDtoH", 1)
    with pytest.raises(DeviceError, match="Please report this"):
        runner.run(given, Work())


def little_memory_means_smaller_batches() -> None:
    """A device of 256 KiB, of which half may be used: batches are halved, and all rows are computed on it."""
    stub = Stub()
    given = [pa.array([float(n) for n in range(20_000)])]
    runner = opened(stub, curve, given, memory_limit_fraction=1.0, max_concurrent_tasks=1)
    work = Work()
    check(curve, given, runner.run(given, work))
    assert work.rows == {"cuda": 20_000}
    assert work.retries >= 1
    assert len(stub.geometries) >= 2
    assert (stub.live(), stub.misuses()) == (0, 0)
