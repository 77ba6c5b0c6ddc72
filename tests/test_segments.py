"""``gs.apply_in_segments`` compared with PySpark's own grouped functions: the same groups for any keys and batches."""

from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.errors import PythonException
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.config import Config
from gpuspark.dialects.group_starts import FIRST
from gpuspark.dialects.segments import _Grouped
from gpuspark.errors import CallError, GroupTooLarge, ResultError
from gpuspark.spark.session import configured

KEYS = {
    "bigint": [1, 2, None, -(2**63)],
    "double": [0.0, -0.0, math.nan, None, math.inf],
    "string": ["a", "", None, "é"],
    "boolean": [True, False, None],
    "date": [datetime.date(2020, 1, 1), datetime.date(1, 1, 1), None],
    "timestamp": [datetime.datetime(2020, 1, 1), None],
    "decimal(10,2)": [decimal.Decimal("1.25"), None, decimal.Decimal("0.00")],
    "binary": [b"a", b"", None],
    "array<int>": [[1, None], [], None],
    "struct<a:int,b:string>": [(1, "x"), (1, None), None],
}


def count_and_total(segments):
    """Returns a row per group: its key, number of rows, sum of x and first x in the requested order."""
    x = segments["x"].values
    return (
        segments.keys.with_column("n", segments.lengths)
        .with_column("total", np.add.reduceat(x, segments.offsets[:-1]))
        .with_column("first", x[segments.offsets[:-1]])
    )


def frame_of(spark, keys: list, declared: str, rows: int = 200):
    data = [(keys[n % len(keys)], float(n * 7 % 31), n) for n in range(rows)]
    return spark.createDataFrame(data, f"k {declared}, x double, t bigint").repartition(3)


def text(rows) -> list[str]:
    """Returns the rows as sorted text, which shows NaN and the sign of zero."""
    return sorted(map(repr, rows))


@pytest.mark.parametrize("declared", KEYS)
def test_groups_are_sparks_for_every_type_of_key(spark, declared) -> None:
    frame = frame_of(spark, KEYS[declared], declared)
    schema = f"k {declared}, n bigint, total double, first double"
    ours = gs.apply_in_segments(frame, "k", count_and_total, schema, order_by="t").collect()
    theirs = (
        frame.groupBy("k")
        .agg(F.count("*").alias("n"), F.sum("x").alias("total"), F.min_by("x", "t").alias("first"))
        .collect()
    )
    # For a group of 0.0 and -0.0 Spark does not specify which of the two is the key.
    assert text(row[1:] for row in ours) == text(row[1:] for row in theirs)
    assert text(r.k for r in ours if r.k != 0) == text(r.k for r in theirs if r.k != 0)


@pytest.mark.parametrize("records", [7, 10_000])
@pytest.mark.parametrize("target", ["1", "8m"])
def test_several_keys_any_batch_length_and_any_number_of_results(spark, records, target) -> None:
    """The rows of a group arrive in one call, even across Spark's batches; the call may return any number of rows."""
    spark.conf.set("spark.gpuspark.batch.targetBytes", target)
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", records)

    def largest_two(segments):
        kept = [
            begin + place
            for begin, end in zip(segments.offsets[:-1], segments.offsets[1:], strict=True)
            for place in range(min(2, end - begin))
        ]
        rows = segments.batch.to_arrow().take(pa.array(kept))
        return gs.Batch.from_arrow(rows).select(["g", "h", "x"])

    columns = ("id % 7 g", "if(id % 5 = 0, null, id % 3) h", "cast(id * 37 % 101 as double) x")
    frame = spark.range(1000).selectExpr(*columns)
    try:
        ours = gs.apply_in_segments(
            frame, ["g", "h"], largest_two, "g bigint, h bigint, x double", order_by=[F.desc("x")]
        ).collect()
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
    theirs = (
        frame.groupBy("g", "h")
        .applyInPandas(lambda p: p.sort_values("x", ascending=False).head(2), "g bigint, h bigint, x double")
        .collect()
    )
    assert text(ours) == text(theirs)


def test_one_row_per_row_with_a_compiled_function(spark) -> None:
    share = gs.udf("double")(lambda x, total: x / total)

    def shares(segments):
        totals = np.add.reduceat(segments["x"].values, segments.offsets[:-1])
        total = gs.Batch.from_arrow(pa.record_batch({"t": totals[segments.numbers]}))["t"]
        return segments.batch.with_column("share", share(segments["x"], total)).select(["k", "share"])

    frame = spark.range(1, 3001).selectExpr("id % 11 k", "cast(id as double) x")
    gs.ledger(spark).clear()
    ours = gs.apply_in_segments(frame, "k", shares, "k bigint, share double").collect()
    assert len(ours) == 3000
    totals = frame.groupBy("k").agg(F.sum("x").alias("total"))
    theirs = frame.join(totals, "k").selectExpr("k", "x / total share").collect()
    assert text(ours) == text(theirs)
    [summary] = gs.ledger(spark).summary()
    assert (summary.function, summary.rows) == ("shares", 3000)


def test_no_rows_one_group_and_one_group_per_row(spark) -> None:
    schema = "k bigint, n bigint, total double, first double"
    frame = spark.range(50_000).selectExpr("id", "1L one", "cast(1 as double) x")
    none = frame.where("id < 0").selectExpr("id k", "x")
    assert gs.apply_in_segments(none, "k", count_and_total, schema).count() == 0
    [whole] = gs.apply_in_segments(frame.selectExpr("one k", "x"), "k", count_and_total, schema).collect()
    assert whole == (1, 50_000, 50_000.0, 1.0)
    each = gs.apply_in_segments(frame.selectExpr("id k", "x"), "k", count_and_total, schema)
    assert each.agg(F.sum("n"), F.sum("k"), F.count("*")).first() == (50_000, 50_000 * 49_999 // 2, 50_000)


def test_a_group_too_large_is_named_with_its_size(spark) -> None:
    spark.conf.set("spark.gpuspark.segment.maxBytes", "64k")
    frame = spark.range(30_000).selectExpr("if(id % 3 = 0, 'few', 'many') k", "cast(id as double) x")
    schema = "k string, n bigint, total double, first double"
    with pytest.raises(PythonException, match=r"the group \{'k': '(many|few)'\} has [\d,]+ rows so far, [\d,]+ bytes"):
        gs.apply_in_segments(frame, "k", count_and_total, schema).collect()
    small = frame.selectExpr("cast(x % 100 as string) k", "x")  # a hundred groups of 300 rows
    assert gs.apply_in_segments(small, "k", count_and_total, schema).count() == 100


def test_misuse_is_named(spark) -> None:
    frame = spark.range(3)
    with pytest.raises(CallError, match=r"by='k': give names of columns of \['id'\]"):
        gs.apply_in_segments(frame, "k", count_and_total, "n bigint")
    with pytest.raises(CallError, match="by="):
        gs.apply_in_segments(frame, [], count_and_total, "n bigint")
    with pytest.raises(ResultError, match="not a list of columns"):
        gs.apply_in_segments(frame, "id", count_and_total, "bigint")
    with pytest.raises(PythonException, match=r"<lambda> returned a ndarray, not a gs\.Batch"):
        gs.apply_in_segments(frame, "id", lambda segments: segments.offsets, "n bigint").collect()  # type: ignore[arg-type, return-value]
    with pytest.raises(PythonException, match=r"there is no column 'y'\. Choose one of"):
        gs.apply_in_segments(frame.selectExpr("id k", "id x"), "k", lambda s: s["y"], "n bigint").collect()  # type: ignore[arg-type, return-value]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 400), st.booleans())
def test_groups_are_never_split(lengths, records, target, marked) -> None:
    """For any batches, marked by Spark or not, each piece consists of whole groups, and no row is lost or doubled."""
    first = np.concatenate([[True, *[False] * (n - 1)] for n in lengths])
    keys = np.repeat(np.arange(len(lengths)), lengths)
    whole = pa.record_batch({"k": keys, FIRST: first} if marked else {"k": keys})
    batches = [gs.Batch.from_arrow(whole.slice(n, records)) for n in range(0, len(whole), records)]
    seen: list[pd.DataFrame] = []

    def body(segments):
        assert segments.schema.names == ["k"]
        assert segments.offsets.dtype == np.int64
        assert segments.offsets[0] == 0
        assert segments.offsets[-1] == segments.num_rows
        assert segments.keys["k"].to_pylist() == list(dict.fromkeys(segments["k"].to_pylist()))
        assert list(segments.lengths) == [lengths[k] for k in segments.keys["k"].to_pylist()]
        seen.append(segments.batch.to_frame())
        return segments.keys

    with configured(Config(target_bytes=target)):
        list(_Grouped(body, ["k"], marked=marked)(iter(batches)))
    assert pd.concat(seen)["k"].tolist() == keys.tolist()


@pytest.mark.parametrize("marked", [False, True])
def test_the_group_that_is_too_large_is_the_last_one(marked) -> None:
    """Small groups before it do not count, and its first row may lie in any batch."""
    keys = np.repeat([1, 2, 3], [40, 7, 100])
    first = np.diff(keys, prepend=0) > 0
    whole = pa.record_batch({"k": keys, FIRST: first} if marked else {"k": keys})
    batches = [gs.Batch.from_arrow(whole.slice(n, 10)) for n in range(0, len(whole), 10)]
    with configured(Config(target_bytes=1 << 20, segment_bytes=500)), pytest.raises(GroupTooLarge) as raised:
        list(_Grouped(lambda segments: segments.keys, ["k"], marked=marked)(iter(batches)))
    assert str(raised.value).startswith("the group {'k': 3} has 63 rows so far, 504 bytes, and")
