"""Runs a case: writes its data, verifies every path against the oracle, and only then times the paths in turn.

Each path then runs once more, untimed, to collect the figures of Spark, the ledger and the operating system. The
transport floor runs twice in every round: where its two measurements differ, the run is reported as noisy.
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
from gpuspark.bench.spark_metrics import collect_metrics
from gpuspark.bench.verify import first_difference
from gpuspark.bench.workers import watch_workers

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

FLOOR_AGAIN = "transport again"
"""The second measurement of the transport floor in every round."""
VERIFIED_ELEMENTS = 5_000
"""How many elements are verified on every path before a case is timed."""


@dataclass(frozen=True)
class Suite:
    """How much of each case is run."""

    share: float
    """The share of the case's elements."""
    rounds: int


SUITES = {"smoke": Suite(0.02, 2), "core": Suite(1.0, 6), "full": Suite(1.0, 11)}
"""The suites from the smallest to the largest: each has all cases of the ones before it."""


class WrongResults(Exception):
    """A path's results differ from the oracle's, so that its time would mean nothing."""


def session(master: str, options: Mapping[str, str]) -> SparkSession:
    """Returns a Spark session for the benchmark. ``options`` override the benchmark's own."""
    from pyspark.sql import SparkSession

    defaults = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "4g",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(master).appName("gpuspark bench")
    for key, value in {**defaults, **options}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def run_case(
    spark: SparkSession,
    case: Case,
    suite: Suite,
    folder: Path,
    only_path: str | None,
    show_progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Runs one case and returns its records, one per path. ``only_path`` limits it to that path and the floor.

    Raises :class:`WrongResults` where a path differs from the oracle.
    """
    elements = max(int(case.elements * suite.share), 100)
    with settings(spark, case.settings):
        show_progress(f"{case.name}: verifying {len(case.paths)} paths")
        verify(spark, case, folder, min(VERIFIED_ELEMENTS, elements))
        runs = _prepare(spark, case, elements, folder, only_path)
        seconds = _time_rounds(case, runs, suite.rounds, show_progress)
        shared = _shared_fields(case, elements)
        records = []
        for name, run in runs.items():
            record = {**shared, "path": name, "given": _capped(case, name, elements), "seconds": seconds[name]}
            if name != FLOOR_AGAIN:
                show_progress(f"{case.name}: collecting Spark's figures of {name}")
                record |= observe(spark, run)
            records.append(record)
        return records


def _prepare(
    spark: SparkSession, case: Case, elements: int, folder: Path, only_path: str | None
) -> dict[str, Callable[[], None]]:
    """Writes the case's data and returns a function per path that runs it to the end."""
    paths = {FLOOR: transport, **case.paths}
    chosen = {name: path for name, path in paths.items() if only_path in (None, name) or name == FLOOR}
    counts = {name: _capped(case, name, elements) for name in chosen}
    frames = {count: read(spark, case, count, folder) for count in set(counts.values())}
    runs = {name: drain(path, frames[counts[name]]) for name, path in chosen.items()}
    return {**runs, FLOOR_AGAIN: runs[FLOOR]}


def _time_rounds(
    case: Case, runs: Mapping[str, Callable[[], None]], rounds: int, show_progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Returns the seconds of every path, round by round, without the warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for name, round_number, elapsed in interleave(runs, rounds):
        if round_number >= 0:
            seconds[name].append(elapsed)
        which = f"round {round_number + 1} of {rounds}" if round_number >= 0 else "warm-up"
        show_progress(f"{case.name}: {which}, {name}")
    return seconds


def _shared_fields(case: Case, elements: int) -> dict[str, Any]:
    """Returns the fields that the records of all paths of one run of a case share."""
    return {
        "run": uuid.uuid4().hex[:12], "case": case.name, "unit": case.unit,
        "elements": elements, "of": case.elements,
        "bytes_in": case.bytes_in, "bytes_out": case.bytes_out, "operations": case.operations,
        "note": case.note, "along": case.along,
        "aims": [astuple(aim) for aim in case.aims], "machine": machine(), "time": time.time(),
    }  # fmt: skip


def transport(frame: DataFrame) -> DataFrame:
    """Returns the frame after an identity ``mapInArrow``: the floor of every path through Python."""
    return frame.mapInArrow(_identity, frame.schema)


def _identity(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


def verify(spark: SparkSession, case: Case, folder: Path, elements: int) -> None:
    """Raises :class:`WrongResults` where a path's rows are not the oracle's.

    Compares ``elements`` elements, or fewer if a path is capped below that number.
    """
    frame = read(spark, case, min(elements, *case.capped.values(), elements), folder)
    expected = case.paths[case.oracle](frame).toArrow()
    for name, path in case.paths.items():
        if name not in (case.oracle, FLOOR):
            difference = first_difference(path(frame).toArrow(), expected, case.sorted_by, case.close)
            if difference:
                raise WrongResults(f"{case.name}: {name} differs from {case.oracle}: {difference}")


def read(spark: SparkSession, case: Case, elements: int, folder: Path) -> DataFrame:
    """Returns the case's data as a frame over Parquet files, which are written once and kept for later runs."""
    import pyarrow.parquet as pq

    target = folder / f"{case.name}-{elements}"
    if not (target / "_SUCCESS").exists():
        target.mkdir(parents=True, exist_ok=True)
        table = case.data(elements)
        rows_per_file = -(-table.num_rows // case.files)
        for part in range(case.files):
            pq.write_table(table.slice(part * rows_per_file, rows_per_file), target / f"part-{part:02}.parquet")
        (target / "_SUCCESS").touch()
    return spark.read.parquet(str(target))


def observe(spark: SparkSession, run: Callable[[], None]) -> dict[str, Any]:
    """Runs a path once more and returns the figures of Spark, the workers and the ledger."""
    gs.ledger(spark).clear()
    with watch_workers(spark) as use, collect_metrics(spark) as metrics:
        start = time.perf_counter()
        run()
        wall = time.perf_counter() - start
    ledger = gs.ledger(spark)
    records = ledger.records
    phases: dict[str, float] = {}
    devices: dict[str, int] = dict.fromkeys(["sql"] if ledger.expressions else [], 0)  # whose rows are not counted
    for record in records:
        devices[record.device] = devices.get(record.device, 0) + record.rows
        for phase, seconds in record.seconds.items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    return {
        "wall": wall,
        "spark": metrics.to_dict(),
        "python_cpu": use.cpu,
        "python_memory": use.peak_memory,
        "phases": phases,
        "devices": devices,
        "reasons": sorted({reason for record in records for reason in record.reasons}),
    }


def write(records: list[dict[str, Any]], file: Path) -> None:
    """Appends ``records`` to ``file``, one line of JSON each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        for record in records:
            lines.write(json.dumps(record) + "\n")


def _capped(case: Case, path: str, elements: int) -> int:
    """Returns how many of ``elements`` the path is measured on."""
    return min(elements, case.capped.get(path, elements))


def drain(path: Callable[[DataFrame], DataFrame], frame: DataFrame) -> Callable[[], None]:
    """Returns a function that runs the path into a sink that drops its rows."""
    result = path(frame)
    return lambda: result.write.format("noop").mode("overwrite").save()


@contextmanager
def settings(spark: SparkSession, settings: Mapping[str, Any]) -> Iterator[None]:
    """Context manager that sets Spark's settings for the block and restores them afterwards."""
    before = {key: spark.conf.get(key, None) for key in settings}
    for key, value in settings.items():
        spark.conf.set(key, value)
    yield
    for key, value in before.items():
        if value is None:
            spark.conf.unset(key)
        else:
            spark.conf.set(key, value)
