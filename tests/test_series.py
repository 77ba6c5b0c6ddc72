"""``gs.pandas_udf`` beside PySpark's own: the same frame through both gives the same rows and schema."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.errors import PythonException
from pyspark.sql import Window
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark import cudf_form, pandas_form, series, series_worker
from gpuspark.config import Config
from gpuspark.devices import permits
from gpuspark.errors import DeclarationError, FallbackError, OutOfMemory
from gpuspark.plan import Plan
from gpuspark.session import TaskFacts


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
    """Both ways in which columns may travel. As Arrow, they do where a GPU is asked for."""
    if request.param == "arrow":
        spark.conf.set("spark.gpuspark.device", "cuda")
        spark.conf.set("spark.gpuspark.fallback", "silent")
    return request.param


def carried_as(built) -> str:
    """How the columns of the functions in ``built`` travel, by Spark's numbers of its kinds of functions."""
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


def test_structs_are_frames_both_ways(frame, transport) -> None:
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


def test_the_emulated_device_has_no_cudf_and_says_so(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    with pytest.raises(PythonException, match="needs cuDF"):
        frame.select(gs.pandas_udf(identity, "bigint")("n")).collect()


def test_compiled_functions_and_kernels_run_on_the_series_a_body_holds(frame, transport) -> None:
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


def test_a_wrong_length_is_pysparks_own_error(frame, transport) -> None:
    short = lambda v: v.head(1)  # noqa: E731
    said = []
    for build in (gs.pandas_udf, F.pandas_udf):
        with pytest.raises(PythonException) as error:
            frame.select(build(short, "bigint")("n")).collect()
        said.append([line for line in str(error.value).splitlines() if "Error" in line][-1])
    assert said[0].replace("arrow_udf", "pandas_udf") == said[1]  # PySpark 4.1 says which of its two it is


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


def test_results_that_are_no_series_or_do_not_fit_are_pysparks_own_errors(frame, transport) -> None:
    for body, declared in ((lambda v: 3, "bigint"), (lambda v: v.astype(str) + "x", "bigint"), (lambda v: v, "p int")):
        said = []
        for build in (gs.pandas_udf, F.pandas_udf):
            with pytest.raises(PythonException) as error:
                frame.select(build(body, declared)("n")).collect()
            said.append([line.split(":")[0] for line in str(error.value).splitlines() if "Error" in line][-1])
        assert said[0] == said[1]


def test_a_time_zone_set_after_the_column_was_built_is_used(spark, frame, transport) -> None:
    hour = gs.pandas_udf("int")(lambda t: t.dt.hour)
    later = gs.pandas_udf("timestamp")(lambda t: t + pd.Timedelta(hours=1))  # what it returns has no zone
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


def test_explain_takes_what_gs_udf_takes_and_names_every_type_without_a_cudf_form() -> None:
    f = gs.pandas_udf("double")(lambda a, b: a)
    text = str(f.explain("a decimal(10,2), b array<int>"))
    assert "<lambda> runs on cpu" in text
    plan = series_worker.decide("f", Config(device="cuda"), {"cuda": ["a column of date has no equal cuDF form"]})
    assert "a column of date" in str(plan)


# The control flow around cuDF, with a stand-in for the library. It proves nothing about cuDF itself.


def of_package(name: str, source: str) -> dict:
    """What ``source`` defines, as if the package ``name`` did."""
    namespace = {"__name__": f"{name}.core", "pd": pd}
    exec(source, namespace)
    return namespace


@pytest.fixture
def on_gpu(monkeypatch):
    """A worker whose plan says cuda, whose device keeps count, and whose cuDF refuses ``describe`` and has no room
    for ``cumsum``."""
    source = (
        "class Series(pd.Series):\n"
        "    def describe(self): raise NotImplementedError('describe')\n"
        "    def cumsum(self): raise MemoryError('std::bad_alloc: out_of_memory: CUDA error')\n"
    )
    made = of_package("cudf", source)["Series"]
    steps: list[str] = []
    device = type("Gpu", (), {"identity": "GPU-1", "trim": lambda self: steps.append("trim")})()

    @contextmanager
    def permit(identity, most):
        steps.append("permit")
        yield 0.0
        steps.append("returned")

    def make(body, fallback="warn", least_rows=0):
        monkeypatch.setattr(series_worker, "_retired", {})
        monkeypatch.setattr(cudf_form, "to_device", lambda column, *_: made(column))
        monkeypatch.setattr(cudf_form, "to_host", lambda r: pd.Series(r) if isinstance(r, made) else r)
        monkeypatch.setattr(series_worker, "task_config", lambda: Config(fallback=fallback))
        monkeypatch.setattr(series_worker, "open_for_rapids", lambda *_: device)
        monkeypatch.setattr(permits, "permit", permit)
        monkeypatch.setattr(series_worker, "decide", lambda *_: Plan(body.__name__, "cuda", (), False))
        worker = series_worker.SeriesWorker(body, f"call of {body.__name__} {fallback}", "pandas", least_rows)
        worker.steps = steps
        return worker

    return make


def devices_of(worker) -> dict[str, int]:
    facts = TaskFacts(0, 0, 0, 0, None, (), None)
    return {record.device: record.rows for record in worker._entry.take(facts)}


def test_a_permit_is_held_while_a_body_has_a_batch_and_not_while_it_waits(on_gpu) -> None:
    seen = []

    def body(batches):
        for batch in batches:
            seen.append(list(worker.steps))
            yield batch + 1

    def batches():
        for n in range(2):
            worker.steps.append(f"Spark's batch {n}")
            yield pd.Series([1.0 * n])

    worker = on_gpu(body)
    assert [list(r) for r in worker.iterate(batches())] == [[1.0], [2.0]]
    turn = ["permit", "trim", "returned"]
    # After each result the body has the GPU again, until it asks for the next batch.
    assert worker.steps == ["Spark's batch 0", *turn, "permit", "trim", "returned", "Spark's batch 1", *turn, *turn]
    assert [steps[-1] for steps in seen] == ["permit", "permit"]
    assert devices_of(worker) == {"cuda": 2}


def test_no_room_runs_this_batch_on_pandas_and_the_next_on_the_gpu(on_gpu) -> None:
    full = [True]

    def body(v):
        return v.cumsum() if full[0] else v

    worker = on_gpu(body)
    assert worker.once([pd.Series([1.0, 2.0])], {}).tolist() == [1.0, 3.0]
    full[0] = False
    worker.once([pd.Series([1.0, 2.0, 3.0])], {})
    assert devices_of(worker) == {"cpu": 2, "cuda": 3}


def test_memory_that_the_body_itself_lacks_is_an_error(on_gpu) -> None:
    entered = []

    def body(v):
        entered.append(len(v))
        raise MemoryError("mine")

    with pytest.raises(MemoryError, match="mine"):
        on_gpu(body).once([pd.Series([1.0])], {})
    assert entered == [1]


def test_a_body_over_iterators_is_not_begun_again(on_gpu) -> None:
    begun = []

    def body(batches):
        begun.append(1)
        for batch in batches:
            yield batch.describe()

    with pytest.raises(NotImplementedError) as error:
        list(on_gpu(body).iterate(iter([pd.Series([1.0])])))
    assert begun == [1]
    assert "cuDF has not describe (test_series.py, line" in "".join(error.value.__notes__)
    assert "spark.gpuspark.device=cpu" in "".join(error.value.__notes__)


def test_what_cudf_refuses_runs_on_pandas_and_stays_there(on_gpu) -> None:
    def body(v):
        v.describe()
        return v

    worker, column = on_gpu(body), pd.Series([1.0, 2.0])
    assert worker.once([column], {}) is column
    assert "cuDF has not describe" in series_worker._retired[worker.call]
    assert "test_series.py, line" in series_worker._retired[worker.call]
    assert worker.once([column], {}) is column
    assert worker.steps == ["permit", "trim", "returned"]
    assert devices_of(worker) == {"cpu": 4}


def test_a_body_over_iterators_that_finds_no_room_says_what_to_lower(on_gpu) -> None:
    def body(batches):
        for batch in batches:
            yield batch.cumsum()

    with pytest.raises(OutOfMemory) as error:
        list(on_gpu(body).iterate(iter([pd.Series([1.0])])))
    assert "Lower spark.sql.execution.arrow.maxRecordsPerBatch" in "".join(error.value.__notes__)


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


WITH_A_FORM = (
    pd.Series([1.0, None]), pd.Series([1, 2]), pd.Series([True]), pd.Series(["a"]), pd.Series(["a"], dtype=object),
    pd.Series(pd.to_datetime(["2020-01-01"])), pa.array([1, None]), pa.array([1.0, None]), pa.array(["a"]),
    pa.array([True]), pa.array([0], pa.timestamp("us", "UTC")),
)  # fmt: skip
WITHOUT = (
    (pd.Series([decimal.Decimal(1)]), "Decimal"), (pd.Series([datetime.date(2020, 1, 1)]), "date"),
    (pd.Series([None, [1]]), "list"), (pd.DataFrame({"p": [1]}), "struct"), (pa.array([decimal.Decimal(1)]), "decimal"),
    (pa.array([datetime.date(2020, 1, 1)]), "date32"), (pa.array([[1]]), "list"), (pa.array([b"a"]), "binary"),
)  # fmt: skip
NULLS_DIFFER = (
    pd.Series(["a", None], dtype=object), pd.Series([True, None], dtype=object), pd.Series(["a", None]),
    pd.Series(pd.to_datetime(["2020-01-01", None])), pa.array(["a", None]), pa.array([True, None]),
    pa.array([0, None], pa.timestamp("us", "UTC")),
)  # fmt: skip


def test_columns_without_an_equal_cudf_form_stay_on_pandas() -> None:
    assert [cudf_form.obstacle(column, "pandas") for column in WITH_A_FORM] == [None] * len(WITH_A_FORM)
    for column, kind in WITHOUT:
        assert f"{kind}" in cudf_form.obstacle(column, "pandas")
    for column in NULLS_DIFFER:
        assert "nulls, which cuDF compares otherwise" in cudf_form.obstacle(column, "pandas")
        assert cudf_form.obstacle(column, "cudf") is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_what_goes_to_cudf_means_what_pysparks_pandas_form_means(zone) -> None:
    """Before they become cuDF's, Arrow columns hold what PySpark's own converter makes of them."""
    moments = pa.array([0, 1_600_000_000_000_000], pa.timestamp("us", zone))  # as Spark sends them
    columns = [
        pa.array([1, None, 3]), pa.array([1, 2], pa.int8()), pa.array([1.5, None], pa.float32()), pa.array(["a", "b"]),
        pa.array([True, False]), moments, pa.array([0], pa.timestamp("us")),
    ]  # fmt: skip
    for column in columns:
        (theirs,) = pandas_form.to_pandas([column], pandas_form.Conversion(zone))
        ours = cudf_form._as_pandas_means(column, "pandas", zone).to_pandas()
        pd.testing.assert_series_equal(ours, theirs, check_names=False, check_dtype=column.type != pa.float32())
    assert cudf_form._as_pandas_means(columns[0], "cudf", zone) is columns[0]
