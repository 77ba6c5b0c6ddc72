"""Runs cases: makes the data, verifies every path against the oracle, and only then takes times, in turn.

Each path then runs once more, untimed, for what Spark, the ledger and the operating system say of it. The transport
floor runs twice in each round: where it differs from itself, the run calls itself noisy.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpuspark as gs
from gpuspark.bench.cases import FLOOR, Case
from gpuspark.bench.measure import interleave, machine
from gpuspark.bench.spark_metrics import measured
from gpuspark.bench.verify import differences
from gpuspark.bench.workers import watched

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

FLOOR_AGAIN = "transport again"
VERIFIED = 5_000
"""Elements that are verified, on every path, before a case is timed."""


@dataclass(frozen=True)
class Suite:
    """How much of each case is run."""

    share: float
    """Of the case's elements."""
    rounds: int


SUITES = {"smoke": Suite(0.02, 2), "core": Suite(1.0, 6), "full": Suite(1.0, 11)}
"""From the smallest to the largest: each has the cases of those before it."""


class WrongResults(Exception):
    """A path does not give what the oracle gives: its time would mean nothing."""


def session(master: str, flags: Mapping[str, str]) -> SparkSession:
    """A Spark of the benchmark's own. ``flags`` go over its settings."""
    from pyspark.sql import SparkSession

    usual = {
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "4g",
        "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.log.level": "ERROR",
    }  # fmt: skip
    builder = SparkSession.builder.master(master).appName("gpuspark bench")
    for key, setting in {**usual, **flags}.items():
        builder = builder.config(key, setting)
    return builder.getOrCreate()


def run_case(
    spark: SparkSession, case: Case, suite: Suite, folder: Path, only: str | None, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The records of one case, one for each path. ``only``: a path to be measured alone, beside the floor.

    Raises :class:`WrongResults` where a path differs from the oracle.
    """
    elements = max(int(case.elements * suite.share), 100)
    paths = {FLOOR: transport, **case.paths}
    with settings(spark, case.settings):
        say(f"{case.name}: verifying {len(case.paths)} paths")
        verify(spark, case, folder, min(VERIFIED, elements))
        kept = {name: path for name, path in paths.items() if only in (None, name) or name == FLOOR}
        frames = {count: read(spark, case, count, folder) for count in {_given(case, p, elements) for p in kept}}
        runs = {name: _drained(path, frames[_given(case, name, elements)]) for name, path in kept.items()}
        runs[FLOOR_AGAIN] = runs[FLOOR]
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for name, turn, taken in interleave(runs, suite.rounds):
            if turn >= 0:
                seconds[name].append(taken)
            say(f"{case.name}: round {turn + 1} of {suite.rounds}, {name}")
        common = {
            "run": uuid.uuid4().hex[:12], "case": case.name, "unit": case.unit,
            "elements": elements, "of": case.elements,
            "bytes_in": case.bytes_in, "bytes_out": case.bytes_out, "operations": case.operations,
            "note": case.note, "along": case.along,
            "aims": [astuple(aim) for aim in case.aims], "machine": machine(), "time": time.time(),
        }  # fmt: skip
        records = []
        for name, run in runs.items():
            record = {**common, "path": name, "given": _given(case, name, elements), "seconds": seconds[name]}
            if name != FLOOR_AGAIN:
                say(f"{case.name}: what Spark says of {name}")
                record |= observe(spark, run)
            records.append(record)
        return records


def transport(frame: DataFrame) -> DataFrame:
    """The floor: every column goes to Python and comes back as it is."""
    return frame.mapInArrow(_same, frame.schema)


def _same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def verify(spark: SparkSession, case: Case, folder: Path, elements: int) -> None:
    """Raises :class:`WrongResults` where a path's rows are not the oracle's, over so many elements, or as many as the
    slowest path is given."""
    frame = read(spark, case, min(elements, *case.capped.values(), elements), folder)
    right = case.paths[case.oracle](frame).toArrow()
    for name, path in case.paths.items():
        if name not in (case.oracle, FLOOR):
            wrong = differences(path(frame).toArrow(), right, case.sorted_by, case.close)
            if wrong:
                raise WrongResults(f"{case.name}: {name} differs from {case.oracle}: {wrong}")


def read(spark: SparkSession, case: Case, elements: int, folder: Path) -> DataFrame:
    """The case's data from parquet files, which are kept for the next run."""
    import pyarrow.parquet as pq

    target = folder / f"{case.name}-{elements}"
    if not (target / "_SUCCESS").exists():
        target.mkdir(parents=True, exist_ok=True)
        table = case.data(elements)
        size = -(-table.num_rows // case.files)
        for part in range(case.files):
            pq.write_table(table.slice(part * size, size), target / f"part-{part:02}.parquet")
        (target / "_SUCCESS").touch()
    return spark.read.parquet(str(target))


def observe(spark: SparkSession, run: Callable[[], None]) -> dict[str, Any]:
    """One more run, with what Spark, the workers and the ledger say of it."""
    gs.ledger(spark).clear()
    with watched(spark) as use, measured(spark) as metrics:
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    records = gs.ledger(spark).records
    phases: dict[str, float] = {}
    devices: dict[str, int] = {}
    for record in records:
        devices[record.device] = devices.get(record.device, 0) + record.rows
        for phase, spent in record.seconds.items():
            phases[phase] = phases.get(phase, 0.0) + spent
    return {
        "wall": wall, "spark": metrics.to_dict(), "python_cpu": use.cpu, "python_memory": use.peak_memory,
        "phases": phases, "devices": devices,
        "reasons": sorted({reason for record in records for reason in record.reasons}),
    }  # fmt: skip


def write(records: list[dict[str, Any]], file: Path) -> None:
    """Appends ``records``, a line of JSON for each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as kept:
        for record in records:
            kept.write(json.dumps(record) + "\n")


def _given(case: Case, path: str, elements: int) -> int:
    return min(elements, case.capped.get(path, elements))


def _drained(path: Callable[[DataFrame], DataFrame], frame: DataFrame) -> Callable[[], None]:
    result = path(frame)
    return lambda: result.write.format("noop").mode("overwrite").save()


@contextmanager
def settings(spark: SparkSession, settings: Mapping[str, Any]) -> Iterator[None]:
    """Spark's settings for the block."""
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    yield
    for key, value in before.items():
        if value is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, value)
