"""In Spark's log of its Python workers, lines name the user's functions, and gpuspark's have loggers of their own."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.dialects.scalar_worker import ScalarWorker
from gpuspark.spark.session import WORKER_LOGGING
from gpuspark.spark.worker_log import users_function
from tests.support import log_bodies
from tests.support.worker_log import worker_log

OURS = ("gpuspark", "gpuspark.ledger")
"""gpuspark's loggers, as in docs/ledger.md."""


def user_lines(spark):
    """Returns text, function and class of each of the user's lines in Spark's log, once no more lines arrive."""
    lines = worker_log(spark).where(~F.col("logger").isin(*OURS)).select("msg", "context").collect()
    return {(row.msg, row.context.get("func_name"), row.context.get("class_name")) for row in lines}


@pytest.fixture
def logging_session(spark):
    before = spark.conf.get(WORKER_LOGGING, None)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    spark.conf.set(WORKER_LOGGING, "true")
    spark._jsparkSession.cleanupPythonWorkerLogs()
    yield spark
    spark.conf.unset(WORKER_LOGGING) if before is None else spark.conf.set(WORKER_LOGGING, before)


def test_lines_name_the_users_function(logging_session) -> None:
    spark = logging_session
    frame = spark.range(1)
    rows = [gs.udf(log_bodies.per_row, "bigint")("id"), gs.udf(log_bodies.Rule(), "bigint")("id")]
    frame.select(*rows).collect()
    gs.map_in_arrow(frame, log_bodies.per_batch, "id bigint").collect()
    gs.apply_in_segments(frame, "id", log_bodies.per_groups, "id bigint").collect()
    expected = {
        ("a row", "per_row", None),
        ("a row", "__call__", "Rule"),
        ("a batch", "per_batch", None),
        ("groups", "per_groups", None),
    }
    assert user_lines(spark) == expected
    spark._jsparkSession.cleanupPythonWorkerLogs()
    frame.select(F.udf(log_bodies.per_row, "bigint")("id"), F.udf(log_bodies.Rule(), "bigint")("id")).collect()
    plain = user_lines(spark)
    assert plain == {line for line in expected if line[0] == "a row"}
    spark._jsparkSession.cleanupPythonWorkerLogs()
    spark.conf.set("spark.gpuspark.enabled", "false")
    frame.select(*(gs.udf(body, "bigint")("id") for body in (log_bodies.per_row, log_bodies.Rule()))).collect()
    assert user_lines(spark) == plain


def test_gpuspark_switched_off_leaves_sparks_settings_alone(logging_session) -> None:
    spark = logging_session
    frame = spark.range(3)
    spark.conf.set("spark.gpuspark.enabled", "false")
    spark.conf.set(WORKER_LOGGING, "false")
    frames = [
        frame.select(gs.udf(log_bodies.per_row, "bigint")("id")),
        frame.select(gs.pandas_udf(lambda v: v, "bigint")("id")),
        frame.select(gs.functions.haversine("id", "id", "id", "id")),
        gs.map_in_arrow(frame, lambda batches: batches, "id bigint"),
        gs.apply_in_segments(frame, "id", lambda segments: segments.keys, "id bigint"),
    ]
    assert spark.conf.get(WORKER_LOGGING) == "false"
    spark.conf.set(WORKER_LOGGING, "true")  # set by the user: then the log holds the user's lines only
    frames[3].collect()
    spark.conf.set("spark.gpuspark.enabled", "true")
    assert gs.ledger(spark).records == []


def body_to_profile(v):
    return v + 1


def test_sparks_profiler_sees_the_users_function(spark, capsys) -> None:
    key = "spark.sql.pyspark.udf.profiler"
    spark.conf.set("spark.gpuspark.fallback", "silent")
    gs.ledger(spark).clear()
    spark.conf.set(key, "perf")
    try:
        spark.range(3).select(gs.udf(body_to_profile, "bigint")("id")).collect()
    finally:
        spark.conf.unset(key)
    spark.profile.show(type="perf")
    spark.profile.clear()
    profile = capsys.readouterr().out
    assert f"{Path(__file__).name}:" in profile
    assert "(body_to_profile)" in profile
    (summary,) = gs.ledger(spark).summary()
    assert any(f"{key}=perf, which sees plain Python only" in reason for reason in summary.reasons)
    assert summary.devices == {"python": 3}


def test_memory_profilers_get_the_code_of_the_body(spark) -> None:
    """Needs no memory-profiler: PySpark reads the ``__code__`` of a function."""
    body = gs.udf(body_to_profile, "bigint")
    assert ScalarWorker(body.scalar_function(("v",)), "a call").__code__ is body_to_profile.__code__
    assert not hasattr(ScalarWorker(gs.udf(len, "int").scalar_function(("values[0]",)), "a call"), "__code__")
    conf = spark.sparkContext._conf
    conf.set("spark.python.profile.memory", "true")  # for the whole application: UDFs are then PySpark's own
    try:
        assert body.evalType == F.udf(body_to_profile, "bigint").evalType
    finally:
        conf.set("spark.python.profile.memory", "false")


class LogContext:
    """A body that returns the context that Spark's log would name."""

    def __call__(self, v):
        return self.inner()

    def inner(self):
        return repr(users_function())

    @classmethod
    def of_class(cls, v):
        return repr(users_function())


def test_the_outermost_function_of_the_user_is_named() -> None:
    """Inside a call by gpuspark, as in a task; outside, the context is empty."""

    def outer(v):
        return LogContext().inner()

    expected = {
        outer: {"func_name": "outer"},
        LogContext(): {"func_name": "__call__", "class_name": "LogContext"},
        LogContext.of_class: {"func_name": "of_class", "class_name": "LogContext"},
    }
    for body, context in expected.items():
        assert gs.udf(body, "string")(pa.array([1])).to_pylist() == [repr(context)]
    assert users_function() == {}
