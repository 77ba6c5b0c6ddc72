"""Spark's worker log does not stop a job, however much is written to it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gpuspark.spark import worker_log
from tests.support.own_spark import quick_environment

PRINTED = 20_000
"""Lines of one task; Spark's reader fails after about ten thousand consecutive ones."""

SCRIPT = f"""
import pandas as pd
import gpuspark as gs
from pyspark.sql import SparkSession, functions as F

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.config("spark.gpuspark.device", "python").config("spark.gpuspark.fallback", "silent").getOrCreate()

def printing(i):
    print("a line")
    return i

@F.pandas_udf("bigint")
def printing_series(i: pd.Series) -> pd.Series:
    return i.map(printing)

numbers = spark.range({PRINTED}).coalesce(1)
print(numbers.select(gs.udf(printing, "bigint")("id").alias("i")).agg(F.sum("i")).first()[0])
print(numbers.select(printing_series("id").alias("i")).agg(F.sum("i")).first()[0])
print(gs.ledger(spark).summary()[0].rows, gs.ledger(spark).missing)
spark.stop()
"""


def test_a_job_that_prints_many_lines_ends() -> None:
    """A gpuspark function, then a PySpark function in the same worker: the ledger makes Spark log both."""
    command, environment = [sys.executable, "-c", SCRIPT], quick_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    total = PRINTED * (PRINTED - 1) // 2
    assert done.stdout.split() == [str(total), str(total), str(PRINTED), "0"]
    assert "StackOverflowError" not in done.stderr


class _Stream:
    """Stands in for a worker's standard output."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)


def test_a_space_precedes_every_16th_log_line_and_other_output_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Stream()
    monkeypatch.setattr(sys, "__stdout__", stream)
    worker_log.break_runs()
    worker_log.break_runs()
    lines = ["PYTHON_WORKER_LOGGING:1:{}\n"] * 40
    assert [stream.write(line) for line in lines] == [len(line) for line in lines]
    assert stream.write("other") == 5
    first_characters = [text[0] for text in stream.written]
    assert first_characters == ([" "] + ["P"] * 15) * 2 + [" "] + ["P"] * 7 + ["o"]
    assert {text.strip() for text in stream.written} == {lines[0].strip(), "other"}
