"""Spark jobs with the real RAPIDS wheels installed and no GPU: each must finish on the CPU and say why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import gpuspark as gs
from tests.proof.contracts.failures import old_driver

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.gpuspark.device": "cuda",
    "spark.gpuspark.fallback": "warn",
}
LIMITED = {"spark.executor.pyspark.memory": "2g"}
ROWS = 4_000


def _scalar(frame: DataFrame) -> DataFrame:
    return frame.select(gs.udf("double")(lambda x: x * 2.0 + 1.0)("x").alias("y"))


def _series(frame: DataFrame) -> DataFrame:
    @gs.pandas_udf("double")
    def doubled(x: pd.Series) -> pd.Series:
        return x * 2.0 + 1.0

    return frame.select(doubled("x").alias("y"))


def _series_iterator(frame: DataFrame) -> DataFrame:
    @gs.pandas_udf("double")
    def doubled(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for x in batches:
            yield x * 2.0 + 1.0

    return frame.select(doubled("x").alias("y"))


def _batches(frame: DataFrame) -> DataFrame:
    def doubled(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
        for batch in batches:
            pandas = batch.to_frame()
            yield gs.Batch.from_frame(pandas.assign(y=pandas["x"] * 2.0 + 1.0)[["y"]])

    return gs.map_in_arrow(frame.select("x"), doubled, "y double")


DIALECTS: dict[str, Callable[[DataFrame], DataFrame]] = {
    "gs.udf": _scalar,
    "gs.pandas_udf": _series,
    "gs.pandas_udf of iterators": _series_iterator,
    "gs.map_in_arrow": _batches,
}
WITH_RAPIDS = [name for name in DIALECTS if name != "gs.udf"]
EXPECTED = sum(n / 4 * 2.0 + 1.0 for n in range(ROWS))


def run(dialects: Sequence[str], settings: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Of each dialect whether the sum of ``y`` is right, and what the ledger tells, in one session."""
    builder = SparkSession.builder.master("local[2]").appName("gpuspark contracts")
    for key, value in {**SETTINGS, **settings}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    frame = spark.range(ROWS).select((F.col("id") / 4).alias("x"))
    result = {}
    for name in dialects:
        gs.ledger(spark).clear()
        total = DIALECTS[name](frame).agg(F.sum("y")).first()
        [summary] = gs.ledger(spark).summary()
        result[name] = {
            "sum is right": total is not None and total[0] == EXPECTED,
            "devices": summary.devices,
            "reasons": list(summary.reasons),
        }
    spark.stop()
    return result


def all_jobs() -> dict[str, dict[str, Any]]:
    """By situation and dialect, each situation in a process of its own. ``gs.udf`` would run on the stub driver."""
    with old_driver() as environment:
        return {
            "no driver": _jobs([*DIALECTS], {}),
            "2 GiB of address space": _jobs([*DIALECTS], LIMITED),
            "an old driver": _jobs(WITH_RAPIDS, {}, environment),
        }


def _jobs(dialects: Sequence[str], settings: dict[str, str], environment: dict[str, str] | None = None) -> Any:
    script = (
        f"import json, tests.proof.contracts.jobs as j; print('FOUND', json.dumps(j.run({dialects!r}, {settings!r})))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    told = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not told:
        raise RuntimeError(f"the jobs failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(told[-1].removeprefix("FOUND "))
