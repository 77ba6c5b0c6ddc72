"""In a Python worker of Spark: a function that PySpark calls row by row, with the values that it has converted itself.
It keeps the ledger and the flags of gpuspark as :mod:`gpuspark.worker` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gpuspark.errors import locate
from gpuspark.plan import DeviceName, Plan, devices_of, enforce, plan
from gpuspark.records import Entry, entry
from gpuspark.scalar import Nulls
from gpuspark.session import task_config
from gpuspark.worker import warn_once


class RowWorker:
    """The callable that Spark pickles in place of the body: one row's values in, PySpark's own, and its result out."""

    def __init__(
        self, function: Callable[..., Any], name: str, nulls: Nulls, obstacles: Sequence[str], call: str
    ) -> None:
        self.function, self.name, self.nulls, self.call = function, name, nulls, call
        self.obstacles = tuple(obstacles)
        """Why no device runs the function."""
        self.__name__ = name
        self._entry: Entry | None = None
        self._plan: Plan | None = None
        self._row = 0

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("function", "name", "nulls", "obstacles", "call")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # Without type hints: PySpark reads a UDF's, and cannot read those of an object.
    def __call__(self, *values, **named):  # type: ignore[no-untyped-def]
        if self._plan is None or self._entry is None:
            self._plan = self._decide()
            self._entry = entry(self.name, self.call, self)
        start = time.perf_counter()
        seen = [*values, *named.values()]
        if self.nulls == "propagate" and any(value is None for value in seen):
            result = None
        else:
            try:
                result = self.function(*values, **named)
            except Exception as error:
                locate(error, function=self.name, row=self._row, device="python", values=repr(seen)[:200])
                raise
        self._row += 1
        self._entry.add(
            device="python", rows=1, batches=0, bytes_in=0, bytes_out=0,
            seconds={"run": time.perf_counter() - start}, reasons=[str(reason) for reason in self._plan.reasons],
        )  # fmt: skip
        return result

    def _decide(self) -> Plan:
        config = task_config()
        absent: dict[DeviceName, str] = {}
        devices = devices_of(config)
        if set(devices) & {"cuda", "emulated"}:
            from gpuspark.devices.discover import discover

            absent = discover().absent()
        compiled = [device for device in devices if device != "python" and device not in absent]
        found: dict[DeviceName, Sequence[str]] = dict.fromkeys(compiled, self.obstacles)
        decision = plan(self.name, found, config, absent)
        enforce(decision, config)
        warn_once(decision, config)
        return decision
