"""The functions that a body calls: what a task settles once for them, and their share of the body's ledger entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gpuspark.accounting.entries import Entry
from gpuspark.accounting.work import Work
from gpuspark.execution.plan import Plan
from gpuspark.spark.session import running_task

if TYPE_CHECKING:
    from pyspark import TaskContext

    from gpuspark.devices.protocol import DeviceName


class Inside:
    """What the functions called inside a body do, for the ledger entry of that body: seconds by phase, the
    device where another one than the body's was taken, and why."""

    def __init__(self, account: Entry) -> None:
        self._account = account
        self._seconds = 0.0
        self.device: DeviceName | None = None
        """Where the last of them ran."""

    def add(self, function: str, plan: Plan, work: Work) -> None:
        """Accounts for one run of ``function``."""
        self.device = plan.device
        self._seconds += sum(work.seconds.values())
        reasons = [f"{reason} (in {function})" for reason in [*map(str, plan.reasons), *work.reasons]]
        self._account.add(
            device=plan.device, rows=0, batches=0, bytes_in=0, bytes_out=0,
            seconds=work.seconds, reasons=reasons, retries=work.retries,
        )  # fmt: skip

    def found(self, function: str, plan: Plan, reasons: Sequence[str]) -> None:
        """Accounts for a batch in which ``function`` failed."""
        self._account.add_findings(plan.device, [f"{reason} (in {function})" for reason in reasons])

    def take_seconds(self) -> float:
        """Returns the seconds that were added since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@dataclass
class TaskMemory:
    """What is remembered for as long as a task lasts: the next one may have other flags, or another GPU."""

    calls: dict[Any, Any] = field(default_factory=dict)
    """What is settled once: for a scalar function and its columns, for an array function and its parameters."""
    inside: Inside | None = None


_tasks: WeakKeyDictionary[TaskContext, TaskMemory] = WeakKeyDictionary()


def account_inside(account: Entry) -> Inside:
    """Accounts functions that are called on columns in the running task, from now on, to ``account``."""
    inside = Inside(account)
    this_task().inside = inside
    return inside


def this_task() -> TaskMemory:
    """Returns what is remembered for the running task; nothing where there is none."""
    running = running_task()
    return TaskMemory() if running is None else _tasks.setdefault(running, TaskMemory())
