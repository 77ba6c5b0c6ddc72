"""Aggregates of scans against Spark's own aggregates of the same files."""

from __future__ import annotations

import decimal
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import ArithmeticException
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.errors import CallError
from tests.support.scan_tables import POOLS, generate

SPARK = {"count": F.count, "sum": F.sum, "mean": F.mean, "min": F.min, "max": F.max}
NO_AGGREGATE = {
    "sum": ("boolean", "string", "binary", "date", "timestamp", "timestamp_ntz", "decimal(30,4)"),
    "mean": (
        "boolean",
        "string",
        "binary",
        "date",
        "timestamp",
        "timestamp_ntz",
        "decimal(9,2)",
        "decimal(28,0)",
        "decimal(30,4)",
    ),
    "min": ("binary",),
    "max": ("binary",),
    "count": (),
}
EACH = 6
TABLES = 12


def compared(table: pa.Table, keys: list[str]) -> list[dict[str, Any]]:
    """Returns the rows in the order of their keys, with zeros of one sign: which of two equal values is the smallest
    depends on the order of rows, in Spark too."""
    rows = [{n: v + 0.0 if isinstance(v, float) else v for n, v in row.items()} for row in table.to_pylist()]
    return sorted(rows, key=lambda row: repr([row[key] for key in keys]))


def equal(a: Any, b: Any, close: bool) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or a == b or (close and math.isclose(a, b, rel_tol=1e-12))
    return bool(a == b)


@pytest.mark.parametrize("first", range(0, TABLES, EACH))
def test_aggregates_are_sparks(spark, first: int, tmp_path: Path) -> None:
    for seed in range(first, first + EACH):
        folder = tmp_path / str(seed)
        made = generate(1000 + seed, folder)
        frame = spark.read.parquet(str(folder))
        types = {"id": "bigint"} | {n: t for n, t in made.columns.items() if n in frame.columns}
        wanted = {
            f"{how} of {name}": (name, how)
            for name, type_name in types.items()
            for how in SPARK
            if type_name not in NO_AGGREGATE[how] and not (how == "sum" and "bigint" in type_name and name != "id")
        }
        keys: list[str] = [] if seed % 3 == 0 else list(frame.columns)[1 : 1 + seed % 3]
        by_gpuspark = gs.scan_parquet(spark, str(folder)).aggregate(keys, rows=("*", "count"), **wanted)
        by_spark = frame.groupBy(*keys).agg(
            F.count("*").alias("rows"), *(SPARK[how](name).alias(text) for text, (name, how) in wanted.items())
        )
        assert [f.simpleString() for f in by_gpuspark.schema] == [f.simpleString() for f in by_spark.schema]
        ours, theirs = compared(by_gpuspark.toArrow(), keys), compared(by_spark.toArrow(), keys)
        assert len(ours) == len(theirs), (seed, keys)
        for our, their in zip(ours, theirs, strict=True):
            different = {
                n: (v, their[n]) for n, v in our.items() if not equal(v, their[n], n.startswith(("sum", "mean")))
            }
            assert not different, (seed, keys, made.columns)


def test_what_cannot_be_aggregated_is_refused_when_asked_for(spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({name: pa.array(pool[:2], arrow) for name, (arrow, pool) in POOLS.items()}), tmp_path / "a")
    scan = gs.scan_parquet(spark, str(tmp_path / "a"))
    for how in SPARK:
        for type_name in POOLS:
            if type_name in NO_AGGREGATE[how]:
                with pytest.raises(CallError, match=r"y: .*Use to_df\(\) and Spark's own"):
                    scan.aggregate(y=(type_name, how))
            else:
                assert scan.aggregate(y=(type_name, how)).columns == ["y"]


@pytest.fixture
def large(tmp_path: Path) -> str:
    """Integers whose sum does not fit in one file, and does over both."""
    for name, sign in (("a", 1), ("b", -1)):
        pq.write_table(pa.table({"k": [1, 1, 2], "x": [sign * 2**62] * 3}), tmp_path / f"{name}.parquet")
    return str(tmp_path)


def test_sums_are_exact_whatever_a_part_adds_up_to(spark, large: str) -> None:
    scan = gs.scan_parquet(spark, large)
    assert scan.aggregate(total=("x", "sum")).collect()[0].total == 0
    assert {row.k: row.total for row in scan.aggregate("k", total=("x", "sum")).collect()} == {1: 0, 2: 0}


def test_a_sum_that_does_not_fit_is_an_error_or_wraps_as_in_spark(spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [2**62] * 3}), tmp_path / "one.parquet")
    scan, frame = gs.scan_parquet(spark, str(tmp_path)), spark.read.parquet(str(tmp_path))
    with pytest.raises(ArithmeticException):
        frame.agg(F.sum("x")).collect()
    with pytest.raises(ArithmeticException):
        scan.aggregate(total=("x", "sum")).collect()
    spark.conf.set("spark.sql.ansi.enabled", "false")
    try:
        [[wrapped]] = frame.agg(F.sum("x")).collect()
        assert scan.aggregate(total=("x", "sum")).collect() == [(wrapped,)]
        assert wrapped == 3 * 2**62 - 2**64
    finally:
        spark.conf.unset("spark.sql.ansi.enabled")


def test_sums_of_decimals_without_digits_behind_the_point_stay_decimals(spark, tmp_path: Path) -> None:
    values = pa.array([decimal.Decimal("9" * 28)] * 3, pa.decimal128(28, 0))
    pq.write_table(pa.table({"k": [1, 1, 2], "x": values}), tmp_path / "one.parquet")
    frame = spark.read.parquet(str(tmp_path)).groupBy("k").agg(F.sum("x").alias("total"))
    sums = gs.scan_parquet(spark, str(tmp_path)).aggregate("k", total=("x", "sum"))
    assert sums.schema == frame.schema
    assert sorted(sums.collect()) == sorted(frame.collect())


def test_many_groups_leave_the_task_in_several_batches(spark, tmp_path: Path) -> None:
    """Of more groups than a task holds, each row is counted once."""
    rows = 300_000
    spark.conf.set("spark.gpuspark.batch.targetBytes", "256k")
    pq.write_table(pa.table({"k": [n % 150_000 for n in range(rows)], "x": range(rows)}), tmp_path / "one.parquet")
    sums = gs.scan_parquet(spark, str(tmp_path)).aggregate("k", rows=("*", "count"), total=("x", "sum"))
    checked = sums.agg(F.count("*"), F.min("rows"), F.max("rows"), F.sum("total")).collect()
    assert checked == [(150_000, 2, 2, rows * (rows - 1) // 2)]


def test_misuse_is_named(spark, large: str) -> None:
    scan = gs.scan_parquet(spark, large)
    for named, message in (
        ({}, "at least one aggregate"),
        ({"total": "x"}, "total='x' is no aggregate"),
        ({"total": ("x", "summ")}, "Did you mean 'sum'"),
        ({"total": ("y", "sum")}, "there is no column 'y'"),
        ({"total": ("*", "sum")}, "only count takes"),
        ({"k": ("x", "sum")}, "k is a key"),
    ):
        with pytest.raises(CallError, match=message):
            scan.aggregate("k", **named)
    lists = scan.with_columns(pair=lambda b: pa.array([[1, 2]] * b.num_rows, pa.list_(pa.int64())))
    with pytest.raises(CallError, match=r"'pair' is list.*by which scans do not group"):
        lists.aggregate("pair", total=("x", "sum"))
    with pytest.raises(CallError, match="no column 'kk' to group by"):
        scan.aggregate("kk", total=("x", "sum"))
