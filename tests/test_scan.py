"""Scans: what is read, computed and refused, and that no row is lost or doubled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import AnalysisException, PythonException
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.errors import CallError
from tests.support.scan_tables import numbers, rows, write


@gs.udf("double")
def fare(km, minutes):
    return 3.0 + 1.5 * km + 0.25 * minutes if minutes > 0 else 0.0


@pytest.fixture(scope="module")
def trips(spark, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Trips of three years, in folders by year, of several row groups each."""
    folder = tmp_path_factory.mktemp("trips")
    for year in (2012, 2013, 2014):
        place = folder / f"year={year}"
        place.mkdir()
        table = pa.table(
            {
                "id": range(year * 1000, year * 1000 + 500),
                "km": [None if n % 50 == 0 else n / 7 for n in range(500)],
                "minutes": pa.array([n % 90 for n in range(500)], pa.int32()),
                "carrier": [("UA", "AA", None)[n % 3] for n in range(500)],
                "path": [[n, n + 1] for n in range(500)],
            }
        )
        pq.write_table(table, place / "trips.parquet", row_group_size=100)
    return str(folder)


def ledger_rows(spark: Any, start: str) -> int:
    return sum(s.rows for s in gs.ledger(spark).summary() if s.function.startswith(start))


def test_columns_and_rows_are_those_of_spark(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips, columns=["id", "km", "year", "carrier"])
    frame = spark.read.parquet(trips)
    assert rows(scan.to_df()) == rows(frame.select("id", "km", "year", "carrier"))
    assert scan.to_df().schema == frame.select("id", "km", "year", "carrier").schema


def test_functions_of_all_kinds_compute_columns(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips).with_columns(
        fare=lambda b: fare(b["km"], b["minutes"]),
        half=lambda b: b["minutes"].values / 2,
        upper=lambda b: b["carrier"].to_arrow().fill_null("??"),
        doubled=lambda b: b.to_frame()["id"] * 2,
    )
    frame = spark.read.parquet(trips).select(
        "id",
        fare("km", "minutes").alias("fare"),
        (F.col("minutes") / 2).alias("half"),
        F.coalesce("carrier", F.lit("??")).alias("upper"),
        (F.col("id") * 2).alias("doubled"),
    )
    with pytest.raises(CallError, match="scans do not read columns of array<bigint>, such as 'path'"):
        scan.select("id", "path")
    chosen = scan.select("id", "fare", "half", "upper", "doubled")
    assert rows(chosen.to_df()) == rows(frame)


def test_later_steps_see_earlier_ones(spark, trips: str) -> None:
    scan = (
        gs.scan_parquet(spark, trips, columns=["id", "minutes"])
        .with_columns(minutes=lambda b: b["minutes"].values + 1)
        .where(lambda b: b["minutes"].values % 2 == 0)
        .with_columns(hours=lambda b: b["minutes"].values / 60)
        .where([("hours", "<", 0.5)])
        .select("hours", "id")
    )
    frame = spark.read.parquet(trips).withColumn("minutes", F.col("minutes") + 1).where("minutes % 2 = 0")
    expected = frame.select((F.col("minutes") / 60).alias("hours"), "id").where("hours < 0.5")
    assert rows(scan.to_df()) == rows(expected)


def test_a_batch_body_is_called_once_for_each_task(spark, trips: str) -> None:
    def counted(batches: Any) -> Any:
        number = 0
        for batch in batches:
            number += batch.num_rows
        yield gs.Batch.from_arrow(pa.record_batch({"rows": [number]}))

    scan = gs.scan_parquet(spark, trips).where([("year", ">", 2012)]).map_in_arrow(counted, "rows bigint")
    counts = [row.rows for row in scan.to_df().collect()]
    assert sum(counts) == 1000
    assert len(counts) == len(scan.explain().reading.splits)


def test_only_what_is_needed_is_read(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips).with_columns(
        fare=lambda b: fare(b["km"], b["minutes"]), unused=lambda b: b["carrier"].to_arrow()
    )
    assert scan.select("fare").explain().reading.columns == ("km", "minutes")
    later = scan.select("fare", "id").where(lambda b: b["id"].values > 0)
    assert later.explain().reading.columns == ("id", "km", "minutes")
    text = str(scan.select("fare").explain())
    assert "reads 2 of 6 columns: km, minutes" in text
    assert "unused" not in text


def test_explain_tells_where_functions_would_run_and_why(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips).with_columns(fare=lambda b: fare(b["km"], b["minutes"]))
    scan = scan.where(lambda b: b["fare"].values > 5)
    spark.conf.set("spark.gpuspark.device", "cpu")
    assert "  fare runs on cpu" in str(scan.explain())
    spark.conf.set("spark.gpuspark.device", "auto")
    again = gs.scan_parquet(spark, trips).with_columns(fare=lambda b: fare(b["km"], b["minutes"]))
    [plan] = again.explain().functions
    assert plan.function == "fare"
    assert {reason.device for reason in plan.reasons} <= {"cuda"}


def test_rows_alone_are_counted_from_the_footers(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips)
    gs.ledger(spark).clear()
    assert scan.aggregate(n=("*", "count")).collect() == [(1500,)]
    assert scan.aggregate("year", n=("*", "count")).count() == 3
    bytes_read = [s.bytes_in for s in gs.ledger(spark).summary() if s.function.startswith("files of")]
    assert sum(bytes_read) <= 1500 * 4  # the years, which are in no file


def test_filters_leave_out_files_and_row_groups(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips, filters=[("year", "=", 2013), ("id", ">=", 2013_450)])
    plan = scan.explain()
    assert (plan.reading.files_pruned, plan.reading.groups_pruned) == (2, 4)
    assert plan.reading.rows == 100
    assert "rows of footers 1,500 = left out 1,400 + read 100" in str(plan)
    assert scan.aggregate(n=("*", "count")).collect() == [(50,)]


def test_every_row_is_accounted_for(spark, trips: str) -> None:
    """Rows of footers are those left out, those filtered, and those handed over; the ledger has the last two."""
    scan = gs.scan_parquet(spark, trips, filters=[("id", "<", 2012_150)])
    gs.ledger(spark).clear()
    assert scan.to_df().select("id").count() == 150
    reading = scan.explain().reading
    assert (reading.rows_pruned, ledger_rows(spark, "files of"), ledger_rows(spark, "scan of")) == (1300, 200, 150)
    assert reading.rows_pruned + reading.rows == scan.table.rows == 1500


def test_a_scan_that_reads_nothing_is_an_empty_frame(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips, columns=["id"], filters=[("year", "=", 1999)])
    assert scan.to_df().collect() == []
    assert scan.aggregate(n=("*", "count"), most=("id", "max")).collect() == [(0, None)]


def test_large_splits_are_cut_by_bytes_of_the_chosen_columns(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips, columns=["id"])
    spark.conf.set("spark.sql.files.openCostInBytes", "1")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "1")
    try:
        splits = scan.explain().reading.splits
        assert len(splits) == 15
        assert scan.to_df().count() == 1500
    finally:
        spark.conf.unset("spark.sql.files.openCostInBytes")
        spark.conf.unset("spark.sql.files.maxPartitionBytes")


def test_whether_a_column_is_there_is_asked_too(spark, trips: str) -> None:
    scan = gs.scan_parquet(spark, trips).with_columns(y=lambda b: b["id"].values * (2 if "km" in b else 1))
    assert rows(scan.select("id", "y").to_df()) == rows(spark.read.parquet(trips).selectExpr("id", "id * 2"))


def test_batches_of_a_body_have_the_declared_types_for_later_steps(spark, trips: str) -> None:
    def body(batches: Any) -> Any:
        for _ in batches:
            yield gs.Batch.from_arrow(pa.record_batch({"k": pa.array(["a"], pa.large_string()), "v": pa.array([1])}))
            yield gs.Batch.from_arrow(pa.record_batch({"k": pa.array(["a"]), "v": pa.nulls(1)}))

    scan = gs.scan_parquet(spark, trips).map_in_arrow(body, "k string, v bigint")
    [[key, total, count]] = scan.aggregate("k", total=("v", "sum"), count=("*", "count")).collect()
    assert (key, total * 2) == ("a", count)
    assert scan.where([("v", ">", 0), ("k", "=", "a")]).to_df().count() * 2 == count


# --- faults


@pytest.mark.parametrize("change", ["replaced", "deleted", "truncated", "same size"])
def test_a_file_that_changed_after_planning_is_an_error(spark, change: str, tmp_path: Path) -> None:
    file = write(tmp_path, numbers())
    write(tmp_path, numbers(1000), "two.parquet")
    scan = gs.scan_parquet(spark, str(tmp_path))
    match change:
        case "replaced":
            pq.write_table(pa.table({"x": range(7)}), file)
        case "deleted":
            file.unlink()
        case "truncated":
            file.write_bytes(file.read_bytes()[:-100])
        case "same size":
            content = file.read_bytes()
            file.write_bytes(content)
            os.utime(file, ns=(0, 1))
    message = "was there when the scan was planned" if change == "deleted" else "changed since the scan was planned"
    with pytest.raises(PythonException, match=rf"ScanError: {file}.*{message}"):
        scan.to_df().collect()


def test_a_damaged_page_is_an_error_that_names_file_and_row_group(spark, tmp_path: Path) -> None:
    file = write(tmp_path, numbers())
    column = pq.read_metadata(file).row_group(3).column(0)
    content = bytearray(file.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(bytes(content))
    scan = gs.scan_parquet(spark, str(tmp_path))
    with pytest.raises(PythonException, match=rf"ScanError: {file}, row group 3, cannot be read exactly"):
        scan.to_df().collect()


def test_a_file_without_footer_is_named_when_the_scan_is_built(spark, tmp_path: Path) -> None:
    write(tmp_path, numbers())
    (tmp_path / "two.parquet").write_bytes(b"PAR1 and nothing else")
    spark.conf.set("spark.sql.parquet.mergeSchema", "false")
    with pytest.raises(PythonException, match=r"ScanError: the footer of .*two.parquet cannot be read"):
        gs.scan_parquet(spark, str(tmp_path))


def test_an_error_of_a_function_keeps_its_type_and_place(spark, trips: str) -> None:
    def failing(batch: gs.Batch) -> Any:
        if batch.num_rows:
            raise LookupError("this table has no such trip")
        return batch["id"]

    scan = gs.scan_parquet(spark, trips).with_columns(y=failing).select("y")
    with pytest.raises(PythonException, match=r"LookupError: this table has no such trip(.|\n)*scan of .*rows=0-"):
        scan.to_df().collect()


# --- refusals


def test_what_scans_do_not_read_is_refused_with_the_reason(spark, trips: str, tmp_path: Path) -> None:
    for path, message in (
        (f"{trips}/year=*", "not a pattern"),
        ("s3a://bucket/trips", "scans read local files, not s3a:"),
        ("", "is not the path"),
    ):
        with pytest.raises(CallError, match=message):
            gs.scan_parquet(spark, path)
    with pytest.raises(AnalysisException, match="PATH_NOT_FOUND"):
        gs.scan_parquet(spark, str(tmp_path / "nowhere"))
    with pytest.raises(CallError, match="Did you mean 'carrier'"):
        gs.scan_parquet(spark, trips, columns=["carier"])
    with pytest.raises(CallError, match="columns takes a list"):
        gs.scan_parquet(spark, trips, columns="id")
    spark.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    try:
        with pytest.raises(CallError, match=r"scans do not support spark.sql.files.ignoreMissingFiles=true"):
            gs.scan_parquet(spark, trips)
    finally:
        spark.conf.unset("spark.sql.files.ignoreMissingFiles")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([("id", "=", 1.5)], "a whole number from"),
        ([("id", "=", True)], "a whole number from"),
        ([("id", "=", 2**63)], "a whole number from"),
        ([("km", ">", "far")], "a number that a float holds"),
        ([("km", "=", 2**53 + 1)], "a number that a float holds"),
        ([("carrier", "=", 1)], "a str"),
        ([("carrier", "in", "UA")], "takes a list of values"),
        ([("carrier", "=", None)], "no row of 'carrier' equals null"),
        ([("carrier", "like", "U%")], "no operator 'like'"),
        ([("carier", "=", "UA")], "no column 'carier'"),
        ([("carrier", "=")], "is not a condition"),
        ("carrier = 'UA'", "is not a list of conditions"),
        ([], "is not a list of conditions"),
        ([("path", "=", 1)], "scans do not read columns of array<bigint>"),
    ],
)
def test_filters_that_mean_nothing_are_refused(spark, trips: str, filters: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        gs.scan_parquet(spark, trips, filters=filters)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda b: 1.5, "y returned a float, not a column"),
        (lambda b: [], "y returned a column without a type"),
        (lambda b: b["kilometres"], "there is no column 'kilometres'"),
        ("km", "y is a str, not a function of a batch"),
    ],
)
def test_functions_that_return_no_column_are_refused_when_the_scan_is_built(
    spark, trips: str, function: Any, message: str
) -> None:
    with pytest.raises(CallError, match=message):
        gs.scan_parquet(spark, trips).with_columns(y=function)


def test_a_condition_must_be_boolean(spark, trips: str) -> None:
    with pytest.raises(CallError, match="returned int64, not booleans"):
        gs.scan_parquet(spark, trips).where(lambda b: b["id"])
