"""The worker half of ``gs.pandas_udf``: the three forms of a series body, accounted.

Bodies see Spark's own batches on every device. How columns travel is the subject of
:mod:`gpuspark.dialects.series_transport`; where they are computed that of :mod:`gpuspark.dialects.series_engine`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gpuspark.accounting.entries import Entry, entry
from gpuspark.columns import cudf_form
from gpuspark.columns.cudf_form import Missing
from gpuspark.dialects.series_engine import SeriesEngine, placed
from gpuspark.dialects.series_transport import PandasTransport, Transport, nbytes
from gpuspark.errors import locate
from gpuspark.execution.placement import Placement
from gpuspark.spark.session import task_config


class SeriesWorker:
    """What Spark pickles around a series body. The body's form decides which of the three methods PySpark calls."""

    def __init__(
        self,
        body: Callable[..., Any],
        call: str,
        missing: Missing,
        least_rows: int,
        transport: Transport | None = None,
    ) -> None:
        self.body, self.call, self.missing, self.least_rows = body, call, missing, least_rows
        self.transport = transport or PandasTransport()
        self.name = getattr(body, "__name__", type(body).__name__)
        self._forget_task()

    def _forget_task(self) -> None:
        self._engine: SeriesEngine | None = None
        self._entry: Entry | None = None
        self._rows = 0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_task()

    def once(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Returns the body's result for one batch, group or window."""
        engine, account = self._in_task()
        arguments = [*columns, *named.values()]
        rows = len(arguments[0]) if arguments else 0
        with _Located(self.name, lambda: f"{self._rows}-{self._rows + rows - 1}", engine.device):
            computed = engine.call(columns, named)
        self._rows += rows
        account.add(
            device=computed.device,
            rows=rows,
            bytes_in=sum(map(nbytes, arguments)),
            bytes_out=nbytes(computed.result),
            seconds=computed.seconds,
            reasons=computed.reasons,
        )
        return computed.result

    def iterate(self, batches: Iterator[Any]) -> Any:
        """Returns the results of a body over iterators, which is called once. If it returned no iterator, returns
        what it did return, for PySpark to refuse."""
        engine, _ = self._in_task(over_batches=True)
        with self._located():
            results = engine.transport.iterator_of(self.body(self._incoming(batches)))
        return self._counted_results(results) if isinstance(results, Iterator) else results

    def reduce(self, batches: Iterator[Any]) -> Any:
        """Returns the one value that a body computes from an iterator of batches."""
        engine, account = self._in_task(over_batches=True)
        start = time.perf_counter()
        try:
            with self._located(), engine.device_errors():
                result = cudf_form.to_host(self.body(self._incoming(batches)))
        finally:
            engine.turn.end()
        seconds = {"run": time.perf_counter() - start}
        account.add(device=engine.device, rows=0, batches=0, bytes_in=0, bytes_out=0, seconds=seconds)
        return result

    def _counted_results(self, results: Iterator[Any]) -> Iterator[Any]:
        engine, account = self._in_task()
        try:
            while True:
                start, waited = time.perf_counter(), engine.turn.waited
                with self._located():
                    try:
                        with engine.device_errors():
                            result = engine.transport.from_yielded(cudf_form.to_host(next(results)))
                    except StopIteration:
                        return
                    except Exception as error:
                        engine.explain(error)
                        raise
                    finally:
                        engine.turn.end()
                seconds = {"run": time.perf_counter() - start - (engine.turn.waited - waited)}
                account.add(
                    device=engine.device, rows=0, batches=0, bytes_in=0, bytes_out=nbytes(result), seconds=seconds
                )
                yield result
                engine.turn.begin()
        finally:
            engine.turn.end()

    def _incoming(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yields Spark's batches as the body sees them."""
        engine, account = self._in_task()
        while True:
            engine.turn.end()
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            waited = time.perf_counter() - start
            engine.turn.waited += waited
            columns = batch if isinstance(batch, tuple) else (batch,)
            rows = len(columns[0]) if columns else 0
            self._rows += rows
            account.add(
                device=engine.device,
                rows=rows,
                bytes_in=sum(map(nbytes, columns)),
                bytes_out=0,
                seconds={"wait": waited},
                reasons=engine.placement.reasons,
            )
            received = engine.receive(columns)
            yield received[0] if len(received) == 1 else received

    def _in_task(self, *, over_batches: bool = False) -> tuple[SeriesEngine, Entry]:
        """Returns the engine and the ledger entry of the running task; both are made at the first call."""
        if self._engine is None or self._entry is None:
            function = placed(self.name, self.call, self.missing, over_batches=over_batches)
            placement = Placement(function, task_config())
            self._engine = SeriesEngine(self.body, self.missing, self.least_rows, self.transport, placement)
            self._entry = entry(self.name, self.call, self)
        return self._engine, self._entry

    def _located(self) -> _Located:
        """Returns the context manager for an iterator body, which has seen all rows so far."""
        return _Located(self.name, lambda: f"0-{self._rows - 1}", self._in_task()[0].device)


class _Located:
    """Context manager that adds function, rows and device to an error of the body, whose type and traceback stay."""

    def __init__(self, function: str, rows: Callable[[], str], device: str) -> None:
        self._function, self._rows, self._device = function, rows, device

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            locate(error, function=self._function, rows=self._rows(), device=self._device)
