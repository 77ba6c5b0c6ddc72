"""``spark.gpuspark.*`` as the driver and as tasks read it, in classic Spark and in Spark Connect."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.resource import ResourceInformation

import gpuspark
from gpuspark.config import Config
from gpuspark.errors import ConfigError
from gpuspark.spark import session
from tests.support.own_spark import quick_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def facts_in_tasks(spark: SparkSession) -> list[dict[str, Any]]:
    """Returns what each of two tasks reads: its configuration and facts, and the same facts from PySpark."""
    from pyspark.sql import functions as F

    def read_facts(ids):  # type: ignore[no-untyped-def]
        import pyarrow as pa
        from pyspark import TaskContext

        from gpuspark.spark.session import task_config, task_facts

        task, facts = TaskContext.get(), task_facts()
        assert task is not None
        assert facts is not None
        facts_read = {
            "device": task_config().device,
            "target_bytes": task_config().target_bytes,
            "cached": task_config() is task_config(),
            "ours": [facts.stage, facts.partition, facts.attempt, facts.task],
            "sparks": [task.stageId(), task.partitionId(), task.attemptNumber(), task.taskAttemptId()],
            "execution": facts.execution,
            "gpus": facts.gpus,
            "time_zone": facts.time_zone,
        }
        return pa.array([json.dumps(facts_read)] * len(ids))

    rows = spark.range(0, 2, 1, 2).select(F.arrow_udf(read_facts, "string")("id").alias("facts")).collect()
    return [json.loads(row.facts) for row in rows]


def check_what_tasks_read(spark: SparkSession) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    first = facts_in_tasks(spark)
    spark.conf.set("spark.gpuspark.device", "cpu")
    spark.conf.set("spark.gpuspark.batch.targetBytes", "1m")
    second = facts_in_tasks(spark)
    assert [task["device"] for task in first + second] == ["emulated"] * 2 + ["cpu"] * 2
    assert [task["target_bytes"] for task in first + second] == [Config().target_bytes] * 2 + [2**20] * 2
    for task in first + second:
        assert task["ours"] == task["sparks"]
        assert task["cached"]
        assert task["gpus"] == []
        assert task["time_zone"] == "UTC"
    assert [task["ours"][1] for task in first] == [0, 1]
    assert second[0]["execution"] > first[0]["execution"]


def check_what_the_driver_reads(spark: SparkSession) -> None:
    spark.conf.set("spark.gpuspark.arithmetic", "native")
    assert session.active_session() is spark
    assert session.driver_config().arithmetic == "native"
    assert session.driver_config(spark) == Config(arithmetic="native", fallback="raise")
    spark.conf.set("spark.gpuspark.devise", "cpu")
    with pytest.raises(ConfigError, match=r"Did you mean 'spark\.gpuspark\.device'"):
        session.driver_config(spark)


def check_a_misspelt_key_in_a_task(spark: SparkSession) -> None:
    from pyspark.errors import PythonException

    spark.conf.set("spark.gpuspark.devise", "cpu")
    with pytest.raises(PythonException, match=r"Did you mean 'spark\.gpuspark\.device'"):
        facts_in_tasks(spark)


def check_the_ledger_switch(spark: SparkSession) -> None:
    before = spark.conf.getAll.get(session.WORKER_LOGGING)
    spark.conf.set(session.WORKER_LOGGING, "false")
    session.enable_ledger(spark, Config(ledger=False))
    assert spark.conf.getAll[session.WORKER_LOGGING] == "false"
    session.enable_ledger(spark, Config())
    assert spark.conf.getAll[session.WORKER_LOGGING] == "true"
    if before is None:
        spark.conf.unset(session.WORKER_LOGGING)
    else:
        spark.conf.set(session.WORKER_LOGGING, before)


def check_settings(spark: SparkSession) -> None:
    for value in ("", "a -> b", "two\nlines, and -> more", "ü"):
        spark.conf.set("spark.some.key", value)
        assert session.settings(spark) == spark.conf.getAll
    spark.conf.unset("spark.some.key")
    assert session.settings(spark) == spark.conf.getAll


CHECKS = [
    check_settings,
    check_what_tasks_read,
    check_what_the_driver_reads,
    check_a_misspelt_key_in_a_task,
    check_the_ledger_switch,
]


@pytest.mark.parametrize("check", CHECKS)
def test_classic(spark: SparkSession, check: Any) -> None:
    assert not session.is_connect()
    check(spark)


def test_a_column_asks_the_jvm_little(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question takes a fraction of a millisecond, and a notebook builds many columns. Not counted is what frees
    the objects of earlier columns, whenever Python collects them."""
    from py4j.clientserver import ClientServerConnection
    from py4j.protocol import MEMORY_COMMAND_NAME

    function = gpuspark.udf("double")(lambda x: x + 1)
    function("id")
    asked: list[str] = []
    ask = ClientServerConnection.send_command

    def counted(connection: Any, command: str) -> str:
        if not command.startswith(MEMORY_COMMAND_NAME):
            asked.append(command)
        return ask(connection, command)

    monkeypatch.setattr(ClientServerConnection, "send_command", counted)
    function("id")
    assert 0 < len(asked) < 60


@pytest.mark.parametrize("check", CHECKS)
def test_connect(connect: SparkSession, check: Any) -> None:
    assert session.is_connect()
    check(connect)


def test_without_spark_there_are_defaults_and_spark_is_not_loaded() -> None:
    script = """
import sys
from gpuspark.spark import session
from gpuspark.config import Config
assert session.active_session() is None
assert session.driver_config() == session.task_config() == Config()
assert session.running_task() is None
assert session.task_facts() is None
assert "pyspark" not in sys.modules
import pyspark.sql
assert session.active_session() is None
assert session.driver_config() == session.task_config() == Config()
assert session.task_facts() is None
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_functions_can_be_used_after_spark_was_restarted() -> None:
    """As in a notebook. The functions capture large arrays, so that Spark broadcasts them."""
    script = """
import numpy as np
import pandas as pd
import gpuspark as gs
from pyspark.sql import SparkSession, functions as F

table = np.arange(200_000.0)
matrix = gs.Constant(np.eye(640, dtype="f4"))

@gs.udf("double")
def looked_up(i):
    return table[i]

@gs.pandas_udf("double")
def raised(i: pd.Series) -> pd.Series:
    return i + table[1]

for _ in range(2):
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.gpuspark.device", "cpu").getOrCreate()
    unit = F.transform(F.sequence(F.lit(0), F.lit(639)), lambda at: (at == F.col("id")).cast("float"))
    near = gs.functions.top_k(unit, matrix=matrix, k=1, metric="dot")
    rows = spark.range(3).select(looked_up("id"), raised("id"), near["index"][0])
    print([tuple(row) for row in rows.collect()], len(gs.ledger(spark).summary()))
    spark.stop()
"""
    command, environment = [sys.executable, "-c", script], quick_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["[(0.0, 1.0, 0), (1.0, 2.0, 1), (2.0, 3.0, 2)] 3"] * 2
    assert "accumulator" not in done.stderr


class _Task:
    """A task whose local properties can be read by name only."""

    def __init__(self, **properties: str) -> None:
        self._properties = properties

    def getLocalProperty(self, key: str) -> str | None:  # noqa: N802
        return self._properties.get(key)


def test_known_keys_are_read_where_the_properties_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _Task(**{"spark.gpuspark.device": "python", "spark.gpuspark.devise": "unseen"})
    monkeypatch.setattr(session, "running_task", lambda: task)
    assert session.task_config() == Config(device="python")


@pytest.mark.parametrize(("addresses", "gpu"), [((), None), (("3",), "3"), (("GPU-aabb", "GPU-ccdd"), "GPU-aabb")])
def test_a_task_runs_on_the_first_gpu_that_spark_gave_it(addresses: tuple[str, ...], gpu: str | None) -> None:
    assert session.TaskFacts(0, 0, 0, 0, None, addresses, None).gpu == gpu


def test_the_gpus_of_a_task_are_those_of_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that was given another resource, or none, has no GPU."""
    resources: dict[str, ResourceInformation] = {"fpga": ResourceInformation("fpga", ["7"])}
    numbers = dict.fromkeys(("stageId", "partitionId", "attemptNumber", "taskAttemptId"), lambda _self: 0)
    given = {"resources": lambda _self: resources, "getLocalProperty": lambda _self, _key: None}
    task = type("Task", (), {**numbers, **given})()
    monkeypatch.setattr(session, "running_task", lambda: task)
    assert session.task_facts() is not None
    assert session.task_facts().gpus == ()
    resources["gpu"] = ResourceInformation("gpu", ["GPU-aabb", "GPU-ccdd"])
    assert session.task_facts().gpus == ("GPU-aabb", "GPU-ccdd")
