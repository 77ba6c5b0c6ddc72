"""``gpuspark check FILE.py``: tells whether the functions of a file run on a GPU, for which column types, and what
limits their speed. Needs neither Spark nor a GPU: each program is compiled and assembled for a GPU, but not run."""

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
"""The types that each function is tried with: all its columns have one of them."""
_GPU: tuple[DeviceName, ...] = ("cuda",)
_CONFIG = Config(device="cuda")
_ARITHMETIC = frozenset(
    "add sub mul mad fma div rem sqrt rsqrt rcp sin cos lg2 ex2 tanh min max abs neg and or xor not shl shr shf lop3 "
    "setp selp cvt popc clz bfe bfi".split()
)

# The model of what limits a program. Transport: an identity mapInArrow of 20 million rows of three doubles, both
# ways, took 2.1 s more than the scan on two cores (README, Performance). Device: NVIDIA's data sheet of the A100.
TRANSPORT_BYTES = 0.22e9
"""Bytes per second through one Spark core."""
MEMORY_BYTES = 1.555e12
"""Bytes per second from and to the device's memory."""
OPERATIONS = 9.7e12
"""Double-precision operations per second on the device."""


@dataclass(frozen=True)
class Cost:
    """The resources that one program uses on a device, per thread and per row."""

    types: list[str]
    arch: str
    registers: int
    stack: int
    spilled: int
    """Bytes per thread that are spilled to memory for lack of registers."""
    bytes_in: float
    """Bytes read per row, as Arrow stores them."""
    bytes_out: float
    """Bytes written per row, as Arrow stores them."""
    operations: int
    """Arithmetic instructions, counting both sides of each branch, and each loop body once."""

    @property
    def nanoseconds(self) -> dict[str, float]:
        """The time per row in each part, by the model above."""
        moved = self.bytes_in + self.bytes_out
        return {
            "Spark's transport": 1e9 * moved / TRANSPORT_BYTES,
            "the device's memory": 1e9 * moved / MEMORY_BYTES,
            "the device's arithmetic": 1e9 * self.operations / OPERATIONS,
        }

    @property
    def limit(self) -> str:
        """The part that takes the longest."""
        return max(self.nanoseconds, key=lambda part: self.nanoseconds[part])

    def lines(self) -> list[str]:
        """Returns the cost as indented lines of text."""
        resources = f"{self.registers} registers, {self.spilled} bytes spilled, {self.stack} bytes of stack"
        times = ", ".join(f"{part} {nanoseconds:.3g} ns" for part, nanoseconds in self.nanoseconds.items())
        return [
            f"  sm_{self.arch}, {', '.join(self.types)}: {resources}",
            f"  per row: {self.bytes_in:g} bytes in, {self.bytes_out:g} out, {self.operations} operations",
            f"  time per row, by a model: {times}",
            f"  the limit would be {self.limit}",
        ]


_VERDICTS: dict[str, dict[bool | None, str]] = {
    "scalar": {True: "runs on a GPU", False: "does not run on a GPU"},
    "series": {
        True: "uses nothing that cuDF lacks",
        False: "uses something that cuDF lacks or computes differently",
        None: "is not known",
    },
}


@dataclass(frozen=True)
class Checked:
    """The result of checking one function."""

    function: str
    dialect: str
    line: int
    runs: bool | None
    """Whether it runs on a GPU, for some types at least; ``None`` if that is not known. A series body is checked
    against cuDF's names and parameters (:mod:`gpuspark.tools.cudf_standin`) and against the operations that are left to
    pandas for their values (:mod:`gpuspark.tools.checked_series`), not against cuDF itself."""
    types: dict[str, bool] = field(default_factory=dict)
    """Whether it runs on a GPU, for each type that all columns were tried with."""
    reasons: list[str] = field(default_factory=list)
    """Why it does not run; if it runs, why it does not for some types."""
    cost: Cost | None = None
    expression: bool | None = None
    """Whether it runs as a Spark expression, for some types at least; ``None`` for a series function."""
    not_expression: list[str] = field(default_factory=list)
    """Why it is no Spark expression, for any types or for some."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as JSON types."""
        result = asdict(self)
        if self.cost:
            result["cost"] |= {"nanoseconds": self.cost.nanoseconds, "limit": self.cost.limit}
        return result

    def __str__(self) -> str:
        verdict = _VERDICTS[self.dialect][self.runs]
        lines = [f"{self.function} ({self.dialect}, line {self.line}) {verdict}"]
        if self.runs and self.types:
            lines.append("  for columns of " + ", ".join(name for name, works in self.types.items() if works))
        lines += [f"  {'not for ' if self.runs else 'because: '}{reason}" for reason in self.reasons]
        if self.cost:
            lines += self.cost.lines()
        if self.expression:
            lines.append("  runs as a Spark expression, with no Python worker, where the types allow it")
        elif self.not_expression:
            lines.append(f"  could run as a Spark expression, but for: {self.not_expression[0]}")
        return "\n".join(lines)


@dataclass(frozen=True)
class CheckedFile:
    """The result of checking a file: its functions, and how far it ran."""

    functions: list[Checked]
    notes: list[str]
    """Which statements of the file were not run, and why."""
    failed: bool
    """Whether an error or a non-zero exit code ended the file early."""

    @property
    def exit_code(self) -> int:
        """0: every function runs on a GPU, as far as is known. 1: one does not. 2: the file failed, so that there may
        be more functions than were checked."""
        return 2 if self.failed else 1 if any(checked.runs is False for checked in self.functions) else 0


def check(target: str, *, types: Sequence[str] = (), arch: str = "80", arguments: Sequence[str] = ()) -> list[Checked]:
    """Returns the functions of :func:`check_file`."""
    return check_file(target, types=types, arch=arch, arguments=arguments).functions


def check_file(
    target: str, *, types: Sequence[str] = (), arch: str = "80", arguments: Sequence[str] = ()
) -> CheckedFile:
    """Checks every decorated function and kernel that the file or module ``target`` defines, in the order of lines.

    Runs the top level of the file, without Spark (:mod:`gpuspark.tools.check_script`), except what is below
    ``if __name__ == "__main__":``. ``types``: the types of the columns, for all functions; without them each of
    :data:`TRIED` is tried. ``arch``: the compute capability to assemble for. ``arguments``: the file's ``sys.argv``.

    Raises :class:`~gpuspark.errors.CallError` if there is no such file or module, or nothing to check in it.
    """
    with script(target, arguments) as ran:
        functions = [_check(udf, types, arch) for udf in _functions(ran.module)]
    if not functions:
        raise CallError(
            f"{target} defines no gs.udf, gs.pandas_udf or kernel at its top level."
            f"{''.join(f' {note}' for note in ran.notes)}"
        )
    return CheckedFile(sorted(functions, key=lambda checked: checked.line), ran.notes, ran.failed)


def _functions(module: ModuleType) -> Iterator[ScalarUDF | SeriesUDF]:
    """Yields the functions that ``module`` decorates, without those that it imports."""
    seen: set[int] = set()
    for udf in vars(module).values():
        if not isinstance(udf, ScalarUDF | SeriesUDF) or id(udf) in seen:
            continue
        body = _body(udf)
        home = sys.modules.get(getattr(body, "__module__", None) or "")
        if home in (None, module) or not any(value is udf for value in vars(home).values()):
            seen.add(id(udf))
            yield udf


def _body(udf: ScalarUDF | SeriesUDF) -> Any:
    return udf.func if isinstance(udf, SeriesUDF) else udf.__gpuspark_body__


def _check(udf: ScalarUDF | SeriesUDF, types: Sequence[str], arch: str) -> Checked:
    line = getattr(getattr(_body(udf), "__code__", None), "co_firstlineno", 0)
    name = getattr(_body(udf), "__name__", repr(udf))
    if isinstance(udf, SeriesUDF):
        from gpuspark.tools.check_series import check_series

        return Checked(name, "series", line, *check_series(udf, [parse(t).name for t in types], TRIED))
    columns = tuple(udf.signature.parameters)
    if types:
        tried = {", ".join(types): [parse(t) for t in types]}
        columns = columns[: len(types)]
        if len(columns) < len(types):
            raise CallError(f"{name}{udf.signature} takes {len(columns)} columns, not {len(types)}.")
    else:
        tried = {t: [parse(t)] * len(columns) for t in TRIED}
    function = udf.scalar_function(columns)
    verdicts, reasons, cost = {}, [], None
    for label, column_types in tried.items():
        obstacles = function.obstacles(column_types, _CONFIG, _GPU)["cuda"]
        verdicts[label] = not obstacles
        of_types = [reason for reason in obstacles if reason not in function.refusals]
        reasons += [f"{label}: {reason}" for reason in (of_types if types else of_types[:1])]
        if not obstacles and cost is None:
            cost = _cost(function, column_types, arch)
    runs = any(verdicts.values())
    expression = udf.expression(columns)
    fits = any(not expression.refusals_for(_by_name(columns, each)) for each in tried.values())
    refusals = list(expression.refusals) or ["the types of the columns"]
    against = [] if fits else refusals
    return Checked(name, "scalar", line, runs, verdicts, [*function.refusals] or reasons, cost, fits, against)


def _by_name(columns: Sequence[str], types: Sequence[ColumnType]) -> dict[str, str]:
    return {name: column_type.name for name, column_type in zip(columns, types, strict=True)}


def _cost(function: ScalarFunction, types: Sequence[ColumnType], arch: str) -> Cost | None:
    """Returns the cost for columns of ``types``; ``None`` if nvJitLink is not installed."""
    program = function.program(types, _CONFIG, "cuda")
    try:
        used = nvjitlink.resources(program.code, arch)
    except DeviceUnavailable:
        return None
    return Cost(
        types=[column.name for column in types],
        arch=arch,
        registers=used.registers,
        stack=used.stack,
        spilled=used.spilled,
        bytes_in=sum(column.bits for column in types) / 8,
        bytes_out=function.result.bits / 8,
        operations=_operations(program),
    )


def _operations(program: Program) -> int:
    """Returns the number of arithmetic instructions in the PTX of ``program``."""
    from gpuspark.devices.emulator.parser import parse as parse_ptx

    functions = parse_ptx(program.code.decode()).functions.values()
    return sum(step.name in _ARITHMETIC for function in functions for step in function.body)
