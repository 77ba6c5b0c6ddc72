"""What happened, task by task: the records, their way back to the driver, and the report.

In a Python worker each function call keeps one :class:`Entry` per task. When Spark ends the task the
entry is written as JSON lines to Spark's own Python worker log, which Spark collects in classic mode
and in Spark Connect where ``spark.sql.pyspark.worker.logging.enabled=true``.

When is that? Spark calls no function of ours at the end of a task. But PySpark's worker drops its
``TaskContext`` when a task has ended well, and the unpickled callable when a task was cut short (a
LIMIT, an error): the entry is flushed when either of them is collected. A flush writes what was not
written yet, so it may come twice and nothing counts twice.
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
"""How a reason begins that is a finding: of the emulator's checkers, or of the comparison with Python."""
PHASES = ("wait", "compile", "copy_in", "run", "copy_out")
_LINE = 3000  # characters: all workers of an executor share one pipe, which keeps lines under 4 KiB whole


@dataclass(frozen=True)
class Record:
    """One function call on one device in one task attempt."""

    function: str
    device: str
    reasons: list[str]
    """Why better devices were not used, and what was found wrong; empty where there is nothing to say."""
    rows: int
    """Rows that Spark handed over."""
    batches: int
    bytes_in: int
    """Arrow bytes, as are ``bytes_out``."""
    bytes_out: int
    seconds: dict[str, float]
    """Wall clock, by phase: wait, compile, copy_in, run, copy_out."""
    retries: int
    stage: int
    partition: int
    attempt: int
    call: str
    """Which function: equal ones, of one body and the same options, share an id (:func:`call_id`)."""
    task: int
    """Spark's task attempt id."""
    execution: int | None
    """Spark's SQL execution id."""

    @property
    def findings(self) -> list[str]:
        """The reasons that say what was found wrong: its task failed there."""
        return [reason for reason in self.reasons if reason.startswith(FOUND)]


# On the driver


def call_id(*content: object) -> str:
    """The id of a function call whose worker is made of ``content``: what is equal has one id.

    Spark takes two calls of a Python function for one expression where their pickled functions are equal, byte for
    byte. The id travels in them, so it must not differ where they would not.
    """
    from pyspark.serializers import CloudPickleSerializer

    pickled: bytes = CloudPickleSerializer().dumps(content)  # type: ignore[no-untyped-call]
    return hashlib.sha256(pickled).hexdigest()[:12]


# In a Python worker


@dataclass
class _Totals:
    """What an entry did on one device since it was last written."""

    rows: int = 0
    batches: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    retries: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    reasons: list[str] = field(default_factory=list)


class Entry:
    """What one function call did in one task, device by device."""

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
        """Accounts for ``rows`` rows that came in ``batches`` of Spark's batches.

        ``seconds`` may name any of ``PHASES``. Each reason is kept once.
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

    def found(self, device: str, reasons: Sequence[str]) -> None:
        """Accounts for a batch that failed: of it only the reasons are kept."""
        if reasons:
            self.add(device=device, rows=0, batches=0, bytes_in=0, bytes_out=0, seconds={}, reasons=reasons)

    def take(self, facts: TaskFacts) -> list[Record]:
        """The records of what was added since the last call."""
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


class _Page:
    """The entries of one task. It must not hold the task's context, whose end it waits for."""

    def __init__(self, facts: TaskFacts) -> None:
        self._facts = facts
        self._entries: dict[tuple[str, str], Entry] = {}
        self._ends: dict[int, weakref.finalize[[], object]] = {}

    def entry(self, function: str, call: str) -> Entry:
        return self._entries.setdefault((function, call), Entry(function, call))

    def flush_with(self, thing: object) -> None:
        """Flushes when ``thing`` is collected."""
        end = self._ends.get(id(thing))
        if end is None or not end.alive:
            self._ends[id(thing)] = weakref.finalize(thing, self.flush)

    def flush(self) -> None:
        """Writes what was not written yet."""
        records = [record for entry in self._entries.values() for record in entry.take(self._facts)]
        if records:
            worker_log.write(LOGGER, [line for record in records for line in _lines(record)])


_pages: WeakKeyDictionary[TaskContext, _Page] = WeakKeyDictionary()


def entry(function: str, call: str, owner: object) -> Entry:
    """The entry of the call ``call`` of ``function`` in the running task.

    ``owner`` is the callable that Spark unpickled for this task: what was added is written when the
    task ends or ``owner`` is collected, whichever comes first. Without a task, or where
    ``spark.gpuspark.ledger`` or ``spark.gpuspark.enabled`` is false, the entry counts and is never written.
    """
    task, facts = running_task(), task_facts()
    if task is None or facts is None:
        return Entry(function, call)
    worker_log.name_users_functions()
    if not keeps_ledger(task_config()):
        return Entry(function, call)
    worker_log.break_runs()
    page = _pages.get(task)
    if page is None:
        page = _pages[task] = _Page(facts)
        page.flush_with(task)
    page.flush_with(owner)
    return page.entry(function, call)


class _Numbers:
    """Numbers the lines that this process writes, so that the driver sees when one is missing."""

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


_number = _Numbers()


def _lines(record: Record) -> Iterator[str]:
    """The record as JSON; reasons that do not fit follow in lines that count nothing."""
    reasons = [_cut(reason) for reason in record.reasons]
    fields = asdict(record)
    while True:
        fields["reasons"] = reasons[:1]
        reasons = reasons[1:]
        while reasons and _size(fields | {"reasons": [*fields["reasons"], reasons[0]]}) < _LINE:
            fields["reasons"].append(reasons.pop(0))
        yield json.dumps(fields | _number(), separators=(",", ":"))
        if not reasons:
            return
        fields |= dict.fromkeys(("rows", "batches", "bytes_in", "bytes_out", "retries"), 0)
        fields["seconds"] = {}


def _cut(reason: str) -> str:
    while _size(reason) > _LINE // 2:
        reason = reason[: len(reason) * 3 // 4] + "…"
    return reason


def _size(value: object) -> int:
    """Characters of ``value`` in Spark's log, whose lines are JSON that holds our JSON."""
    return len(json.dumps(json.dumps(value)))
