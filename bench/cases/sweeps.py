"""One function with varying numbers of rows, batch sizes and partitions: how the time per row changes with them."""

from __future__ import annotations

from typing import Any

from gpuspark.bench.cases import BATCHES, Case
from gpuspark.bench.cases.scalar import VALUE_SQL, batch_hook, column_hook, option_rows, pandas, sql
from gpuspark.bench.option_value import value, value_numpy

MILLION = 1_000_000
ROWS = {1: "core", 10: "full", 100: "full"}
BATCH_ROWS = (1_000, 100_000)
READER_BATCH_ROWS = (4_096, 16_384, 65_536)  # Spark's default, and larger ones
PARTITIONS = (1, 64)
PANDAS = "pandas_udf with NumPy"


def sweep(name: str, unit: str, rows: int, **options: Any) -> Case:
    return Case(
        name=name, data=option_rows, elements=rows, unit=unit,
        paths={
            "gpuspark": column_hook(value), BATCHES: batch_hook(value), "Spark SQL": sql(VALUE_SQL),
            PANDAS: pandas(value_numpy),
        },
        oracle="Spark SQL", capped={PANDAS: min(rows, 10 * MILLION)},
        bytes_in=24, bytes_out=8, operations=30, **options,
    )  # fmt: skip


CASES = [
    *(
        sweep(f"rows_{n}_million", "rows of three doubles", n * MILLION, suite=suite, along=("rows", n * MILLION))
        for n, suite in ROWS.items()
    ),
    *(
        sweep(
            f"batches_of_{n}",
            f"rows of three doubles, in batches of {n:,}",
            MILLION,
            suite="full",
            settings={"spark.sql.execution.arrow.maxRecordsPerBatch": n},
            along=("rows of an Arrow batch", n),
        )
        for n in BATCH_ROWS
    ),
    *(
        sweep(
            f"reader_batches_of_{n}",
            f"rows of three doubles, read in batches of {n:,}",
            MILLION,
            suite="full",
            settings={"spark.sql.parquet.columnarReaderBatchSize": n},
            along=("rows of a Parquet reader's batch", n),
            note="Spark hands a column function the Parquet reader's batches without combining them.",
        )
        for n in READER_BATCH_ROWS
    ),
    *(
        sweep(
            f"partitions_{n}",
            f"rows of three doubles, in {n} partition{'s' if n > 1 else ''}",
            MILLION,
            suite="full",
            files=n,
            # One file is one partition: Spark neither splits files nor combines them.
            settings={"spark.sql.files.openCostInBytes": 128 * 2**20},
            along=("partitions", n),
            note="One partition is one core." if n == 1 else "",
        )
        for n in PARTITIONS
    ),
]
