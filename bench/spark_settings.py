"""``python -m gpuspark.bench.spark_settings``: what Spark's own settings change in the time that the hooks of gpuspark
take; writes ``bench/history/spark_settings.jsonl`` and the tables of ``docs/spark-settings.md``.

A running session takes some of the settings; others hold from the start of Spark. Each round has one session in which
every hook runs under each setting of the first kind in turn, and one session for each setting of the second kind. In
both kinds, Spark as it is comes first and, as a control, once more at the end. Before the first round the workers must
show that a setting is in force, and the rows must be those of Spark as it is.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import pyarrow as pa
import typer

import gpuspark as gs
from gpuspark.bench import spark_settings_page as page
from gpuspark.bench.cases import Case, every_case
from gpuspark.bench.cases.scalar import batch_hook, column_hook
from gpuspark.bench.cases.segments import gpuspark as smoothed_segments
from gpuspark.bench.measure import machine
from gpuspark.bench.option_value import value, value_numpy
from gpuspark.bench.run import WrongResults, drain, read, session, settings, write
from gpuspark.bench.verify import first_difference

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ARROW = "spark.sql.execution.arrow"
READER_ROWS = "spark.sql.parquet.columnarReaderBatchSize"
BUFFER = "spark.sql.execution.pandas.udf.buffer.size"
PIPELINED = "spark.python.udf.pipelined.enabled"
UNIX_SOCKET = "spark.python.unix.domain.socket.enabled"

WORKER = {"SPARK_BUFFER_SIZE": "65536", "SPARK_PIPELINED_UDF": "", "PYTHON_UNIX_DOMAIN_ENABLED": ""}
"""The variables by which Spark tells its Python workers of these settings, and what they hold as Spark is."""


SHORT_ROWS = 40_000
"""How many rows short runs have: those before timed ones, and those whose results are compared."""


@dataclass(frozen=True)
class Setting:
    """Settings of Spark that are compared with Spark as it is."""

    keys: Mapping[str, str] = field(default_factory=dict)
    worker: Mapping[str, str] = field(default_factory=dict)
    """What the workers' environment must then hold, where that is not what it holds as Spark is."""

    @property
    def name(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.keys.items())


RUNNING = (
    Setting({READER_ROWS: "65536"}),
    Setting({f"{ARROW}.maxRecordsPerBatch": "100000"}),
    Setting({f"{ARROW}.maxBytesPerBatch": "64k"}),
    Setting({BUFFER: "1048576"}, worker={"SPARK_BUFFER_SIZE": "1048576"}),
)
"""The settings that a running session takes."""
FROM_THE_START = (
    Setting({PIPELINED: "true"}, worker={"SPARK_PIPELINED_UDF": "1"}),
    Setting({UNIX_SOCKET: "true"}, worker={"PYTHON_UNIX_DOMAIN_ENABLED": "True"}),
)
"""The settings that hold from the start of Spark."""


@dataclass(frozen=True)
class Hook:
    """One way into gpuspark, over the data of a case."""

    case: Case
    path: Callable[[DataFrame], DataFrame]


def series_hook(frame: DataFrame) -> DataFrame:
    """Returns the values as a ``gs.pandas_udf`` column function computes them."""

    def on_series(s: pd.Series, k: pd.Series, t: pd.Series) -> pd.Series:
        return value_numpy(s, k, t)

    return frame.select(gs.pandas_udf("double")(on_series)(*frame.columns).alias("v"))


def hooks() -> dict[str, Hook]:
    """Returns the hooks that are measured, by name. All read three columns of eight bytes."""
    cases = every_case()
    rows, groups = cases["scalar_heavy"], cases["smoothing_groups_of_40"]
    return {
        "gs.udf": Hook(rows, column_hook(value)),
        "gs.pandas_udf": Hook(rows, series_hook),
        "gs.map_in_arrow": Hook(rows, batch_hook(value)),
        "gs.apply_in_segments": Hook(groups, smoothed_segments),
    }


class NotInForce(Exception):
    """The workers do not show a setting, so that its time would mean nothing."""


@dataclass(frozen=True)
class Session:
    """One session of a round, and the settings that are compared in it."""

    group: str
    """``running`` or ``from the start``: only times of one group are compared with each other."""
    start: Setting
    """What Spark is started with."""
    taken: Mapping[str, Setting]
    """What the session then takes, by the name under which it is recorded."""


def sessions() -> list[Session]:
    """Returns the sessions of one round.

    The first is as Spark is: what the first session of a process is started with, Java keeps for all later ones.
    """
    taken = {page.DEFAULT: Setting(), **{setting.name: setting for setting in RUNNING}, page.AGAIN: Setting()}
    starts = {page.DEFAULT: Setting(), **{setting.name: setting for setting in FROM_THE_START}, page.AGAIN: Setting()}
    alone = [Session(page.FROM_THE_START, start, {name: Setting()}) for name, start in starts.items()]
    return [Session(page.RUNNING, Setting(), taken), *alone]


@dataclass
class Measured:
    """What was measured of one hook under one setting."""

    batches: int
    """Spark's batches, from the ledger."""
    worker: Mapping[str, str]
    """What the workers' environment held."""
    seconds: list[float] = field(default_factory=list)


Key = tuple[str, str, str]
"""The group, the setting and the hook of a measurement."""


class Rounds:
    """The rounds of one run, and what they measured."""

    def __init__(self, rows: int, master: str, folder: Path, names: Sequence[str] = ()) -> None:
        self.rows = rows
        self.master = master
        self.folder = folder
        self.hooks = {name: hook for name, hook in hooks().items() if not names or name in names}
        self.measured: dict[Key, Measured] = {}
        self._right: dict[str, pa.Table] = {}
        """The rows of each hook with Spark as it is."""

    def look(self) -> None:
        """Runs every hook under every setting, untimed, and keeps Spark's batches and the workers' environment.

        Raises :class:`NotInForce` where that environment is not the setting's, and
        :class:`~gpuspark.bench.run.WrongResults` where the rows differ from those of Spark as it is.
        """
        for each, spark in self._sessions():
            for label, setting in each.taken.items():
                with settings(spark, setting.keys):
                    environment = worker_environment(spark)
                    expected = {**WORKER, **each.start.worker, **setting.worker}
                    if environment != expected:
                        raise NotInForce(f"{label}: the workers have {environment}, not {expected}")
                    for name, hook in self.hooks.items():
                        self._compare_rows(spark, label, name, hook)
                        batches = self._count_batches(spark, hook)
                        self.measured[each.group, label, name] = Measured(batches, environment)

    def time(self) -> None:
        """Takes the time of every hook under every setting. A short run under the setting goes before each."""
        for each, spark in self._sessions():
            for name, hook in self.hooks.items():
                short, whole = (self._drained(spark, hook, rows) for rows in (min(self.rows, SHORT_ROWS), self.rows))
                whole()  # so that Java has compiled the query before the first time is taken
                for label, setting in each.taken.items():
                    elapsed = under(spark, setting, short, whole)
                    self.measured[each.group, label, name].seconds.append(elapsed)

    def records(self, **shared: Any) -> list[dict[str, Any]]:
        """Returns a record for each hook under each setting, with the fields that all ``shared``."""
        return [
            {**shared, "group": group, "setting": label, "hook": name, **vars(measured)}
            for (group, label, name), measured in self.measured.items()
        ]

    def _sessions(self) -> Iterator[tuple[Session, SparkSession]]:
        """Yields the sessions of one round, each with a Spark that was started for it."""
        for each in sessions():
            spark = session(self.master, {"spark.gpuspark.device": "cpu", **each.start.keys})
            try:
                yield each, spark
            finally:
                spark.stop()

    def _drained(self, spark: SparkSession, hook: Hook, rows: int) -> Callable[[], None]:
        return drain(hook.path, read(spark, hook.case, rows, self.folder))

    def _count_batches(self, spark: SparkSession, hook: Hook) -> int:
        gs.ledger(spark).clear()
        self._drained(spark, hook, self.rows)()
        return max(summary.batches for summary in gs.ledger(spark).summary())

    def _compare_rows(self, spark: SparkSession, label: str, name: str, hook: Hook) -> None:
        frame = read(spark, hook.case, min(self.rows, SHORT_ROWS), self.folder)
        result = hook.path(frame).toArrow()
        right = self._right.setdefault(name, result)
        if difference := first_difference(result, right, hook.case.sorted_by, hook.case.close):
            raise WrongResults(f"{label}: {name} differs from Spark as it is: {difference}")


def under(spark: SparkSession, setting: Setting, short: Callable[[], None], whole: Callable[[], None]) -> float:
    """Runs both under the setting, which Spark reads when a query runs, and returns the seconds of ``whole``."""
    with settings(spark, setting.keys):
        short()
        start = time.perf_counter()
        whole()
        return time.perf_counter() - start


def worker_environment(spark: SparkSession) -> dict[str, str]:
    """Returns the variables of :data:`WORKER` as the worker of a query has them."""
    names = list(WORKER)

    def variables(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.record_batch({name: [os.environ.get(name, "")] for name in names})

    [row] = spark.range(1).mapInArrow(variables, ", ".join(f"{name} string" for name in names)).collect()
    return {name: row[name] for name in names}


def main(
    rows: Annotated[int, typer.Option(help="rows of each hook's table")] = 1_000_000,
    rounds: Annotated[int, typer.Option(help="how often each hook is timed under each setting")] = 8,
    master: Annotated[str, typer.Option(help="where Spark runs")] = "local[*]",
    record: Annotated[Path, typer.Option(help="the file of records, which is replaced")] = page.RECORD,
    text: Annotated[Path, typer.Option(help="the page whose tables are written")] = page.PAGE,
    hook: Annotated[list[str] | None, typer.Option(help="a hook to measure; all, if none is named")] = None,
) -> None:
    """Measures every hook under every setting and writes the records and the page's tables."""
    shared: dict[str, Any] = {"run": uuid.uuid4().hex[:12], "time": time.time(), "rows": rows, "machine": machine()}
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run = Rounds(rows, master, Path(folder), hook or ())
        print("looking at what the workers show", flush=True)
        run.look()
        for number in range(rounds):
            loads.append(os.getloadavg()[0])
            print(f"round {number + 1} of {rounds}, load {loads[-1]:.1f}", flush=True)
            run.time()
            record.unlink(missing_ok=True)
            write(run.records(**shared, loads=loads), record)
    text.write_text(page.written(text.read_text(), page.load(record)))


if __name__ == "__main__":
    typer.run(main)
