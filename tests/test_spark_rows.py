"""Expressions against plain Python, row by row: the shared bodies, and random functions.

``GPUSPARK_ROWS`` is the number of rows for each list of column types, ``GPUSPARK_PROGRAMS`` that of random functions
(`make expressions` for the long run). The settings that could change a result take turns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import gpuspark as gs
from gpuspark.columns import types
from tests.support import wider_programs
from tests.support.bodies import CASES
from tests.support.programs import Maker, load_programs
from tests.support.spark_rows import compare, rows_of, table_of

ROWS = int(os.environ.get("GPUSPARK_ROWS", "150"))
PROGRAMS = int(os.environ.get("GPUSPARK_PROGRAMS", "12"))
EACH = 12
ZONES = ("UTC", "America/Los_Angeles", "Asia/Kolkata")
TYPES = sorted({case.types for case in CASES if "interval" not in case.types})


def settings_of(turn: int) -> dict[str, str]:
    """Returns the settings of one turn."""
    ansi = "true" if turn % 2 else "false"
    return {"spark.sql.ansi.enabled": ansi, "spark.sql.session.timeZone": ZONES[turn % len(ZONES)]}


def hints_of(columns: list[types.ColumnType], names: tuple[str, ...]) -> dict[str, Any]:
    """Returns type hints for numbers, as a body that only compares them needs them."""
    numeric = all(column.kind in ("integer", "float", "boolean") for column in columns)
    return dict.fromkeys(names, float) if numeric else {}


@pytest.mark.parametrize("columns", TYPES, ids="-".join)
def test_every_expression_gives_pythons_answers(spark, columns: tuple[str, ...]) -> None:
    kinds = [types.parse(name) for name in columns]
    names = tuple("abcdefgh"[: len(columns)])
    table = table_of(names, kinds, rows_of(kinds, ROWS))
    cases = [case for case in CASES if case.types == columns]
    functions = [case.f.scalar_function(tuple(case.f.signature.parameters)[: len(columns)]) for case in cases]
    hints = [hints_of(kinds, function.columns) for function in functions]
    for position in range(0, len(functions), 6):
        chosen = functions[position : position + 6]
        merged = {name: hint for one in hints[position : position + 6] for name, hint in one.items()}
        for function, comparison in zip(
            chosen, compare(spark, chosen, table, merged, settings_of(TYPES.index(columns) + position)), strict=True
        ):
            assert comparison is None or comparison.differences == [], f"{function.name}{columns}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wider", [False, True], ids=["programs", "wider"])
@pytest.mark.parametrize("first", range(0, PROGRAMS, EACH))
def test_random_functions_give_pythons_answers_or_are_refused(spark, first: int, wider: bool, tmp_path: Path) -> None:
    many = 8 if wider else 1  # most of the wider ones are refused
    seeds = range(many * first, many * min(first + EACH, PROGRAMS))
    maker, head = (wider_programs.Maker, wider_programs.HEAD) if wider else (Maker, "import math\n")
    compared = 0
    for seed, (made, body) in zip(seeds, load_programs(seeds, tmp_path, maker, head), strict=True):
        narrow = {"bigint": "tinyint", "int": "smallint"}  # integers whose arithmetic fits 64 bits
        kinds = [types.parse(narrow.get(name, name)) for name in made.types]
        function = gs.udf(made.result)(body).scalar_function("abc")
        table = table_of("abc", kinds, rows_of(kinds, ROWS, seed))
        [comparison] = compare(spark, [function], table, dict.fromkeys("abc", float), settings_of(seed))
        if comparison is not None:
            compared += 1
            assert comparison.differences == [], f"seed {seed}, {made.types} -> {made.result}"
    assert compared
