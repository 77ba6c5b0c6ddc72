"""The keys of ``gs.apply_in_segments``: every type that Spark groups by, and names as Spark resolves them, compared
with PySpark's own ``applyInArrow``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.errors import CallError

SCHEMA = "n bigint, total double"
KEYS = {
    "map<string,int>": ["map('a', 1, 'b', 2)", "map('b', 2, 'a', 1)", "map('a', 1)", "map('a', null)", "map()", "null"],
    "map<double,double>": [
        "map(0D, double('NaN'))", "map(-0D, double('NaN'))", "map(double('NaN'), 0D)", "map(double('NaN'), -0D)",
        "map(1, 2, 3, 4)", "map(3, 4, 1, 2)",
    ],
    "map<string,map<int,int>>": ["map('a', map(1, 1, 2, 2))", "map('a', map(2, 2, 1, 1))", "map('a', map())"],
    "map<struct<a:int>,array<int>>": [
        "map(struct(1), array(1), struct(2), array(2))", "map(struct(2), array(2), struct(1), array(1))",
        "map(struct(1), null)",
    ],
    "struct<m:map<int,int>,x:double>": [
        "struct(map(1, 1, 2, 2), 0D)", "struct(map(2, 2, 1, 1), -0D)", "struct(null, double('NaN'))",
        "struct(null, null)", "null",
    ],
    "array<map<int,int>>": [
        "array(map(1, 1, 2, 2), null)", "array(map(2, 2, 1, 1), null)", "array()", "null", "array(null)",
    ],
    "struct<`map<`:int,variant:double>": [
        "struct(1, double('NaN'))", "struct(1, 0D)", "struct(1, -0D)", "struct(null, null)", "null",
    ],
    "array<double>": ["array(0D, double('NaN'))", "array(-0D, double('NaN'))", "array(null)", "array()", "null"],
}  # fmt: skip
"""Keys of each type, some of which are equal."""


def counted(segments: Any) -> gs.Batch:
    totals = np.add.reduceat(segments["x"].values, segments.offsets[:-1])
    assert segments.keys.num_rows == len(segments)
    return gs.Batch.from_arrow(pa.record_batch({"n": segments.lengths, "total": totals}))


@pytest.mark.parametrize("declared", KEYS)
def test_groups_are_sparks_for_keys_with_maps_in_them(spark: Any, declared: str) -> None:
    """Compared with ``groupBy``, since ``applyInArrow`` distinguishes equal maps by the order of their entries."""
    keys = ", ".join(f"CAST({key} AS {declared})" for key in KEYS[declared])
    chosen = f"get(array({keys}), int(id % {len(KEYS[declared])})) AS k"
    frame = spark.range(40).selectExpr(chosen, "double(id * 7 % 31) AS x").repartition(2)
    ours = gs.apply_in_segments(frame, "k", counted, SCHEMA, order_by="x").collect()
    theirs = frame.groupBy("k").agg(F.count("*").alias("n"), F.sum("x").alias("total")).select("n", "total").collect()
    assert sorted(ours) == sorted(theirs)
    assert len(ours) < len(KEYS[declared])


@pytest.fixture
def dotted(spark: Any) -> Any:
    return spark.sql("SELECT id % 3 AS `Shop.Name`, id % 2 AS `a``b`, double(id) AS x, id AS `t.t` FROM range(12)")


def test_key_names_are_resolved_as_spark_does(dotted: Any) -> None:
    for by, groups in (
        ("Shop.Name", 3), ("`Shop.Name`", 3), ("shop.name", 3), ("`SHOP.NAME`", 3), ("a`b", 2), ("`a``b`", 2),
        (("shop.name", "A`B"), 6),
    ):  # fmt: skip
        result = gs.apply_in_segments(dotted, by, counted, SCHEMA, order_by="t.t")
        assert result.schema.simpleString() == "struct<n:bigint,total:double>"
        if by == ("shop.name", "A`B"):
            assert [row.n for row in result.collect()] == [2] * groups


def test_order_by_accepts_a_name_with_a_dot(dotted: Any) -> None:
    def first(segments: Any) -> gs.Batch:
        return segments.keys.with_column("first", segments["x"].values[segments.offsets[:-1]])

    for order in ("t.t", ["t.t"], "`t.t`", [F.col("`t.t`")]):
        result = gs.apply_in_segments(dotted, "shop.name", first, "`Shop.Name` bigint, first double", order)
        if order == "t.t":
            assert sorted(map(tuple, result.collect())) == [(0, 0.0), (1, 1.0), (2, 2.0)]


@pytest.fixture
def case_sensitive(spark: Any) -> Any:
    spark.conf.set("spark.sql.caseSensitive", "true")
    yield
    spark.conf.unset("spark.sql.caseSensitive")


@pytest.mark.usefixtures("case_sensitive")
def test_case_sensitivity_is_sparks(spark: Any, dotted: Any) -> None:
    with pytest.raises(CallError, match=r"by='shop\.name': .*Did you mean 'Shop.Name'"):
        gs.apply_in_segments(dotted, "shop.name", counted, SCHEMA)
    both = spark.sql("SELECT id % 2 AS k, id % 3 AS K, double(id) AS x FROM range(12)")
    assert gs.apply_in_segments(both, "K", counted, SCHEMA).count() == 3
    spark.conf.set("spark.sql.caseSensitive", "false")
    with pytest.raises(CallError, match="by='K' is the name of several columns"):
        gs.apply_in_segments(both, "K", counted, SCHEMA)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("v", "v is a column of variant, which Spark cannot group by: cast it"),
        ("held", "held is a column of struct<i:interval>, which Spark cannot group by"),
        ("held.i", "by='held.i': give names of columns.*To group by a field, make it a column"),
        ([], "give names of columns"),
        (3, "give names of columns"),
        ([F.col], "give names of columns"),
    ],
)
def test_refused_keys_are_named(spark: Any, by: Any, message: str) -> None:
    frame = spark.sql("SELECT parse_json('1') AS v, named_struct('i', make_interval(1)) AS held, 1.0D AS x")
    with pytest.raises(CallError, match=message):
        gs.apply_in_segments(frame, by, counted, SCHEMA)
