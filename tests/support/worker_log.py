"""Spark's log of its Python workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gpuspark as gs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def worker_log(spark: SparkSession) -> DataFrame:
    """Returns the lines of the log, once no more arrive: workers send them after the rows."""
    gs.ledger(spark)  # which waits for them
    return spark.tvf.python_worker_logs()
