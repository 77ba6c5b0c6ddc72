"""Scans in Spark Connect, where another process sees the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F

import gpuspark as gs


@gs.udf("double")
def doubled(x):
    return x * 2


def test_scans_run_in_connect(connect, tmp_path: Path) -> None:
    for year in (2012, 2013):
        place = tmp_path / f"year={year}"
        place.mkdir()
        pq.write_table(pa.table({"x": [float(year), None, 0.5]}), place / "one.parquet", row_group_size=1)
    frame = connect.read.parquet(str(tmp_path))

    def rows(of: Any) -> list[Any]:
        return sorted(map(tuple, of.collect()), key=repr)

    scan = gs.scan_parquet(connect, str(tmp_path)).with_columns(y=lambda b: doubled(b["x"]))
    assert rows(scan.to_df()) == rows(frame.select("x", "year", (F.col("x") * 2).alias("y")))
    assert rows(scan.aggregate("year", y=("y", "sum"))) == [(2012, 4025.0), (2013, 4027.0)]
    filtered = gs.scan_parquet(connect, str(tmp_path), filters=[("year", "=", 2013), ("x", ">", 1.0)])
    assert rows(filtered.to_df()) == [(2013.0, 2013)]
    assert filtered.explain().reading.rows == 2  # the file of 2013, but for its group of null
    assert filtered.table.files[0].path == os.path.join(tmp_path, "year=2012", "one.parquet")
