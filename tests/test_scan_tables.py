"""Scans of generated tables against Spark's own reader: rows, types, nulls, NaN, -0.0, filters, with and without
pruning.

``GPUSPARK_TABLES`` is their number (``make scans`` for the long run).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.scans import plan
from gpuspark.spark.arrow_types import spark_schema
from tests.support.scan_tables import GeneratedTable, filters_on, generate, in_spark

TABLES = int(os.environ.get("GPUSPARK_TABLES", "24"))
EACH = 12


def told(table: pa.Table) -> list[str]:
    """Returns the rows in their order, with types, signs of zeros, and NaN equal to itself."""
    columns = [table[name].to_pylist() for name in table.column_names]
    return [f"{table.schema.types}", *sorted(repr(row) for row in zip(*columns, strict=True))]


@pytest.mark.parametrize("first", range(0, TABLES, EACH))
def test_scans_read_what_spark_reads(spark, first: int, tmp_path: Path, monkeypatch: Any) -> None:
    def by_spark(table: pa.Table, folder: Path) -> None:
        spark.createDataFrame(table, spark_schema(table.schema)).coalesce(1).write.mode("append").parquet(str(folder))

    kept, pruned = 0, 0
    for seed in range(first, min(first + EACH, TABLES)):
        folder = tmp_path / f"table {seed}"
        table = generate(seed, folder, by_spark if seed % 4 == 0 else None)
        frame = spark.read.parquet(str(folder))
        filters = filters_on(table, frame.columns, seed)
        expected = told(in_spark(filters, frame).toArrow())
        scan = gs.scan_parquet(spark, str(folder), filters=filters or None)
        assert told(scan.to_df().toArrow()) == expected, describe(seed, table, filters)
        reading = scan.explain().reading
        pruned += reading.rows_pruned
        kept += reading.rows
        with monkeypatch.context() as patched:
            patched.setattr(plan, "may_hold", lambda *_: True)
            patched.setattr(plan, "_partition_may_hold", lambda *_: True)
            assert told(scan.to_df().toArrow()) == expected, f"without pruning: {describe(seed, table, filters)}"
    assert kept, "no table had rows to read"
    assert pruned, "nothing was ever left out"


def describe(seed: int, table: GeneratedTable, filters: Any) -> str:
    return f"seed {seed}: {table.columns}, partition {table.partition_values}, {filters}"
