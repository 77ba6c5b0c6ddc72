"""A scalar function as it travels to the workers: its Python body, the portable text of that body, and
its declared types. What keeps it off a device is answered here, for the plan and for ``explain``."""

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
    """What a worker needs to run a scalar function. Picklable; holds no session and no device."""

    name: str
    function: Callable[..., Any]
    columns: tuple[str, ...]
    """The parameters that columns are given for, in the columns' order."""
    by_name: tuple[str, ...]
    """The last of them, whose values Python is given by name; the others' by position."""
    nulls: Nulls
    result: ColumnType
    arrow: pa.DataType
    """The declared type in Arrow."""
    body: Body | None
    refusals: tuple[str, ...]
    """What in the body does not compile, with file and line."""
    references: tuple[Reference, ...] = ()
    """What of the body's program a worker reads from modules of its own."""

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
        """Reads and rewrites the body as it is now; captured values are taken now too."""
        body: Body | None = None
        refusals: tuple[str, ...] = ()
        references: tuple[Reference, ...] = ()
        try:
            with recorded_reads() as reads:
                rewritten = rewrite(function, columns, nullable=nulls == "pass")
            if not columns:
                raise CannotCompile("it is called without columns, and compiled programs run over columns")
            body, references = rewritten, references_among(reads)
        except CannotCompile as refusal:
            refusals = tuple(str(refusal).splitlines())
        name = getattr(function, "__name__", type(function).__name__)
        by_name = _by_name(function, columns)
        return cls(name, function, tuple(columns), by_name, nulls, result, arrow, body, refusals, references)

    def call(self, arguments: Sequence[Any]) -> Any:
        """The body's answer for one row, in plain Python."""
        if not self.by_name:
            return self.function(*arguments)
        count = len(arguments) - len(self.by_name)
        return self.function(*arguments[:count], **dict(zip(self.by_name, arguments[count:], strict=True)))

    def request(self, types: Sequence[ColumnType], config: Config) -> Request:
        if self.body is None:
            raise CannotCompile("\n".join(self.refusals))
        return Request(self.body, tuple(types), self.result, config.arithmetic == "python", self.nulls == "pass")

    def program(self, types: Sequence[ColumnType], config: Config, device: DeviceName) -> Program:
        """The compiled program. Raises :class:`CannotCompile`."""
        return compile_program(self.request(types, config), TARGETS[device])

    def obstacles(
        self, types: Sequence[ColumnType], config: Config, devices: Sequence[DeviceName]
    ) -> Mapping[DeviceName, list[str]]:
        """For each compiled device of ``devices``, everything that keeps the function off it."""
        common = [*self._type_obstacles(types), *self.refusals, *self.differences()]
        found: dict[DeviceName, list[str]] = {}
        for device in devices:
            if device == "python":
                continue
            found[device] = list(common)
            if not common:
                try:
                    self.program(types, config, device)
                except CannotCompile as refusal:
                    found[device] += str(refusal).splitlines()
        return found

    def differences(self) -> list[str]:
        """What the body reads from modules that hold other values in this process than where it was rewritten."""
        return [problem for problem in (reference.difference() for reference in self.references) if problem]

    def _type_obstacles(self, types: Sequence[ColumnType]) -> list[str]:
        named = list(zip(self.columns, types, strict=True))
        found = [
            f"column {name} is {column}: compiled programs hold numbers, booleans, dates and timestamps"
            for name, column in named
            if not column.compiles
        ]
        if not self.result.compiles or self.result.kind == "timestamp":
            found.append(f"the result is {self.result}, which compiled programs do not return")
        if any(column.name == "timestamp" for _, column in named) and not local_time_is_utc():
            zone = os.environ.get("TZ") or "/".join(time.tzname)
            found.append(f"Python compares timestamps in local time, here {zone}, not at UTC at all times")
        return found


def _by_name(function: Callable[..., Any], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns from the first one on that does not stand at its parameter's place."""
    parameters = own_signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    starred = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    for place, column in enumerate(columns):
        stands = column == names[place] if place < len(names) else column.partition("[")[0] == starred
        if not stands:
            return tuple(columns[place:])
    return ()
