"""Scans of Delta tables against the reader of ``deltalake``."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.errors import CallError, ScanError


def rows(table: pa.Table) -> list[str]:
    columns = [table[name].to_pylist() for name in sorted(table.column_names)]
    return sorted(repr(row) for row in zip(*columns, strict=True))


def flights(start: int) -> pa.Table:
    names = ["a b", "x=1", None, "50%", "ü/"]
    return pa.table({
        "id": range(start, start + 5),
        "name": names,
        "day": [datetime.date(2026, 1, 1 + n) if n else None for n in range(5)],
        "x": [1.5, None, float("nan"), -0.0, 2.0],
        "at": pa.array(range(5), pa.timestamp("us", "UTC")),
        "local": pa.array(range(5), pa.timestamp("us")),
        "price": pa.array([decimal.Decimal(n) / 4 for n in range(5)], pa.decimal128(9, 2)),
    })  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A table of four versions: two appends, rows deleted, a column added."""
    place = str(tmp_path_factory.mktemp("delta") / "my flights")
    deltalake.write_deltalake(place, flights(0), partition_by=["name", "day"])
    deltalake.write_deltalake(place, flights(100), mode="append")
    deltalake.DeltaTable(place).delete("id = 3")
    added = flights(200).append_column("gate", pa.array(["A1"] * 5))
    deltalake.write_deltalake(place, added, mode="append", schema_mode="merge")
    return place


@pytest.mark.parametrize("version", [None, 0, 1, 2, 3])
def test_every_version_is_read_as_it_was(spark, table: str, version: int | None) -> None:
    expected = deltalake.DeltaTable(table, version=version).to_pyarrow_table()
    scan = gs.scan_delta(spark, table, version)
    assert rows(scan.to_df().toArrow()) == rows(expected)
    assert scan.columns == expected.column_names
    assert scan.aggregate(n=("*", "count")).collect() == [(len(expected),)]


def test_partitions_of_the_log_leave_out_files(spark, table: str) -> None:
    scan = gs.scan_delta(
        spark, table, columns=["id"], filters=[("name", "=", "x=1"), ("day", "=", datetime.date(2026, 1, 2))]
    )
    assert sorted(row.id for row in scan.to_df().collect()) == [1, 101, 201]
    assert scan.explain().reading.rows == 3
    nothing = gs.scan_delta(spark, table, filters=[("day", "<", datetime.date(1999, 1, 1))])
    assert nothing.aggregate(n=("*", "count")).collect() == [(0,)]


def test_a_scan_stays_with_its_version(spark, tmp_path: Path) -> None:
    deltalake.write_deltalake(str(tmp_path), pa.table({"x": [1, 2]}))
    scan = gs.scan_delta(spark, str(tmp_path))
    deltalake.write_deltalake(str(tmp_path), pa.table({"x": [3]}), mode="overwrite")
    assert sorted(scan.to_df().collect()) == [(1,), (2,)]
    deltalake.DeltaTable(str(tmp_path)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(Exception, match=r"ScanError: .* was there when the scan was planned"):
        scan.to_df().collect()


def test_columns_that_may_not_be_null_stay_so(spark, tmp_path: Path) -> None:
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("y", pa.int64())])
    deltalake.write_deltalake(str(tmp_path), pa.table({"x": [1], "y": [None]}, schema=schema))
    assert [field.nullable for field in gs.scan_delta(spark, str(tmp_path)).to_df().schema] == [False, True]


def log_of(folder: Path, protocol: dict[str, Any], configuration: dict[str, str]) -> None:
    """Writes the log of an empty table."""
    mapping = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"} if configuration else {}
    schema = {"type": "struct", "fields": [{"name": "x", "type": "long", "nullable": True, "metadata": mapping}]}
    metadata = {
        "id": "0", "format": {"provider": "parquet", "options": {}}, "schemaString": json.dumps(schema),
        "partitionColumns": [], "configuration": configuration, "createdTime": 0,
    }  # fmt: skip
    (folder / "_delta_log").mkdir()
    actions = [{"protocol": protocol}, {"metaData": metadata}]
    (folder / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize(
    ("features", "configuration", "message"),
    [
        (["deletionVectors"], {}, "scans do not read Delta tables with deletionVectors"),
        (["somethingNew"], {}, "somethingNew"),
        (["columnMapping"], {"delta.columnMapping.mode": "name"}, "delta.columnMapping.mode=name"),
    ],
)
def test_tables_whose_files_do_not_hold_the_rows_are_refused(
    spark, tmp_path: Path, features: list[str], configuration: dict[str, str], message: str
) -> None:
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    log_of(tmp_path, protocol, configuration)
    with pytest.raises((CallError, ScanError), match=message):
        gs.scan_delta(spark, str(tmp_path))


def test_what_is_no_table_is_named(spark, table: str, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"there is no Delta table that can be read at .*nothing"):
        gs.scan_delta(spark, str(tmp_path / "nothing"))
    with pytest.raises(ScanError, match="at version 99"):
        gs.scan_delta(spark, table, 99)
    with pytest.raises(CallError, match="version='latest' is not the number of a version"):
        gs.scan_delta(spark, table, "latest")
    with pytest.raises(CallError, match="scans read local files, not s3a:"):
        gs.scan_delta(spark, "s3a://bucket/table")
