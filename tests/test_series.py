"""``gs.pandas_udf`` compared with PySpark's own: both give the same rows and schema for the same frame."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Iterator

import pandas as pd
import pytest
from pyspark.errors import PythonException
from pyspark.sql import Window
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.config import Config
from gpuspark.dialects import series, series_engine
from gpuspark.execution import placement


@pytest.fixture(scope="module")
def frame(spark):
    rows = [
        (
            n, n % 3, None if n % 5 == 0 else n / 7, f"s{n}" if n % 4 else None, n % 2 == 0,
            datetime.date(2020, 1, 1 + n % 28), datetime.datetime(2020, 3, 29, n % 24), decimal.Decimal(n) / 4,
            [n, None], {"k": n}, (n, str(n)), bytes([n]), datetime.timedelta(seconds=n),
        )
        for n in range(60)
    ]  # fmt: skip
    schema = (
        "n bigint, g int, x double, s string, b boolean, d date, t timestamp, c decimal(10,2), a array<int>, "
        "m map<string,int>, r struct<p:bigint,q:string>, y binary, i interval day to second"
    )
    return spark.createDataFrame(rows, schema).coalesce(2).cache()


def same(frame, build_ours, build_theirs) -> None:
    ours, theirs = build_ours(frame), build_theirs(frame)
    assert ours.schema == theirs.schema
    assert sorted(map(repr, ours.collect())) == sorted(map(repr, theirs.collect()))


def identity(v: pd.Series) -> pd.Series:
    return v


@pytest.fixture(params=["pandas", "arrow"])
def transport(request, spark):
    """Both transports of columns: as pandas, and as Arrow, which asking for a GPU selects."""
    if request.param == "arrow":
        spark.conf.set("spark.gpuspark.device", "cuda")
        spark.conf.set("spark.gpuspark.fallback", "silent")
    return request.param


def carried_as(built) -> str:
    """Returns how columns travel to the functions in the plan of ``built``, by Spark's numbers of UDF types."""
    plan = built._jdf.queryExecution().executedPlan().toString()
    kinds = {int(kind) for kind in re.findall(r"ArrowEvalPython .*\], (\d+)", plan)}
    return {frozenset({200}): "pandas", frozenset({250}): "arrow"}[frozenset(kinds)]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_every_type_passes_as_in_pyspark(spark, frame, zone, transport) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", zone)
    columns = [f for f in frame.schema if f.name != "r"]
    ours = [gs.pandas_udf(identity, f.dataType)(f.name).alias(f.name) for f in columns]
    theirs = [F.pandas_udf(identity, f.dataType)(f.name).alias(f.name) for f in columns]
    try:
        same(frame, lambda df: df.select(*ours), lambda df: df.select(*theirs))
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)


def test_structs_are_frames_as_arguments_and_results(frame, transport) -> None:
    def widen(r: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p": r["p"] * 2, "q": r["q"] + "!"})

    declared = "p bigint, q string"
    same(
        frame,
        lambda df: df.select(gs.pandas_udf(widen, declared)("r").alias("v")),
        lambda df: df.select(F.pandas_udf(widen, declared)("r").alias("v")),
    )


def test_iterators_of_series_and_of_tuples(frame, transport) -> None:
    def running(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        offset = 100
        for batch in batches:
            yield batch + offset

    def total(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
        for n, x in batches:
            yield n + x

    for body, names in ((running, ["n"]), (total, ["n", "x"])):
        same(
            frame,
            lambda df, body=body, names=names: df.select(gs.pandas_udf(body, "double")(*names).alias("v")),
            lambda df, body=body, names=names: df.select(F.pandas_udf(body, "double")(*names).alias("v")),
        )


def test_aggregates_grouped_and_in_windows(frame) -> None:
    def mean(v: pd.Series) -> float:
        return v.mean()

    ours, theirs = gs.pandas_udf(mean, "double"), F.pandas_udf(mean, "double")
    same(
        frame,
        lambda df: df.groupBy("g").agg(ours("x").alias("v")),
        lambda df: df.groupBy("g").agg(theirs("x").alias("v")),
    )
    whole, bounded = Window.partitionBy("g"), Window.partitionBy("g").orderBy("n").rowsBetween(-1, 1)
    for window in (whole, bounded):
        same(
            frame,
            lambda df, w=window: df.select("n", ours("x").over(w).alias("v")),
            lambda df, w=window: df.select("n", theirs("x").over(w).alias("v")),
        )


def test_decorator_forms_and_named_arguments(frame, transport) -> None:
    @gs.pandas_udf("double")
    def one(a: pd.Series, b: pd.Series) -> pd.Series:
        return a - b

    @gs.pandas_udf(returnType="double")
    def two(a: pd.Series, b: pd.Series) -> pd.Series:
        return a - b

    built = frame.select(one("n", "x").alias("a"), two(b="x", a="n").alias("b"))
    assert carried_as(built) == transport
    rows = built.collect()
    assert [r.a for r in rows] == [r.b for r in rows]


def test_batches_are_sparks_own_on_every_device(spark, frame) -> None:
    centred = gs.pandas_udf(lambda v: v - v.mean(), "double")
    theirs = frame.select(F.pandas_udf(lambda v: v - v.mean(), "double")("n").alias("v")).collect()
    for device in ("cpu", "python"):
        spark.conf.set("spark.gpuspark.device", device)
        assert frame.select(centred("n").alias("v")).collect() == theirs


def test_the_emulated_device_names_the_lack_of_cudf(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    with pytest.raises(PythonException, match="needs cuDF"):
        frame.select(gs.pandas_udf(identity, "bigint")("n")).collect()


def test_compiled_functions_and_kernels_take_the_series_of_a_body(frame, transport) -> None:
    double = gs.udf("double")(lambda x: x * 2)

    @gs.pandas_udf("double")
    def body(x: pd.Series) -> pd.Series:
        return double(x) + 1

    rows = frame.select("x", body("x").alias("v")).collect()
    assert all(r.v == (None if r.x is None else r.x * 2 + 1) for r in rows)


def test_an_error_of_the_body_keeps_its_traceback_and_names_the_function(frame, transport) -> None:
    @gs.pandas_udf("double")
    def picky(v: pd.Series) -> pd.Series:
        raise LookupError("no such airport")

    with pytest.raises(PythonException) as error:
        frame.select(picky("x")).collect()
    assert 'raise LookupError("no such airport")' in str(error.value)
    assert "gpuspark: function=picky rows=0-" in str(error.value)


def test_disabled_it_is_pysparks_own(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.enabled", "false")
    built = gs.pandas_udf(identity, "bigint").spark_udf()
    assert getattr(built, "func", None) is identity


def test_a_time_zone_set_after_the_column_was_built_is_used(spark, frame, transport) -> None:
    hour = gs.pandas_udf("int")(lambda t: t.dt.hour)
    later = gs.pandas_udf("timestamp")(lambda t: t + pd.Timedelta(hours=1))  # returns timestamps without a zone
    built = frame.select(hour("t").alias("v"), later("t").alias("w"))
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        expected = frame.select(F.hour("t").alias("v"), F.expr("t + interval 1 hour").alias("w")).collect()
        assert built.collect() == expected
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


def test_missing_cudf_and_executors_with_gpus_travel_as_arrow(spark, frame) -> None:
    assert carried_as(frame.select(gs.pandas_udf("bigint", missing="cudf")(lambda v: v)("n"))) == "arrow"
    assert carried_as(frame.select(gs.pandas_udf("bigint")(lambda v: v)("n"))) == "pandas"
    declared = type("Declared", (), {"conf": {"spark.executor.resource.gpu.amount": "1"}})
    assert series._expects_gpu(declared, Config(), "pandas")
    assert not series._expects_gpu(declared, Config(device="cpu"), "cudf")


def test_explain_accepts_the_same_as_for_udf_and_names_types_without_a_cudf_form() -> None:
    f = gs.pandas_udf("double")(lambda a, b: a)
    text = str(f.explain("a decimal(10,2), b array<int>"))
    assert "<lambda> runs on cpu" in text
    function = series_engine.placed("f", "", "pandas", over_batches=False)
    plan = placement.decide(function, Config(device="cuda"), {"cuda": ["a column of date has no equal cuDF form"]})
    assert "a column of date" in str(plan)
