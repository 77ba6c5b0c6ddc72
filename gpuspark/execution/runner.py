"""Runs a scalar function in one task, on the planned device, and halves batches that the device has no room for."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.work import Work
from gpuspark.columns.types import ColumnType
from gpuspark.compiler import CannotCompile
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.protocol import Device, DeviceName
from gpuspark.errors import GpusparkError, OutOfMemory
from gpuspark.execution.placement import Placement
from gpuspark.execution.plan import Plan
from gpuspark.execution.rowwise import RowwiseProgram, interpret
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.spark.session import profiled

if TYPE_CHECKING:
    import pyarrow as pa

FLOOR_ROWS = 1024
"""Batches are not halved below this many rows: the CPU computes what the device has no room for then."""


class PlacedScalar:
    """The :class:`~gpuspark.execution.placement.Placeable` of a scalar function for columns of certain types."""

    uses_rapids = False

    def __init__(self, function: ScalarFunction, types: Sequence[ColumnType], config: Config) -> None:
        self.function, self.types, self.config = function, tuple(types), config
        self._profiler = profiled()

    @property
    def name(self) -> str:
        return self.function.name

    @cached_property
    def key(self) -> Hashable:
        """The name, the types and what the compiled program depends on, or why there is none."""
        parts: tuple[Any, ...]
        try:
            parts = self.function.request(self.types, self.config).parts()
        except CannotCompile as refusal:
            parts = (str(refusal),)
        return (self.name, self.types, parts)

    @property
    def left_to_python(self) -> tuple[str, ...]:
        return self.function.body.left_to_python if self.function.body else ()

    @property
    def not_sql(self) -> tuple[str, ...]:
        return self.function.not_sql

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """Returns everything that keeps the function off ``device``; only the profiler, if one of PySpark's is on."""
        if self._profiler:
            return [self._profiler]
        return self.function.obstacles(self.types, self.config, [device])[device]


class Runner:
    """One scalar function in one task. Rows are independent, so a batch that fails on one device is computed again on
    another, and a batch that a device has no room for is halved."""

    def __init__(self, function: ScalarFunction, types: Sequence[ColumnType], config: Config) -> None:
        self.function, self.types, self.config = function, tuple(types), config
        row_bytes = sum(max(column.bits, 8) // 8 for column in self.types)
        self.most_rows = max(FLOOR_ROWS, config.target_bytes // max(row_bytes, 1))
        self.placement = Placement(PlacedScalar(function, types, config), config)
        self._programs: dict[DeviceName, RowwiseProgram] = {}

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.placement.plan

    @property
    def reasons(self) -> list[str]:
        """Why better devices were not chosen."""
        return self.placement.reasons

    @property
    def device(self) -> Device | None:
        """The open device; ``None`` for plain Python."""
        return self.placement.device

    def run(self, columns: Sequence[pa.Array], work: Work, first_row: int = 0) -> pa.Array:
        """Returns the function's results for ``columns``, which have equal lengths. Long columns are sliced, so that
        one run of the program gets at most ``spark.gpuspark.batch.targetBytes``."""
        import pyarrow as pa

        rows = len(columns[0])
        if self.device is None or not rows:
            return self._interpret(columns, work, first_row)
        if rows > self.most_rows:
            starts = range(0, rows, self.most_rows)
            pieces = [self.run([c.slice(n, self.most_rows) for c in columns], work, first_row + n) for n in starts]
            return pa.concat_arrays(pieces)
        start, done = time.perf_counter(), dict(work.rows)

        def on_device(device: Device) -> pa.Array:
            work.lap("wait", start)
            work.rows = dict(done)
            return self._compute(self._program(device), columns, work, first_row)

        def in_python() -> pa.Array:
            work.rows = dict(done)
            return self._interpret(columns, work, first_row)

        result, retries = self.placement.run(on_device, in_python)
        work.retries += retries
        return result

    def _interpret(self, columns: Sequence[pa.Array], work: Work, first_row: int) -> pa.Array:
        rows, start = len(columns[0]), time.perf_counter()
        result = interpret(self.function, columns, range(first_row, first_row + rows))
        work.ran("python", rows)
        work.lap("run", start)
        return result

    def _program(self, device: Device) -> RowwiseProgram:
        if device.name not in self._programs:
            program = self.function.program(self.types, self.config, device.name)
            self._programs[device.name] = RowwiseProgram(self.function, self.types, program, device)
        return self._programs[device.name]

    def _compute(self, program: RowwiseProgram, columns: Sequence[pa.Array], work: Work, first_row: int) -> pa.Array:
        """Runs ``program``, halving the batch while the device has no room; pieces of at most :data:`FLOOR_ROWS` rows
        that still do not fit go to the CPU."""
        import pyarrow as pa

        rows = len(columns[0])
        try:
            self.placement.check_room(program.room(columns))
            return program.run(columns, first_row, work)
        except OutOfMemory as full:
            work.retries += 1
            if rows <= FLOOR_ROWS:
                work.reasons.append(f"{program.device.name}: no room for {rows} rows ({full})")
                return self._on_cpu(columns, work, first_row)
        half = rows // 2
        halves = ([c.slice(0, half) for c in columns], first_row), ([c.slice(half) for c in columns], first_row + half)
        return pa.concat_arrays([self._compute(program, part, work, first) for part, first in halves])

    def _on_cpu(self, columns: Sequence[pa.Array], work: Work, first_row: int) -> pa.Array:
        """Returns the results for a piece of a batch that the device has no room for."""
        if self.config.fallback == "raise":
            raise GpusparkError(
                f"{self.function.name}: {self.plan.device} has no room for {len(columns[0])} rows, and "
                "spark.gpuspark.fallback=raise forbids the CPU. Raise spark.gpuspark.memory.limitFraction "
                "or lower spark.gpuspark.device.maxConcurrentTasks."
            )
        return self._program(open_device("cpu", self.config)).run(columns, first_row, work)
