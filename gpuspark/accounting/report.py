"""``gs.ledger(spark)``: the records of all tasks of a session, read on the driver.

Workers number their lines, so lines that were lost are counted as missing, except the last ones of a worker.
Of several attempts at a partition the last one counts; the others are kept apart. Rows are those that Spark
passed in: a LIMIT, pruning or recomputation changes them.
"""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gpuspark.accounting.entries import FOUND, LOGGER, PHASES, Record
from gpuspark.accounting.expressions import expressions_of, forget_expressions
from gpuspark.spark.session import WORKER_LOGGING, active_session, driver_config

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

_READINGS = 20
_READERS = 4
"""Tasks that read the log. By default Spark would start as many as wrote it, since each wrote one partition."""
_PAUSE = 0.1  # seconds; lines travel through a pipe and arrive shortly after their task has ended
_COUNTS = ("rows", "batches", "bytes_in", "bytes_out", "retries")
_CALLED = " (in "
"""What stands between the reason of a function that another one calls, and its name."""
_Line = dict[str, Any]
_cleared: WeakKeyDictionary[SparkSession, dict[str, int]] = WeakKeyDictionary()
"""By session and worker, the number of the last line when the ledger was cleared."""


@dataclass(frozen=True)
class Summary:
    """The work of one function on all devices."""

    function: str
    rows: int
    batches: int
    devices: dict[str, int]
    """Rows by device."""
    reasons: tuple[str, ...]
    bytes_in: int
    bytes_out: int
    seconds: dict[str, float]
    """Seconds by phase, summed over all tasks."""
    tasks: int


class Ledger:
    """What gpuspark functions did in a session: prints as a table."""

    def __init__(
        self, lines: Sequence[_Line], spark: SparkSession | None = None, expressions: Sequence[str] = ()
    ) -> None:
        self._lines = lines
        self._spark = spark
        self.records, self.superseded = _winners(_merge(lines))
        self.missing = _missing(lines)
        """The number of lines that workers wrote and that did not arrive."""
        self.expressions = tuple(expressions)
        """The functions that were built as Spark expressions. Their rows are not counted; those of columns whose types
        have no expression are, as workers run the function for them."""

    def summary(self) -> list[Summary]:
        """Returns one summary per function, in the order of their first records."""
        by_function: dict[str, list[Record]] = {}
        for record in self.records:
            by_function.setdefault(record.function, []).append(record)
        return [_summarise(name, records) for name, records in by_function.items()]

    def to_pandas(self) -> pd.DataFrame:
        """Returns one row per record; the phases are columns ``seconds_wait`` and so on."""
        import pandas as pd

        rows = [
            {f.name: getattr(r, f.name) for f in fields(r) if f.name != "seconds"}
            | {f"seconds_{phase}": r.seconds.get(phase, 0.0) for phase in PHASES}
            for r in self.records
        ]
        return pd.DataFrame(rows)

    def clear(self) -> None:
        """Excludes everything recorded so far from later ledgers of this session."""
        if self._spark is not None:
            marks = _cleared.setdefault(self._spark, {})
            for line in self._lines:
                marks[line["sender"]] = max(marks.get(line["sender"], -1), line["number"])
            forget_expressions(self._spark)
        self._lines, self.records, self.superseded, self.missing, self.expressions = [], [], [], 0, ()

    def _rows(self) -> list[tuple[str, ...]]:
        """Returns the cells of the table, with its head."""
        return [
            _HEAD,
            *((name, "not counted", "", "sql", *("",) * (len(_HEAD) - 4)) for name in self.expressions),
            *(_cells(summary) for summary in self.summary()),
        ]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[n]) for row in rows) for n in range(len(_HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        passed_over = {s.function: [r for r in s.reasons if not r.startswith(FOUND)] for s in self.summary()}
        lines += reasons_by_function(passed_over, "not on ")
        if len(rows) == 1:
            lines.append("nothing was recorded yet")
        return "\n".join([*lines, *self._notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = self._rows()
        table = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table>{table}</table>" + "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())

    def _notes(self) -> list[str]:
        failed = [*self.records, *self.superseded]
        notes = list(dict.fromkeys(f"{record.function}: {finding}" for record in failed for finding in record.findings))
        if self.missing:
            notes.append(f"{self.missing} records are missing: the rows above are a lower bound")
        if self.superseded:
            notes.append(f"{len(self.superseded)} records of attempts that did not count are left out")
        return notes


def ledger(spark: SparkSession | None = None) -> Ledger:
    """Returns the ledger of ``spark``, or of the active session, once no further lines arrive.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value.
    """
    spark = spark or active_session()
    if spark is None:
        return Ledger([])
    driver_config(spark)
    if spark.conf.get(WORKER_LOGGING, "false") != "true":
        return Ledger([], spark, expressions_of(spark))
    lines = _read(spark)
    for _ in range(_READINGS):
        time.sleep(_PAUSE)
        again = _read(spark)
        if len(again) == len(lines):
            break
        lines = again
    marks = _cleared.get(spark, {})
    recent = [line for line in lines if line["number"] > marks.get(line["sender"], -1)]
    return Ledger(recent, spark, expressions_of(spark))


def reasons_by_function(reasons: Mapping[str, Sequence[str]], prefix: str = "") -> list[str]:
    """Returns a line for each different reason: alone where all of several functions have it, as they have what
    this machine lacks; else after the names of the functions that have it.

    A function called inside another one adds nothing where it has the same reason as its caller.

    >>> reasons_by_function({"f": ["cuda: no GPU", "cpu: a set"], "g": ["cuda: no GPU", "cuda: no GPU (in f)"]})
    ['cuda: no GPU', 'f: cpu: a set']
    """
    functions: dict[str, list[str]] = {}
    for function, texts in reasons.items():
        for text in texts:
            if text.rpartition(_CALLED)[0] not in texts:
                functions.setdefault(text, []).append(function)
    everyone = len(reasons) > 1
    return [
        prefix + text if everyone and len(names) == len(reasons) else f"{', '.join(names)}: {prefix}{text}"
        for text, names in functions.items()
    ]


def _read(spark: SparkSession) -> list[_Line]:
    from pyspark.sql import functions as F

    logged = spark.tvf.python_worker_logs().coalesce(_READERS)
    return [json.loads(row.msg) for row in logged.where(F.col("logger") == LOGGER).select("msg").collect()]


def _merge(lines: Iterable[_Line]) -> list[Record]:
    """Merges lines into one record per call, device and task: a task may write several lines."""
    merged: dict[tuple[Any, ...], _Line] = {}
    for line in sorted(lines, key=lambda line: (line["sender"], line["number"])):
        key = (line["call"], line["device"], line["stage"], line["partition"], line["task"])
        nothing = {**dict.fromkeys(_COUNTS, 0), "seconds": dict.fromkeys(PHASES, 0.0), "reasons": []}
        known = merged.setdefault(key, {**line, **nothing})
        for name in _COUNTS:
            known[name] += line[name]
        for phase, spent in line["seconds"].items():
            known["seconds"][phase] += spent
        known["reasons"] += [reason for reason in line["reasons"] if reason not in known["reasons"]]
    names = {f.name for f in fields(Record)}
    return [Record(**{name: value for name, value in line.items() if name in names}) for line in merged.values()]


def _winners(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Returns the records of the last attempt at each partition, and those of earlier attempts."""
    last: dict[tuple[Any, ...], int] = {}
    everything = list(records)
    for record in everything:
        key = (record.call, record.execution, record.stage, record.partition)
        last[key] = max(last.get(key, -1), record.attempt)
    won = [last[r.call, r.execution, r.stage, r.partition] == r.attempt for r in everything]
    kept = [r for r, wins in zip(everything, won, strict=True) if wins]
    return kept, [r for r, wins in zip(everything, won, strict=True) if not wins]


def _missing(lines: Iterable[_Line]) -> int:
    """Counts the gaps in the numbers of each worker's lines."""
    numbers: dict[str, set[int]] = {}
    for line in lines:
        numbers.setdefault(line["sender"], set()).add(line["number"])
    return sum(max(received) - min(received) + 1 - len(received) for received in numbers.values())


def _summarise(function: str, records: Sequence[Record]) -> Summary:
    devices: dict[str, int] = {}
    for record in records:
        devices[record.device] = devices.get(record.device, 0) + record.rows
    return Summary(
        function=function,
        rows=sum(r.rows for r in records),
        batches=sum(r.batches for r in records),
        devices=devices,
        reasons=tuple(dict.fromkeys(reason for r in records for reason in r.reasons)),
        bytes_in=sum(r.bytes_in for r in records),
        bytes_out=sum(r.bytes_out for r in records),
        seconds={phase: sum(r.seconds.get(phase, 0.0) for r in records) for phase in PHASES},
        tasks=len({(r.stage, r.partition, r.task) for r in records}),
    )


_HEAD = ("function", "rows", "batches", "device", "MiB in", "MiB out", *PHASES, "tasks")


def _cells(summary: Summary) -> tuple[str, ...]:
    devices = summary.devices
    where = next(iter(devices)) if len(devices) == 1 else ", ".join(f"{d} {n:,}" for d, n in devices.items())
    sizes = [f"{n / 2**20:.1f}" for n in (summary.bytes_in, summary.bytes_out)]
    phases = [f"{summary.seconds[phase]:.3f}" for phase in PHASES]
    return (summary.function, f"{summary.rows:,}", f"{summary.batches:,}", where, *sizes, *phases, f"{summary.tasks:,}")
