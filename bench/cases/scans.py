"""Scans: the tasks read parquet files themselves, against paths whose input crosses the JVM."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import gpuspark as gs
from gpuspark.bench.cases import BATCHES, Aim, Case
from gpuspark.bench.cases.scalar import VALUE_SQL, batch_hook, option_rows, pandas, sql
from gpuspark.bench.option_value import value, value_numpy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Path = Callable[[DataFrame], DataFrame]

_compiled = gs.udf("double")(value)


def scan_of(frame: DataFrame) -> gs.Scan:
    """Returns the scan of the files that the frame reads, with the value of each row's option as its only column."""
    folder = frame.inputFiles()[0].rpartition("/")[0]
    scan = gs.scan_parquet(frame.sparkSession, folder)
    return scan.with_columns(v=lambda batch: _compiled(batch["s"], batch["k"], batch["t"])).select("v")


def summed(path: Path) -> Path:
    """Returns ``path`` with its results added up."""

    def total(frame: DataFrame) -> DataFrame:
        from pyspark.sql import functions

        return path(frame).agg(functions.sum("v").alias("total"))

    return total


CASES = [
    Case(
        name="scan_sums", data=option_rows, elements=5_000_000, unit="rows of three doubles, of which sums come back",
        paths={
            "gpuspark": lambda frame: scan_of(frame).aggregate(total=("v", "sum")),
            BATCHES: summed(batch_hook(value)), "Spark SQL": summed(sql(VALUE_SQL)),
            "pandas_udf with NumPy": summed(pandas(value_numpy)),
        },
        oracle="Spark SQL", bytes_in=24, operations=31,
        aims=(Aim("gpuspark", "Spark SQL", 2), Aim("gpuspark", BATCHES, 5)),
        note="`gpuspark` is a scan: the tasks read the files, and only sums enter the JVM.",
    ),
    Case(
        name="scan_results", data=option_rows, elements=5_000_000, unit="rows of three doubles, all results come back",
        paths={
            "gpuspark": lambda frame: scan_of(frame).to_df(),
            BATCHES: batch_hook(value), "Spark SQL": sql(VALUE_SQL), "pandas_udf with NumPy": pandas(value_numpy),
        },
        oracle="Spark SQL", bytes_in=24, bytes_out=8, operations=30, aims=(Aim("gpuspark", BATCHES, 1.4),),
        note="`gpuspark` is a scan: the tasks read the files, and results enter the JVM.",
    ),
]  # fmt: skip
