"""The ledger's records, as Python workers write them.

Each call of a function has one :class:`Entry` per task. When the task ends, the entry is written as JSON
lines to Spark's Python worker log, which Spark collects, in classic mode and in Spark Connect, if
``spark.sql.pyspark.worker.logging.enabled=true``.

Spark has no hook for the end of a task. But PySpark's worker releases its ``TaskContext`` after a task
that succeeded, and the unpickled callable after one that was cut short (a LIMIT, an error). The entry is
flushed when either is garbage-collected. A flush writes only what was not written before, so a second
flush counts nothing twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gpuspark.spark import worker_log
from gpuspark.spark.session import TaskFacts, keeps_ledger, running_task, task_config, task_facts

if TYPE_CHECKING:
    from pyspark import TaskContext

LOGGER = "gpuspark.ledger"
FOUND = "found on "
"""The prefix of reasons that are findings: of the emulator's checkers, or of the comparison with Python."""
PHASES = ("wait", "compile", "copy_in", "run", "copy_out")
_MAX_LINE = 3000  # characters: all workers of an executor share one pipe, which writes up to 4 KiB atomically


@dataclass(frozen=True)
class Record:
    """The work of one function call on one device in one task attempt."""

    function: str
    device: str
    reasons: list[str]
    """Why better devices were not used, and the findings; may be empty."""
    rows: int
    """Rows that Spark passed in."""
    batches: int
    bytes_in: int
    """Arrow bytes, like ``bytes_out``."""
    bytes_out: int
    seconds: dict[str, float]
    """Wall-clock time by phase: wait, compile, copy_in, run, copy_out."""
    retries: int
    stage: int
    partition: int
    attempt: int
    call: str
    """The id of the function and its options (:func:`call_id`)."""
    task: int
    """Spark's task attempt id."""
    execution: int | None
    """Spark's SQL execution id."""

    @property
    def findings(self) -> list[str]:
        """The reasons that are findings: each made its task fail."""
        return [reason for reason in self.reasons if reason.startswith(FOUND)]


# On the driver


def call_id(*content: object) -> str:
    """Returns the id of a function call with a worker built from ``content``; equal content gives equal ids.

    Spark treats two calls of a Python function as one expression if their pickled functions are equal, byte for
    byte. The pickled function holds the id, so the id must not make equal functions differ.
    """
    from pyspark.serializers import CloudPickleSerializer

    pickled: bytes = CloudPickleSerializer().dumps(content)  # type: ignore[no-untyped-call]
    return hashlib.sha256(pickled).hexdigest()[:12]


# In a Python worker


@dataclass
class _Totals:
    """The work of an entry on one device since the last flush."""

    rows: int = 0
    batches: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    retries: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    reasons: list[str] = field(default_factory=list)


class Entry:
    """The work of one function call in one task, by device."""

    def __init__(self, function: str, call: str) -> None:
        self.function = function
        self.call = call
        self._devices: dict[str, _Totals] = {}

    def add(
        self,
        *,
        device: str,
        rows: int,
        bytes_in: int,
        bytes_out: int,
        seconds: Mapping[str, float],
        reasons: Sequence[str] = (),
        retries: int = 0,
        batches: int = 1,
    ) -> None:
        """Adds ``rows`` rows, which came in ``batches`` of Spark's batches.

        The keys of ``seconds`` are among ``PHASES``. Repeated reasons are stored once.
        """
        totals = self._devices.setdefault(device, _Totals())
        totals.rows += rows
        totals.batches += batches
        totals.bytes_in += bytes_in
        totals.bytes_out += bytes_out
        totals.retries += retries
        for phase, spent in seconds.items():
            totals.seconds[phase] += spent
        totals.reasons += [reason for reason in reasons if reason not in totals.reasons]

    def add_findings(self, device: str, reasons: Sequence[str]) -> None:
        """Adds the reasons of a batch that failed, and nothing else of it."""
        if reasons:
            self.add(device=device, rows=0, batches=0, bytes_in=0, bytes_out=0, seconds={}, reasons=reasons)

    def take(self, facts: TaskFacts) -> list[Record]:
        """Returns the records of what was added since the last call, and resets the totals."""
        devices, self._devices = self._devices, {}
        return [
            Record(
                function=self.function,
                device=device,
                call=self.call,
                stage=facts.stage,
                partition=facts.partition,
                attempt=facts.attempt,
                task=facts.task,
                execution=facts.execution,
                **vars(totals),
            )
            for device, totals in devices.items()
        ]


class _TaskEntries:
    """The entries of one task. Must hold no reference to the task's context, whose collection triggers the flush."""

    def __init__(self, facts: TaskFacts) -> None:
        self._facts = facts
        self._entries: dict[tuple[str, str], Entry] = {}
        self._finalizers: dict[int, weakref.finalize[[], object]] = {}

    def entry(self, function: str, call: str) -> Entry:
        return self._entries.setdefault((function, call), Entry(function, call))

    def flush_with(self, owner: object) -> None:
        """Registers a flush for the moment when ``owner`` is garbage-collected."""
        finalizer = self._finalizers.get(id(owner))
        if finalizer is None or not finalizer.alive:
            self._finalizers[id(owner)] = weakref.finalize(owner, self.flush)

    def flush(self) -> None:
        """Writes what was added since the last flush."""
        records = [record for entry in self._entries.values() for record in entry.take(self._facts)]
        if records:
            worker_log.write(LOGGER, [line for record in records for line in _lines(record)])


_task_entries: WeakKeyDictionary[TaskContext, _TaskEntries] = WeakKeyDictionary()


def entry(function: str, call: str, owner: object) -> Entry:
    """Returns the entry of ``function``'s call with the id ``call`` in the running task.

    ``owner`` is the callable that Spark unpickled for this task: the entry is written when the task ends or
    ``owner`` is garbage-collected, whichever comes first. It is never written outside tasks, or if
    ``spark.gpuspark.ledger`` or ``spark.gpuspark.enabled`` is false.
    """
    task, facts = running_task(), task_facts()
    if task is None or facts is None:
        return Entry(function, call)
    worker_log.name_users_functions()
    if not keeps_ledger(task_config()):
        return Entry(function, call)
    worker_log.break_runs()
    entries = _task_entries.get(task)
    if entries is None:
        entries = _task_entries[task] = _TaskEntries(facts)
        entries.flush_with(task)
    entries.flush_with(owner)
    return entries.entry(function, call)


class _LineNumbers:
    """Numbers the lines that this process writes, so that the driver can detect missing ones."""

    def __init__(self) -> None:
        self._process = 0
        self._sender = ""
        self._next = itertools.count()

    def __call__(self) -> dict[str, object]:
        if self._process != os.getpid():  # workers are forked
            self._process = os.getpid()
            self._sender = uuid.uuid4().hex[:12]
            self._next = itertools.count()
        return {"sender": self._sender, "number": next(self._next)}


_next_number = _LineNumbers()


def _lines(record: Record) -> Iterator[str]:
    """Yields the record as JSON lines: one with the counts, and more with zeros for reasons that do not fit in it."""
    reasons = [_shortened(reason) for reason in record.reasons]
    fields = asdict(record)
    while True:
        fields["reasons"] = reasons[:1]
        reasons = reasons[1:]
        while reasons and _size(fields | {"reasons": [*fields["reasons"], reasons[0]]}) < _MAX_LINE:
            fields["reasons"].append(reasons.pop(0))
        yield json.dumps(fields | _next_number(), separators=(",", ":"))
        if not reasons:
            return
        fields |= dict.fromkeys(("rows", "batches", "bytes_in", "bytes_out", "retries"), 0)
        fields["seconds"] = {}


def _shortened(reason: str) -> str:
    while _size(reason) > _MAX_LINE // 2:
        reason = reason[: len(reason) * 3 // 4] + "…"
    return reason


def _size(value: object) -> int:
    """Returns the length of ``value`` in Spark's log, where gpuspark's JSON is a string inside Spark's JSON."""
    return len(json.dumps(json.dumps(value)))
