"""Compiled functions that a body calls: their cache in a task, and their share of the body's ledger entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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
    """Adds the work of functions called inside a body to the body's ledger entry: seconds by phase, devices and
    reasons."""

    def __init__(self, account: Entry) -> None:
        self._account = account
        self._seconds = 0.0
        self.device: DeviceName | None = None
        """The device of the last call."""

    def add(self, function: str, plan: Plan, work: Work) -> None:
        """Accounts for one run of ``function``."""
        self.device = plan.device
        self._seconds += sum(work.seconds.values())
        self._account.add(
            device=plan.device,
            rows=0,
            batches=0,
            bytes_in=0,
            bytes_out=0,
            seconds=work.seconds,
            reasons=[f"{reason} (in {function})" for reason in [*map(str, plan.reasons), *work.reasons]],
            retries=work.retries,
        )

    def found(self, function: str, plan: Plan, reasons: Sequence[str]) -> None:
        """Records the findings for a batch in which ``function`` failed."""
        self._account.add_findings(plan.device, [f"{reason} (in {function})" for reason in reasons])

    def take_seconds(self) -> float:
        """Returns the seconds added since the last call of this method."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


@dataclass
class NotedPlans:
    """Notes the plans of functions called outside tasks, as :class:`Inside` accounts for those called in one."""

    plans: dict[str, Plan] = field(default_factory=dict)
    """The plans by function."""

    def add(self, function: str, plan: Plan, work: Work) -> None:  # noqa: ARG002  (nothing is accounted)
        self.plans[function] = plan

    def found(self, function: str, plan: Plan, reasons: Sequence[str]) -> None:  # noqa: ARG002
        self.plans[function] = plan


@dataclass
class TaskMemory:
    """What is cached for the duration of a task: the next one may have another configuration, or another GPU."""

    calls: dict[Any, Any] = field(default_factory=dict)
    """The runners of scalar and array functions, by function and column or parameter types."""
    inside: Inside | NotedPlans | None = None


_tasks: WeakKeyDictionary[TaskContext, TaskMemory] = WeakKeyDictionary()
_outside_tasks: ContextVar[TaskMemory | None] = ContextVar("gpuspark functions called outside tasks", default=None)


@contextmanager
def noted_plans() -> Iterator[dict[str, Plan]]:
    """Context manager that notes the plans of the functions that are called on columns outside tasks."""
    noted = NotedPlans()
    token = _outside_tasks.set(TaskMemory(inside=noted))
    try:
        yield noted.plans
    finally:
        _outside_tasks.reset(token)


def account_inside(account: Entry) -> Inside:
    """From now on, accounts the functions that the running task calls on columns to ``account``; returns what does."""
    inside = Inside(account)
    this_task().inside = inside
    return inside


def this_task() -> TaskMemory:
    """Returns the cache of the running task; outside tasks, that of :func:`noted_plans`, or a new one."""
    running = running_task()
    if running is None:
        return _outside_tasks.get() or TaskMemory()
    return _tasks.setdefault(running, TaskMemory())
