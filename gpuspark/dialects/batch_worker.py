"""The worker half of the batch dialect: runs a body over Spark's Arrow batches, checks and accounts its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import Entry, entry
from gpuspark.columns.batch import Batch
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import OutOfMemory, ResultError, locate
from gpuspark.execution.frame_body import PlacedFrameBody
from gpuspark.execution.inside import Inside, account_inside
from gpuspark.execution.placement import Placement, Turn
from gpuspark.spark.session import running_task, task_config

if TYPE_CHECKING:
    import pyarrow as pa

    Body = Callable[[Iterator[Batch]], Iterable[Batch]]

_ANY_ITERABLE = "spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled"
_NEEDS = "the arrays and frames of a batch need"


class BatchWorker:
    """The callable that Spark pickles for a batch body. It takes and yields Arrow batches."""

    def __init__(self, body: Body, schema: pa.Schema, call: str) -> None:
        self.body, self.schema, self.call = body, schema, call
        self.__name__ = getattr(body, "__name__", type(body).__name__)

    # No type hints: PySpark would read them, and cannot for a callable object.
    def __call__(self, batches):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        placement = Placement(PlacedFrameBody(self.__name__, self.call, _NEEDS), task_config())
        device, turn = placement.plan.device, Turn(placement)
        account = entry(self.__name__, self.call, self)
        incoming = Incoming(batches, placement, account, turn)
        watch = _Stopwatch(account, device, incoming, account_inside(account), start)
        try:
            for result in self._results(incoming):
                arrow = checked(self.__name__, result, self.schema)
                turn.end()
                watch.yielding(arrow.nbytes)
                yield arrow
                watch.resumed()
                turn.begin()
        except (MemoryError, OutOfMemory) as full:
            raise self._no_room(full, incoming, device) from full
        except Exception as error:
            locate(error, function=self.__name__, rows=incoming.position(), device=device)
            raise
        finally:
            turn.end()
            watch.yielding(0)

    def _results(self, incoming: Iterator[Batch]) -> Iterator[Any]:
        results: Any = self.body(incoming)
        if isinstance(results, Iterator):
            return results
        if _accepts_any_iterable():
            with suppress(TypeError):
                return iter(results)
        raise ResultError(
            f"{self.__name__} returned {type(results).__name__}, not an iterator of gs.Batch. "
            "Write it as a generator: yield each batch."
        )

    def _no_room(self, full: BaseException, incoming: Incoming, device: DeviceName) -> OutOfMemory:
        second_key = " or spark.gpuspark.device.maxConcurrentTasks" if device == "cuda" else ""
        error = OutOfMemory(
            f"{self.__name__} ran out of memory on {device} with a batch of {incoming.last_rows:,} rows, "
            f"{incoming.last_bytes:,} bytes ({full}). Lower spark.sql.execution.arrow.maxRecordsPerBatch{second_key}."
        )
        locate(error, function=self.__name__, rows=incoming.position(), device=device)
        return error


def _accepts_any_iterable() -> bool:
    """Returns whether Spark's setting allows a body to return any iterable, such as a list, not just an iterator."""
    task = running_task()
    return task is None or str(task.getLocalProperty(_ANY_ITERABLE)).lower() != "false"


class Incoming(Iterator[Batch]):
    """Iterator over Spark's batches as :class:`~gpuspark.columns.batch.Batch`, which counts them. It keeps no
    reference to them, and ends the GPU turn while it waits for Spark."""

    def __init__(self, batches: Iterator[pa.RecordBatch], placement: Placement, account: Entry, turn: Turn) -> None:
        self._batches, self._placement, self._account, self._turn = iter(batches), placement, account, turn
        self._device = placement.plan.device
        self._rows = 0
        self._waited = 0.0
        self.last_rows = self.last_bytes = 0

    def __next__(self) -> Batch:
        self._turn.end()
        start = time.perf_counter()
        arrow = next(self._batches)
        self._turn.begin()
        waited = time.perf_counter() - start
        self._waited += waited
        self._rows += arrow.num_rows
        self.last_rows, self.last_bytes = arrow.num_rows, arrow.nbytes
        self._account.add(
            device=self._device,
            rows=arrow.num_rows,
            bytes_in=self.last_bytes,
            bytes_out=0,
            seconds={"wait": waited},
            reasons=self._placement.reasons,
        )
        self.check_room(self.last_bytes)
        return Batch.from_arrow(arrow, self._device)

    def check_room(self, nbytes: int) -> None:
        """Raises :class:`~gpuspark.errors.OutOfMemory` if the body may not use ``nbytes`` on its device."""
        self._placement.check_room(nbytes)

    def take_waited(self) -> float:
        """Returns the seconds spent waiting for Spark since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def position(self) -> str:
        """Returns the row numbers of the last batch, such as ``0-9999``."""
        return f"{self._rows - self.last_rows}-{self._rows - 1}" if self.last_rows else "before the first"


class _Stopwatch:
    """Accounts for a body's own time: without waiting for Spark on either side, and without the compiled functions
    called inside, which account for themselves."""

    def __init__(self, account: Entry, device: DeviceName, incoming: Incoming, inside: Inside, start: float) -> None:
        self._account, self._device, self._incoming, self._inside = account, device, incoming, inside
        self._start: float | None = start

    def yielding(self, nbytes: int) -> None:
        """Stops the clock: the body has yielded ``nbytes`` of results to Spark."""
        if self._start is None:
            return
        spent = time.perf_counter() - self._start - self._incoming.take_waited() - self._inside.take_seconds()
        self._account.add(
            device=self._device, rows=0, batches=0, bytes_in=0, bytes_out=nbytes, seconds={"run": max(spent, 0.0)}
        )
        self._start = None

    def resumed(self) -> None:
        """Restarts the clock: Spark asks for the next result."""
        self._start = time.perf_counter()


def checked(name: str, result: Any, schema: pa.Schema) -> pa.RecordBatch:
    """Returns a batch that the body ``name`` yielded, as Arrow.

    Raises :class:`~gpuspark.errors.ResultError` if its columns are not those of ``schema``.
    """
    if not isinstance(result, Batch):
        raise ResultError(
            f"{name} yielded a {type(result).__name__}, not a gs.Batch. "
            "Wrap it: gs.Batch.from_arrow(...) or gs.Batch.from_frame(...)."
        )
    arrow = result.to_arrow()
    if arrow.schema.names != schema.names:
        raise ResultError(
            f"{name} yielded the columns {arrow.schema.names}, declared are {schema.names}. "
            "Select them in this order: batch.select([...])."
        )
    for column, actual, declared in zip(arrow.columns, arrow.schema, schema, strict=True):
        if not fits(actual.type, declared.type):
            raise ResultError(
                f"{name} yielded column {actual.name!r} as {actual.type}, declared is {declared.type}. "
                "Cast it in the body, or declare another type."
            )
        if column.null_count and not declared.nullable:
            raise ResultError(
                f"{name} yielded column {actual.name!r} with {column.null_count} nulls, declared is "
                f"{declared.type} not null. Fill them in the body, or declare the column without 'not null'."
            )
    return arrow


def fits(actual: pa.DataType, declared: pa.DataType) -> bool:
    """Returns whether Spark reads a column of type ``actual`` as ``declared``: if they are equal, for a column of
    nulls, for timestamps whose zones have different names, for large strings and binaries, and for nested types whose
    parts fit. The fields of a struct must have the declared names."""
    import pyarrow.types as is_

    if actual == declared or is_.is_null(actual) or (is_.is_large_string(actual) and is_.is_string(declared)):
        return True
    if is_.is_large_binary(actual) and is_.is_binary(declared):
        return True
    if is_.is_timestamp(actual) and is_.is_timestamp(declared):
        return (actual.tz is None) == (declared.tz is None) and actual.unit == declared.unit
    if is_.is_nested(actual) and is_.is_nested(declared) and actual.num_fields == declared.num_fields:
        if type(actual) is not type(declared):
            return False
        pairs = [(actual.field(n), declared.field(n)) for n in range(actual.num_fields)]
        names_count = is_.is_struct(declared)
        return all(fits(a.type, b.type) and (a.name == b.name or not names_count) for a, b in pairs)
    return False
