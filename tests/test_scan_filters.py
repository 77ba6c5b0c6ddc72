"""Every operator with every value that matters, against Spark's WHERE; and no row group left out that holds a wanted
row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuspark.scans.filters import OPERATORS, Filters, conditions_of, typed
from gpuspark.scans.footers import read_footer
from gpuspark.scans.pruning import may_hold
from gpuspark.spark.arrow_types import spark_schema
from tests.support.scan_tables import POOLS, in_spark


def conditions(type_name: str) -> Iterator[tuple[str, str, Any]]:
    """Every operator with every value of the type, and with lists of none, one and two of them."""
    pool = POOLS[type_name][1]
    for operator in OPERATORS:
        if operator in ("in", "not in"):
            lists = [[], *([value] for value in pool), *(list(pair) for pair in itertools.combinations(pool, 2))]
            yield from (("x", operator, values) for values in lists)
        else:
            yield from (("x", operator, value) for value in pool)


def wanted(filters: Filters, column: pa.Array) -> list[bool]:
    rows: list[bool] = filters.wanted({"x": column}).to_pylist()
    return rows


@pytest.mark.parametrize("type_name", POOLS)
def test_filters_mean_what_where_means(spark, type_name: str) -> None:
    arrow, pool = POOLS[type_name]
    table = pa.table({"n": range(len(pool) + 1), "x": pa.array([*pool, None], arrow)})
    frame = spark.createDataFrame(table, spark_schema(table.schema))
    asked = list(conditions(type_name))
    kept = [in_spark([[condition]], frame).withColumn("condition", literal(n)) for n, condition in enumerate(asked)]
    by_spark: dict[int, set[int]] = {n: set() for n in range(len(asked))}
    for row in union(kept).select("condition", "n").collect():
        by_spark[row.condition].add(row.n)
    for number, condition in enumerate(asked):
        ours = wanted(typed(conditions_of([condition]), table.schema), table["x"].combine_chunks())
        assert {n for n, is_wanted in enumerate(ours) if is_wanted} == by_spark[number], condition


def literal(number: int) -> Any:
    from pyspark.sql import functions as F

    return F.lit(number)


def union(frames: list[Any]) -> Any:
    """The rows of all frames, joined in pairs: a chain of a hundred unions is slow to analyse."""
    while len(frames) > 1:
        frames = [a.union(b[0]) if b else a for a, *b in (frames[n : n + 2] for n in range(0, len(frames), 2))]
    return frames[0]


@pytest.mark.parametrize("type_name", POOLS)
def test_no_row_group_with_a_wanted_row_is_left_out(type_name: str, tmp_path: Path) -> None:
    """For each row group of one or two values, with and without null, and each condition."""
    arrow, pool = POOLS[type_name]
    groups = [list(group) for count in (0, 1, 2) for group in itertools.combinations(pool, count)]
    groups = [values for group in groups for values in (group, [*group, None]) if values]
    file = str(tmp_path / "groups.parquet")
    with pq.ParquetWriter(file, pa.schema([("x", arrow)])) as writer:
        for values in groups:
            writer.write_table(pa.table({"x": pa.array(values, arrow)}))
    footer = read_footer(file, ["x"])
    assert footer is not None
    assert len(footer.row_groups) == len(groups)
    left_out = 0
    for condition in conditions(type_name):
        filters = typed(conditions_of([condition]), pa.schema([("x", arrow)]))
        for values, group in zip(groups, footer.row_groups, strict=True):
            kept = may_hold(filters, group.bounds, group.rows)
            left_out += not kept
            assert kept or not any(wanted(filters, pa.array(values, arrow))), (condition, values)
    assert left_out, "statistics never left out a row group"
