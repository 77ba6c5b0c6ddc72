"""The scalar function that is pickled for workers: its Python body, the rewritten body that compiles, and the declared
types. It also tells what keeps it off a device, for the plan and for ``explain``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpuspark.columns.local_time import local_time_is_utc
from gpuspark.columns.types import ColumnType
from gpuspark.compiler import Body, CannotCompile, Request, compile_program, rewrite
from gpuspark.compiler.references import Reference, references_among
from gpuspark.compiler.source import own_signature, recorded_reads
from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName, Program, Target

if TYPE_CHECKING:
    import pyarrow as pa

Nulls = Literal["propagate", "pass"]
TARGETS: dict[DeviceName, Target] = {"cuda": "ptx", "emulated": "ptx", "cpu": "cpu"}


@dataclass(frozen=True)
class ScalarFunction:
    """Everything that a worker needs to run a scalar function. Picklable; refers to no session and no device."""

    name: str
    function: Callable[..., Any]
    columns: tuple[str, ...]
    """The parameters that get columns, in the columns' order."""
    by_name: tuple[str, ...]
    """The last of these, whose values are passed by name in Python; the others are passed by position."""
    nulls: Nulls
    result: ColumnType
    arrow: pa.DataType
    """The declared type as an Arrow type; null in ``explain``, so obstacles are read from ``result``."""
    body: Body | None
    """The rewritten body; ``None`` if it does not compile."""
    refusals: tuple[str, ...]
    """What in the body does not compile, with file and line."""
    references: tuple[Reference, ...] = ()
    """The values that the compiled body took from modules which workers import themselves."""
    not_sql: tuple[str, ...] = ("the column was built as a UDF",)
    """Why a worker runs the function, and not Spark as an expression."""

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        columns: Sequence[str],
        *,
        nulls: Nulls,
        result: ColumnType,
        arrow: pa.DataType,
    ) -> ScalarFunction:
        """Returns ``function`` with its body read and rewritten for the compiler, and its present captured values."""
        body: Body | None = None
        refusals: tuple[str, ...] = ()
        references: tuple[Reference, ...] = ()
        try:
            with recorded_reads() as reads:
                rewritten = rewrite(function, columns, nullable=nulls == "pass")
            if not columns:
                raise CannotCompile("it is called without columns, but compiled programs run over columns")
            body, references = rewritten, references_among(reads)
        except CannotCompile as refusal:
            refusals = tuple(str(refusal).splitlines())
        name = getattr(function, "__name__", type(function).__name__)
        by_name = _by_name(function, columns)
        return cls(name, function, tuple(columns), by_name, nulls, result, arrow, body, refusals, references)

    def call(self, arguments: Sequence[Any]) -> Any:
        """Returns the body's result for one row, in plain Python."""
        if not self.by_name:
            return self.function(*arguments)
        count = len(arguments) - len(self.by_name)
        return self.function(*arguments[:count], **dict(zip(self.by_name, arguments[count:], strict=True)))

    def request(self, types: Sequence[ColumnType], config: Config) -> Request:
        """Returns the compiler's request for columns of ``types``. Raises :class:`CannotCompile`."""
        if self.body is None:
            raise CannotCompile("\n".join(self.refusals))
        return Request(self.body, tuple(types), self.result, config.arithmetic == "python", self.nulls == "pass")

    def program(self, types: Sequence[ColumnType], config: Config, device: DeviceName) -> Program:
        """Returns the program compiled for ``device``. Raises :class:`CannotCompile`."""
        return compile_program(self.request(types, config), TARGETS[device])

    def obstacles(
        self, types: Sequence[ColumnType], config: Config, devices: Sequence[DeviceName]
    ) -> Mapping[DeviceName, list[str]]:
        """Returns, for each of ``devices`` but ``python``, everything that keeps the function off it."""
        common = [*self._type_obstacles(types), *self.refusals, *self.differences()]
        obstacles: dict[DeviceName, list[str]] = {}
        for device in devices:
            if device == "python":
                continue
            obstacles[device] = list(common)
            if not common:
                try:
                    self.program(types, config, device)
                except CannotCompile as refusal:
                    obstacles[device] += str(refusal).splitlines()
        return obstacles

    def differences(self) -> list[str]:
        """Returns which values from modules differ between this process and the one that rewrote the body."""
        return [problem for problem in (reference.difference() for reference in self.references) if problem]

    def _type_obstacles(self, types: Sequence[ColumnType]) -> list[str]:
        named = list(zip(self.columns, types, strict=True))
        obstacles = [
            f"column {name} is {column}: compiled programs hold numbers, booleans, dates and timestamps"
            for name, column in named
            if not column.compiles
        ]
        if not self.result.compiles or self.result.kind == "timestamp":
            obstacles.append(f"the result is {self.result}, which compiled programs do not return")
        if any(column.name == "timestamp" for _, column in named) and not local_time_is_utc():
            zone = os.environ.get("TZ") or "/".join(time.tzname)
            obstacles.append(f"Python compares timestamps in local time, here {zone}, which is not always UTC")
        return obstacles


def _by_name(function: Callable[..., Any], columns: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that must be passed by name: all from the first that is not at its parameter's position."""
    parameters = own_signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    starred = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    for position, column in enumerate(columns):
        in_order = column == names[position] if position < len(names) else column.partition("[")[0] == starred
        if not in_order:
            return tuple(columns[position:])
    return ()
