"""``gs.map_in_arrow``: the batch dialect, a body over iterators of device-neutral batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpuspark.batch import Batch
from gpuspark.columns import Inside, account_inside
from gpuspark.config import Config
from gpuspark.devices import open_for_rapids
from gpuspark.devices.permits import Turn
from gpuspark.errors import DeviceLost, DeviceUnavailable, OutOfMemory, ResultError, locate
from gpuspark.plan import DeviceName, Plan, devices_of, enforce, plan
from gpuspark.records import Entry, call_id, entry
from gpuspark.session import driver_config, enable_ledger, running_task, task_config, task_facts

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Body = Callable[[Iterator[Batch]], Iterable[Batch]]

_ANY_ITERABLE = "spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled"


def map_in_arrow(
    df: DataFrame, func: Body, schema: StructType | str, barrier: bool = False, profile: Any = None
) -> DataFrame:
    """Maps Spark's batches with ``func``, like :meth:`pyspark.sql.DataFrame.mapInArrow`.

    ``func(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]`` is called once for each partition with Spark's
    own batches (``spark.sql.execution.arrow.maxRecordsPerBatch`` rows, 10,000 unless set), and may yield any
    number of batches of any length, or return them in a list or any other iterable (unless
    ``spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled=false`` demands an iterator). It is
    never called again, whatever happens. Batches are on the task's
    device; compiled functions and kernels called on their columns run there, and their share of the time is
    told apart in the ledger. ``schema``: the columns that ``func`` yields, in order, by name and type, as a
    DDL string or a ``StructType``. ``barrier`` and ``profile`` are PySpark's.

    Raises :class:`~gpuspark.errors.ResultError` where ``schema`` is not a list of columns; and, in the task,
    for a batch that does not fit ``schema``. Nothing is cast, as in PySpark; unlike there, columns must have
    the declared names too. Raises :class:`~gpuspark.errors.OutOfMemory`, in the task, where ``func`` runs out
    of memory.

    >>> def doubled(batches):
    ...     for batch in batches:
    ...         yield batch.select(["id"]).with_column("twice", batch["id"].values * 2)
    >>> frame = map_in_arrow(spark.range(3), doubled, "id bigint, twice bigint")  # doctest: +SKIP
    """
    from pyspark.sql.types import DataType, StructType

    from gpuspark.spark_types import arrow_schema

    spark = df.sparkSession
    enable_ledger(spark, driver_config(spark))
    declared = DataType.fromDDL(schema) if isinstance(schema, str) else schema
    if not isinstance(declared, StructType):
        raise ResultError(f"schema={schema!r} is not a list of columns: write it as 'name type, name type'")
    arrow = arrow_schema(declared)
    worker = BatchWorker(func, arrow, call_id("map_in_arrow", func, arrow))
    return df.mapInArrow(worker, declared, barrier, profile)


def decide(
    function: str, config: Config, failed: Mapping[DeviceName, Sequence[str]] = MappingProxyType({})
) -> Plan:
    """A batch body runs on a GPU if one is there, and RAPIDS for its arrays; else on the CPU. On ``emulated``
    and ``python`` its arrays are the CPU's, and the functions that it calls run on that device. ``failed``: devices
    that are here and cannot be used, and why."""
    absent: dict[DeviceName, str] = {}
    obstacles: dict[DeviceName, Sequence[str]] = {}
    if set(devices_of(config)) & {"cuda", "emulated"}:
        from gpuspark.devices.discover import discover, missing_rapids

        absent = discover().absent()
        lacking = missing_rapids()
        if lacking and "cuda" not in absent:
            obstacles["cuda"] = [f"the arrays and frames of a batch need {lacking}"]
    return plan(function, {**obstacles, **failed}, config, absent)


class BatchWorker:
    """The callable that Spark pickles for a batch body: Arrow batches in and out, checked and accounted."""

    def __init__(self, body: Body, schema: pa.Schema, call: str) -> None:
        self.body, self.schema, self.call = body, schema, call
        self.__name__ = getattr(body, "__name__", type(body).__name__)

    # Without type hints: PySpark reads a function's, and cannot read those of an object.
    def __call__(self, batches):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        config = task_config()
        decision, turn = self._settle(config)
        account = entry(self.__name__, self.call, self)
        incoming = _Incoming(batches, decision, account, turn)
        watch = _Watch(account, decision.device, incoming, account_inside(account), start)
        try:
            for result in self._results(incoming):
                arrow = self._checked(result)
                turn.end()
                watch.yielding(arrow.nbytes)
                yield arrow
                watch.resumed()
                turn.begin()
        except (MemoryError, OutOfMemory) as full:
            raise self._no_room(full, incoming, decision.device) from full
        except Exception as error:
            locate(error, function=self.__name__, rows=incoming.position(), device=decision.device)
            raise
        finally:
            turn.end()
            watch.yielding(0)

    def _settle(self, config: Config) -> tuple[Plan, Turn]:
        """The plan for this task, and its turns on the GPU, which is opened, where that is the plan."""
        decision, turn = decide(self.__name__, config), Turn(None, 1)
        if decision.device == "cuda":
            facts = task_facts()
            try:
                device = open_for_rapids(config, facts.gpus[0] if facts and facts.gpus else None)
                turn = Turn(device, config.max_concurrent_tasks)
            except (DeviceUnavailable, DeviceLost, OutOfMemory) as error:
                decision = decide(self.__name__, config, {"cuda": [str(error)]})
        enforce(decision, config)
        return decision, turn

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

    def _checked(self, result: Any) -> pa.RecordBatch:
        """The batch as Arrow, if it has the declared columns."""
        if not isinstance(result, Batch):
            raise ResultError(
                f"{self.__name__} yielded a {type(result).__name__}, not a gs.Batch. "
                "Wrap it: gs.Batch.from_arrow(...) or gs.Batch.from_frame(...)."
            )
        arrow = result.to_arrow()
        if arrow.schema.names != self.schema.names:
            raise ResultError(
                f"{self.__name__} yielded the columns {arrow.schema.names}, declared are {self.schema.names}. "
                "Select them in this order: batch.select([...])."
            )
        for column, found, declared in zip(arrow.columns, arrow.schema, self.schema, strict=True):
            if not fits(found.type, declared.type):
                raise ResultError(
                    f"{self.__name__} yielded column {found.name!r} as {found.type}, declared is {declared.type}. "
                    "Cast it in the body, or declare another type."
                )
            if column.null_count and not declared.nullable:
                raise ResultError(
                    f"{self.__name__} yielded column {found.name!r} with {column.null_count} nulls, declared is "
                    f"{declared.type} not null. Fill them in the body, or declare the column without 'not null'."
                )
        return arrow

    def _no_room(self, full: BaseException, incoming: _Incoming, device: DeviceName) -> OutOfMemory:
        others = " or spark.gpuspark.device.maxConcurrentTasks" if device == "cuda" else ""
        error = OutOfMemory(
            f"{self.__name__} ran out of memory on {device} with a batch of {incoming.last_rows:,} rows, "
            f"{incoming.last_bytes:,} bytes ({full}). Lower spark.sql.execution.arrow.maxRecordsPerBatch{others}."
        )
        locate(error, function=self.__name__, rows=incoming.position(), device=device)
        return error


def _accepts_any_iterable() -> bool:
    """Whether a body may return a list, say, in place of an iterator, as Spark's setting says."""
    task = running_task()
    return task is None or str(task.getLocalProperty(_ANY_ITERABLE)).lower() != "false"


class _Incoming(Iterator[Batch]):
    """Spark's batches as gpuspark's, counted as they are handed over. Holds on to none of them, and to no permit
    while it waits for Spark."""

    def __init__(self, batches: Iterator[pa.RecordBatch], decision: Plan, account: Entry, turn: Turn) -> None:
        self._batches, self._decision, self._account, self._turn = iter(batches), decision, account, turn
        self._reasons = [str(reason) for reason in decision.reasons]
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
            device=self._decision.device,
            rows=arrow.num_rows,
            bytes_in=self.last_bytes,
            bytes_out=0,
            seconds={"wait": waited},
            reasons=self._reasons,
        )
        return Batch.from_arrow(arrow, self._decision.device)

    def take_waited(self) -> float:
        """Seconds spent waiting for Spark since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def position(self) -> str:
        """The rows of the last batch handed over."""
        return f"{self._rows - self.last_rows}-{self._rows - 1}" if self.last_rows else "before the first"


class _Watch:
    """Accounts for a body's own time: neither waiting for Spark, before or behind it, nor the functions
    called inside, which account for themselves."""

    def __init__(self, account: Entry, device: DeviceName, incoming: _Incoming, inside: Inside, start: float) -> None:
        self._account, self._device, self._incoming, self._inside = account, device, incoming, inside
        self._start: float | None = start

    def yielding(self, nbytes: int) -> None:
        """The body has made ``nbytes`` of results, and Spark takes over."""
        if self._start is None:
            return
        spent = time.perf_counter() - self._start - self._incoming.take_waited() - self._inside.take_seconds()
        self._account.add(
            device=self._device, rows=0, batches=0, bytes_in=0, bytes_out=nbytes, seconds={"run": max(spent, 0.0)}
        )
        self._start = None

    def resumed(self) -> None:
        """Spark asks for more."""
        self._start = time.perf_counter()


def fits(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether Spark reads ``found`` as ``declared``: equal; a column of nulls; timestamps whose zones have
    different names; the large form of text and binary; and so for what is nested. A struct's fields must have
    the declared names."""
    import pyarrow.types as is_

    if found == declared or is_.is_null(found) or (is_.is_large_string(found) and is_.is_string(declared)):
        return True
    if is_.is_large_binary(found) and is_.is_binary(declared):
        return True
    if is_.is_timestamp(found) and is_.is_timestamp(declared):
        return (found.tz is None) == (declared.tz is None) and found.unit == declared.unit
    if is_.is_nested(found) and is_.is_nested(declared) and found.num_fields == declared.num_fields:
        if type(found) is not type(declared):
            return False
        pairs = [(found.field(n), declared.field(n)) for n in range(found.num_fields)]
        names_count = is_.is_struct(declared)
        return all(fits(a.type, b.type) and (a.name == b.name or not names_count) for a, b in pairs)
    return False
