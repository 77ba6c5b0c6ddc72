"""A lowered function against plain Python, row by row, in one Spark query: values, nulls, types and errors."""

from __future__ import annotations

import datetime
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from gpuspark.columns import types
from gpuspark.columns.values import same, to_python
from gpuspark.compiler.catalyst import Expression, Variant, expression_of, trees
from gpuspark.dialects.expression_column import column_of
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import tolerance
from tests.support.last_bits import Answer, excused

EDGES: dict[str, tuple[Any, ...]] = {
    "float": (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 2.675, 0.1, 3.0, -3.0, 7.0, 100.0, float("nan"), float("inf"),
              -float("inf"), 5e-324, 1e308, -1e308, 2.0**53, 2.0**63, -(2.0**63), 1e16, 1e-7, 2.0**31, 709.8,
              709.782712893384, 709.7827128933841, -745.2),
    "integer": (0, 1, -1, 2, 3, 7, -7, 10, 13, 50, 127, -128, 32767, -32768, 2**31 - 1, -(2**31), 2**53, 2**53 + 1,
                -(2**53) - 1, 2**63 - 1, -(2**63), 10**15),
    "boolean": (True, False),
}  # fmt: skip
"""Values at which Spark and Python may differ."""


def edges(column: types.ColumnType) -> list[Any]:
    """Returns the edges that a column of this type can hold, and null."""
    if column.kind == "integer":
        half = 1 << column.bits - 1
        return [None, *(value for value in EDGES["integer"] if -half <= value < half)]
    if column.kind == "float" and column.bits == 32:
        return [None, *(value for value in EDGES["float"] if abs(value) < 1e38 or value in (float("inf"),))]
    if column.kind in EDGES:
        return [None, *EDGES[column.kind]]
    return [None, *_DATED[column.name]]


def _dated() -> dict[str, tuple[Any, ...]]:
    written = "0001-01-01 9999-12-31 1970-01-01 1969-12-31 2024-02-29 1582-10-04 1582-10-15 2026-03-29 2026-10-25"
    days = tuple(map(datetime.date.fromisoformat, written.split()))
    moments = tuple(datetime.datetime.combine(day, datetime.time(2, 30, 0, 1)) for day in days)
    words = ("", *"abA%_$😀é\uffff\U00010000\n\0\\'", "ab", "abc", "abcd", "e\u0301", "a b", "a\0")
    return {"date": days, "timestamp_ntz": moments, "string": words}


_DATED = _dated()


def rows_of(columns: Sequence[types.ColumnType], count: int, seed: int = 0) -> list[tuple[Any, ...]]:
    """Returns rows of edges, all combinations where there are few, and of random numbers. Where there are many, nulls
    beside zeros and other small numbers come first."""
    chosen = random.Random(seed)
    pools = [edges(column) for column in columns]
    total = 1
    for pool in pools:
        total *= len(pool)
    rows = list(itertools.product(*pools)) if total <= count else list(_beside_nulls(pools))
    while len(rows) < count:
        rows.append(tuple(_value(column, pool, chosen) for column, pool in zip(columns, pools, strict=True)))
    return rows


def _beside_nulls(pools: Sequence[list[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yields rows with one null, and in the other columns the first edges that are none."""
    for null in range(len(pools)):
        for edge in range(4):
            yield tuple(None if n == null else pool[1 + edge % (len(pool) - 1)] for n, pool in enumerate(pools))


def _value(column: types.ColumnType, pool: list[Any], chosen: random.Random) -> Any:
    chance = chosen.random()
    if chance < 0.5 or column.kind not in ("integer", "float"):
        return chosen.choice(pool)
    if column.kind == "integer":
        bits = chosen.randrange(1, column.bits)
        return chosen.randrange(-(1 << bits), 1 << bits)
    value = chosen.choice((chosen.uniform(-10, 10), chosen.uniform(-1000, 1000), chosen.gauss(0, 1e6)))
    return float(pa.scalar(value, pa.float32()).as_py()) if column.bits == 32 else value


def table_of(names: Sequence[str], columns: Sequence[types.ColumnType], rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Returns rows as Arrow columns of these types."""
    values = zip(*rows, strict=True)
    arrows = [pa.string() if c.name == "string" else pa.type_for_alias(c.arrow) for c in columns]
    return pa.table({n: pa.array(v, a) for n, v, a in zip(names, values, arrows, strict=True)})


def python_answers(function: ScalarFunction, table: pa.Table) -> list[Answer]:
    """Returns plain Python's answer for each row; of an error, its type and text."""
    answers = []
    for row in range(table.num_rows):
        columns = [pa.concat_arrays(column.chunks) for column in table.slice(row, 1).columns]
        try:
            answers.append(Answer(to_python(interpret(function, columns))[0]))
        except Exception as error:  # noqa: BLE001  (the error is the answer)
            answers.append(Answer(None, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__))
    return answers


def spark_answers(
    spark: Any, variants: Sequence[Variant], table: pa.Table, settings: Mapping[str, str]
) -> list[list[Answer]]:
    """Returns what expressions for the table's types give for each row of ``table``, in one query."""
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        numbered = table.append_column("_row", pa.array(range(table.num_rows)))
        names = {name: name for name in table.column_names}
        columns = []
        for variant in variants:
            error = variant.checked(variant.null, trees.NULL, lambda text: text)
            value = variant.tree(lambda _text: trees.NULL)
            columns += [column_of(error, names, spark).cast("string"), column_of(value, names, spark)]
        named = [column.alias(f"_{position}") for position, column in enumerate(columns)]
        rows = spark.createDataFrame(numbered).coalesce(1).select("_row", *named).collect()
    finally:
        for key, value in before.items():
            spark.conf.unset(key) if value is None else spark.conf.set(key, value)
    answers = []
    for position in range(1, 1 + len(columns), 2):
        pairs = [(row[position], row[position + 1]) for row in sorted(rows, key=lambda row: row[0])]
        answers.append([Answer(None if error else value, error or "") for error, value in pairs])
    return answers


@dataclass
class Comparison:
    """What came of comparing one function."""

    rows: int = 0
    raised: int = 0
    """Rows among them at which Python raises."""
    differences: list[str] = field(default_factory=list)


def _spelled(error: str) -> str:
    """Returns an error with the numbers that it names in one spelling: Spark writes 1.0E16 for 1e+16. Of integers with
    more than 40 digits, Python's error names the first and the last. Functions of mathematics may differ in their last
    digits between Java and NumPy, so a number counts by its first twelve."""

    def number(match: re.Match[str]) -> str:
        long = "..." in match[1] or abs(float(match[1])) >= 1e40
        return f"returned {'a long number' if long else f'{float(match[1]):.12g}'} "

    return re.sub(r"returned (\S+) ", number, error)


def lowered(function: ScalarFunction, hints: Mapping[str, Any]) -> Expression:
    """Returns the function as Spark expressions."""
    nullable = function.nulls == "pass"
    return expression_of(function.function, function.columns, nullable=nullable, result=function.result, hints=hints)


def variant_for(expression: Expression, table: pa.Table) -> Variant | None:
    """Returns the variant for columns of the table's types; ``None`` if there is none."""
    names = {column.name: types.of_arrow(column.type).name for column in table.schema}
    return next((variant for variant in expression.variants if variant.takes(names)), None)


def compare(
    spark: Any, functions: Sequence[ScalarFunction], table: pa.Table, hints: Mapping[str, Any], settings: dict[str, str]
) -> list[Comparison | None]:
    """Compares the expressions of functions with plain Python, for every row of ``table``, which holds their columns by
    position. Returns ``None`` for a function that has no expression for columns of these types."""
    expressions = [lowered(function, hints) for function in functions]
    tables = [table.rename_columns(list(function.columns)) for function in functions]
    chosen = [variant_for(*pair) for pair in zip(expressions, tables, strict=True)]
    variants = [
        _renamed(variant, function, table)
        for variant, function in zip(chosen, functions, strict=True)
        if variant is not None
    ]
    ours = iter(spark_answers(spark, variants, table, settings) if variants else [])
    return [
        None if variant is None else _compared(function, table, next(ours))
        for variant, function in zip(chosen, functions, strict=True)
    ]


def _renamed(variant: Variant, function: ScalarFunction, table: pa.Table) -> Variant:
    """Returns the variant with the table's names of the columns."""
    errors = tuple((_renamed_tree(c, function, table), _renamed_tree(e, function, table)) for c, e in variant.errors)
    result, null = (_renamed_tree(tree, function, table) for tree in (variant.result, variant.null))
    return replace(variant, errors=errors, result=result, null=null)


def _renamed_tree(tree: trees.Tree, function: ScalarFunction, table: pa.Table) -> trees.Tree:
    names = dict(zip(function.columns, table.column_names, strict=True))
    return trees.fold(
        tree,
        lambda name: trees.column(names[name]),
        lambda text: trees.Tree(text, form="literal"),
        lambda name, arguments: trees.call(name, *arguments),
    )


def _compared(function: ScalarFunction, table: pa.Table, ours: list[Answer]) -> Comparison:
    comparison = Comparison()
    ulp = tolerance(function)
    for row, (mine, wanted) in enumerate(zip(ours, python_answers(function, table), strict=True)):
        comparison.rows += 1
        comparison.raised += bool(wanted.error)
        alike = _spelled(mine.error) == _spelled(wanted.error) and (mine.error or same(mine.value, wanted.value, ulp))
        if not alike and not _excused(function, table, row, mine, wanted):
            comparison.differences.append(f"{table.slice(row, 1).to_pylist()[0]}: {mine}, in Python {wanted}")
    return comparison


def _excused(function: ScalarFunction, table: pa.Table, row: int, mine: Answer, wanted: Answer) -> bool:
    """Returns whether the answer hangs on the last bits of a function of mathematics."""
    if not tolerance(function):
        return False
    columns = [pa.concat_arrays(column.chunks) for column in table.slice(row, 1).columns]
    named = [Answer(answer.value, answer.error.partition(":")[0]) for answer in (mine, wanted)]
    return excused(function, columns, *named)
