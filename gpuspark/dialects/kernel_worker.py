"""In a Python worker of Spark: a kernel over whole columns, or a model, checked and accounted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gpuspark.accounting.entries import Entry, entry
from gpuspark.columns.types import of_arrow, parse
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import ResultError, locate
from gpuspark.execution.inside import account_inside
from gpuspark.spark.session import task_facts

if TYPE_CHECKING:
    import pyarrow as pa

    Compute = Callable[..., pa.Array]


class Operation(Protocol):
    """What makes one column of several."""

    @property
    def __name__(self) -> str: ...

    @property
    def compute(self) -> Compute:
        """The author's function over Arrow columns."""

    def result(self, **options: Any) -> str:
        """Spark's name of the type that it makes."""


def computed(operation: Operation, columns: Sequence[pa.Array], options: Mapping[str, Any]) -> pa.Array:
    """What the author's function makes of ``columns``, if it is one of as many rows, of the type that was declared."""
    result, name = operation.compute(*columns, **options), operation.__name__
    declared = parse(operation.result(**options))
    if not hasattr(result, "type") or not hasattr(result, "nbytes"):
        raise ResultError(f"{name} made a {type(result).__name__}, not an Arrow array: wrap it in pa.array(...)")
    if len(result) != len(columns[0]):
        raise ResultError(f"{name} made {len(result)} rows of {len(columns[0])}")
    found = of_arrow(result.type)
    if declared.compiles and found != declared:
        raise ResultError(f"{name} made a column of {found}, and is declared to make {declared}: cast it")
    return result


class KernelWorker:
    """The callable that Spark pickles for a kernel and its options: Arrow columns in, one out, accounted."""

    def __init__(self, kernel: Operation, options: Mapping[str, Any], call: str) -> None:
        self.kernel, self.options, self.call = kernel, dict(options), call
        self.__name__ = kernel.__name__
        self._entry: Entry | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "options": self.options, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # Without type hints: PySpark reads a UDF's, and cannot read those of an object.
    def __call__(self, *columns):  # type: ignore[no-untyped-def]
        if self._entry is None:
            self._entry = entry(self.__name__, self.call, self)
        inside, start = account_inside(self._entry), time.perf_counter()
        try:
            result = computed(self.kernel, columns, self.options)
        except Exception as error:
            facts = task_facts()
            locate(error, function=self.__name__, partition=facts.partition if facts else None)
            raise
        device: DeviceName = inside.device or "cpu"
        run = max(time.perf_counter() - start - inside.take_seconds(), 0.0)
        self._entry.add(
            device=device, rows=len(result), bytes_in=sum(c.nbytes for c in columns), bytes_out=result.nbytes,
            seconds={"run": run},
        )  # fmt: skip
        return result
