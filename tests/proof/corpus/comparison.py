"""Compares one function of the corpus, compiled for given column types, with plain Python, row by row."""

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
    """The result of one function for columns of these types."""

    name: str
    types: tuple[str, ...]
    refusals: tuple[str, ...]
    """Why it was not compiled."""
    comparison: Comparison
    left_to_python: tuple[str, ...] = ()
    """The constructs in branches that do not compile."""


def type_choices(member: Member) -> list[tuple[str, ...]]:
    """Returns the column types that a function is tried with: doubles, and a mixture that depends on its name only."""
    source = random.Random(member.name)
    doubles = ("double",) * len(member.columns)
    return list(dict.fromkeys((doubles, tuple(source.choice(MIXED) for _ in member.columns))))


def compare(member: Member, types: tuple[str, ...], count: int, *, emulated: bool = False) -> Outcome:
    """Compares ``count`` random rows on the CPU, or on the emulated device, with what plain Python gives."""
    function = gs.udf(member.result)(member.function).scalar_function(member.columns)
    column_types = [parse(name) for name in types]
    device: DeviceName = "emulated" if emulated else "cpu"
    refusals = tuple(function.obstacles(column_types, CONFIG, [device])[device])
    if refusals:
        return Outcome(member.name, types, refusals, Comparison())
    answers = list(_answers(function, column_types, rows(types, count, f"{member.name} {types}")))
    comparison = compare_rows(function, column_types, answers, EmulatedDevice(1 << 24) if emulated else CpuDevice())
    left = function.body.left_to_python if function.body else ()
    return Outcome(member.name, types, (), comparison, left)


def _answers(
    function: ScalarFunction, column_types: Sequence[ColumnType], batch: Sequence[Row]
) -> Iterator[tuple[Row, Answer]]:
    """Yields each row with Python's answer, without the rows that take Python too long."""
    for row in batch:
        try:
            with limited():
                python_answer = answer(function, columns_of(column_types, [row]))
        except TooSlow:
            continue
        yield row, python_answer
