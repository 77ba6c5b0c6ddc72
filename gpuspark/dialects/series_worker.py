"""A series body in a task: on pandas as PySpark would run it, or on cuDF.

Bodies see Spark's own batches on every device. A call over a batch, a group or a window may be run once more, on
pandas, where cuDF lacks a method or the device has no room: bodies must be pure, as Spark demands anyway. A body
over iterators is entered once. A permit is held while a body has a batch, and never while it waits for Spark.

The cuDF half has not run on a device (docs/evidence.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import Entry, entry
from gpuspark.columns import cudf_form
from gpuspark.columns.cudf_form import Missing
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import FallbackError, OutOfMemory, ResultError, locate
from gpuspark.execution.frame_body import PlacedFrameBody
from gpuspark.execution.placement import Placement, Turn
from gpuspark.spark.session import task_config

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

    from gpuspark.columns.pandas_form import Conversion


def placed(name: str, call: str) -> PlacedFrameBody:
    """Returns the series body ``name`` as it is placed: on cuDF or on pandas. There is no emulated cuDF."""
    emulated = "a series body needs cuDF, which the emulated device does not have"
    return PlacedFrameBody(name, call, "a series body needs", emulated)


@dataclass(frozen=True)
class ArrowTransport:
    """Columns come as Arrow arrays, and go so: what pandas' form of them needs to be known."""

    declared: DataType
    conversion: Conversion


class SeriesWorker:
    """What Spark pickles around a series body. ``transport``: none where PySpark's pandas UDF carries the columns."""

    def __init__(
        self,
        body: Callable[..., Any],
        call: str,
        missing: Missing,
        least_rows: int,
        transport: ArrowTransport | None = None,
    ) -> None:
        self.body, self.call, self.missing, self.least_rows, self.transport = body, call, missing, least_rows, transport
        self.name = getattr(body, "__name__", type(body).__name__)
        self._start()

    def _start(self) -> None:
        self._placement: Placement | None = None
        self._entry: Entry | None = None
        self._rows = 0
        self._settings: Conversion | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def once(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """One call: a batch, a group or a window."""
        placement = self._placed()
        given = [*columns, *named.values()]
        rows = len(given[0]) if given else 0
        reasons, device = placement.reasons, placement.plan.device
        seconds: dict[str, float] = {}
        with _Located(self.name, lambda: f"{self._rows}-{self._rows + rows - 1}", device):
            if device == "cuda":
                result, device, why = self._on_gpu(columns, named, rows, seconds)
                reasons += why
            else:
                result = self._on_pandas(columns, named, seconds)
        self._account(device, rows, sum(map(nbytes, given)), nbytes(result), seconds, reasons)
        return result

    def iterate(self, batches: Iterator[Any]) -> Any:
        """A body over iterators: entered once, never again. What it returned, if that is no iterator: PySpark says what
        it thinks of that."""
        with self._located(self._placed().plan.device):
            results = self.body(self._incoming(batches))
            if self.transport is not None:
                from gpuspark.columns.pandas_form import iterator_of

                results = iterator_of(results, self.transport.declared)
        return self._counted_results(results) if isinstance(results, Iterator) else results

    def reduce(self, batches: Iterator[Any]) -> Any:
        """A body that makes one value of an iterator of batches."""
        start = time.perf_counter()
        device = self._placed().plan.device
        try:
            with self._located(device), self._on(device):
                result = cudf_form.to_host(self.body(self._incoming(batches)))
        finally:
            self._turn.end()
        self._account(device, 0, 0, 0, {"run": time.perf_counter() - start}, (), batches=0)
        return result

    def _counted_results(self, results: Iterator[Any]) -> Iterator[Any]:
        device = self._placed().plan.device
        try:
            while True:
                start, waited = time.perf_counter(), self._turn.waited
                with self._located(device):
                    try:
                        with self._on(device):
                            result = self._yielded(cudf_form.to_host(next(results)))
                    except StopIteration:
                        return
                    except Exception as error:
                        self._explain(error, device)
                        raise
                    finally:
                        self._turn.end()
                spent = time.perf_counter() - start - (self._turn.waited - waited)
                self._account(device, 0, 0, nbytes(result), {"run": spent}, (), batches=0)
                yield result
                self._turn.begin()
        finally:
            self._turn.end()

    def _incoming(self, batches: Iterator[Any]) -> Iterator[Any]:
        placement = self._placed()
        device = placement.plan.device
        while True:
            self._turn.end()
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self._turn.waited += time.perf_counter() - start
            columns = batch if isinstance(batch, tuple) else (batch,)
            seconds = {"wait": time.perf_counter() - start}
            rows = len(columns[0]) if columns else 0
            size = sum(map(nbytes, columns))
            self._account(device, rows, size, 0, seconds, placement.reasons)
            if device == "cuda":
                self._refuse_obstacles(columns)
                placement.check_room(size)
                self._turn.begin()
                moved = tuple(self._to_device(column) for column in columns)
            else:
                moved = tuple(self._in(columns))
            yield moved[0] if len(moved) == 1 else moved

    def _placed(self) -> Placement:
        """Returns where the body runs in this task; decided at the first call."""
        if self._placement is None:
            self._placement = Placement(placed(self.name, self.call), task_config())
            self._turn = Turn(self._placement)
            self._entry = entry(self.name, self.call, self)
        return self._placement

    def _account(
        self, device: DeviceName, rows: int, bytes_in: int, bytes_out: int, seconds: Mapping[str, float],
        reasons: Sequence[str], batches: int = 1,
    ) -> None:  # fmt: skip
        assert self._entry is not None
        self._rows += rows
        self._entry.add(
            device=device, rows=rows, bytes_in=bytes_in, bytes_out=bytes_out, seconds=seconds, reasons=reasons,
            batches=batches,
        )  # fmt: skip

    def _on_pandas(self, columns: Sequence[Any], named: Mapping[str, Any], seconds: dict[str, float]) -> Any:
        start = time.perf_counter()
        given = self._in([*columns, *named.values()])
        answer = self.body(*given[: len(columns)], **dict(zip(named, given[len(columns) :], strict=True)))
        result = self._out(answer, given)
        seconds["run"] = seconds.get("run", 0.0) + time.perf_counter() - start
        return result

    def _on_gpu(
        self, columns: Sequence[Any], named: Mapping[str, Any], rows: int, seconds: dict[str, float]
    ) -> tuple[Any, DeviceName, list[str]]:
        """The result, where it was computed, and why not on the GPU."""
        given, placement = [*columns, *named.values()], self._placed()
        why = placement.retired("cuda")
        if why is None and rows < self.least_rows:
            why = f"{rows} rows in one call, fewer than {self.least_rows}"
        if why is None:
            why = next((found for column in given if (found := cudf_form.obstacle(column, self.missing))), None)
        if why is None:
            start = time.perf_counter()
            self._turn.begin()
            seconds["wait"] = time.perf_counter() - start
            try:
                placement.check_room(sum(map(nbytes, given)))
                with self._on("cuda"):
                    return self._cudf_result(given, columns, named, seconds), "cuda", []
            except OutOfMemory as error:
                why = f"no room for a batch of {rows:,} rows ({error})"
            except cudf_form.REFUSALS as error:
                if not cudf_form.refused(error):
                    raise
                why = self._retire(f"cuDF has not {error} ({cudf_form.place(error, self.body)})")
            finally:
                self._turn.end()
        if placement.config.fallback == "raise":
            raise FallbackError(f"{self.name}: cuda: {why}\nspark.gpuspark.fallback=raise forbids pandas here.")
        return self._on_pandas(columns, named, seconds), "cpu", [f"cuda: {why}"]

    def _cudf_result(
        self, given: Sequence[Any], columns: Sequence[Any], named: Mapping[str, Any], seconds: dict[str, float]
    ) -> Any:
        start = time.perf_counter()
        moved = [self._to_device(column) for column in given]
        there = time.perf_counter()
        answer = self.body(*moved[: len(columns)], **dict(zip(named, moved[len(columns) :], strict=True)))
        ran = time.perf_counter()
        result = self._out(cudf_form.to_host(answer), given)
        seconds |= {"copy_in": there - start, "run": ran - there, "copy_out": time.perf_counter() - ran}
        return result

    def _on(self, device: DeviceName) -> AbstractContextManager[None]:
        """Within, what RAPIDS says of the GPU becomes an error of ours."""
        if device != "cuda":
            return nullcontext()
        from gpuspark.devices.rapids import device_errors

        return device_errors(f"running {self.name}")

    def _to_device(self, column: Any) -> Any:
        return cudf_form.to_device(column, self.missing, self._conversion().time_zone if self.transport else "UTC")

    def _refuse_obstacles(self, columns: Sequence[Any]) -> None:
        """A body over iterators has begun on cuDF and is not begun again: a column that cannot go there ends it.
        The task's next attempt, in this process, runs on pandas."""
        why = next((found for column in columns if (found := cudf_form.obstacle(column, self.missing))), None)
        if why is not None:
            self._retire(why)
            raise ResultError(
                f"{self.name}: {why}, and a body over iterators that has begun on a GPU is not begun again. "
                "Set spark.gpuspark.device=cpu for this job."
            )

    def _retire(self, why: str) -> str:
        """Keeps this body off cuDF in this process from now on; returns the reason."""
        self._placed().retire("cuda", why)
        return why

    def _explain(self, error: Exception, device: DeviceName) -> None:
        """What a user can do about an error of cuDF's in a body that is not entered again."""
        if device != "cuda":
            return
        if cudf_form.refused(error):
            why = self._retire(f"cuDF has not {error} ({cudf_form.place(error, self.body)})")
            error.add_note(f"gpuspark: {why}. Set spark.gpuspark.device=cpu for this job.")
        elif isinstance(error, OutOfMemory):
            error.add_note(
                "gpuspark: the device has no room. Lower spark.sql.execution.arrow.maxRecordsPerBatch or "
                "spark.gpuspark.device.maxConcurrentTasks."
            )

    # --- between the columns that Spark sends and those of pandas

    def _conversion(self) -> Conversion:
        assert self.transport is not None
        if self._settings is None:
            self._settings = self.transport.conversion.in_task()
        return self._settings

    def _in(self, columns: Sequence[Any]) -> Sequence[Any]:
        if self.transport is None:
            return columns
        from gpuspark.columns.pandas_form import to_pandas

        return to_pandas(columns, self._conversion())

    def _out(self, result: Any, given: Sequence[Any]) -> Any:
        """The result of a call that was ``given`` these columns."""
        if self.transport is None:
            return result
        from gpuspark.columns.pandas_form import from_pandas

        rows = len(given[0]) if given else None
        return from_pandas(result, self.transport.declared, self._conversion(), rows)

    def _yielded(self, result: Any) -> Any:
        if self.transport is None:
            return result
        from gpuspark.columns.pandas_form import from_yielded

        return from_yielded(result, self.transport.declared, self._conversion())

    def _located(self, device: str) -> _Located:
        """For a body over iterators, which has seen these rows by now."""
        return _Located(self.name, lambda: f"0-{self._rows - 1}", device)


def nbytes(column: Any) -> int:
    """Bytes of an Arrow column, or of a pandas one as pandas counts them; whatever else a body returned has none."""
    if isinstance(column, _classes("pandas", "Series", "DataFrame")):
        used = column.memory_usage(index=False)
        return int(used if isinstance(used, int) else used.sum())
    return int(column.nbytes) if isinstance(column, _classes("pyarrow", "Array", "ChunkedArray")) else 0


def _classes(module: str, *names: str) -> tuple[type[Any], ...]:
    """These classes of ``module``; none of them where nobody has loaded it."""
    loaded = sys.modules.get(module)
    return tuple(getattr(loaded, name) for name in names) if loaded is not None else ()


class _Located:
    """Names function, rows and device in an error of the body, which keeps its type and traceback."""

    def __init__(self, function: str, rows: Callable[[], str], device: str) -> None:
        self._where = (function, rows, device)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        function, rows, device = self._where
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            locate(error, function=function, rows=rows(), device=device)
