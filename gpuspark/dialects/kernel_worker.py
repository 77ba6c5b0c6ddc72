"""The worker half of kernels over whole columns, and of models: computes one column, checks and accounts it."""

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
    """A named computation of one column from several."""

    @property
    def __name__(self) -> str: ...

    @property
    def compute(self) -> Compute:
        """The author's function over Arrow columns."""

    def result(self, **options: Any) -> str:
        """Returns Spark's name of the result type for these options."""


def computed(operation: Operation, columns: Sequence[pa.Array], options: Mapping[str, Any]) -> pa.Array:
    """Returns the result of the author's function for ``columns``.

    Raises :class:`~gpuspark.errors.ResultError` if it is not an Arrow array of the declared type and as many rows.
    """
    result, name = operation.compute(*columns, **options), operation.__name__
    declared = parse(operation.result(**options))
    if not hasattr(result, "type") or not hasattr(result, "nbytes"):
        raise ResultError(f"{name} returned a {type(result).__name__}, not an Arrow array: wrap it in pa.array(...)")
    if len(result) != len(columns[0]):
        raise ResultError(f"{name} returned {len(result)} rows for {len(columns[0])}")
    actual = of_arrow(result.type)
    if declared.compiles and actual != declared:
        raise ResultError(f"{name} returned a column of {actual}, and is declared to return {declared}: cast it")
    return result


class KernelWorker:
    """The callable that Spark pickles for a kernel and its options. It takes Arrow columns and returns one."""

    def __init__(self, kernel: Operation, options: Mapping[str, Any], call: str) -> None:
        self.kernel, self.options, self.call = kernel, dict(options), call
        self.__name__ = kernel.__name__
        self._entry: Entry | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "options": self.options, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # No type hints: PySpark would read them, and cannot for a callable object.
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
            device=device,
            rows=len(result),
            bytes_in=sum(c.nbytes for c in columns),
            bytes_out=result.nbytes,
            seconds={"run": run},
        )
        return result
