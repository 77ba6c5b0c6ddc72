"""In a Python worker of Spark: takes Arrow columns, runs the function where the plan says, gives Arrow
columns back and accounts for them. The device is decided once per task, from the task's own flags."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from types import CodeType, MappingProxyType
from typing import TYPE_CHECKING, Any

from gpuspark.arguments import bind
from gpuspark.compiler.source import own_signature
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.permits import permit
from gpuspark.devices.protocol import Device, Program
from gpuspark.errors import (
    CallError,
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    GpusparkError,
    OutOfMemory,
    locate,
)
from gpuspark.findings import report
from gpuspark.plan import DeviceName, Plan, devices_of, enforce, plan
from gpuspark.records import Entry, entry
from gpuspark.rowwise import FLOOR_ROWS, Work, compute, interpret
from gpuspark.scalar import TARGETS, ScalarFunction
from gpuspark.session import profiled, task_config, task_facts
from gpuspark.types import ColumnType, of_arrow
from gpuspark.verify import verify

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger("gpuspark")
_warned: set[str] = set()


def decide(
    function: ScalarFunction,
    types: Sequence[ColumnType],
    config: Config,
    failed: Mapping[DeviceName, str] = MappingProxyType({}),
) -> Plan:
    """The plan for ``function`` on this machine. Compiles the program, or finds it in the cache.

    ``failed``: devices that are on this machine, and why they serve no more."""
    devices = devices_of(config)
    absent: dict[DeviceName, str] = {}
    if set(devices) & {"cuda", "emulated"}:
        from gpuspark.devices.discover import discover

        absent = discover().absent()
    obstacles: dict[DeviceName, Sequence[str]] = {device: [why] for device, why in failed.items()}
    for device in devices:
        if device not in absent and device not in failed:
            obstacles |= function.obstacles(types, config, [device])
            if not obstacles.get(device):
                break
    left = function.body.left_to_python if function.body else ()
    return plan(function.name, obstacles, config, absent, left)


class Runner:
    """One scalar function in one task: the plan for its column types, and the device that it runs on.

    A device that cannot be opened, or is lost while it works, is left for good, and a new plan says why:
    rows stand for themselves, so the batch under way is computed again elsewhere, whole.
    """

    def __init__(self, function: ScalarFunction, types: Sequence[ColumnType], config: Config) -> None:
        self.function, self.types, self.config = function, tuple(types), config
        profiler = profiled()
        self._failed: dict[DeviceName, str] = dict.fromkeys(TARGETS, profiler) if profiler else {}
        row_bytes = sum(max(column.bits, 8) // 8 for column in self.types)
        self.most_rows = max(FLOOR_ROWS, config.target_bytes // max(row_bytes, 1))
        start = time.perf_counter()
        self._settle()
        self.preparing = time.perf_counter() - start

    def _settle(self) -> None:
        """Takes the best device that did not fail, and opens it."""
        self.device: Device | None = None
        self.program: Program | None = None
        self.budget: int | None = None
        self.plan = decide(self.function, self.types, self.config, self._failed)
        enforce(self.plan, self.config)
        self.reasons = [str(reason) for reason in self.plan.reasons]
        if self.plan.device != "python":
            facts = task_facts()
            address = facts.gpus[0] if facts and facts.gpus else None
            try:
                self.device = open_device(self.plan.device, self.config, address)
                self.budget = self._budget(self.device)
            except (DeviceUnavailable, DeviceLost, OutOfMemory) as error:
                self._leave(error)
                return
            self.program = self.function.program(self.types, self.config, self.plan.device)
        warn_once(self.plan, self.config)

    def _leave(self, error: DeviceError) -> None:
        self._failed[self.plan.device] = str(error)
        self._settle()

    def run(self, columns: Sequence[pa.Array], work: Work, first_row: int = 0) -> pa.Array:
        """The function's results for ``columns``, all of one length. Long ones are sliced: one run of the
        program takes at most ``spark.gpuspark.batch.targetBytes``."""
        import pyarrow as pa

        rows, start = len(columns[0]), time.perf_counter()
        if self.device is None or self.program is None or not rows:
            result = interpret(self.function, columns, range(first_row, first_row + rows))
            work.ran("python", rows)
            work.lap("run", start)
            return result
        if rows > self.most_rows:
            starts = range(0, rows, self.most_rows)
            pieces = [self.run([c.slice(n, self.most_rows) for c in columns], work, first_row + n) for n in starts]
            return pa.concat_arrays(pieces)
        if self.device.name == "cpu":
            return self._compute(self.program, self.device, columns, work, first_row)
        done = dict(work.rows)
        try:
            with permit(self.device.identity, self.config.max_concurrent_tasks):
                work.lap("wait", start)
                result = self._compute(self.program, self.device, columns, work, first_row)
                self.device.trim()
                return result
        except (DeviceLost, DeviceUnavailable, OutOfMemory) as lost:
            work.rows = done
            work.retries += 1
            self._leave(lost)
            return self.run(columns, work, first_row)

    def _compute(
        self, program: Program, device: Device, columns: Sequence[pa.Array], work: Work, first_row: int
    ) -> pa.Array:
        return compute(
            self.function, program, device, columns, work,
            types=self.types, budget=self.budget, otherwise=self._on_cpu, first_row=first_row,
        )  # fmt: skip

    def _budget(self, device: Device) -> int | None:
        """Device memory that one batch may take: this worker's share of the part that we may use."""
        if device.name == "cpu":
            return None
        share = self.config.memory_limit_fraction / self.config.max_concurrent_tasks
        return int(device.memory().total * share)

    def _on_cpu(self, columns: Sequence[pa.Array], work: Work, first_row: int) -> pa.Array:
        """For a piece that the device has no room for."""
        if self.config.fallback == "raise":
            raise GpusparkError(
                f"{self.function.name}: {self.plan.device} has no room for {len(columns[0])} rows, and "
                "spark.gpuspark.fallback=raise forbids the CPU. Raise spark.gpuspark.memory.limitFraction "
                "or lower spark.gpuspark.device.maxConcurrentTasks."
            )
        program = self.function.program(self.types, self.config, "cpu")
        return compute(
            self.function, program, open_device("cpu", self.config), columns, work,
            types=self.types, budget=None, otherwise=self._on_cpu, first_row=first_row,
        )  # fmt: skip


class ScalarWorker:
    """The callable that Spark pickles for a scalar function: Arrow columns in, one Arrow column out."""

    def __init__(self, function: ScalarFunction, call: str) -> None:
        self.function, self.call = function, call
        self.__name__ = function.name
        self._runner: Runner | None = None
        self._entry: Entry | None = None
        self._rows = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def __code__(self) -> CodeType:
        """The body's: Spark's memory profilers ask for it, to know which lines to watch."""
        code: CodeType = self.function.function.__code__  # or no attribute here either
        return code

    # Without type hints: PySpark reads a UDF's, and cannot read those of an object.
    def __call__(self, *columns, **named):  # type: ignore[no-untyped-def]
        columns = (*columns, *(named[name] for name in self.function.columns[len(columns) :]))
        if self._runner is None or self._entry is None:
            self._runner = Runner(self.function, [of_arrow(c.type) for c in columns], task_config())
            self._entry = entry(self.function.name, self.call, self)
            work = Work({"compile": self._runner.preparing})
        else:
            work = Work()
        try:
            result = self._runner.run(columns, work, self._rows)
            verify(self.function, columns, result, self._runner, self._rows)
        except Exception as error:
            locate(error, partition=_partition(), rows=f"{self._rows}-{self._rows + len(columns[0]) - 1}")
            if self._runner.device is None and self._runner.reasons:
                reasons = "; ".join(self._runner.reasons)
                error.add_note(f"gpuspark: {self.function.name} ran in plain Python, not on {reasons}")
            self._entry.found(self._runner.plan.device, report(error, self._runner, columns, self._rows))
            raise
        self._account(columns, result, work)
        return result

    def _account(self, columns: Sequence[pa.Array], result: pa.Array, work: Work) -> None:
        assert self._runner is not None and self._entry is not None
        self._rows += len(result)
        device = self._runner.plan.device
        for other in [name for name, count in work.rows.items() if count and name != device]:
            self._entry.add(
                device=other, rows=work.rows[other], batches=0, bytes_in=0, bytes_out=0, seconds={},
                reasons=work.reasons,
            )  # fmt: skip
        self._entry.add(
            device=device,
            rows=work.rows.get(device, 0),
            bytes_in=sum(c.nbytes for c in columns),
            bytes_out=result.nbytes,
            seconds=work.seconds,
            reasons=[*self._runner.reasons, *work.reasons],
            retries=work.retries,
        )


class SqlWorker(ScalarWorker):
    """A function registered for SQL: how many columns it is called with is known in the worker only."""

    def __init__(self, function: Sequence[ScalarFunction], call: str) -> None:
        super().__init__(function[-1], call)
        self.variants = list(function)

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.variants, "call": self.call}

    def __call__(self, *columns, **named):  # type: ignore[no-untyped-def]
        if self._runner is None:
            self.function = self._variant(columns, named)
        return super().__call__(*columns, **named)  # type: ignore[no-untyped-call]

    def _variant(self, columns: Sequence[Any], named: Mapping[str, Any]) -> ScalarFunction:
        widest = self.variants[-1]
        if not columns and not named:
            raise CallError(
                f"{widest.name} was called from SQL without columns, and gpuspark runs functions over columns. "
                "Give it one, or register what pyspark.sql.functions.udf makes of the function."
            )
        bound = tuple(bind(widest.name, own_signature(widest.function), columns, named))
        for variant in self.variants:
            if variant.columns == bound:
                return variant
        return ScalarFunction.of(
            widest.function, bound, nulls=widest.nulls, result=widest.result, arrow=widest.arrow
        )


def _partition() -> int | None:
    facts = task_facts()
    return facts.partition if facts else None


def warn_once(decision: Plan, config: Config) -> None:
    """Says once per process and function that a device was passed over."""
    if decision.fell_back and config.fallback == "warn" and str(decision) not in _warned:
        _warned.add(str(decision))
        _log.warning("%s", decision)
