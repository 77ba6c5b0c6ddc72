"""Declarations of ``gs.pandas_udf`` compared with PySpark's own: bodies, forms, misuse, and attributes."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql.functions import PandasUDFType
from pyspark.sql.types import ArrayType, LongType, YearMonthIntervalType

import gpuspark as gs
from gpuspark.errors import DeclarationError
from tests.support.told import told


@pytest.fixture(params=["cpu", "cuda"])
def device(request, spark):
    """The devices with which columns travel as pandas, and as Arrow."""
    spark.conf.set("spark.gpuspark.device", request.param)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    return request.param


def shifted(v, by):
    return v + by


def same(v: pd.Series) -> pd.Series:
    return v


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, v):
        return v * self.factor

    def method(self, v: pd.Series) -> pd.Series:
        return v + self.factor

    @staticmethod
    def alone(v: pd.Series) -> pd.Series:
        return v - 1


class Hinted:
    """A callable object with hints, which PySpark does not read, and warns about."""

    def __call__(self, batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        return (v * 2 for v in batches)


def several(*columns):
    return columns[0] + len(columns)


BODIES = {
    "only by name": lambda *, v: v, "a partial": functools.partial(shifted, by=10), "an object": Scale(3),
    "an object over iterators": Hinted(),
    "a method": Scale(3).method, "a static method": Scale.alone, "any number of columns": several,
    "a default": lambda v, by=2: v + by, "NumPy's": np.negative, "a builtin": abs,
    "a wrapped function": functools.wraps(same)(lambda *a: a[0] + 5),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_callable_that_pyspark_accepts_is_a_body(spark, device, name) -> None:
    results = []
    for make in (gs.pandas_udf, F.pandas_udf):
        try:
            results.append(told(spark.range(0, 3, 1, 1).select(make(BODIES[name], "bigint")("id").alias("v"))))
        except (PySparkException, TypeError) as error:
            results.append(f"{type(error).__name__}: {error}")
    assert results[0] == results[1]


def test_arguments_by_name_and_the_columns_name(spark, device) -> None:
    net = lambda gross, tax: gross - tax  # noqa: E731
    frame = spark.range(0, 3, 1, 1).selectExpr("id g", "id * 3 t")
    for names in ({"tax": "t", "gross": "g"}, {"gross": "g", "tax": "t"}):
        assert told(frame.select(gs.pandas_udf(net, "bigint")(**names))) == told(
            frame.select(F.pandas_udf(net, "bigint")(**names))
        )
    assert told(frame.select(gs.pandas_udf(net, "bigint")("g", tax="t"))) == told(
        frame.select(F.pandas_udf(net, "bigint")("g", tax="t"))
    )


def odd(v: int) -> pd.Series:
    return v


def test_all_ways_to_declare(spark) -> None:
    ways = [
        gs.pandas_udf("bigint")(same),
        gs.pandas_udf(returnType="bigint")(same),
        gs.pandas_udf(LongType())(same),
        gs.pandas_udf(same, "bigint"),
        gs.pandas_udf(same, returnType=LongType()),
    ]
    for way in ways:
        assert (way.returnType, way.evalType) == (LongType(), PandasUDFType.SCALAR)


MISUSES = {
    "a type that is none": lambda make: make(same, "dubble"),
    "functionType=100": lambda make: make(same, "double", 100),
    "functionType=100, decorating": lambda make: make("double", 100)(same),
    "no parameters": lambda make: make(lambda: 1, "bigint"),
    "hints of no form": lambda make: make(odd, "double"),
    "months": lambda make: make(same, ArrayType(YearMonthIntervalType())),
    "no type": lambda make: make(same),
    "nothing": lambda make: make(),
    "a number for a type": lambda make: make(same, 5),
    "a map that gives no rows": lambda make: make(same, "double", PandasUDFType.GROUPED_MAP),
    "an aggregate that gives a struct": lambda make: make(same, "p int", PandasUDFType.GROUPED_AGG),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_found_at_decoration_and_caught_as_pysparks(spark, name) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PySparkException) as theirs:
            MISUSES[name](F.pandas_udf)
        with pytest.raises(type(theirs.value)):
            MISUSES[name](gs.pandas_udf)


def test_misuse_with_messages_of_our_own() -> None:
    with pytest.raises(DeclarationError, match="needs the type"):
        gs.pandas_udf()
    with pytest.raises(DeclarationError, match="pandas"):
        gs.pandas_udf("double", missing="none")
    with pytest.raises(DeclarationError, match="decorates a function"):
        gs.pandas_udf("double")(3)


def share(rows):
    return rows.assign(x=rows.x / rows.x.sum())


def keyed(key, rows):
    return rows.assign(k=key[0] * 2)


@pytest.mark.filterwarnings("ignore")
def test_the_forms_that_functiontype_names(spark, device) -> None:
    frame = spark.createDataFrame([("a", 1.0), ("a", 3.0), ("b", 5.0)], "k string, x double").coalesce(1)
    for body in (share, keyed):
        made = [make(body, "k string, x double", PandasUDFType.GROUPED_MAP) for make in (gs.pandas_udf, F.pandas_udf)]
        results = [told(frame.groupBy("k").apply(one).orderBy("k", "x")) for one in made]
        assert results[0] == results[1]
    forms = {
        "GROUPED_AGG": (lambda v: v.sum(), lambda f: frame.groupBy("k").agg(f("x").alias("v")).orderBy("k")),
        "SCALAR_ITER": (lambda batches: (v + 1 for v in batches), lambda f: frame.select(f("x").alias("v"))),
        "SCALAR": (lambda v: v + 1, lambda f: frame.select(f("x").alias("v"))),
    }
    for name, (body, use) in forms.items():
        form = getattr(PandasUDFType, name)
        assert told(use(gs.pandas_udf(body, "double", form))) == told(use(F.pandas_udf(body, "double", form))), name
        assert gs.pandas_udf(body, "double", form).evalType == form


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("returnType", "string"), ("func", len), ("missing", -1), ("deterministic", False), ("spark_udf", 1),
        ("evalType", 3), ("functionType", 100), ("declared", "string"), ("_built", None), ("explain", 0),
        ("asNondeterministic", 0), ("simpleString", 0), ("__gpuspark_body__", len), ("__signature__", 5),
    ],
)  # fmt: skip
def test_attributes_of_the_body_do_not_replace_ours(spark, device, attribute, value) -> None:
    def body(v):
        return v + 1

    if attribute != "__signature__":
        setattr(body, attribute, value)
    made = gs.pandas_udf(body, "bigint")
    assert told(spark.range(0, 2, 1, 1).select(made("id").alias("v"))) == ("struct<v:bigint>", "Row(v=1)", "Row(v=2)")
    assert (made.func, made.returnType, made.missing, made.deterministic) == (body, LongType(), "pandas", True)
    assert made.__wrapped__ is body


def test_it_has_the_attributes_of_pysparks_udf(spark) -> None:
    bodies = {"bigint": same, "array<bigint>": functools.partial(shifted, by=1), LongType(): Scale(3)}
    for declared, body in bodies.items():
        ours, theirs = gs.pandas_udf(body, declared), F.pandas_udf(body, declared)
        for name in ("func", "returnType", "evalType", "deterministic", "__name__", "__module__", "__doc__"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert not ours.asNondeterministic().deterministic
        assert {"func", "evalType", "returnType"} <= {name for name, _ in inspect.getmembers(ours)}


def mean(v: pd.Series) -> float:
    return v.mean()


def doubled(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    return (v * 2 for v in batches)


@pytest.mark.parametrize("body", [same, doubled, mean])
def test_registered_for_sql_it_runs_like_columns(spark, device, body) -> None:
    results = []
    for make in (F.pandas_udf, gs.pandas_udf):
        registered = spark.udf.register("f", make(body, "double"))
        rows = told(spark.sql("select f(id) v from range(0, 3, 1, 1)"))
        results.append((registered.evalType, registered.deterministic, rows))
    assert results[0] == results[1]
    assert registered.func is not body  # but our worker, so that SQL uses a GPU and the ledger, too


def test_a_nondeterministic_function_stays_so_when_registered(spark) -> None:
    registered = spark.udf.register("g", gs.pandas_udf(same, "bigint").asNondeterministic())
    assert not registered.deterministic
