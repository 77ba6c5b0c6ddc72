"""Decides where a function runs in a task, opens the device, warns of a fallback, limits the memory of a batch, and
decides again if the device fails.

All dialects and kernels do these things here. A function itself tells on which devices it can run
(:class:`Placeable`); :func:`plan` chooses among them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import MappingProxyType
from typing import Protocol, TypeVar

from gpuspark.config import Config
from gpuspark.devices import open_device, open_for_rapids
from gpuspark.devices.protocol import Device, DeviceName
from gpuspark.errors import DeviceError, DeviceLost, DeviceUnavailable, OutOfMemory
from gpuspark.execution.plan import Plan, devices_of, enforce, plan
from gpuspark.spark.collector import exempt_loaded_modules
from gpuspark.spark.session import task_config, task_facts

_Result = TypeVar("_Result")
_log = logging.getLogger("gpuspark")
_warned: set[str] = set()
_failures: dict[tuple[Hashable, Config, str | None], dict[DeviceName, str]] = {}
"""The devices that failed in this process, with the reason: by function, configuration and GPU address."""

RECOVERABLE = (DeviceLost, DeviceUnavailable, OutOfMemory)
"""The device errors after which the work continues on another device."""


NOT_SCALAR = ("only scalar functions, those of gs.udf, become Spark expressions",)
"""Why functions of the other dialects are not Spark expressions."""


class Placeable(Protocol):
    """A function, and what decides where it can run."""

    @property
    def name(self) -> str:
        """The function's name, for plans and messages."""

    @property
    def key(self) -> Hashable:
        """The key under which failures of devices are remembered: equal for equal functions in all tasks of a
        process."""

    @property
    def left_to_python(self) -> Sequence[str]:
        """The constructs on some path of the body that do not compile: rows that reach them are computed in Python."""

    @property
    def not_sql(self) -> Sequence[str]:
        """Why the function is not a Spark expression, now that a worker runs it."""

    @property
    def uses_rapids(self) -> bool:
        """Whether the body itself uses cuDF and CuPy. Then no device but a GPU is opened for it."""

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """Returns everything that keeps the function off ``device``, which this machine has. Compiles the program."""


def decide(
    function: Placeable, config: Config, known: Mapping[DeviceName, Sequence[str]] = MappingProxyType({})
) -> Plan:
    """Returns the plan for ``function`` on this machine. ``known``: obstacles that are known already, such as the
    failure of a device."""
    absent = absent_devices(config)
    obstacles = dict(known)
    for device in devices_of(config):
        if device in absent or obstacles.get(device) or device == "python":
            continue
        obstacles[device] = function.not_sql if device == "sql" else function.obstacles(device)
        if not obstacles[device]:
            break
    return plan(function.name, obstacles, config, absent, function.left_to_python)


def absent_devices(config: Config) -> dict[DeviceName, str]:
    """Returns the devices that ``config`` allows and this machine lacks, each with the reason."""
    if not set(devices_of(config)) & {"cuda", "emulated"}:
        return {}
    from gpuspark.devices.discover import discover

    return discover().absent()


class Placement:
    """The plan of one function in the running task, and the open device.

    A device that cannot be opened or fails is not used again, and a new plan says why. Later tasks of this process with
    the same function, configuration and GPU do not try it either.

    Raises :class:`~gpuspark.errors.FallbackError` if ``spark.gpuspark.fallback=raise`` forbids the plan.
    """

    def __init__(self, function: Placeable, config: Config) -> None:
        self.function, self.config = function, config
        facts = task_facts()
        self._in_task = facts is not None
        self._address = facts.gpu if facts else None
        self._failed = dict(_failures.get(self._key, {})) if self._in_task and _failures else {}
        start = time.perf_counter()
        self._settle()
        self.preparing = time.perf_counter() - start
        """Seconds that the decision took: it compiles the program, or reads it from the cache."""

    @cached_property
    def _key(self) -> tuple[Hashable, Config, str | None]:
        """The key of ``_failures``. It may take a digest of large arrays, and is needed only once something failed."""
        return (self.function.key, self.config, self._address)

    @property
    def reasons(self) -> list[str]:
        """Why better devices were not chosen."""
        return [str(reason) for reason in self.plan.reasons]

    def run(self, on_device: Callable[[Device], _Result], in_python: Callable[[], _Result]) -> tuple[_Result, int]:
        """Returns the result of ``on_device``, called within a turn of the device, or of ``in_python`` if there is no
        device; and the number of retries, each from the start on another device."""
        retries = 0
        while self.device is not None:
            try:
                with self.device.turn(self.config.max_concurrent_tasks):
                    return on_device(self.device), retries
            except RECOVERABLE as error:
                self.leave(error)
                retries += 1
        return in_python(), retries

    def leave(self, error: DeviceError) -> None:
        """Gives up the device, which failed with ``error``, and decides on another one."""
        device = self.device
        self._remember(error)
        if device is not None and not isinstance(error, DeviceLost):
            device.forget()
        self._settle()

    def retire(self, device: DeviceName, reason: str) -> None:
        """Stops this and later tasks of this process from using ``device`` for this function, configuration and
        GPU."""
        self._failed[device] = reason
        if self._in_task:
            _failures.setdefault(self._key, {})[device] = reason

    def retired(self, device: DeviceName) -> str | None:
        """Returns why ``device`` is no longer used for this function; ``None`` if it is."""
        return self._failed.get(device)

    def check_room(self, nbytes: int) -> None:
        """Raises :class:`~gpuspark.errors.OutOfMemory` if ``nbytes`` is more than one batch may use."""
        if self.budget is not None and nbytes > self.budget:
            raise OutOfMemory(
                f"{nbytes:,} bytes needed, {self.budget:,} allowed by spark.gpuspark.memory.limitFraction"
            )

    def _settle(self) -> None:
        """Decides on the best device that has not failed, and opens it."""
        while True:
            self.device: Device | None = None
            self.budget: int | None = None
            """The bytes of device memory that one batch may use; ``None`` without a limit."""
            self.plan = decide(self.function, self.config, {name: [why] for name, why in self._failed.items()})
            enforce(self.plan, self.config)
            try:
                self._open()
            except RECOVERABLE as error:
                self._remember(error)
                continue
            warn_once(self.plan, self.config)
            exempt_loaded_modules()
            return

    def _open(self) -> None:
        name = self.plan.device
        if self.function.uses_rapids:
            device = open_for_rapids(self._address) if name == "cuda" else None
        else:
            device = None if name == "python" else open_device(name, self.config, self._address)
        if device is not None and name != "cpu":
            share = self.config.memory_limit_fraction / self.config.max_concurrent_tasks
            self.budget = int(device.memory().total * share)
        self.device = device

    def _remember(self, error: DeviceError) -> None:
        if isinstance(error, DeviceUnavailable) and error.busy:
            self._failed[self.plan.device] = str(error)  # later tasks may try again
        else:
            self.retire(self.plan.device, str(error))


class Turn:
    """The turn of an iterator body: this process may use the device between :meth:`begin` and :meth:`end`. Both may
    be called repeatedly, and do nothing if the body runs on no device."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._held: ExitStack | None = None
        self.waited = 0.0
        """Seconds spent waiting, for Spark or for the turn."""

    def begin(self) -> None:
        """Waits for the turn, unless it is held already."""
        device = self._placement.device
        if device is not None and self._held is None:
            self._held = ExitStack()
            self.waited += self._held.enter_context(device.turn(self._placement.config.max_concurrent_tasks))

    def end(self) -> None:
        """Gives the turn to other processes."""
        if self._held is not None:
            held, self._held = self._held, None
            held.close()


def warn_once(decision: Plan, config: Config) -> None:
    """Logs a fallback, once per process and plan, if ``spark.gpuspark.fallback=warn``."""
    if decision.fell_back and config.fallback == "warn" and str(decision) not in _warned:
        _warned.add(str(decision))
        _log.warning("%s", decision)


def planned_device() -> DeviceName:
    """Returns the device that array functions of the running task will use, unless it fails. For callers that split
    work into few large items on a CPU, which suits its caches, and many small ones on a GPU."""
    config = task_config()
    absent = absent_devices(config)
    return next(device for device in devices_of(config) if device not in absent and device != "sql")
