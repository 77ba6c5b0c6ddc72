"""The worker half of scalar functions that PySpark's own ``udf`` calls row by row, with values that PySpark converts.

It writes the ledger and obeys gpuspark's flags as :mod:`gpuspark.dialects.scalar_worker` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gpuspark.accounting.entries import Entry, entry
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import locate
from gpuspark.execution.placement import Placement
from gpuspark.execution.plan import Plan
from gpuspark.execution.scalar import Nulls
from gpuspark.spark.session import task_config


class _PlacedRows:
    """The :class:`~gpuspark.execution.placement.Placeable` of a function that no device runs."""

    uses_rapids = False
    not_sql = ("PySpark's own udf calls the function",)
    left_to_python = ()

    def __init__(self, name: str, key: str, obstacles: Sequence[str]) -> None:
        self.name, self.key, self._obstacles = name, key, obstacles

    def obstacles(self, device: DeviceName) -> Sequence[str]:  # noqa: ARG002
        """Returns the same obstacles for every device."""
        return self._obstacles


class RowWorker:
    """The callable that Spark pickles in place of the body. It takes the values of one row and returns its result."""

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

    # No type hints: PySpark would read them, and cannot for a callable object.
    def __call__(self, *values, **named):  # type: ignore[no-untyped-def]
        if self._plan is None or self._entry is None:
            self._plan = Placement(_PlacedRows(self.name, self.call, self.obstacles), task_config()).plan
            self._entry = entry(self.name, self.call, self)
        start = time.perf_counter()
        arguments = [*values, *named.values()]
        if self.nulls == "propagate" and any(value is None for value in arguments):
            result = None
        else:
            try:
                result = self.function(*values, **named)
            except Exception as error:
                locate(error, function=self.name, row=self._row, device="python", values=repr(arguments)[:200])
                raise
        self._row += 1
        self._entry.add(
            device="python",
            rows=1,
            batches=0,
            bytes_in=0,
            bytes_out=0,
            seconds={"run": time.perf_counter() - start},
            reasons=[str(reason) for reason in self._plan.reasons],
        )
        return result
