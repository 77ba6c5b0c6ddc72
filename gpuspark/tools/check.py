"""``gpuspark check FILE.py``: will the functions of a file run on a GPU, for which column types, and what would
limit them? Needs neither Spark nor a GPU: each program is compiled for one, and assembled, and not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any

from gpuspark.columns.types import ColumnType, parse
from gpuspark.config import Config
from gpuspark.devices import nvjitlink
from gpuspark.devices.protocol import DeviceName, Program
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.dialects.series import SeriesUDF
from gpuspark.errors import CallError, DeviceUnavailable
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.tools.check_script import script

TRIED = ("double", "float", "bigint", "int", "boolean", "date", "timestamp", "string")
"""Each function is tried with all its columns of one of these types."""
_GPU: tuple[DeviceName, ...] = ("cuda",)
_CONFIG = Config(device="cuda")
_ARITHMETIC = frozenset(
    "add sub mul mad fma div rem sqrt rsqrt rcp sin cos lg2 ex2 tanh min max abs neg and or xor not shl shr shf lop3 "
    "setp selp cvt popc clz bfe bfi".split()
)

# The model of what limits a program. Transport: an identity mapInArrow of 20 million rows of three doubles, both
# ways, took 2.1 s more than the scan on two cores (README, Performance). Device: NVIDIA's data sheet of the A100.
TRANSPORT_BYTES = 0.22e9
MEMORY_BYTES = 1.555e12
OPERATIONS = 9.7e12
"""Bytes a second through one Spark core, bytes a second and double-precision operations a second on the device."""


@dataclass(frozen=True)
class Cost:
    """One row of one program, and what it takes on a device."""

    types: list[str]
    arch: str
    registers: int
    stack: int
    spilled: int
    """Bytes a thread keeps in memory for want of registers."""
    bytes_in: float
    bytes_out: float
    """Bytes a row, in Arrow's form."""
    operations: int
    """Arithmetic instructions, both sides of each branch, loops once."""

    @property
    def nanoseconds(self) -> dict[str, float]:
        """A row's time in each part, by the model above; the largest one is the limit."""
        moved = self.bytes_in + self.bytes_out
        return {
            "Spark's transport": 1e9 * moved / TRANSPORT_BYTES,
            "the device's memory": 1e9 * moved / MEMORY_BYTES,
            "the device's arithmetic": 1e9 * self.operations / OPERATIONS,
        }

    @property
    def limit(self) -> str:
        return max(self.nanoseconds, key=lambda part: self.nanoseconds[part])

    def lines(self) -> list[str]:
        kept = f"{self.registers} registers, {self.spilled} bytes spilled, {self.stack} bytes of stack"
        spent = ", ".join(f"{part} {nanoseconds:.3g} ns" for part, nanoseconds in self.nanoseconds.items())
        return [
            f"  sm_{self.arch}, {', '.join(self.types)}: {kept}",
            f"  a row: {self.bytes_in:g} bytes in, {self.bytes_out:g} out, {self.operations} operations",
            f"  by a model, a row takes: {spent}",
            f"  the limit would be {self.limit}",
        ]


_VERDICTS: dict[str, dict[bool | None, str]] = {
    "scalar": {True: "runs on a GPU", False: "does not run on a GPU"},
    "series": {True: "asks for nothing that cuDF lacks", False: "asks for what cuDF lacks", None: "is not known"},
}


@dataclass(frozen=True)
class Checked:
    """What is known of one function."""

    function: str
    dialect: str
    line: int
    runs: bool | None
    """Whether it runs on a GPU, for some types at least; ``None`` where that is not known. Of a series body only
    cuDF's names and parameters are known, not its values (:mod:`gpuspark.tools.cudf_standin`)."""
    types: dict[str, bool] = field(default_factory=dict)
    """For columns of one type each: whether they run on a GPU."""
    reasons: list[str] = field(default_factory=list)
    """Why not, where it does not run; otherwise why some types do not."""
    cost: Cost | None = None

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        if self.cost:
            found["cost"] |= {"nanoseconds": self.cost.nanoseconds, "limit": self.cost.limit}
        return found

    def __str__(self) -> str:
        verdict = _VERDICTS[self.dialect][self.runs]
        lines = [f"{self.function} ({self.dialect}, line {self.line}) {verdict}"]
        if self.runs and self.types:
            lines.append("  for columns of " + ", ".join(name for name, works in self.types.items() if works))
        lines += [f"  {'not for ' if self.runs else 'because: '}{reason}" for reason in self.reasons]
        if self.cost:
            lines += self.cost.lines()
        return "\n".join(lines)


@dataclass(frozen=True)
class Looked:
    """What is known of a file's functions, and of the file."""

    functions: list[Checked]
    notes: list[str]
    """What of the file was not run, and why."""
    failed: bool
    """Whether an error, or an exit code other than 0, ended the file before its end."""

    @property
    def exit_code(self) -> int:
        """0: none is known not to run on a GPU. 1: one does not. 2: the file ended with an error, so that there may be
        more functions than were checked."""
        return 2 if self.failed else 1 if any(one.runs is False for one in self.functions) else 0


def check(target: str, *, types: Sequence[str] = (), arch: str = "80", arguments: Sequence[str] = ()) -> list[Checked]:
    """The functions that :func:`look` finds."""
    return look(target, types=types, arch=arch, arguments=arguments).functions


def look(target: str, *, types: Sequence[str] = (), arch: str = "80", arguments: Sequence[str] = ()) -> Looked:
    """Every decorated function and kernel that the file or module ``target`` defines, by their lines; and the file.

    The top level of a file is run, without Spark (:mod:`gpuspark.tools.check_script`); what stands below
    ``if __name__ == "__main__":`` is not. ``types``: the columns' types, for all functions; without them each of
    :data:`TRIED` is tried. ``arch`` is the compute capability whose machine code is looked at. ``arguments``: what the
    file finds in ``sys.argv``.

    Raises :class:`~gpuspark.errors.CallError` where there is no such file or module, or nothing to check in it.
    """
    with script(target, arguments) as ran:
        functions = [_check(thing, types, arch) for thing in _functions(ran.module)]
    if not functions:
        raise CallError(
            f"{target} defines no gs.udf, gs.pandas_udf or kernel at its top level."
            f"{''.join(f' {note}' for note in ran.notes)}"
        )
    return Looked(sorted(functions, key=lambda one: one.line), ran.notes, ran.failed)


def _functions(module: ModuleType) -> Iterator[ScalarUDF | SeriesUDF]:
    """The functions that ``module`` decorates, not those that it imports."""
    seen: set[int] = set()
    for thing in vars(module).values():
        if not isinstance(thing, ScalarUDF | SeriesUDF) or id(thing) in seen:
            continue
        body = _body(thing)
        home = sys.modules.get(getattr(body, "__module__", None) or "")
        if home in (None, module) or not any(value is thing for value in vars(home).values()):
            seen.add(id(thing))
            yield thing


def _body(thing: ScalarUDF | SeriesUDF) -> Any:
    return thing.func if isinstance(thing, SeriesUDF) else thing.__gpuspark_body__


def _check(thing: ScalarUDF | SeriesUDF, types: Sequence[str], arch: str) -> Checked:
    line = getattr(getattr(_body(thing), "__code__", None), "co_firstlineno", 0)
    name = getattr(_body(thing), "__name__", repr(thing))
    if isinstance(thing, SeriesUDF):
        from gpuspark.tools.check_series import look

        return Checked(name, "series", line, *look(thing, [parse(t).name for t in types], TRIED))
    columns = tuple(thing.signature.parameters)
    if types:
        tried = {", ".join(types): [parse(t) for t in types]}
        columns = columns[: len(types)]
        if len(columns) < len(types):
            raise CallError(f"{name}{thing.signature} takes {len(columns)} columns, not {len(types)}.")
    else:
        tried = {t: [parse(t)] * len(columns) for t in TRIED}
    function = thing.scalar_function(columns)
    verdicts, reasons, cost = {}, [], None
    for label, chosen in tried.items():
        obstacles = function.obstacles(chosen, _CONFIG, _GPU)["cuda"]
        verdicts[label] = not obstacles
        others = [reason for reason in obstacles if reason not in function.refusals]
        reasons += [f"{label}: {reason}" for reason in (others if types else others[:1])]
        if not obstacles and cost is None:
            cost = _cost(function, chosen, arch)
    runs = any(verdicts.values())
    return Checked(name, "scalar", line, runs, verdicts, [*function.refusals] or reasons, cost)


def _cost(function: ScalarFunction, types: Sequence[ColumnType], arch: str) -> Cost | None:
    """``None`` where nvJitLink is not installed."""
    program = function.program(types, _CONFIG, "cuda")
    try:
        taken = nvjitlink.resources(program.code, arch)
    except DeviceUnavailable:
        return None
    bytes_in = sum(column.bits for column in types) / 8
    names = [column.name for column in types]
    operations = _operations(program)
    return Cost(
        names, arch, taken.registers, taken.stack, taken.spilled, bytes_in, function.result.bits / 8, operations
    )


def _operations(program: Program) -> int:
    from gpuspark.devices.emulator.parser import parse as parse_ptx

    functions = parse_ptx(program.code.decode()).functions.values()
    return sum(step.name in _ARITHMETIC for function in functions for step in function.body)
