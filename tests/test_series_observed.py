"""Series bodies as Spark sees them: repeated expressions, log lines, profiles."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext

import pandas as pd
import pytest
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.errors import FallbackError
from tests.support.worker_log import worker_log


@pytest.fixture(params=["cpu", "cuda"])
def device(request, spark):
    """The devices with which columns travel as pandas, and as Arrow."""
    spark.conf.set("spark.gpuspark.device", request.param)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    return request.param


def twice(v: pd.Series) -> pd.Series:
    return v * 2


def twice_each(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    for v in batches:
        yield v * 2


def plan_of(frame, column) -> str:
    return frame.select(column)._jdf.queryExecution().withCachedData().toString()


@pytest.mark.parametrize("body", [twice, twice_each])
def test_decorated_again_it_is_the_same_expression(spark, device, body) -> None:
    frame = spark.range(3).withColumn("x", F.rand(1))
    frame.select(gs.pandas_udf(body, "bigint")("id")).cache()
    try:
        assert "InMemoryRelation" in plan_of(frame, gs.pandas_udf(body, "bigint")("id"))
        assert "InMemoryRelation" not in plan_of(frame, gs.pandas_udf(body, "double")("id"))
        assert "InMemoryRelation" not in plan_of(frame, gs.pandas_udf(lambda v: v * 3, "bigint")("id"))
    finally:
        spark.catalog.clearCache()


def test_captured_values_are_copied_again_when_a_body_is_decorated_again(spark, device) -> None:
    by = 1

    def add(v):
        return v + by

    assert [row.v for row in spark.range(2).select(gs.pandas_udf(add, "bigint")("id").alias("v")).collect()] == [1, 2]
    by = 10
    assert [row.v for row in spark.range(2).select(gs.pandas_udf(add, "bigint")("id").alias("v")).collect()] == [10, 11]


# Log lines


def logs(v):
    logging.getLogger("mine").warning("a batch")
    return v


def logs_each(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    for v in batches:
        yield logs(v)


def logs_and_sums(v: pd.Series) -> float:
    print("a group")
    return float(logs(v).sum())


class Rule:
    """A callable object, whose class Spark's log names too."""

    def __call__(self, v):
        return logs(v)

    def method(self, v):
        return logs(v)


def contexts(spark, frame) -> list[dict[str, str]]:
    worker_log(spark)
    spark._jsparkSession.cleanupPythonWorkerLogs()
    frame.collect()
    lines = worker_log(spark).where("logger in ('mine', 'stdout')").collect()
    return sorted((dict(line.context) for line in lines), key=str)


def test_log_lines_name_the_users_function(spark, device) -> None:
    spark.conf.set("spark.sql.pyspark.worker.logging.enabled", "true")
    frame = spark.range(0, 2, 1, 1)
    for body in (logs, logs_each, Rule(), Rule().method):
        results = [contexts(spark, frame.select(make(body, "bigint")("id"))) for make in (gs.pandas_udf, F.pandas_udf)]
        assert results[0] == results[1] != [], body
    results = [
        contexts(spark, frame.agg(make(logs_and_sums, "double")("id"))) for make in (gs.pandas_udf, F.pandas_udf)
    ]
    assert results[0] == results[1] != []


# Profiles


@pytest.mark.parametrize("body", [twice, twice_each])
def test_under_the_memory_profiler_pyspark_gets_the_body_itself(spark, device, body) -> None:
    made = gs.pandas_udf(body, "bigint")
    assert made.spark_udf().func is not body
    spark.conf.set("spark.sql.pyspark.udf.profiler", "memory")
    try:
        assert made.spark_udf().func is body
        assert made._arrow_form() is None
        spark.conf.set("spark.gpuspark.fallback", "raise")
        with nullcontext() if device == "cpu" else pytest.raises(FallbackError, match="memory profiler is on"):
            made("id")
    finally:
        spark.conf.unset("spark.sql.pyspark.udf.profiler")
    assert made.spark_udf().func is not body


@pytest.mark.parametrize("body", [twice, twice_each])
def test_the_perf_profile_lists_the_bodys_file(spark, device, body, capsys) -> None:
    spark.conf.set("spark.sql.pyspark.udf.profiler", "perf")
    try:
        spark.profile.clear()
        spark.range(0, 2, 1, 1).select(gs.pandas_udf(body, "bigint")("id")).collect()
        spark.profile.show(type="perf")
    finally:
        spark.conf.unset("spark.sql.pyspark.udf.profiler")
    assert f"test_series_observed.py:{body.__code__.co_firstlineno}({body.__name__})" in capsys.readouterr().out
