"""``python -m tests.proof.gpu_kernels``, on a GPU node: every kernel compared with an oracle, then timed by phase.

Writes ``kernels-DEVICE.jsonl``, one line for each size as soon as it is measured, and prints a table. gpuspark is
called as by a task of Spark, batch after batch, so a later call finds what an earlier one has compiled and loaded. The
phases are the ledger's, in wall-clock time; ``kernel`` is the GPU's own time between events around each launch. The
rate is the bytes copied in and out, divided by the kernel's time: each byte is moved at least once in GPU memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark.accounting.entries import Entry
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.protocol import Pointer
from gpuspark.dialects import direct
from gpuspark.execution import arrays
from gpuspark.execution.inside import Inside, TaskMemory
from gpuspark.spark.session import TaskFacts
from gpuspark.testing import on_device
from tests.support.kernel_calls import KernelCase, kernel_cases

ROWS_COMPARED = 2_000
SECONDS, MOST_CALLS = 0.7, 15  # of one measurement
MOST_SECONDS = 90  # of one case
COPIED = 1 << 28  # bytes
NOWHERE = TaskFacts(stage=0, partition=0, attempt=0, task=0, execution=None, gpus=(), time_zone=None)


class Meter:
    """The bytes that CUDA devices of this process copy, the GPU's time for launches, and the time of trimming.

    Without ``events`` (the stand-in for the driver has none) the GPU's own time stays zero.
    """

    def __init__(self, *, events: bool) -> None:
        self._events = events
        self.reset()

    def reset(self) -> None:
        self.copied, self.launches, self.kernel, self.trimming = 0, 0, 0.0, 0.0
        self._pairs: list[tuple[Any, Any]] = []

    def watch(self, device: Any) -> None:
        """Wraps the methods of the class ``device``."""
        copy_in, copy_out, launch = device.copy_in, device.copy_out, device.launch
        synchronize, trim = device.synchronize, device.trim

        def watched_copy_in(self_: Any, host: Any) -> Any:
            self.copied += host.nbytes
            return copy_in(self_, host)

        def watched_copy_out(self_: Any, handle: Any) -> Any:
            host = copy_out(self_, handle)
            self.copied += host.nbytes
            return host

        def watched_launch(self_: Any, program: Any, arguments: Any, count: int) -> None:
            before = self._event()
            launch(self_, program, arguments, count)
            self.launches += 1
            self._pairs.append((before, self._event()))

        def watched_synchronize(self_: Any) -> None:
            synchronize(self_)
            for before, after in self._pairs:
                if before is not None:
                    self.kernel += driver_call("cuEventElapsedTime", before, after) / 1e3
                    driver_call("cuEventDestroy", before)
                    driver_call("cuEventDestroy", after)
            self._pairs.clear()

        def watched_trim(self_: Any) -> None:
            start = time.perf_counter()
            trim(self_)
            self.trimming += time.perf_counter() - start

        device.copy_in, device.copy_out, device.launch = watched_copy_in, watched_copy_out, watched_launch
        device.synchronize, device.trim = watched_synchronize, watched_trim

    def _event(self) -> Any:
        if not self._events:
            return None
        event = driver_call("cuEventCreate", 0)
        driver_call("cuEventRecord", event, 1)  # 1: the legacy default stream
        return event


def driver_call(function: str, *arguments: Any) -> Any:
    """Returns the first result of a function of the driver. Raises ``RuntimeError`` with its error code."""
    from cuda.bindings import driver

    code, *values = getattr(driver, function)(*arguments)
    if code:
        raise RuntimeError(f"{function}: {code.name}")
    return values[0] if values else None


@contextmanager
def one_task(entry: Entry) -> Iterator[None]:
    """Context manager in which all calls are one task's, and are accounted to ``entry``."""
    task = TaskMemory(inside=Inside(entry))
    with (
        mock.patch.object(direct, "this_task", return_value=task),
        mock.patch.object(arrays, "this_task", return_value=task),
    ):
        yield


def bandwidths() -> dict[str, float]:
    """Returns GB/s of copies within GPU memory (read and written), into it, out of it, and from and to pinned memory,
    which gpuspark does not use."""
    device: Any = open_device("cuda", Config(device="cuda"))
    host = np.random.default_rng(1).integers(0, 255, COPIED, np.uint8)
    one, other = device.copy_in(host), device.allocate(COPIED)
    source, target = (device._address(Pointer(handle)) for handle in (one, other))
    pinned = driver_call("cuMemAllocHost", COPIED)
    copies: dict[str, tuple[int, Callable[[], Any]]] = {
        "within": (2, lambda: driver_call("cuMemcpyDtoD", target, source, COPIED)),
        "in": (1, lambda: driver_call("cuMemcpyHtoD", source, host.ctypes.data, COPIED)),
        "out": (1, lambda: driver_call("cuMemcpyDtoH", host.ctypes.data, source, COPIED)),
        "in, pinned": (1, lambda: driver_call("cuMemcpyHtoD", source, pinned, COPIED)),
        "out, pinned": (1, lambda: driver_call("cuMemcpyDtoH", pinned, source, COPIED)),
    }
    rates = {}
    for name, (moves, copy) in copies.items():
        seconds, repeats = [], 20 if name == "within" else 1
        for _ in range(7):
            start = time.perf_counter()
            for _ in range(repeats):
                copy()
            device.synchronize()
            seconds.append((time.perf_counter() - start) / repeats)
        rates[name] = COPIED * moves / statistics.median(seconds) / 1e9
    driver_call("cuMemFreeHost", pinned)
    device.free(one)
    device.free(other)
    return rates


def compare(case: KernelCase, device: str, rows: int) -> dict[str, Any]:
    """Returns how the result differs from the oracle's (empty if it does not), and the seconds of a first call."""
    call = case.call(rows)
    start = time.perf_counter()
    with on_device(device, **case.flags):
        result = as_floats(call.run())
    seconds, difference = time.perf_counter() - start, ""
    with on_device("cpu"):
        wanted = as_floats((call.oracle or call.run)())
    try:
        np.testing.assert_allclose(result, wanted, rtol=case.tolerance, atol=case.tolerance, equal_nan=True)
    except AssertionError as error:
        difference = " ".join(str(error).split())[:300]
    return {"case": case.name, "compared": rows, "difference": difference, "first_call": seconds}


def as_floats(result: Any) -> Any:
    """Returns the numbers in a column, nested or not, null as NaN."""
    if isinstance(result, gs.Column):
        result = result.to_arrow()
    if isinstance(result, pa.Array):
        while pa.types.is_list(result.type):
            result = result.flatten()
        result = result.to_numpy(zero_copy_only=False)
    return np.asarray(result, np.float64)


def measure(case: KernelCase, device: str, rows: int, meter: Meter) -> dict[str, Any]:
    """Returns medians of calls, in seconds, after a call that is not counted."""
    run = case.call(rows).run
    entry, record = Entry(case.name, "kernels"), None
    calls: list[dict[str, float]] = []
    with on_device(device, **case.flags), one_task(entry):
        run()
        begin = time.perf_counter()
        while len(calls) < 3 or (time.perf_counter() - begin < SECONDS and len(calls) < MOST_CALLS):
            entry.take(NOWHERE)
            meter.reset()
            start = time.perf_counter()
            run()
            wall = time.perf_counter() - start
            record = next(iter(entry.take(NOWHERE)), None)  # none: NumPy multiplied matrices, on the CPU
            phases = record.seconds if record else {}
            calls.append({"wall": wall, **phases, "kernel": meter.kernel, "trim": meter.trimming})
            if wall > 5:
                break
    medians = {name: statistics.median(call[name] for call in calls) for name in calls[0]}
    return {
        "case": case.name, "device": record.device if record else "NumPy", "rows": rows, "calls": len(calls),
        "bytes": meter.copied, "launches": meter.launches, "reasons": record.reasons if record else [], **medians,
    }  # fmt: skip


COLUMNS = ("wall", "copy_in", "run", "copy_out", "trim", "kernel")


def head() -> str:
    return f"{'':28}{'rows':>11}{'runs':>5}" + "".join(f"{name:>10}" for name in COLUMNS) + "     GB/s of copy"


def line(measured: dict[str, Any], copy_rate: float) -> str:
    """Returns a line of the table: milliseconds by phase, and the kernel's rate as a share of ``copy_rate``."""
    milliseconds = "".join(f"{measured.get(name, 0.0) * 1e3:10.2f}" for name in COLUMNS)
    rate = measured["bytes"] / measured["kernel"] / 1e9 if measured["kernel"] else 0.0
    share = f"{rate:9.0f}{100 * rate / copy_rate:6.0f}%" if copy_rate and rate else ""
    return f"{measured['case']:28}{measured['rows']:11,}{measured['launches']:5}{milliseconds}{share}"


def run_case(case: KernelCase, device: str, tiny: bool, file: Path, copy_rate: float, deadline: float) -> None:
    """Compares and measures one case. Called in a process of its own, which a fault on the GPU ends."""
    meter = Meter(events=not tiny)
    if device == "cuda":
        from gpuspark.devices.cuda import CudaDevice

        meter.watch(CudaDevice)
    try:
        compared = compare(case, device, 16 if tiny else min(ROWS_COMPARED, case.rows[0]))
        write(file, compared)
        if compared["difference"]:
            print(f"DIFFERENT {case.name}: {compared['difference']}", flush=True)
        for rows in (16,) if tiny else case.rows:
            if time.monotonic() > deadline:
                print(f"no time for {case.name} of {rows:,} rows", flush=True)
                break
            measured = measure(case, device, rows, meter)
            write(file, measured)
            print(line(measured, copy_rate), flush=True)
            if measured["wall"] > 0.8:  # ten times the rows would take long
                break
    except Exception as error:  # noqa: BLE001  the other cases go on, and main() counts this one
        write(file, {"case": case.name, "failed": f"{type(error).__name__}: {error}"})
        print(f"FAILED {case.name}\n{traceback.format_exc(limit=-6)}", flush=True)


def write(file: Path, record: dict[str, Any]) -> None:
    with file.open("a") as log:
        print(json.dumps(record), file=log, flush=True)


def apart(target: Callable[..., None], seconds: float, *arguments: Any) -> bool:
    """Runs ``target`` in a process forked from this one, which never starts CUDA; returns whether it ended well."""
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.gpu_kernels", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, default=Path("artifacts"), help="folder of the records")
    parser.add_argument("--seconds", type=float, default=400, help="for all cases together")
    parser.add_argument("--only", action="append", help="cases whose names begin so")
    parser.add_argument("--tiny", action="store_true", help="few rows and one size, for the stand-in for the driver")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    file, copy_rate = options.out / f"kernels-{options.device}.jsonl", 0.0
    file.write_text("")
    if options.device == "cuda" and not options.tiny:
        if not apart(lambda: write(file, {"bandwidths": bandwidths()}), 60):
            print("No bandwidths: see above.", flush=True)
            return 1
        rates = json.loads(file.read_text())["bandwidths"]
        copy_rate = rates["within"]
        print("GB/s: " + ", ".join(f"{name} {rate:.1f}" for name, rate in rates.items()), flush=True)
    print(f"Medians in milliseconds.\n{head()}", flush=True)
    for case in kernel_cases(tiny=options.tiny):
        if options.only and not case.name.startswith(tuple(options.only)):
            continue
        if time.monotonic() > deadline:
            print(f"no time for {case.name}", flush=True)
        elif not apart(run_case, MOST_SECONDS, case, options.device, options.tiny, file, copy_rate, deadline):
            write(file, {"case": case.name, "failed": "its process ended badly, or was ended"})
            print(f"ENDED {case.name}: its process ended badly, or took more than {MOST_SECONDS} s", flush=True)
    records = [json.loads(text) for text in file.read_text().splitlines()]
    wrong = [record["case"] for record in records if record.get("difference") or record.get("failed")]
    print(f"{len(wrong)} cases differ or failed: {', '.join(wrong) or 'none'}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
