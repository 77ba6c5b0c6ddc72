"""Functions of importable modules run with the worker's values and code, as in PySpark, in every row."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.cloudpickle import cloudpickle
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.columns.types import parse
from gpuspark.config import Config
from gpuspark.execution.scalar import ScalarFunction
from tests.support import reference_rates as rates

BIG = 2**61


def prepared(function: Any) -> ScalarFunction:
    """Returns ``function`` as a worker loads it from the driver's pickle."""
    original = ScalarFunction.of(function, ["x"], nulls="propagate", result=parse("bigint"), arrow=pa.int64())
    loaded: ScalarFunction = pickle.loads(cloudpickle.dumps(original))
    return loaded


def in_a_lambda(x):
    return x * rates.FACTOR


def calls_times(x):
    return rates.times(x) + 1


in_a_lambda.__module__ = calls_times.__module__ = "__main__"  # by value, as in a notebook


@pytest.mark.parametrize("body", [rates.times, rates.by_helper, rates.wrapped, in_a_lambda, calls_times])
def test_a_value_that_the_worker_does_not_have_is_a_reason(monkeypatch, body) -> None:
    monkeypatch.setattr(rates, "FACTOR", 5)
    function = prepared(body)
    assert function.differences() == []
    assert function.body is not None
    monkeypatch.setattr(rates, "FACTOR", 1)
    (difference,) = function.differences()
    assert difference == "tests.support.reference_rates.FACTOR is 5 on the driver and 1 in this worker"
    assert function.obstacles([parse("bigint")], Config(), ["cpu"]) == {"cpu": [difference]}
    monkeypatch.setattr(rates, "FACTOR", 5.0)
    assert len(function.differences()) == 1


def test_code_that_the_worker_does_not_have_is_a_reason(monkeypatch) -> None:
    function = prepared(rates.one_more)
    monkeypatch.setattr(rates, "constant", lambda: 2)
    assert "tests.support.reference_rates.constant is another function on the driver" in function.differences()[0]
    monkeypatch.delattr(rates, "constant")
    assert function.differences()
    monkeypatch.setitem(vars(rates), "one_more", lambda x: x)
    assert "tests.support.reference_rates.one_more is another function" in function.differences()[0]


def test_a_module_that_the_worker_does_not_have_is_a_reason(monkeypatch) -> None:
    import sys

    function = prepared(in_a_lambda)
    monkeypatch.setitem(sys.modules, "tests.support.reference_rates", None)
    assert "tests.support.reference_rates.FACTOR cannot be read in this worker" in function.differences()[0]


@pytest.fixture
def by_value() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(rates)
    yield
    cloudpickle.unregister_pickle_by_value(rates)


def test_what_travels_by_value_is_the_drivers(monkeypatch, by_value: None) -> None:
    monkeypatch.setattr(rates, "FACTOR", 5)
    function = prepared(rates.times)
    monkeypatch.setattr(rates, "FACTOR", 1)
    assert (function.references, function.differences(), function.call([1])) == ((), [], 15)


@pytest.mark.parametrize("body", [rates.by_helper, rates.wrapped, lambda x: rates.times(x) + rates.FACTOR])
def test_spark_gives_one_answer_in_every_row(spark: Any, monkeypatch, body) -> None:
    """Rows that overflow are computed again in the worker, by the function that the worker imports."""
    monkeypatch.setattr(rates, "FACTOR", 5)
    frame = spark.createDataFrame([(1,), (BIG // 3,), (7,)], "x bigint").coalesce(1)
    ours = gs.udf(body, "bigint")
    for device in ("python", "cpu"):
        spark.conf.set("spark.gpuspark.device", device)
        spark.conf.set("spark.gpuspark.fallback", "silent")
        gs.ledger(spark).clear()
        row = frame.select(F.udf(body, "bigint")("x").alias("plain"), ours("x").alias("ours")).collect()
        assert [r.ours for r in row] == [r.plain for r in row]
        (record,) = gs.ledger(spark).records
        if device == "cpu":
            assert any("FACTOR is 5 on the driver and 1 in this worker" in reason for reason in record.reasons)
