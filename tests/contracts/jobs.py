"""Spark jobs with the real RAPIDS wheels installed and no GPU: each must finish on the CPU and say why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import gpuspark as gs

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.gpuspark.device": "cuda",
    "spark.gpuspark.fallback": "warn",
}
LIMITS = {"no limit": {}, "2 GiB of address space": {"spark.executor.pyspark.memory": "2g"}}
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
EXPECTED = sum(n / 4 * 2.0 + 1.0 for n in range(ROWS))


def run(dialects: dict[str, Callable[[DataFrame], DataFrame]], limit: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Each dialect's sum of ``y``, and what the ledger tells, in one session."""
    builder = SparkSession.builder.master("local[2]").appName("gpuspark contracts")
    for key, value in {**SETTINGS, **limit}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    frame = spark.range(ROWS).select((F.col("id") / 4).alias("x"))
    found = {}
    for name, build in dialects.items():
        gs.ledger(spark).clear()
        total = build(frame).agg(F.sum("y")).first()
        [summary] = gs.ledger(spark).summary()
        found[name] = {
            "sum is right": total is not None and total[0] == EXPECTED,
            "devices": summary.devices,
            "reasons": list(summary.reasons),
        }
    spark.stop()
    return found


def all_jobs() -> dict[str, dict[str, Any]]:
    """By limit and dialect, each limit in a process of its own."""
    found = {}
    for what, limit in LIMITS.items():
        script = f"import json, tests.contracts.jobs as j; print('FOUND', json.dumps(j.run(j.DIALECTS, {limit!r})))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        told = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        if not told:
            raise RuntimeError(f"the jobs with {what} failed:\n{done.stdout}\n{done.stderr}")
        found[what] = json.loads(told[-1].removeprefix("FOUND "))
    return found
