"""How ``gs.apply_in_segments`` brings groups together: marked by a window of Spark's or seen by the worker, always
whole, with no shuffle that the window would not need. Compared with ``groupBy``."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, LongType, StringType

import gpuspark as gs
from gpuspark.dialects import group_order
from gpuspark.dialects.group_order import compared_by_value, is_column, shuffles_for_window
from tests.support.spark_plans import plan_of

OTHER_NAN = struct.unpack("<d", bytes([1, 0, 0, 0, 0, 0, 0xF8, 0xFF]))[0]
KEYS: dict[str, list[Any]] = {
    "boolean": [True, False],
    "tinyint": [-128, 1],
    "bigint": [-(2**63), 1, 2**53, 2**53 + 1],
    "float": [0.0, -0.0, math.nan, math.inf],
    "double": [0.0, -0.0, math.nan, OTHER_NAN, 5e-324],
    "decimal(10,2)": [decimal.Decimal("1.25"), decimal.Decimal("0.00")],
    "decimal(38,2)": [decimal.Decimal("1.25"), decimal.Decimal("0.00")],
    "date": [datetime.date(1, 1, 1), datetime.date(2020, 1, 1)],
    "timestamp": [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, 0, 0, 0, 1)],
    "timestamp_ntz": [datetime.datetime(2020, 1, 1), datetime.datetime(1920, 1, 1)],
    "interval day to second": [datetime.timedelta(0), datetime.timedelta(-1)],
    "binary": [bytearray(b""), bytearray(b"\0"), bytearray(b"a")],
    "string": ["", "a", "A", "e\u0301", "é"],
}
"""Values of every type of key that the worker compares; null is one too."""


@contextmanager
def settings_of_spark(spark: Any, **settings: Any) -> Iterator[None]:
    """Sets properties, written with ``_`` for ``.``, and puts them back."""
    keys = {"spark.sql." + key.replace("_", "."): str(value) for key, value in settings.items()}
    before = {key: spark.conf.get(key, None) for key in keys}
    for key, value in keys.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            if old is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, old)


def listed(segments: Any) -> gs.Batch:
    """Returns a row for each group: the numbers of its rows, in their order."""
    numbers, offsets = segments["t"].to_pylist(), segments.offsets
    texts = [" ".join(map(str, numbers[begin:end])) for begin, end in pairwise(offsets)]
    return gs.Batch.from_arrow(pa.record_batch({"rows": texts}))


def groups(df: DataFrame, by: Any, order: Any = "t") -> DataFrame:
    return gs.apply_in_segments(df, by, listed, "rows string", order_by=order)


def groups_of_spark(df: DataFrame, *by: str) -> DataFrame:
    """Returns the same rows by ``groupBy``, for an order by ``t``."""
    numbers = F.transform(F.sort_array(F.collect_list("t")), lambda t: t.cast("string"))
    return df.groupBy(*by).agg(F.array_join(numbers, " ").alias("rows")).select("rows")


def operators(built: DataFrame) -> tuple[int, int, int]:
    """Returns the numbers of shuffles, sorts and windows in the plan."""
    names = re.findall(r"(?m)^[^a-zA-Z\n]*(\w+)", plan_of(built))
    return names.count("Exchange"), names.count("Sort"), names.count("Window")


def rows(spark: Any) -> DataFrame:
    return spark.range(0, 120, 1, 3).selectExpr("id % 7 k", "id % 5 j", "id t", "cast(id as string) s")


WORKER = {
    "rows of a range": lambda df: groups(df, "k"),
    "two keys": lambda df: groups(df, ["k", "s"]),
    "no order": lambda df: groups(df, "k", None),
    "an order downwards": lambda df: groups(df, "k", [F.desc("j"), F.col("t").asc_nulls_last()]),
    "a field and a name": lambda df: groups(df.withColumn("f", F.struct("t")), "k", [F.col("f.t").desc(), "S"]),
    "names with dots": lambda df: groups(df.withColumnsRenamed({"k": "k.k", "j": "j`j"}), "k.k", ["j`j", "t"]),
    "rows of a mapInArrow": lambda df: groups(df.mapInArrow(lambda batches: batches, df.schema), "k"),
}
"""The worker finds the groups, after one shuffle and one sort."""

WINDOW = {
    "a string with a collation": lambda df: groups(df.withColumn("k", F.collate("s", "UTF8_LCASE")), "k"),
    "a struct": lambda df: groups(df.withColumn("k", F.struct("k", "j")), "k"),
    "an array beside": lambda df: groups(df.withColumn("j", F.array("j")), ["k", "j"]),
    "a map": lambda df: groups(df.withColumn("k", F.create_map("k", "j")), "k"),
    "an expression": lambda df: groups(df, "k", -F.col("t")),
    "a number before the shuffle": lambda df: groups(df, "k", F.monotonically_increasing_id()),
}
"""Spark marks the groups, after one shuffle and one sort."""


def ranked(df: DataFrame, *by: str) -> DataFrame:
    return df.withColumn("rank", F.row_number().over(Window.partitionBy(*by).orderBy("t")))


LIES_SO = {
    "repartition": (1, lambda df: df.repartition("k")),
    "repartition and sort": (1, lambda df: df.repartition("k").sortWithinPartitions("k", "t")),
    "a global sort by the key": (1, lambda df: df.orderBy("k")),
    "groupBy": (1, lambda df: df.groupBy("k").agg(F.max("t").alias("t"))),
    "a join": (2, lambda df: df.join(df.sparkSession.range(7).selectExpr("id k", "id y").hint("merge"), "k")),
    "a window by the same keys": (1, lambda df: ranked(df, "k")),
    "one partition": (0, lambda df: df.coalesce(1)),
    "a limit": (1, lambda df: df.limit(50)),
}
"""Frames whose partitions hold whole groups, and how many shuffles their plans have without ours."""

LIES_ELSEWHERE = {
    "repartition by another column": (1, lambda df: df.repartition("j")),
    "repartition into a number": (1, lambda df: df.repartition(5)),
    "groupBy by more columns": (2, lambda df: df.groupBy("k", "j").agg(F.max("t").alias("t"))),
    "a window by more columns": (2, lambda df: ranked(df, "k", "j")),
    "a global sort by another column": (1, lambda df: df.orderBy("t")),
    "a window by another column": (2, lambda df: ranked(df, "j")),
    "a union": (2, lambda df: df.repartition("j").union(df)),
}
"""Frames that are shuffled, but not by the key, and how many shuffles there are with ours, which may replace theirs."""


@pytest.mark.parametrize("case", WORKER)
def test_the_worker_finds_the_groups(spark: Any, case: str) -> None:
    assert operators(WORKER[case](rows(spark))) == (1, 1, 0)


@pytest.mark.parametrize("case", WINDOW)
def test_spark_marks_the_groups_where_the_worker_may_not(spark: Any, case: str) -> None:
    assert operators(WINDOW[case](rows(spark))) == (1, 1, 1)


@pytest.mark.parametrize("case", LIES_SO)
def test_no_shuffle_where_the_frame_lies_so(spark: Any, case: str) -> None:
    shuffles, make = LIES_SO[case]
    frame = make(rows(spark))
    built = groups(frame, "k")
    assert (operators(built)[0], "__gpuspark_first" in plan_of(built)) == (shuffles, True)
    assert sorted(built.collect()) == sorted(groups_of_spark(frame, "k").collect())


def test_the_choice_is_the_same_without_adaptive_execution(spark: Any) -> None:
    with settings_of_spark(spark, adaptive_enabled="false"):
        assert operators(groups(rows(spark), "k")) == (1, 1, 0)
        for shuffles, make in LIES_SO.values():
            built = groups(make(rows(spark)), "k")
            assert (operators(built)[0], "__gpuspark_first" in plan_of(built)) == (shuffles, True)


@pytest.mark.parametrize("case", LIES_ELSEWHERE)
def test_one_more_shuffle_where_it_lies_elsewhere(spark: Any, case: str) -> None:
    shuffles, make = LIES_ELSEWHERE[case]
    built = groups(make(rows(spark)), "k")
    assert (operators(built)[0], "__gpuspark_first" in plan_of(built)) == (shuffles, False)


@pytest.mark.parametrize("by_worker", [True, False])
def test_a_window_by_more_columns_changes_neither_groups_nor_order(
    spark: Any, by_worker: bool, monkeypatch: Any
) -> None:
    """Spark swaps two windows if that saves a shuffle, and leaves the rows in the order of the other one."""
    monkeypatch.setattr(group_order, "shuffles_for_window", lambda plan: by_worker)
    frame = ranked(rows(spark), "k", "j")
    assert sorted(groups(frame, "k").collect()) == sorted(groups_of_spark(frame, "k").collect())


def test_a_table_in_buckets_is_read_as_it_lies(spark: Any, tmp_path: Any) -> None:
    with bucketed(spark, tmp_path, 2) as table:
        assert operators(groups(table, "k")) == (0, 1, 1)
        assert sorted(groups(table, "k").collect()) == sorted(groups_of_spark(table, "k").collect())


@contextmanager
def bucketed(spark: Any, folder: Any, buckets: int) -> Iterator[DataFrame]:
    """The rows in a table of so many buckets by ``k``."""
    written = rows(spark).write.bucketBy(buckets, "k").sortBy("k")
    written.option("path", str(folder / "table")).saveAsTable("gpuspark_buckets")
    try:
        yield spark.table("gpuspark_buckets")
    finally:
        spark.sql("DROP TABLE gpuspark_buckets")


def joined(spark: Any) -> DataFrame:
    """Two joins, the last one by another column than ``k``."""
    k, j = (spark.range(0, 7, 1, 2).selectExpr(f"id {name}", f"id {name}2") for name in "kj")
    return rows(spark).join(k, "k").join(j, "j")


ONE_BYTE = {
    f"adaptive_{key}": "1b"
    for key in (
        "advisoryPartitionSizeInBytes", "coalescePartitions_minPartitionSize",
        "skewJoin_skewedPartitionThresholdInBytes",
    )
}  # fmt: skip
CUTS = {
    "local reads": {"autoBroadcastJoinThreshold": -1, "adaptive_autoBroadcastJoinThreshold": "10m"},
    "skew": {
        "autoBroadcastJoinThreshold": -1, "adaptive_autoBroadcastJoinThreshold": -1,
        "adaptive_skewJoin_skewedPartitionFactor": 0.0001,
    },
}  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("joins", [1, 2])
@pytest.mark.parametrize("by_worker", [True, False])
def test_no_group_is_cut_by_adaptive_execution(
    spark: Any, cut: str, joins: int, by_worker: bool, monkeypatch: Any
) -> None:
    """Whichever way is taken: Spark drops a plain ``repartition("k")`` after a join by ``k``, and then cuts groups."""
    monkeypatch.setattr(group_order, "shuffles_for_window", lambda plan: by_worker)
    with settings_of_spark(spark, **ONE_BYTE, **CUTS[cut]):
        frame = joined(spark)
        if joins == 1:
            frame = rows(spark).join(spark.range(0, 7, 1, 2).selectExpr("id k", "id y"), "k")
        assert sorted(groups(frame, "k").collect()) == sorted(groups_of_spark(frame, "k").collect())


def test_no_group_is_cut_by_reading_buckets(spark: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """Spark would read a table in as many buckets as it makes partitions without its buckets."""
    monkeypatch.setattr(group_order, "shuffles_for_window", lambda plan: True)
    with settings_of_spark(spark, shuffle_partitions=4), bucketed(spark, tmp_path, 4) as table:
        assert sorted(groups(table, "k").collect()) == sorted(groups_of_spark(table, "k").collect())


@st.composite
def frames_of_keys(draw: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The types of one or two keys, and their values in rows; few of them differ."""
    types = draw(st.lists(st.sampled_from(list(KEYS)), min_size=1, max_size=2))
    values = [st.sampled_from([None, *KEYS[of]]) for of in types]
    return types, draw(st.lists(st.tuples(*values), min_size=1, max_size=40))


@pytest.mark.slow
@settings(max_examples=25)
@given(frames_of_keys(), st.sampled_from([1, 2, 3, 10_000]), st.sampled_from(["1", "8m"]), st.booleans())
def test_both_ways_make_the_groups_of_groupby(
    spark: Any, case: Any, records: int, target: str, downwards: bool
) -> None:
    """For any keys, lengths of Spark's batches, and rows per call, in the requested order."""
    types, keys = case
    names = [f"k.{n}" for n in range(len(types))]
    declared = ", ".join(f"`{name}` {of}" for name, of in zip(names, types, strict=True))
    frame = spark.createDataFrame([(*key, n) for n, key in enumerate(keys)], f"{declared}, t bigint").repartition(2)
    order = F.desc("t") if downwards else "t"
    spark.conf.set("spark.gpuspark.batch.targetBytes", target)
    with settings_of_spark(spark, execution_arrow_maxRecordsPerBatch=records), pytest.MonkeyPatch.context() as patch:
        by_worker = groups(frame, names, order)
        patch.setattr(group_order, "shuffles_for_window", lambda plan: False)
        by_window = groups(frame, names, order)
        assert (operators(by_worker)[2], operators(by_window)[2]) == (0, 1)
        expected = [row.rows.split() for row in groups_of_spark(frame, *(f"`{name}`" for name in names)).collect()]
        theirs = sorted(" ".join(numbers[::-1] if downwards else numbers) for numbers in expected)
        for built in (by_worker, by_window):
            assert sorted(row.rows for row in built.collect()) == theirs


def test_planning_runs_no_job(spark: Any) -> None:
    context = spark.sparkContext
    context.setJobGroup("planned", "gs.apply_in_segments builds a frame")
    built = groups(rows(spark).orderBy("t"), "k")  # a global sort looks at its rows before it shuffles them
    assert context.statusTracker().getJobIdsForGroup("planned") == []
    built.count()
    assert context.statusTracker().getJobIdsForGroup("planned") != []


def test_a_frame_without_end_is_not_planned(spark: Any, monkeypatch: Any) -> None:
    def planned(df: DataFrame) -> str:
        raise AssertionError("planned")

    monkeypatch.setattr(group_order, "physical_plan", planned)
    assert groups(spark.readStream.format("rate").load().selectExpr("value k", "value t"), "k").isStreaming


def test_types_that_the_worker_compares() -> None:
    assert compared_by_value(StringType())
    assert not compared_by_value(StringType("UNICODE"))
    assert not compared_by_value(ArrayType(LongType()))


def test_orders_that_are_columns(spark: Any) -> None:
    columns = ["t", "a.b", F.col("t"), F.desc("t"), F.col("`a.b`").asc_nulls_last(), F.col("f.t"), F.expr("t")]
    assert all(map(is_column, columns))
    others = [F.rand(), F.lit(1), -F.col("t"), F.desc(F.monotonically_increasing_id()), F.expr("rand()"), 1]
    assert not any(map(is_column, others))  # type: ignore[arg-type]


PLAN = """\
AdaptiveSparkPlan isFinalPlan=false
+- Window [row_number() AS first#1], [k#10L], [gpuspark ASC NULLS FIRST]
   +- Sort [k#10L ASC NULLS FIRST], false, 0
      +- Exchange hashpartitioning(k#10L, 4), ENSURE_REQUIREMENTS, [plan_id=252]
         +- Range (0, 1000, step=1, splits=2)
"""
NOT_ADAPTIVE = """\
*(3) Project [k#10L, first#1]
+- Window [row_number() AS first#1], [k#10L], [gpuspark ASC NULLS FIRST]
   +- *(2) Sort [k#10L ASC NULLS FIRST], false, 0
      +- Exchange hashpartitioning(k#10L, 4), ENSURE_REQUIREMENTS, [plan_id=252]
         +- *(1) Range (0, 1000, step=1, splits=2)
"""


def test_plans_that_shuffle_for_the_window() -> None:
    assert all(map(shuffles_for_window, [PLAN, NOT_ADAPTIVE, "== Physical Plan ==\n" + PLAN]))
    others = [
        "",
        PLAN.replace("hashpartitioning", "rangepartitioning"),
        PLAN.replace("Exchange", "ReusedExchange"),
        PLAN.replace("Exchange", "ColumnarExchange"),
        PLAN.replace("   +- Sort", "   +- Filter true\n   +- Sort"),
        PLAN.replace("   +- Sort", "   +- Sort [k], false, 0\n   +- Window []\n   +- Sort"),
        PLAN.replace("[k#10L],", "[k\n#10L],"),
        PLAN[: PLAN.index("hash")],
    ]
    assert not any(map(shuffles_for_window, others))
