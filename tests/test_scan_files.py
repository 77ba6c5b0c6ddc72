"""Tables of files as Spark resolves them: folders, paths, names and types of columns, files that hold no rows."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.errors import CallError, ScanError
from gpuspark.spark.session import working_folder
from tests.support.scan_tables import numbers, rows, write


def test_folders_are_read_as_spark_wrote_them(spark, tmp_path: Path) -> None:
    """Values of folders that need escapes, nulls, and types that Spark infers."""
    values = ["a b", "x=1", "50%", "a/b", "ü", None, "#?"]
    frame = spark.createDataFrame(
        [(n, text, n % 2) for n, text in enumerate(values)], "id bigint, name string, odd int"
    )
    frame.withColumn("day", F.make_date(F.lit(2026), F.col("id").cast("int") + 1, F.lit(1))).write.partitionBy(
        "name", "day"
    ).parquet(str(tmp_path / "t"))
    scan = gs.scan_parquet(spark, str(tmp_path / "t"))
    assert rows(scan.to_df()) == rows(spark.read.parquet(str(tmp_path / "t")))
    assert scan.to_df().schema == spark.read.parquet(str(tmp_path / "t")).schema
    chosen = gs.scan_parquet(spark, str(tmp_path / "t"), filters=[("day", ">", datetime.date(2026, 6, 1))])
    assert [row.name for row in chosen.to_df().collect()] == ["#?"]
    assert chosen.explain().reading.files_pruned == 6


def test_a_path_is_what_it_is_in_spark(spark, tmp_path: Path, monkeypatch: Any) -> None:
    """A file, a folder within a partitioned table, and a folder relative to the working folder."""
    place = tmp_path / "table" / "year=2013"
    place.mkdir(parents=True)
    file = write(place, numbers())
    for path in (str(file), str(place), str(tmp_path / "table"), f"file://{place}", os.path.relpath(place)):
        scan = gs.scan_parquet(spark, path)
        assert scan.to_df().schema == spark.read.parquet(path).schema, path
        assert scan.aggregate(n=("*", "count")).collect() == [(1000,)]


def test_relative_paths_are_those_of_spark(spark, tmp_path: Path) -> None:
    """The folders of partitions are those below the named one, however it is named."""
    place = tmp_path / "table" / "year=2013"
    place.mkdir(parents=True)
    write(place, pa.table({"x": [1, 2]}))
    table = os.path.relpath(tmp_path / "table", working_folder(spark))
    for path in (table, f"./{table}", f"{table}/year=2013/..", f"{table}/../table/", f"{table}/year=2013"):
        assert rows(gs.scan_parquet(spark, path).to_df()) == rows(spark.read.parquet(path)), path
    filtered = gs.scan_parquet(spark, f"{table}/.", filters=[("year", "=", 2013)])
    assert rows(filtered.to_df()) == [(1, 2013), (2, 2013)]


def test_summaries_and_empty_files_hold_no_rows(spark, tmp_path: Path) -> None:
    footers: list[Any] = []
    for start in (0, 10):
        pq.write_to_dataset(pa.table({"x": range(start, start + 10)}), tmp_path, metadata_collector=footers)
    pq.write_metadata(pa.schema([("x", pa.int64())]), tmp_path / "_metadata", metadata_collector=footers)
    pq.write_metadata(pa.schema([("x", pa.int64())]), tmp_path / "_common_metadata")
    (tmp_path / "empty.parquet").touch()
    assert spark.read.parquet(str(tmp_path)).count() == 20
    assert gs.scan_parquet(spark, str(tmp_path)).aggregate(n=("*", "count")).collect() == [(20,)]
    assert rows(gs.scan_parquet(spark, str(tmp_path)).to_df()) == rows(spark.read.parquet(str(tmp_path)))


def test_a_column_with_a_default_is_refused_where_a_file_lacks_it(spark, tmp_path: Path) -> None:
    spark.sql(f"CREATE TABLE with_default (a bigint) USING parquet LOCATION '{tmp_path}'")
    try:
        spark.sql("INSERT INTO with_default VALUES (1)")
        spark.sql("ALTER TABLE with_default ADD COLUMN b bigint DEFAULT 42")
        spark.sql("INSERT INTO with_default VALUES (2, 7)")
        spark.conf.set("spark.sql.parquet.mergeSchema", "true")
        scan = gs.scan_parquet(spark, str(tmp_path))
        assert rows(scan.select("a").to_df()) == [(1,), (2,)]
        with pytest.raises(ScanError, match="lacks 'b', which Spark reads as a default there"):
            scan.to_df()
    finally:
        spark.conf.unset("spark.sql.parquet.mergeSchema")
        spark.sql("DROP TABLE with_default")


def test_columns_of_one_name_in_a_file_are_refused(spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_arrays([[2], [3], [4]], names=["x", "x", "y"]), tmp_path / "b.parquet")
    scan = gs.scan_parquet(spark, str(tmp_path))
    with pytest.raises(ScanError, match=r"b.parquet has several columns 'x'"):
        scan.to_df()
    assert rows(scan.select("y").to_df()) == [(1,), (4,)]


@pytest.mark.parametrize("mode", ["LEGACY", "EXCEPTION"])
def test_the_setting_for_int96_counts_for_int96(spark, mode: str, tmp_path: Path) -> None:
    old = pa.table({"t": pa.array([datetime.datetime(1500, 1, 1, tzinfo=datetime.UTC)], pa.timestamp("us", "UTC"))})
    pq.write_table(old, tmp_path / "one.parquet", use_deprecated_int96_timestamps=True)
    spark.conf.set("spark.sql.parquet.int96RebaseModeInRead", mode)
    try:
        scan = gs.scan_parquet(spark, str(tmp_path))
        with pytest.raises(ScanError, match=f"is read with spark.sql.parquet.int96RebaseModeInRead={mode}"):
            scan.to_df()
    finally:
        spark.conf.unset("spark.sql.parquet.int96RebaseModeInRead")
    assert rows(gs.scan_parquet(spark, str(tmp_path)).to_df()) == rows(spark.read.parquet(str(tmp_path)))


def test_folders_of_types_that_are_not_read_can_be_left_out(spark, tmp_path: Path) -> None:
    for text in ("12:00:00", "13:00:00"):
        (tmp_path / f"t={text.replace(':', '%3A')}").mkdir()
        write(tmp_path / f"t={text.replace(':', '%3A')}", pa.table({"x": [1]}))
    scan = gs.scan_parquet(spark, str(tmp_path))
    assert rows(scan.select("x").to_df()) == [(1,), (1,)]
    if "t" in scan.table.unreadable:
        with pytest.raises(CallError, match="scans do not read columns of time"):
            scan.select("t")


def test_odd_characters_in_a_path_stand_for_themselves(spark, tmp_path: Path) -> None:
    for name in ("a b", "50%25", "x#y", "q?r", "ü"):
        place = tmp_path / name / "year=2013"
        place.mkdir(parents=True)
        write(place, numbers())
        if "?" in name:
            with pytest.raises(CallError, match="not a pattern"):
                gs.scan_parquet(spark, str(tmp_path / name))
            continue
        scan = gs.scan_parquet(spark, str(tmp_path / name))
        assert scan.to_df().schema == spark.read.parquet(str(tmp_path / name)).schema, name
        assert scan.aggregate(n=("*", "count")).collect() == [(1000,)]


def test_statistics_that_python_cannot_hold_leave_out_nothing(spark, tmp_path: Path) -> None:
    """Days after the year 9999."""
    pq.write_table(pa.table({"day": pa.array([3_000_000, 0], pa.date32()), "x": [1, 2]}), tmp_path / "one.parquet")
    scan = gs.scan_parquet(spark, str(tmp_path), filters=[("day", ">", datetime.date(2026, 1, 1))])
    assert scan.select("x").to_df().collect() == [(1,)]


def test_columns_are_matched_in_any_case_and_widened(spark, tmp_path: Path) -> None:
    first = pa.table({"Id": pa.array([1], pa.int64()), "x": [0.5], "d": pa.array([1], pa.decimal128(12, 3))})
    second = pa.table({
        "ID": pa.array([2], pa.int32()), "X": pa.array([2.5], pa.float32()), "d": pa.array([100], pa.decimal128(9, 2)),
    })  # fmt: skip
    pq.write_table(second, tmp_path / "b.parquet")
    pq.write_table(first, tmp_path / "a.parquet")
    frame = spark.read.parquet(str(tmp_path))
    if frame.schema["x"].dataType.simpleString() != "double":
        pytest.fail("Spark took the schema of the narrower file: name the files so that it takes the other")
    scan = gs.scan_parquet(spark, str(tmp_path))
    assert rows(scan.to_df()) == rows(frame)


def test_types_that_would_lose_values_are_refused(spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": pa.array([2**40], pa.int64())}), tmp_path / "b.parquet")
    scan = gs.scan_parquet(spark, str(tmp_path))
    with pytest.raises(ScanError, match=r"b.parquet holds 'x' as INT64, which scans do not read as int32"):
        scan.to_df()


def test_legacy_calendars_are_refused(spark, tmp_path: Path) -> None:
    marks = {b"org.apache.spark.version": b"3.5.0", b"org.apache.spark.legacyDateTime": b""}
    table = pa.table({"day": pa.array([0], pa.date32()), "x": [1]})
    pq.write_table(table.replace_schema_metadata(marks), tmp_path / "one.parquet")
    scan = gs.scan_parquet(spark, str(tmp_path))
    with pytest.raises(ScanError, match=r"has the mark .*legacyDateTime, so 'day' may be of another"):
        scan.to_df()
    assert scan.select("x").to_df().collect() == [(1,)]


def test_nanoseconds_are_refused(spark, tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([1], pa.timestamp("ns")), "x": [1]}), tmp_path / "one.parquet")
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    try:
        scan = gs.scan_parquet(spark, str(tmp_path))
        with pytest.raises(ScanError, match="in nanoseconds, which scans do not read as int64"):
            scan.to_df()
    finally:
        spark.conf.unset("spark.sql.legacy.parquet.nanosAsLong")
