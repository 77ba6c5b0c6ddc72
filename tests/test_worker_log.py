"""Spark's worker log, which must not stop a job, however much is written to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpuspark.spark import worker_log

PRINTED = 20_000
"""Lines of one task; Spark's reader gives up after some ten thousand in a row."""

SCRIPT = f"""
import pandas as pd
import gpuspark as gs
from pyspark.sql import SparkSession, functions as F

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.config("spark.gpuspark.device", "python").config("spark.gpuspark.fallback", "silent").getOrCreate()

def told(i):
    print("a line")
    return i

@F.pandas_udf("bigint")
def tells(i: pd.Series) -> pd.Series:
    return i.map(told)

numbers = spark.range({PRINTED}).coalesce(1)
print(numbers.select(gs.udf(told, "bigint")("id").alias("i")).agg(F.sum("i")).first()[0])
print(numbers.select(tells("id").alias("i")).agg(F.sum("i")).first()[0])
print(gs.ledger(spark).summary()[0].rows, gs.ledger(spark).missing)
spark.stop()
"""


def test_a_job_that_prints_much_ends() -> None:
    """Ours, and PySpark's own after it, in the same worker: the ledger has Spark keep the log of both."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    total = PRINTED * (PRINTED - 1) // 2
    assert done.stdout.split() == [str(total), str(total), str(PRINTED), "0"]
    assert "StackOverflowError" not in done.stderr


class _Stream:
    """Standard output as a worker has it."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)


def test_runs_are_broken_once_and_other_texts_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Stream()
    monkeypatch.setattr(sys, "__stdout__", stream)
    worker_log.break_runs()
    worker_log.break_runs()
    lines = ["PYTHON_WORKER_LOGGING:1:{}\n"] * 40
    assert [stream.write(line) for line in lines] == [len(line) for line in lines]
    assert stream.write("other") == 5
    begin = [text[0] for text in stream.written]
    assert begin == ([" "] + ["P"] * 15) * 2 + [" "] + ["P"] * 7 + ["o"]
    assert {text.strip() for text in stream.written} == {lines[0].strip(), "other"}
