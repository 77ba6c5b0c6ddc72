"""Where a series body is computed: on pandas, as PySpark would run it, or on cuDF.

A call over a batch, a group or a window may run once more, on pandas, if it fails on cuDF, or if cuDF's values may
differ from pandas' (:mod:`gpuspark.columns.cudf_meaning`): bodies must be pure, as Spark demands anyway. pandas decides
whether the body is wrong. An iterator body is never started again, so it uses cuDF only with ``missing="cudf"``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from gpuspark.columns import cudf_form
from gpuspark.columns.cudf_form import Missing
from gpuspark.columns.cudf_meaning import pandas_meaning
from gpuspark.columns.cudf_operations import Different
from gpuspark.devices.protocol import DeviceName
from gpuspark.dialects.series_transport import Transport, nbytes
from gpuspark.errors import DeviceError, FallbackError, OutOfMemory, ResultError
from gpuspark.execution.frame_body import PlacedFrameBody
from gpuspark.execution.placement import Placement, Turn

NOT_STARTED_AGAIN = (
    "a body over iterators cannot start again on pandas where cuDF's values may differ from pandas' "
    '(missing="cudf" allows it)'
)
"""Why an iterator body runs on pandas."""


def placed(name: str, call: str, missing: Missing, *, over_batches: bool) -> PlacedFrameBody:
    """Returns what decides where the series body ``name`` runs: on cuDF or on pandas. There is no emulated cuDF.

    ``over_batches``: whether the body takes an iterator of batches, and so cannot be started again.
    """
    not_cuda = NOT_STARTED_AGAIN if over_batches and missing == "pandas" else ""
    emulated = "a series body needs cuDF, which the emulated device does not have"
    return PlacedFrameBody(name, call, "a series body needs", emulated, not_cuda)


class Computed(NamedTuple):
    """The result of one call of a body."""

    result: Any
    device: DeviceName
    """The device that computed it."""
    seconds: dict[str, float]
    """By phase."""
    reasons: list[str]
    """Why better devices were not used."""


class _BodyFailed(Exception):
    """An error that the body raised on cuDF. pandas decides whether the body is wrong."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class SeriesEngine:
    """Runs a series body in one task, on cuDF where the plan says ``cuda``, else on pandas."""

    def __init__(
        self, body: Callable[..., Any], missing: Missing, least_rows: int, transport: Transport, placement: Placement
    ) -> None:
        self.body, self.missing, self.least_rows, self.placement = body, missing, least_rows, placement
        self.transport = transport.in_task()
        self.turn = Turn(placement)
        """Held while the body has a batch on a GPU, and never while it waits for Spark."""

    @property
    def device(self) -> DeviceName:
        """The device that the plan chose for the body."""
        return self.placement.plan.device

    def call(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Computed:
        """Returns the body's result for one batch, group or window, on pandas if cuDF cannot compute it.

        Raises :class:`~gpuspark.errors.FallbackError` if ``spark.gpuspark.fallback=raise`` forbids that.
        """
        arguments, seconds, reasons = [*columns, *named.values()], dict[str, float](), self.placement.reasons

        def body(values: Sequence[Any]) -> Any:
            return self.body(*values[: len(columns)], **dict(zip(named, values[len(columns) :], strict=True)))

        if self.device != "cuda":
            return Computed(self._on_pandas(body, arguments, seconds), self.device, seconds, reasons)
        obstacle = self._call_obstacle(arguments)
        failure: Exception | None = None
        if obstacle is None:
            try:
                return Computed(self._on_cudf(body, arguments, seconds), "cuda", seconds, reasons)
            except OutOfMemory as error:
                obstacle = f"no room for a batch of {len(arguments[0]) if arguments else 0:,} rows ({error})"
            except cudf_form.REFUSALS as error:
                if not cudf_form.refused(error):
                    raise
                obstacle = self._retire_after(error)
            except _BodyFailed as failed:
                failure = failed.error
        if obstacle is not None:
            self._forbid_if_asked(obstacle)
        result = self._on_pandas(body, arguments, seconds)
        if failure is not None:
            obstacle = self._retire_after(failure)
            self._forbid_if_asked(obstacle)
        return Computed(result, "cpu", seconds, [*reasons, f"cuda: {obstacle}"])

    def _forbid_if_asked(self, obstacle: str) -> None:
        """Raises :class:`~gpuspark.errors.FallbackError` if ``spark.gpuspark.fallback=raise`` forbids pandas."""
        if self.placement.config.fallback == "raise":
            name = self.placement.function.name
            raise FallbackError(f"{name}: cuda: {obstacle}\nspark.gpuspark.fallback=raise forbids pandas here.")

    def receive(self, columns: Sequence[Any]) -> tuple[Any, ...]:
        """Returns ``columns`` as an iterator body sees them; on a GPU, begins the turn.

        Raises :class:`~gpuspark.errors.ResultError` for a column that cannot go to cuDF, and
        :class:`~gpuspark.errors.OutOfMemory`.
        """
        if self.device != "cuda":
            return tuple(self.transport.to_pandas(columns))
        obstacle = self._column_obstacle(columns)
        if obstacle is not None:
            # The task's next attempt, in this process, runs on pandas.
            self.placement.retire("cuda", obstacle)
            raise ResultError(
                f"{self.placement.function.name}: {obstacle}, and an iterator body that has started on a GPU is not "
                "started again. Set spark.gpuspark.device=cpu for this job."
            )
        self.placement.check_room(sum(map(nbytes, columns)))
        self.turn.begin()
        return tuple(map(self._to_device, columns))

    def device_errors(self) -> AbstractContextManager[None]:
        """Returns a context manager that translates RAPIDS' device errors into gpuspark's."""
        if self.device != "cuda":
            return nullcontext()
        from gpuspark.devices.rapids import device_errors

        return device_errors(f"running {self.placement.function.name}")

    def explain(self, error: Exception) -> None:
        """Adds a note to an error of cuDF in an iterator body that says what the user can do about it."""
        if self.device != "cuda":
            return
        if cudf_form.refused(error):
            error.add_note(f"gpuspark: {self._retire_after(error)}. Set spark.gpuspark.device=cpu for this job.")
        elif isinstance(error, OutOfMemory):
            error.add_note(
                "gpuspark: the device has no room. Lower spark.sql.execution.arrow.maxRecordsPerBatch or "
                "spark.gpuspark.device.maxConcurrentTasks."
            )

    def _call_obstacle(self, arguments: Sequence[Any]) -> str | None:
        """Returns why this call does not go to cuDF; ``None`` if it does."""
        retired = self.placement.retired("cuda")
        if retired is not None:
            return retired
        rows = len(arguments[0]) if arguments else 0
        if rows < self.least_rows:
            return f"{rows} rows in one call, fewer than {self.least_rows}"
        return self._column_obstacle(arguments)

    def _column_obstacle(self, columns: Sequence[Any]) -> str | None:
        """Returns why one of ``columns`` has no equal cuDF form; ``None`` if all have one."""
        obstacles = (cudf_form.obstacle(column, self.missing) for column in columns)
        return next((obstacle for obstacle in obstacles if obstacle), None)

    def _on_pandas(
        self, body: Callable[[Sequence[Any]], Any], arguments: Sequence[Any], seconds: dict[str, float]
    ) -> Any:
        start = time.perf_counter()
        series = self.transport.to_pandas(arguments)
        result = self.transport.from_result(body(series), series)
        seconds["run"] = seconds.get("run", 0.0) + time.perf_counter() - start
        return result

    def _on_cudf(
        self, body: Callable[[Sequence[Any]], Any], arguments: Sequence[Any], seconds: dict[str, float]
    ) -> Any:
        start = time.perf_counter()
        self.turn.begin()
        seconds["wait"] = time.perf_counter() - start
        try:
            self.placement.check_room(sum(map(nbytes, arguments)))
            with self.device_errors():
                start = time.perf_counter()
                series = list(map(self._to_device, arguments))
                copied = time.perf_counter()
                answer = self._answer(body, series)
                ran = time.perf_counter()
                result = self.transport.from_result(cudf_form.to_host(answer), arguments)
        finally:
            self.turn.end()
        seconds |= {"copy_in": copied - start, "run": ran - copied, "copy_out": time.perf_counter() - ran}
        return result

    def _answer(self, body: Callable[[Sequence[Any]], Any], series: Sequence[Any]) -> Any:
        """Returns what the body answers on cuDF. Raises the device's errors and cuDF's refusals as they are, the others
        within :class:`_BodyFailed`."""
        try:
            with self.device_errors(), pandas_meaning() if self.missing == "pandas" else nullcontext():
                return body(series)
        except (DeviceError, MemoryError):
            raise
        except Exception as error:
            if cudf_form.refused(error):
                raise
            raise _BodyFailed(error) from error

    def _to_device(self, column: Any) -> Any:
        return cudf_form.to_device(column, self.missing, self.transport.time_zone)

    def _retire_after(self, failure: Exception) -> str:
        """Keeps later calls and tasks of this process off cuDF, on which the body raised ``failure``; returns why."""
        place = cudf_form.place(failure, self.body)
        if isinstance(failure, Different):
            reason = f"{failure} ({place})"
        elif cudf_form.refused(failure):
            reason = f"cuDF lacks {failure} ({place})"
        else:
            reason = f"on cuDF, and not on pandas, the body raised {type(failure).__name__}: {failure} ({place})"
        self.placement.retire("cuda", reason)
        return reason
