"""Workers killed in the middle of a scan: Spark runs the split again, and every row counts once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.own_spark import quick_environment

ROWS, GROUP, FILES = 3000, 500, 2
MOMENTS = ("first batch", "second batch", "last batch", "after the last batch", "second split of the task")

SCRIPT = f"""
import os, signal, sys
import gpuspark as gs
from pyspark import TaskContext
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.master("local[2,4]").config("spark.gpuspark.batch.targetBytes", "4k").getOrCreate()
spark.sparkContext.setLogLevel("OFF")
folder, marks = sys.argv[1], sys.argv[2]

def dies_at(moment):
    def body(batches):
        seen = 0
        for batch in batches:
            seen += batch.num_rows
            done = {{"first batch": seen <= {GROUP}, "second batch": {GROUP} < seen <= 2 * {GROUP},
                    "last batch": seen == {ROWS}, "second split of the task": seen > {ROWS} // 2}}
            if done.get(moment):
                die()
            yield batch
        if moment == "after the last batch":
            die()

    def die():
        mark = os.path.join(marks, f"{{moment}} {{TaskContext.get().partitionId()}}")
        if not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

    return body

for moment in {MOMENTS!r}:
    scan = gs.scan_parquet(spark, folder).map_in_arrow(dies_at(moment), "x bigint")
    gs.ledger(spark).clear()
    rows = sorted(row.x for row in scan.to_df().collect())
    lost, doubled = {FILES * ROWS} - len(set(rows)), len(rows) - len(set(rows))
    read = sum(s.rows for s in gs.ledger(spark).summary() if s.function.startswith("files of"))
    [[total]] = scan.aggregate(total=("x", "sum")).collect()
    killed = sum(name.startswith(moment) for name in os.listdir(marks))
    print(moment, killed, lost, doubled, read, total, sep=";")
spark.stop()
"""


def test_killed_workers_lose_and_double_no_row(tmp_path: Path) -> None:
    data, marks = tmp_path / "data", tmp_path / "marks"
    data.mkdir()
    marks.mkdir()
    for file in range(FILES):
        numbers = range(file * ROWS, (file + 1) * ROWS)
        pq.write_table(pa.table({"x": numbers}), data / f"{file}.parquet", row_group_size=GROUP)
    command = [sys.executable, "-c", SCRIPT, str(data), str(marks)]
    done = subprocess.run(command, env=quick_environment(), capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    total = sum(range(FILES * ROWS))
    table = [line.split(";") for line in done.stdout.splitlines() if ";" in line]
    assert [line[0] for line in table] == list(MOMENTS)
    for moment, killed, lost, doubled, read, summed in table:
        assert int(killed) >= 1, moment
        assert (moment, lost, doubled, read, summed) == (moment, "0", "0", str(FILES * ROWS), str(total))
