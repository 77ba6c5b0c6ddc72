"""``gs.udf`` of every kind of callable, declared in every way that PySpark's ``udf`` accepts, compared with it."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, LongType

import gpuspark as gs
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.dialects.series import SeriesUDF
from gpuspark.errors import CallError, DeclarationError


@pytest.fixture
def frame(spark):
    spark.conf.set("spark.gpuspark.fallback", "silent")
    return spark.range(1, 4).selectExpr("id n", "id * 2 m", "array(id, 7L) pair", "if(id = 2, null, id) v")


def shifted(n, by):
    return n + by


class Rule:
    """A callable object with attributes that have the names of ours."""

    def __init__(self, nulls: str) -> None:
        self.nulls = self.signature = self.result = nulls

    def __call__(self, v):
        return -1 if v is None else v

    def tripled(self, v):
        return v * 3


CALLABLES = (
    (str, "string", ["n"]),
    (int, "bigint", ["n"]),
    (bool, "boolean", ["n"]),
    (max, "bigint", ["n", "m"]),
    (math.hypot, "double", ["n", "m"]),
    (math.log, "double", ["n"]),
    (operator.itemgetter(1), "bigint", ["pair"]),
    (functools.partial(shifted, by=10), "bigint", ["n"]),
    (functools.partial(int, base=10), "bigint", ["string(n)"]),
    (Rule("pass"), "bigint", ["n"]),
    (Rule("pass").tripled, "bigint", ["n"]),
    (len, "int", ["pair"]),
)


def test_every_callable_is_a_function_as_in_pyspark(spark, frame) -> None:
    """Values, types, and the names of the columns."""
    ours, theirs = (
        frame.select(*(make(body, declared)(*map(F.expr, texts)) for body, declared, texts in CALLABLES))
        for make in (gs.udf, F.udf)
    )
    assert ours.schema == theirs.schema
    assert ours.collect() == theirs.collect()
    reasons = [str(gs.udf(body, declared).explain()) for body, declared, _ in CALLABLES]
    assert all("not a plain Python function" in reason for reason in reasons)


def test_attributes_of_the_body_do_not_replace_ours(frame) -> None:
    rows = frame.select(
        *(
            gs.udf(Rule(own), "bigint", nulls=nulls)("v").alias(f"{nulls}_{own}")
            for nulls in ("pass", "propagate")
            for own in ("pass", "drop")
        )
    ).collect()
    assert [tuple(row) for row in rows] == [(1, 1, 1, 1), (-1, -1, None, None), (3, 3, 3, 3)]
    names = {"result", "func", "signature", "returnType", "declared", "deterministic", "spark_udf", "explain", "_built"}
    for name in names:

        def body(v):
            return v + 1

        setattr(body, name, "its own")
        made = gs.udf(body, "bigint")
        assert getattr(made, name) != "its own", name
        assert made.__wrapped__ is body
        assert frame.select(made("n").alias("v")).schema.simpleString() == "struct<v:bigint>"


def net(gross, tax):
    return gross - tax


def test_columns_are_named_as_pysparks(spark, frame) -> None:
    calls = (
        lambda f: f("m", "n"),
        lambda f: f("m", tax="n"),
        lambda f: f(tax="n", gross="m"),
        lambda f: f(F.col("m") + 1, tax=F.lit(2)),
    )
    for enabled in ("true", "false"):
        spark.conf.set("spark.gpuspark.enabled", enabled)
        for call in calls:
            ours, theirs = (frame.select(call(make(net, "bigint"))) for make in (gs.udf, F.udf))
            assert ours.columns == theirs.columns
    spark.conf.set("spark.gpuspark.enabled", "true")
    ours, theirs = (frame.select(*(call(make(net, "bigint")) for call in calls)) for make in (gs.udf, F.udf))
    assert ours.collect() == theirs.collect()


def price(**parts):
    return parts["net"] + parts["tax"]


def count_them(*values):
    return len(values)


def options(a, b=10, *, c=100):
    return a + b + c


def test_sql_calls_by_name_and_with_any_number(spark, frame) -> None:
    calls = (
        "price(net => n, tax => m)", "price(tax => m, net => n)", "count_them(n, m, n)", "options(n)", "options(n, m)",
        "options(n, c => m)", "options(b => n, a => m)", "options(c => n, a => m)",
    )  # fmt: skip
    frame.createOrReplaceTempView("callables")
    results = []
    for make in (F.udf, gs.udf):
        for body in (price, count_them, options):
            spark.udf.register(body.__name__, make(body, "bigint"))
        results.append(spark.sql(f"select {', '.join(calls)} from callables").collect())
    assert results[0] == results[1]
    with pytest.raises(CallError, match=r"price\(\*\*parts\) was given 1 columns"):
        gs.udf(price, "bigint")("n")


def test_captured_values_are_copied_once_for_every_form(spark, frame) -> None:
    scale, table = 2, {"plus": 1}

    def body(n):
        return n * scale

    def looked_up(n):
        return n * scale + table["plus"]

    f, g = gs.udf(body, "bigint"), gs.udf(looked_up, "bigint")
    scale = 3
    assert f(pa.array([1])).to_pylist() == [3]  # no Spark column yet
    first = [f("n"), g("n")]
    scale, table["plus"] = [], 1000  # no longer a number: it would neither compile nor be right
    spark.udf.register("taken_f", f)
    spark.udf.register("taken_g", g.spark_udf())
    later = [f(n="n"), g(n="n"), F.expr("taken_f(n)"), F.expr("taken_g(n)")]
    spark.conf.set("spark.gpuspark.enabled", "false")
    later += [f("n"), g("n")]
    spark.conf.set("spark.gpuspark.enabled", "true")
    for row in frame.select("n", *first, *later).collect():
        assert set(row[1::2]) == {row.n * 3}  # all of f
        assert set(row[2::2]) == {row.n * 3 + 1}  # all of g
    assert f.explain(["bigint"]).device == "cpu"
    assert (f(pa.array([1])).to_pylist(), g(pa.array([1])).to_pylist()) == ([3], [4])
    assert f(1) == []  # with a number it is the body itself
    scale = 5
    assert frame.select(gs.udf(body, "bigint")("n").alias("v")).first().v == 5


def test_a_body_decorated_again_is_the_same_expression(spark, frame) -> None:
    by = 1

    def moved(n):
        return n + by

    def batches(each: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
        yield from each

    def groups(segments: gs.Segments) -> gs.Batch:
        return segments.batch

    def frames():
        yield frame.select(gs.udf(moved, "bigint")("n"))
        yield frame.select(gs.udf(moved, LongType())(n="n"))
        yield frame.select(gs.udf(moved, "bigint", nulls="pass")("n"))
        yield gs.map_in_arrow(frame.select("n"), batches, "n bigint")
        yield gs.apply_in_segments(frame.select("n"), "n", groups, "n bigint")
        yield frame.select(gs.functions.levenshtein(F.lit("a"), F.col("n").cast("string")))

    once, again = list(frames()), list(frames())
    assert [one.sameSemantics(other) for one, other in zip(once, again, strict=True)] == [True] * len(once)
    assert not once[0].sameSemantics(once[2])
    by = 2
    assert not once[0].sameSemantics(next(frames()))


def total(v: pd.Series) -> float:
    return float(v.sum())


def centred(v: pd.Series) -> pd.Series:
    return v - v.mean()


def of_arrays(v: pa.Array) -> pa.Array:
    return v


def test_hints_of_series_make_a_pandas_udf_as_in_pyspark(spark, frame) -> None:
    for body in (total, centred):
        made = gs.udf(body, "double")
        assert isinstance(made, SeriesUDF)
        ours, theirs = (frame.coalesce(1).select(make(body, "double")("n").alias("v")) for make in (gs.udf, F.udf))
        assert ours.collect() == theirs.collect()
        assert isinstance(gs.udf(body, "double", useArrow=True), ScalarUDF)  # PySpark's then calls it row by row
    with pytest.raises(DeclarationError, match=r"of_arrays.*arrow_udf"):
        gs.udf(of_arrays, "double")
    with pytest.raises(DeclarationError, match=r'total.*nulls="pass"'):
        gs.udf("double", nulls="pass")(total)

    def plain(v: float) -> float:
        return v

    def partly(v: pd.Series, by) -> float:
        return 1.0

    assert isinstance(gs.udf(plain, "double"), ScalarUDF)
    with pytest.warns(UserWarning, match="Cannot infer the eval type"):
        F.udf(partly, "double")
    assert isinstance(gs.udf(partly, "double"), ScalarUDF)


def test_the_decorator_accepts_what_pysparks_accepts(spark) -> None:
    made = gs.udf(shifted, returnType=DoubleType(), useArrow=False)
    assert made.returnType == F.udf(shifted, DoubleType()).returnType
    assert gs.udf(returnType="double")(shifted).returnType == DoubleType()
    assert made.evalType == F.arrow_udf(lambda v: v, "double").evalType
    assert {"returnType", "evalType", "func"} <= {name for name, _ in inspect.getmembers(made)}
    spark.conf.set("spark.gpuspark.enabled", "false")
    assert made.evalType == F.udf(shifted, "double", useArrow=False).evalType
    assert gs.udf(shifted, "double", useArrow=True).evalType == F.udf(shifted, "double", useArrow=True).evalType


def test_misuse_is_found_at_decoration() -> None:
    for wrong in (3, None):
        with pytest.raises(DeclarationError, match="decorates a function, not"):
            gs.udf("double")(wrong)
    with pytest.raises(DeclarationError, match="decorates a function, not 3"):
        gs.udf(3, "double")
    for wrong in (DoubleType, int, 3):
        with pytest.raises(DeclarationError, match="is not a type: give a string such as 'double'"):
            gs.udf(shifted, wrong)


async def coroutine(v):
    return v


def generator(v):
    yield v


def asserting(v):
    assert v > 0
    return v


def test_reasons_name_what_keeps_a_body_from_compiling() -> None:
    assert "coroutine gives a coroutine (async def) and no value" in str(gs.udf(coroutine, "double").explain())
    assert "generator gives a generator (yield) and no value" in str(gs.udf(generator, "double").explain())
    assert "pytest has rewritten the asserts of asserting" in str(gs.udf(asserting, "double").explain())
