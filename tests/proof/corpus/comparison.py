"""One function of the corpus, compiled for the columns' types, against plain Python, row by row."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import gpuspark as gs
from gpuspark.columns.types import ColumnType, parse
from gpuspark.config import Config
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import DeviceName
from gpuspark.execution.scalar import ScalarFunction
from tests.proof.corpus.functions import Member, TooSlow, limited
from tests.proof.corpus.values import rows
from tests.support.last_bits import Answer, answer
from tests.support.row_by_row import Comparison, Row, columns_of, compare_rows

CONFIG = Config(device="cpu")
MIXED = ("double", "double", "bigint", "bigint", "int", "boolean")


@dataclass(frozen=True)
class Outcome:
    """What came of one function with columns of these types."""

    name: str
    types: tuple[str, ...]
    refusals: tuple[str, ...]
    """Why it was not compiled."""
    comparison: Comparison
    left_to_python: tuple[str, ...] = ()
    """What stands in branches and does not compile."""


def type_choices(member: Member) -> list[tuple[str, ...]]:
    """The column types that a function is tried with: doubles; and a mixture, always the same one."""
    source = random.Random(member.name)
    doubles = ("double",) * len(member.columns)
    return list(dict.fromkeys((doubles, tuple(source.choice(MIXED) for _ in member.columns))))


def compare(member: Member, types: tuple[str, ...], count: int, *, emulated: bool = False) -> Outcome:
    """Compares ``count`` random rows on the CPU, or on the emulated device, with what plain Python gives."""
    function = gs.udf(member.result)(member.function).scalar_function(member.columns)
    kinds = [parse(name) for name in types]
    device: DeviceName = "emulated" if emulated else "cpu"
    refusals = tuple(function.obstacles(kinds, CONFIG, [device])[device])
    if refusals:
        return Outcome(member.name, types, refusals, Comparison())
    known = list(_answers(function, kinds, rows(types, count, f"{member.name} {types}")))
    comparison = compare_rows(function, kinds, known, EmulatedDevice(1 << 24) if emulated else CpuDevice())
    left = function.body.left_to_python if function.body else ()
    return Outcome(member.name, types, (), comparison, left)


def _answers(
    function: ScalarFunction, kinds: Sequence[ColumnType], given: Sequence[Row]
) -> Iterator[tuple[Row, Answer]]:
    """Python's answer for each row that it does not take too long for."""
    for row in given:
        try:
            with limited():
                known = answer(function, columns_of(kinds, [row]))
        except TooSlow:
            continue
        yield row, known
