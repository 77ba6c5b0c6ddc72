"""``make bench``: what gpuspark costs and buys on this machine's CPU, against what users write by hand.

Every ratio comes from one run, its paths interleaved. Prints a table, appends a record to
``artifacts/bench/vertical_slice.jsonl``, and with ``--readme`` writes the README's performance section.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import typer

from gpuspark.bench.measure import Timing, interleave, machine, ratios, timings
from gpuspark.bench.option_value import COLUMNS, value, value_numpy, write_parquet

ARTIFACTS = Path("artifacts/bench")
READER_ROWS = (4_096, 16_384, 65_536)  # of a parquet reader's batches; the first is Spark's default
FLOOR, OURS, NUMPY = "arrow_udf that returns a column", "gs.udf, python arithmetic", "pandas_udf with NumPy"
COLUMN_PATHS = (FLOOR, OURS, NUMPY)
AIM = 2.3  # times as fast as pandas_udf: what gs.map_in_arrow is to reach
UDF_ROWS = 20  # a plain udf is given one row in so many, and its seconds are multiplied


def main(
    rows: Annotated[int, typer.Option(help="rows of three doubles")] = 20_000_000,
    rounds: Annotated[int, typer.Option(help="counted rounds of each path")] = 5,
    readme: Annotated[bool, typer.Option(help="write the README's performance section")] = False,
    device: Annotated[str, typer.Option(help="spark.gpuspark.device")] = "cpu",
    fallback: Annotated[str, typer.Option(help="spark.gpuspark.fallback")] = "raise",
    warm_up: Annotated[int, typer.Option(help="rounds before, which are not counted")] = 1,
) -> None:
    """Measures the vertical slice."""
    data = write_parquet(ARTIFACTS / "data", rows)
    flags = {"spark.gpuspark.device": device, "spark.gpuspark.fallback": fallback}
    spark = _session(flags)
    record: dict[str, Any] = {"rows": rows, "rounds": rounds, "warm_up": warm_up, "machine": machine()}
    record |= {"device": device, "fallback": fallback}
    frame = spark.read.parquet(str(data))
    small = spark.read.parquet(str(write_parquet(ARTIFACTS / "data", rows // UDF_ROWS)))
    _check(small)
    paths = _paths(spark, frame, small)
    found = _measure(paths, rounds, warm_up)
    record["seconds"] = {name: timing.seconds for name, timing in found.items()}
    record["batches"] = _batch_sizes(spark, paths, min(rounds, max(3, rounds // 2)), warm_up)
    record["memory"] = _worker_memory(spark, rows)
    record["start"] = _first_results(spark, rounds, warm_up, flags)
    record["import_seconds"] = _import_seconds(rounds)
    record["load_after"] = os.getloadavg()
    spark.stop()
    table = report(record)
    print(table)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with (ARTIFACTS / "vertical_slice.jsonl").open("a") as kept:
        kept.write(json.dumps(record) + "\n")
    if readme:
        _write_readme(table)


def _session(flags: Mapping[str, str]) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{os.cpu_count()}]").appName("gpuspark bench")
    usual = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "4g"}
    for key, setting in {**usual, **flags}.items():
        builder = builder.config(key, setting)
    return builder.getOrCreate()


def _drain(frame: Any) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _gpuspark_map(frame: Any) -> Any:
    import gpuspark as gs

    f = gs.udf(value, "double")

    def body(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
        for batch in batches:
            yield batch.with_column("v", f(*(batch[name] for name in COLUMNS))).select(["v"])

    return gs.map_in_arrow(frame, body, "v double")


def _paths(spark: Any, frame: Any, small: Any) -> dict[str, Callable[[], None]]:
    from pyspark.sql import functions

    import gpuspark as gs

    pyspark_functions: Any = functions  # PySpark's stubs lack its newer functions

    @pyspark_functions.pandas_udf("double")
    def with_numpy(s: pd.Series, k: pd.Series, t: pd.Series) -> pd.Series:
        return value_numpy(s, k, t)

    @pyspark_functions.arrow_udf("double")
    def first(s: pa.Array, k: pa.Array, t: pa.Array) -> pa.Array:
        return s

    @pyspark_functions.arrow_udf("double")
    def first_in_turn(batches: Iterator[tuple[pa.Array, pa.Array, pa.Array]]) -> Iterator[pa.Array]:
        for s, _, _ in batches:
            yield s

    plain = pyspark_functions.udf(value, "double")

    def arithmetic(mode: str, build: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            spark.conf.set("spark.gpuspark.arithmetic", mode)
            _drain(build())

        return run

    def column() -> Any:
        return frame.select(gs.udf(value, "double")(*COLUMNS))

    return {
        "scan": lambda: _drain(frame),
        "identity mapInArrow": lambda: _drain(frame.mapInArrow(lambda batches: batches, frame.schema)),
        "gs.map_in_arrow, python arithmetic": arithmetic("python", lambda: _gpuspark_map(frame)),
        "gs.map_in_arrow, native arithmetic": arithmetic("native", lambda: _gpuspark_map(frame)),
        FLOOR: lambda: _drain(frame.select(first(*COLUMNS))),
        "arrow_udf over iterators, likewise": lambda: _drain(frame.select(first_in_turn(*COLUMNS))),
        OURS: arithmetic("python", column),
        "gs.udf, native arithmetic": arithmetic("native", column),
        NUMPY: lambda: _drain(frame.select(with_numpy(*COLUMNS))),
        f"udf, 1 row in {UDF_ROWS}": lambda: _drain(small.select(plain(*COLUMNS))),
    }


def _measure(paths: dict[str, Callable[[], None]], rounds: int, warm_up: int) -> dict[str, Timing]:
    def shown() -> Iterator[tuple[str, int, float]]:
        for name, turn, seconds in interleave(paths, rounds, warm_up=warm_up):
            print(f"{'warm-up' if turn < 0 else f'round {turn + 1}'}  {seconds:7.2f} s  {name}", flush=True)
            yield name, turn, seconds

    return timings(shown())


def _check(frame: Any) -> None:
    """Before anything is timed: both forms give what plain Python gives."""
    import gpuspark as gs

    some = frame.limit(2000)
    expected = [value(row.s, row.k, row.t) for row in some.collect()]
    for built in (some.select(gs.udf(value, "double")(*COLUMNS).alias("v")), _gpuspark_map(some)):
        found = [row.v for row in built.collect()]
        if any(abs(a - b) > 1e-12 * abs(b) for a, b in zip(found, expected, strict=True)):
            raise SystemExit("the results differ from plain Python's: nothing was timed")


def _batch_sizes(spark: Any, paths: dict[str, Callable[[], None]], rounds: int, warm_up: int) -> dict[str, Any]:
    """What larger batches buy the column hook. Spark hands it a parquet reader's batches as they are, so that
    the reader's setting decides, and not ``spark.sql.execution.arrow.maxRecordsPerBatch``."""
    key = "spark.sql.parquet.columnarReaderBatchSize"
    usual = spark.conf.get(key)

    def sized(size: int, path: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            spark.conf.set(key, size)
            path()

        return run

    found = _measure(
        {f"{name} {size}": sized(size, paths[name]) for size in READER_ROWS for name in COLUMN_PATHS}, rounds, warm_up
    )
    spark.conf.set(key, usual)
    return {name: timing.seconds for name, timing in found.items()}


def _worker_memory(spark: Any, rows: int) -> dict[str, dict[str, float]]:
    """Growth of a worker's resident memory from its second batch to its largest, in MiB, by path, for a partition
    of a tenth of the rows and for one of all rows."""
    from pyspark.sql import functions

    import gpuspark as gs

    f = gs.udf(value, "double")
    pyspark_functions: Any = functions

    def body(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
        growth = _Growth()
        for batch in batches:
            f(*(batch[name] for name in COLUMNS))
            growth.look()
        yield gs.Batch.from_arrow(pa.record_batch({"growth": [growth.mib]}))

    in_column = _Growth()

    @pyspark_functions.arrow_udf("double")
    def grown(results: pa.Array) -> pa.Array:
        """Shares the worker, and the node, with the function whose results it is given."""
        in_column.look()
        return pa.repeat(in_column.mib, len(results))

    found: dict[str, dict[str, float]] = {"gs.map_in_arrow": {}, "gs.udf": {}}
    for part in (rows // 10, rows):
        frame = spark.range(0, part, 1, 1).selectExpr("id + 10D s", "id % 190 + 10D k", "id % 3 + 0.1D t")
        found["gs.map_in_arrow"][str(part)] = gs.map_in_arrow(frame, body, "growth double").collect()[0].growth
        column = grown(f(*COLUMNS)).alias("growth")
        found["gs.udf"][str(part)] = frame.select(column).agg(functions.max("growth")).collect()[0][0]
    return found


class _Growth:
    """The growth of this process since it was asked for the second time, at its largest, in MiB."""

    def __init__(self) -> None:
        self.mib = self._base = 0.0
        self._looks = 0

    def look(self) -> None:
        self._looks += 1
        now = _resident()
        self._base = now if self._looks <= 2 else self._base
        self.mib = max(self.mib, now - self._base)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _first_results(spark: Any, rounds: int, warm_up: int, flags: Mapping[str, str]) -> dict[str, Any]:
    """Seconds to the first result of a new worker, the compile cache being warm, beside an identity map's."""
    spark.stop()
    import gpuspark as gs

    f = gs.udf(value, "double")
    fresh = _session({**flags, "spark.python.worker.reuse": "false"})
    small = fresh.range(0, 1000, 1, 1).selectExpr("id + 10D s", "id + 20D k", "1D t")
    found = _measure(
        {
            "identity, new worker": lambda: _drain(small.mapInArrow(lambda batches: batches, small.schema)),
            "gs.map_in_arrow, new worker": lambda: _drain(_gpuspark_map(small)),
            "gs.udf, new worker": lambda: _drain(small.select(f(*COLUMNS))),
        },
        rounds * 2,
        warm_up,
    )
    fresh.stop()
    return {name: timing.seconds for name, timing in found.items()}


def _import_seconds(rounds: int) -> list[float]:
    """``import gpuspark`` in a new interpreter, by its own clock."""
    code = "import time; start = time.perf_counter(); import gpuspark; print(time.perf_counter() - start)"
    runs = (subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(rounds))
    return [float(done.stdout) for done in runs]


def report(record: dict[str, Any]) -> str:
    """The record as Markdown tables."""
    found = {name: Timing(tuple(seconds)) for name, seconds in record["seconds"].items()}
    identity, floor = found["identity mapInArrow"], found[FLOOR]
    floor = min(floor, found["arrow_udf over iterators, likewise"], key=lambda timing: timing.median)
    numpy = numpy_once = found[NUMPY]
    lines = [
        f"{record['rows']:,} rows of three doubles from parquet to a no-op sink, {record['machine']['cores']} cores.",
        f"gpuspark on {record['device']}, fallback {record['fallback']}.",
        f"Medians of {record['rounds']} interleaved rounds (fastest to slowest).",
        "",
        "| path | seconds | over identity mapInArrow | over the best arrow_udf | pandas_udf over it |",
        "|---|---|---|---|---|",
    ]
    for name, timing in found.items():
        scale = UDF_ROWS if name.startswith("udf,") else 1
        timing = Timing(tuple(s * scale for s in timing.seconds))
        low, high = timing.spread
        cells = [f"{timing.median:.2f} ({low:.2f} to {high:.2f})"]
        cells += [f"{ratios(timing, base).median:.2f}" for base in (identity, floor)]
        cells += [f"{ratios(numpy, timing).median:.2f}"]
        lines.append(f"| {name}{', times ' + str(scale) if scale > 1 else ''} | {' | '.join(cells)} |")
    lines += ["", "| rows in a parquet reader's batch | arrow_udf | gs.udf | over it | pandas_udf | over gs.udf |"]
    lines += ["|---|---|---|---|---|---|"]
    for size in READER_ROWS:
        floor, ours, numpy = (Timing(tuple(record["batches"][f"{name} {size}"])) for name in COLUMN_PATHS)
        row = [floor.median, ours.median, ratios(ours, floor).median, numpy.median, ratios(numpy, ours).median]
        lines.append(" | ".join([f"| {size:,}", *(f"{number:.2f}" for number in row)]) + " |")
    start = {name: Timing(tuple(seconds)) for name, seconds in record["start"].items()}
    identity_start = start["identity, new worker"].median
    later = [f"{start[f'{path}, new worker'].median - identity_start:.2f} s with {path}" for path in record["memory"]]
    growth = [
        f"{mib:.1f} MiB at {int(part):,} rows with {path}"
        for path, grown in record["memory"].items()
        for part, mib in grown.items()
    ]
    udf = next(timing for name, timing in found.items() if name.startswith("udf,"))
    plain = Timing(tuple(s * UDF_ROWS for s in udf.seconds))
    before, after = record["machine"]["load"][0], record["load_after"][0]
    lines += [
        "",
        f"- A plain udf takes {ratios(plain, found[OURS]).median:.1f} times as long as gs.udf.",
        f"- With a warm compile cache a new worker's first result comes after an identity map's by {', '.join(later)}.",
        f"- A worker's memory grows after its second batch, in one partition, by {', '.join(growth)}.",
        f"- `import gpuspark` takes {Timing(tuple(record['import_seconds'])).median * 1000:.1f} ms.",
        f"- Load, a minute's mean: {before:.1f} before, {after:.1f} after {record['machine']['cores']} busy cores.",
        "",
        *_missed(found, floor=identity, numpy=numpy_once),
    ]
    return "\n".join(lines)


def _missed(found: dict[str, Timing], *, floor: Timing, numpy: Timing) -> list[str]:
    """What was aimed at and not reached, in words."""
    best = "gs.map_in_arrow, python arithmetic"
    reached, possible = ratios(numpy, found[best]).median, ratios(numpy, floor).median
    if reached >= AIM:
        return []
    text = f"Missed: gs.map_in_arrow was to be {AIM} times as fast as pandas_udf with NumPy, and is {reached:.2f}."
    if possible < AIM:
        text += f" Nothing could be, here: a mapInArrow that computes nothing is {possible:.2f} times as fast."
    return [f"{text} What is left to win is {ratios(found[best], floor).median - 1:.0%} of that floor."]


def _write_readme(table: str) -> None:
    readme = Path("README.md")
    text = readme.read_text()
    start, end = "<!-- performance -->", "<!-- /performance -->"
    before, after = text.split(start)[0], text.split(end)[1]
    readme.write_text(f"{before}{start}\n`make bench` measured, on the CPU:\n\n{table}\n{end}{after}")


if __name__ == "__main__":
    typer.run(main)
