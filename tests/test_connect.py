"""The three dialects, the session flag and the ledger in Spark Connect."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql.functions import desc, lit

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import ConfigError
from gpuspark.execution.capsule import read
from tests.support import faulty
from tests.support.spark_plans import has_python, plan_of


def triple(n, plus=0):
    return n * 3 + plus


@gs.udf("bigint")
def decorated_before_any_session(n):
    return n + 1


@pytest.mark.parametrize("device", ["cpu", "emulated", "python"])
def test_scalar_functions(connect, device) -> None:
    connect.conf.set("spark.gpuspark.device", device)
    gs.ledger(connect).clear()
    f = gs.udf(triple, "bigint")
    frame = connect.range(0, 1000, 1, 2)
    rows = frame.select(f("id"), f(n="id", plus="id"), decorated_before_any_session("id")).collect()
    assert [tuple(row) for row in rows] == [(n * 3, n * 4, n + 1) for n in range(1000)]
    result = {(s.function, s.rows, tuple(s.devices)) for s in gs.ledger(connect).summary()}
    assert result == {("triple", 2000, (device,)), ("decorated_before_any_session", 1000, (device,))}


def test_series_and_batches(connect) -> None:
    @gs.pandas_udf("double")
    def halve(v: pd.Series) -> pd.Series:
        return v / 2

    def body(batches):
        for batch in batches:
            yield batch.with_column("v", decorated_before_any_session(batch["id"])).select(["v"])

    frame = connect.range(0, 100, 1, 2)
    assert [r[0] for r in frame.select(halve("id")).collect()] == [n / 2 for n in range(100)]
    assert [r.v for r in gs.map_in_arrow(frame, body, "v bigint").collect()] == list(range(1, 101))


def test_the_flag_may_change_between_two_actions_and_sql_calls_work(connect) -> None:
    text = gs.udf("string")(lambda n: str(n))
    frame = connect.range(3).select(text("id").alias("s"))
    with pytest.raises(Exception, match="FallbackError"):
        frame.collect()
    connect.conf.set("spark.gpuspark.fallback", "silent")
    assert [r.s for r in frame.collect()] == ["0", "1", "2"]
    connect.udf.register("gs_triple", gs.udf(triple, "bigint").spark_udf())
    assert tuple(connect.sql("select gs_triple(2L), gs_triple(2L, 1L)").first()) == (6, 7)


def test_bad_keys_are_named(connect) -> None:
    connect.conf.set("spark.gpuspark.devise", "cpu")
    with pytest.raises(ConfigError, match=r"spark\.gpuspark\.device"):
        decorated_before_any_session("id")


def test_a_fault_is_in_the_ledger_and_its_batch_in_a_capsule(connect, tmp_path: Path) -> None:
    for key, value in {"device": "emulated", "capsule.folder": str(tmp_path)}.items():
        connect.conf.set(f"spark.gpuspark.{key}", value)
    gs.ledger(connect).clear()
    frame = connect.range(0, 1000, 1, 2).selectExpr("cast(id as double) a")
    with pytest.raises(Exception, match="DeviceFault") as raised:
        frame.select(faulty.out_of_bounds()("a")).collect()
    [path] = tmp_path.glob("*.capsule")
    assert f"gpuspark replay {path}" in str(raised.value)
    assert read(path).manifest.rows == list(range(500))
    [result] = [result for record in gs.ledger(connect).records for result in record.findings]
    assert result.startswith("found on emulated: bounds: planted: no memory for 8 bytes")


def test_segments(connect) -> None:
    """With the groups found by the worker, or marked by a window of Spark's where the frame lies so already."""

    def counted(segments):
        return segments.keys.with_column("n", segments.lengths)

    frame = connect.range(0, 20, 1, 2).selectExpr("id % 3 k", "id t")
    for given, window in ((frame, False), (frame.repartition("k"), True)):
        built = gs.apply_in_segments(given, "k", counted, "k bigint, n bigint", order_by=desc("t"))
        assert ("Window" in plan_of(built)) is window
        assert sorted(tuple(row) for row in built.collect()) == [(0, 7), (1, 7), (2, 6)]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_kernels_over_columns(connect, device) -> None:
    connect.conf.set("spark.gpuspark.device", device)
    gs.ledger(connect).clear()
    frame = connect.createDataFrame([("kitten", "sitting"), ("a", None)], "l string, r string")
    triangles = kernels.Polygons([[[(0, 0), (8, 0), (0, 8)]]], cells=4)
    inside = functions.point_in_polygon(lit(1.0), lit(1.0), polygons=triangles)
    rows = frame.select(functions.levenshtein("l", "r"), inside).collect()
    assert [tuple(row) for row in rows] == [(3, 0), (None, 0)]
    result = {(s.function, s.rows, tuple(s.devices)) for s in gs.ledger(connect).summary()}
    assert result == {("levenshtein", 2, (device,)), ("point_in_polygon", 2, (device,))}


def test_expressions_need_no_python(connect) -> None:
    gs.ledger(connect).clear()
    frame = connect.range(0, 100, 1, 2).selectExpr("cast(id as double) as a", "cast(id as int) as b")
    f = gs.udf("double")(lambda a, b: a * 0.5 + b if a > 3 else None)
    chosen = frame.select(f("a", "b"), f(b="a", a=lit(4)), functions.haversine("a", "b", "a", 1.0))
    assert not has_python(chosen)
    assert not has_python(frame.where(f("a", "b") > 1).groupBy(f("b", "a")).count())
    assert [row[0] for row in chosen.collect()] == [n * 1.5 if n > 3 else None for n in range(100)]
    assert has_python(frame.select(f("a", (lit(1) * 2).cast("decimal(10,2)"))))
    with pytest.raises(Exception, match="ZeroDivisionError: float division by zero"):
        frame.select(gs.udf("double")(lambda a: 1 / a)("a")).collect()
    assert set(gs.ledger(connect).expressions) == {"<lambda>", "haversine"}
