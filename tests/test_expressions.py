"""Device ``sql`` in Spark: which plans have a Python node, and what the columns hold and are called."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pyspark.sql import Window
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark import functions
from gpuspark.compiler.catalyst import trees
from tests.support.spark_plans import has_python, plan_of

HALF = np.float64(0.5)
FACTOR = 2.0
PRICES = """
import math
RATE, HALF = 2.0, 0.5
FEE = HALF * RATE + 1
ROOT = math.sqrt(RATE)
def by_rate(x):
    return x * RATE
def by_fee(x):
    return x * FEE
def by_root(x):
    return x * ROOT
"""


def half_more(x, y):
    return x * 0.5 + y


def size(x: float):
    if x > 2:
        return "large"
    return "small"


def inverse(x):
    return 1 / x


@pytest.fixture
def frame(spark):
    rows = [(1.5, 2, math.nan, 3, True, "ab"), (math.nan, 3, -0.0, 4, False, ""), (None, 4, 1.0, 2, None, None)]
    return spark.createDataFrame(rows, "a double, b int, c double, d bigint, t boolean, s string").coalesce(1)


PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "select": lambda frame, f: frame.select(f("a", "b")),
    "a number beside columns": lambda frame, f: frame.select(f(F.col("a") + 1, 2)),
    "inside another function": lambda frame, f: frame.select(f(f("a", "b"), "c")),
    "inside one of Spark's": lambda frame, f: frame.select(F.sqrt(f("a", "b")) + 1),
    "where": lambda frame, f: frame.where(f("a", "b") > 1),
    "withColumn": lambda frame, f: frame.withColumn("z", f("a", "b")).where("z > 1"),
    "groupBy": lambda frame, f: frame.groupBy(f("a", "b")).count(),
    "agg": lambda frame, f: frame.groupBy("b").agg(F.sum(f("a", "b"))),
    "order": lambda frame, f: frame.orderBy(f("a", "b")),
    "window": lambda frame, f: frame.select(F.sum(f("a", "b")).over(Window.partitionBy(f("b", "d")))),
    "when": lambda frame, f: frame.select(F.when(f("a", "b") > 1, f("b", "a")).otherwise(f("a", "b"))),
    "inner join": lambda frame, f: frame.alias("l").join(frame.alias("r"), f("l.a", "r.b") == F.col("r.c")),
    "left join": lambda frame, f: frame.alias("l").join(frame.alias("r"), f("l.a", "r.b") == F.col("r.c"), "left"),
}


def test_dates_beyond_pythons_calendar_raise(spark) -> None:
    frame = spark.sql("select date'2024-03-01' as d, date'+10000-01-01' as e")
    days = gs.udf("bigint")(lambda d, e: (e - d).days)
    assert not has_python(frame.select(days("d", "d")))
    with pytest.raises(Exception, match="OverflowError: date value out of range"):
        frame.select(days("d", "e")).collect()


@pytest.mark.parametrize("place", PLACES)
def test_no_python_runs_where_the_types_have_an_expression(frame, place: str) -> None:
    chosen = PLACES[place](frame, gs.udf("double")(half_more))
    assert not has_python(chosen)
    chosen.collect()


def test_the_values_are_those_of_the_udf(spark, frame) -> None:
    f = gs.udf("double")(half_more)
    columns = [("a", "b"), ("b", "a"), ("d", "b"), ("t", "b"), ("c", "d")]

    def answers() -> list[Any]:
        return [tuple(map(repr, row)) for row in frame.select(*(f(*pair) for pair in columns)).collect()]

    as_expressions = answers()
    spark.conf.set("spark.gpuspark.device", "python")
    assert as_expressions == answers()


def test_other_types_take_the_udf(spark, frame) -> None:
    f = gs.udf("double")(half_more)
    gs.ledger(spark).clear()
    decimals = frame.select(F.col("b").cast("decimal(10,2)").alias("x"), "a").where("a > 1")
    spark.conf.set("spark.gpuspark.fallback", "silent")
    assert has_python(decimals.select(f("x", "a")))
    with pytest.raises(Exception, match="TypeError"):  # as plain PySpark: a decimal times a float
        decimals.select(f("x", "a")).collect()
    assert has_python(frame.select(gs.udf("double")(lambda x: x * 3)("d")))  # it may need more than 64 bits


def test_only_what_has_no_expression_is_a_udf(frame) -> None:
    heavy = gs.udf("double")(lambda x: math.erf(x) * 1.0)
    light = gs.udf("double")(half_more)
    mixed = frame.select(light(heavy("a"), "b").alias("v"))
    assert has_python(mixed)
    assert "half_more(" not in plan_of(mixed)


def test_errors_are_pythons_with_the_functions_name(spark, frame) -> None:
    f = gs.udf("double")(inverse)
    for ansi in ("true", "false"):
        spark.conf.set("spark.sql.ansi.enabled", ansi)
        try:
            with pytest.raises(Exception, match=r"ZeroDivisionError: float division by zero \(gpuspark ran inverse"):
                frame.select(f("c")).collect()
            with pytest.raises(Exception, match="ZeroDivisionError: division by zero"):
                frame.select(f(F.col("b") - 2)).collect()
        finally:
            spark.conf.unset("spark.sql.ansi.enabled")


def test_the_first_error_of_a_statement_is_raised(frame) -> None:
    f = gs.udf("double")(lambda x, y: 1 / x + (k := int(y)) + k)
    with pytest.raises(Exception, match="ZeroDivisionError: float division by zero"):
        frame.where("b = 3").select(f("c", "a")).collect()  # int(nan) would raise too


def test_a_result_of_numpys_that_may_not_fit_is_refused() -> None:
    """Python's error would name NumPy's type."""
    f = gs.udf("bigint")(lambda x: np.sqrt(x))
    assert "a result that may be a NumPy scalar which bigint cannot hold" in str(f.explain("x double"))


def test_columns_are_called_as_those_of_the_udf(spark, frame) -> None:
    f = gs.udf("double")(half_more)
    calls = (f("a", "b"), f(F.col("a") + 1, 2), f(y="a", x=F.col("b")), f(f("a", "b"), 0.5))
    names = frame.select(*calls).columns
    spark.conf.set("spark.gpuspark.device", "cpu")
    assert names == frame.select(f("a", "b"), f(F.col("a") + 1, 2), f(y="a", x=F.col("b")), f(f("a", "b"), 0.5)).columns


def test_columns_with_odd_names_and_fields_are_read(spark) -> None:
    frame = spark.sql(
        "select 1.5D as `a b`, named_struct('x', 2.0D) as s, 3.0D as `_gpuspark_argument_1`, 3.5D as `_gpuspark_part_0`"
    )
    f = gs.udf("double")(half_more)
    row = frame.select(f("`a b`", "s.x"), f("_gpuspark_argument_1", F.col("s.x")), f(F.col("s")["x"], "`a b`")).first()
    assert tuple(row) == (2.75, 3.5, 2.5)
    by_part = gs.udf("double")(lambda x, y: (x - 0.5) * (x - 0.5) + y)
    assert frame.select(by_part("_gpuspark_part_0", F.col("s.x") + 0)).first() == (11.0,)


def test_strings_and_labels(frame) -> None:
    labels = frame.select(gs.udf("string")(size)("b"), gs.udf("bigint")(lambda s: len(s) + 1)("s"))
    assert not has_python(labels)
    assert [tuple(row) for row in labels.collect()] == [("small", 3), ("large", 1), ("large", None)]


def test_arguments_that_differ_from_reading_to_reading_keep_the_udf(frame) -> None:
    square = gs.udf("double")(lambda x: x * x - x * x)
    random = F.udf(lambda x: x, "double").asNondeterministic()
    for argument in (F.rand(), F.rand() + 1, F.expr("rand() * 2"), random("a"), F.udf(lambda x: x, "double")("a")):
        chosen = frame.select(square(argument).alias("v"))
        assert has_python(chosen)
        assert {row.v for row in chosen.collect() if row.v == row.v} <= {0.0, None}
    assert not has_python(frame.select(square(F.sqrt(F.abs("a")) + F.coalesce("c", F.lit(1.0)))))


def test_a_kernel_is_an_expression(frame) -> None:
    assert not has_python(frame.select(functions.haversine("a", "b", "c", 1.0)))


def test_the_ledger_lists_the_function_without_rows(spark, frame) -> None:
    gs.ledger(spark).clear()
    frame.select(gs.udf("double")(half_more)("a", "b")).collect()
    ledger = gs.ledger(spark)
    assert ledger.expressions == ("half_more",)
    assert "half_more  not counted" in str(ledger)
    ledger.clear()
    assert gs.ledger(spark).expressions == ()


@pytest.mark.parametrize(
    ("setting", "value"), [("device", "cpu"), ("enabled", "false"), ("arithmetic", "native"), ("device", "python")]
)
def test_settings_that_keep_the_udf(spark, frame, setting: str, value: str) -> None:
    spark.conf.set(f"spark.gpuspark.{setting}", value)
    assert has_python(frame.select(gs.udf("double")(half_more)("a", "b")))


def test_a_nondeterministic_function_stays_a_udf(frame) -> None:
    assert has_python(frame.select(gs.udf("double")(half_more).asNondeterministic()("a", "b")))


def test_asked_for_and_refused_it_falls_back_with_the_reason(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.device", "sql")
    f = gs.udf("double")(lambda x: math.erf(x))
    plan = f.explain("x double")
    assert plan.device == "cpu"
    assert "math.erf, which has no equal Spark expression (test_expressions.py, line" in str(plan)
    with pytest.raises(Exception, match="FallbackError"):
        frame.select(f("a")).collect()
    spark.conf.set("spark.gpuspark.fallback", "silent")
    gs.ledger(spark).clear()
    frame.select(f("a")).collect()
    [record] = gs.ledger(spark).records
    assert record.device == "cpu"
    assert any("sql: math.erf" in reason for reason in record.reasons)


def test_a_share_of_the_rows_is_compared_with_python(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.verify.fraction", "1")
    gs.ledger(spark).clear()
    f = gs.udf("double")(half_more)
    columns = frame.select(f("a", "b"), f(y="d", x="b"))
    assert has_python(columns)
    assert [tuple(row) for row in columns.collect()[::2]] == [(2.75, 4.0), (None, 4.0)]
    assert {(r.function, r.device, r.rows) for r in gs.ledger(spark).records} == {("half_more", "sql", 6)}
    [variant] = [v for v in f.expression(("x", "y")).variants if v.kinds == {"x": "number", "y": "number"}]
    wrong = replace(variant, result=trees.real(7.0))
    f._expressions["x", "y"] = replace(f.expression(("x", "y")), variants=(wrong,))
    with pytest.raises(Exception, match=r"half_more gave 7\.0 on sql and 2\.75 in Python for row 0"):
        frame.select(f("a", "b")).collect()


def test_captured_values_are_those_of_the_first_column(frame, monkeypatch) -> None:
    f = gs.udf("double")(lambda x: x * FACTOR)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert f.explain("x double").device == "sql"
    monkeypatch.setitem(globals(), "FACTOR", 4.0)
    column = f("a")
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    assert frame.select(column, f("a")).first() == (6.0, 6.0)


def test_values_that_workers_read_for_themselves_must_be_written_out(frame, tmp_path, monkeypatch) -> None:
    """A worker imports the module, and has its values; an expression has the driver's."""
    (tmp_path / "prices.py").write_text(PRICES)
    monkeypatch.syspath_prepend(str(tmp_path))
    prices = importlib.import_module("prices")
    assert not has_python(frame.select(gs.udf("double")(lambda x: prices.by_rate(x))("a")))
    by_fee = frame.select(gs.udf("double")(lambda x: prices.by_fee(x))("a"))
    assert not has_python(by_fee)
    assert by_fee.first() == (3.0,)
    by_root = gs.udf("double")(lambda x: prices.by_root(x))
    assert has_python(frame.select(by_root("a")))
    assert "prices.ROOT is not written out there as 1.414" in str(by_root.explain("x double"))
    monkeypatch.setattr(prices, "RATE", 3.0)
    assert has_python(frame.select(gs.udf("double")(lambda x: prices.by_rate(x))("a")))
    monkeypatch.setattr(prices, "FEE", 3.0)
    assert has_python(frame.select(gs.udf("double")(lambda x: prices.by_fee(x))("a")))


def test_explain_says_where_and_why_not() -> None:
    f = gs.udf("double")(half_more)
    assert str(f.explain("x double, y int")) == "half_more runs on sql"
    assert "not on sql: the expression is not for columns of these types" in str(f.explain("x string, y int"))


def test_parts_put_back_make_the_whole() -> None:
    f = gs.udf("double")(lambda x, y: (math.exp(x) + y) / (math.exp(x) * (math.exp(x) + y)) + 1 / y)
    whole = f.expression(("x", "y")).tree(trees.column("udf"), "f")
    short, parts = trees.with_parts(whole, "part {}".format)
    assert parts
    assert short.size < whole.size
    texts = {name: name for name in whole.columns()}
    for name, part in parts.items():
        assert part.size >= 4
        texts[name] = part.text(texts)
    assert short.text(texts) == str(whole)


def test_numbers_at_the_ends_of_their_types(frame) -> None:
    large = gs.udf("double")(lambda x: x * (10**12 * 10**13))
    assert "an integer that needs more than 64 bits" in str(large.explain("x double"))
    million = gs.udf("double")(lambda x: x / 10**6)
    assert million.explain("x double").device == "sql"
    small = gs.udf("bigint")(lambda x: int(x / math.inf))
    assert small.explain("x double").device == "sql"
    assert frame.where("b = 2").select(small("a")).first() == (0,)


def test_what_may_be_a_boolean_of_python_or_numpy_is_not_inverted() -> None:
    inverted = gs.udf("double")(lambda x: ~(x < 0.5 < HALF) + x)
    assert "~ of a NumPy scalar" in str(inverted.explain("x double"))


def test_a_stream_needs_no_python(spark, tmp_path) -> None:
    frame = spark.readStream.format("rate").option("rowsPerSecond", 50).load()
    query = (
        frame.select(gs.udf("double")(half_more)("value", "value").alias("v"))
        .writeStream.format("memory")
        .queryName("halves")
        .option("checkpointLocation", str(tmp_path))
        .start()
    )
    try:
        deadline = time.monotonic() + 60
        while spark.table("halves").count() < 2 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "Python" not in query._jsq.explainInternal(False)
        assert {row.v for row in spark.table("halves").where("v <= 1.5").collect()} == {0.0, 1.5}
    finally:
        query.stop()
