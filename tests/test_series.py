"""``gs.pandas_udf`` beside PySpark's own: the same frame through both gives the same rows and schema."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator

import pandas as pd
import pytest
from pyspark.errors import PythonException
from pyspark.sql import Window
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark import series
from gpuspark.errors import DeclarationError, FallbackError


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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_every_type_passes_as_in_pyspark(spark, frame, zone) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", zone)
    columns = [f for f in frame.schema if f.name != "r"]
    ours = [gs.pandas_udf(identity, f.dataType)(f.name).alias(f.name) for f in columns]
    theirs = [F.pandas_udf(identity, f.dataType)(f.name).alias(f.name) for f in columns]
    try:
        same(frame, lambda df: df.select(*ours), lambda df: df.select(*theirs))
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)


def test_structs_are_frames_both_ways(frame) -> None:
    def widen(r: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"p": r["p"] * 2, "q": r["q"] + "!"})

    declared = "p bigint, q string"
    same(
        frame,
        lambda df: df.select(gs.pandas_udf(widen, declared)("r").alias("v")),
        lambda df: df.select(F.pandas_udf(widen, declared)("r").alias("v")),
    )


def test_iterators_of_series_and_of_tuples(frame) -> None:
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


def test_decorator_forms_and_named_arguments(frame) -> None:
    @gs.pandas_udf("double")
    def one(a: pd.Series, b: pd.Series) -> pd.Series:
        return a - b

    @gs.pandas_udf(returnType="double")
    def two(a: pd.Series, b: pd.Series) -> pd.Series:
        return a - b

    rows = frame.select(one("n", "x").alias("a"), two(b="x", a="n").alias("b")).collect()
    assert [r.a for r in rows] == [r.b for r in rows]


def test_batches_are_sparks_own_on_every_device(spark, frame) -> None:
    centred = gs.pandas_udf(lambda v: v - v.mean(), "double")
    theirs = frame.select(F.pandas_udf(lambda v: v - v.mean(), "double")("n").alias("v")).collect()
    for device in ("cpu", "python"):
        spark.conf.set("spark.gpuspark.device", device)
        assert frame.select(centred("n").alias("v")).collect() == theirs


def test_the_emulated_device_has_no_cudf_and_says_so(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    with pytest.raises(PythonException, match="needs cuDF"):
        frame.select(gs.pandas_udf(identity, "bigint")("n")).collect()


def test_compiled_functions_and_kernels_run_on_the_series_a_body_holds(frame) -> None:
    double = gs.udf("double")(lambda x: x * 2)

    @gs.pandas_udf("double")
    def body(x: pd.Series) -> pd.Series:
        return double(x) + 1

    rows = frame.select("x", body("x").alias("v")).collect()
    assert all(r.v == (None if r.x is None else r.x * 2 + 1) for r in rows)


def test_an_error_of_the_body_keeps_its_traceback_and_names_the_function(frame) -> None:
    @gs.pandas_udf("double")
    def picky(v: pd.Series) -> pd.Series:
        raise LookupError("no such airport")

    with pytest.raises(PythonException) as error:
        frame.select(picky("x")).collect()
    assert 'raise LookupError("no such airport")' in str(error.value)
    assert "gpuspark: function=picky rows=0-" in str(error.value)


def test_a_wrong_length_is_pysparks_own_error(frame) -> None:
    short = lambda v: v.head(1)  # noqa: E731
    said = []
    for build in (gs.pandas_udf, F.pandas_udf):
        with pytest.raises(PythonException) as error:
            frame.select(build(short, "bigint")("n")).collect()
        said.append([line for line in str(error.value).splitlines() if "Error" in line][-1])
    assert said[0] == said[1]


def test_misuse_is_named_at_decoration() -> None:
    with pytest.raises(DeclarationError, match="needs the type"):
        gs.pandas_udf()
    with pytest.raises(DeclarationError, match="pandas"):
        gs.pandas_udf("double", missing="none")
    with pytest.raises(DeclarationError, match="decorates a function"):
        gs.pandas_udf("double")(3)


def test_switched_off_it_is_pysparks_own(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.enabled", "false")
    built = gs.pandas_udf(identity, "bigint").spark_udf()
    assert getattr(built, "func", None) is identity


# The control flow around cuDF, with a stand-in for the library. It proves nothing about cuDF itself.


class _Refusing:
    """Takes the place of the way to cuDF; its columns refuse ``describe`` from a module named cudf."""

    def __init__(self, _missing: str) -> None:
        pass

    def to_device(self, column):
        namespace = {"__name__": "cudf.core.series"}
        exec("def describe(self):\n    raise NotImplementedError('describe')", namespace)
        return type("Series", (), {"column": column, "describe": namespace["describe"]})()

    def to_host(self, result):
        return result.column if hasattr(result, "column") else result


@pytest.fixture
def on_gpu(monkeypatch):
    """A worker whose plan says cuda."""
    from gpuspark.config import Config
    from gpuspark.plan import Plan

    def make(body, fallback="warn", least_rows=0):
        monkeypatch.setattr(series, "_Gpu", _Refusing)
        monkeypatch.setattr(series, "task_config", lambda: Config(fallback=fallback))
        monkeypatch.setattr(series, "decide", lambda *_: Plan(body.__name__, "cuda", (), False))
        return series.SeriesWorker(body, f"call of {body.__name__} {fallback}", "pandas", least_rows)

    return make


def test_what_cudf_refuses_runs_on_pandas_and_stays_there(on_gpu) -> None:
    def body(v):
        v.describe()
        return v

    worker, column = on_gpu(body), pd.Series([1.0, 2.0])
    assert worker.once([column], {}) is column
    assert "cuDF has not describe" in series._retired[worker.call]
    assert "test_series.py, line" in series._retired[worker.call]
    assert worker.once([column], {}) is column


def test_fallback_raise_forbids_pandas_there(on_gpu) -> None:
    def refused(v):
        return v.describe()

    with pytest.raises(FallbackError, match="cuDF has not describe"):
        on_gpu(refused, fallback="raise").once([pd.Series([1.0])], {})


def test_the_bodys_own_error_is_not_a_fallback(on_gpu) -> None:
    calls = []

    def wrong(v):
        calls.append(1)
        return v.no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing"):
        on_gpu(wrong).once([pd.Series([1.0])], {})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pd.Series([decimal.Decimal(1)]), "Decimal"),
        (pd.Series([datetime.date(2020, 1, 1)]), "date"),
        (pd.Series([None, [1]]), "list"),
        (pd.DataFrame({"p": [1]}), "struct"),
        (pd.Series([1.0]), None),
        (pd.Series(["a", None], dtype=object), None),
    ],
)
def test_columns_without_an_equal_cudf_form_stay_on_pandas(column, why) -> None:
    found = series.cudf_obstacle(column)
    assert (found is None) if why is None else (why in found)
