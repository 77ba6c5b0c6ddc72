"""``gs.map_in_arrow``: the batch dialect, a body over iterators of device-neutral batches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gpuspark.batch import Batch
from gpuspark.config import Config
from gpuspark.errors import ResultError, locate
from gpuspark.plan import Plan, devices_of, enforce, plan
from gpuspark.records import Entry, entry
from gpuspark.session import driver_config, enable_ledger, task_config

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Body = Callable[[Iterator[Batch]], Iterable[Batch]]


def map_in_arrow(
    df: DataFrame, func: Body, schema: StructType | str, barrier: bool = False, profile: Any = None
) -> DataFrame:
    """Maps Spark's batches with ``func``, like :meth:`pyspark.sql.DataFrame.mapInArrow`.

    ``func(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]`` is called once for each partition, and may
    yield any number of batches of any length. Batches are on the task's device; compiled functions and
    kernels called on their columns run there. ``schema``: what ``func`` yields, by name and type.

    Raises :class:`~gpuspark.errors.ResultError`, in the task, for a batch that does not fit ``schema``.
    """
    from pyspark.sql.types import DataType, StructType

    from gpuspark.spark_types import arrow_schema

    spark = df.sparkSession
    enable_ledger(spark, driver_config(spark))
    declared = DataType.fromDDL(schema) if isinstance(schema, str) else schema
    if not isinstance(declared, StructType):
        raise ResultError(f"schema={schema!r} is not a list of columns: write it as 'name type, name type'")
    worker = BatchWorker(func, arrow_schema(declared), uuid.uuid4().hex[:12])
    return df.mapInArrow(worker, declared, barrier, profile)


def decide(function: str, config: Config) -> Plan:
    """A batch body runs on a GPU if one is there, else on the CPU; it is the same body in plain Python."""
    absent = {}
    if set(devices_of(config)) & {"cuda", "emulated"}:
        from gpuspark.devices.discover import discover

        absent = discover().absent()
    return plan(function, {}, config, absent)


class BatchWorker:
    """The callable that Spark pickles for a batch body: Arrow batches in and out, checked and accounted."""

    def __init__(self, body: Body, schema: pa.Schema, call: str) -> None:
        self.body, self.schema, self.call = body, schema, call
        self.__name__ = getattr(body, "__name__", type(body).__name__)

    # Without type hints: PySpark reads a function's, and cannot read those of an object.
    def __call__(self, batches):  # type: ignore[no-untyped-def]
        config = task_config()
        decision = decide(self.__name__, config)
        enforce(decision, config)
        account = entry(self.__name__, self.call, self)
        incoming = _Incoming(batches, decision, account)
        start = time.perf_counter()
        out = 0
        try:
            for result in self._results(incoming):
                arrow = self._checked(result)
                out = arrow.nbytes
                spent = time.perf_counter() - start - incoming.take_waited()
                account.add(
                    device=decision.device, rows=0, batches=0, bytes_in=0, bytes_out=out, seconds={"run": spent}
                )
                yield arrow
                start = time.perf_counter()
        except Exception as error:
            locate(error, function=self.__name__, rows=incoming.position(), device=decision.device)
            raise
        spent = time.perf_counter() - start - incoming.take_waited()
        account.add(device=decision.device, rows=0, batches=0, bytes_in=0, bytes_out=0, seconds={"run": spent})

    def _results(self, incoming: Iterator[Batch]) -> Iterator[Any]:
        results = self.body(incoming)
        try:
            return iter(results)
        except TypeError:
            raise ResultError(
                f"{self.__name__} returned {type(results).__name__}, not an iterator of gs.Batch. "
                "Write it as a generator: yield each batch."
            ) from None

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
                "Select them: batch.select([...])."
            )
        for found, declared in zip(arrow.schema, self.schema, strict=True):
            if not _fits(found.type, declared.type):
                raise ResultError(
                    f"{self.__name__} yielded column {found.name!r} as {found.type}, declared is {declared.type}. "
                    "Cast it in the body, or declare another type."
                )
        return arrow


class _Incoming(Iterator[Batch]):
    """Spark's batches as gpuspark's, counted as they are handed over."""

    def __init__(self, batches: Iterator[pa.RecordBatch], decision: Plan, account: Entry) -> None:
        self._batches, self._decision, self._account = iter(batches), decision, account
        self._reasons = [str(reason) for reason in decision.reasons]
        self._rows = self._last = 0
        self._waited = 0.0

    def __next__(self) -> Batch:
        start = time.perf_counter()
        arrow = next(self._batches)
        waited = time.perf_counter() - start
        self._waited += waited
        self._last, self._rows = arrow.num_rows, self._rows + arrow.num_rows
        self._account.add(
            device=self._decision.device,
            rows=arrow.num_rows,
            bytes_in=arrow.nbytes,
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
        return f"{self._rows - self._last}-{self._rows - 1}" if self._last else "before the first"


def _fits(found: pa.DataType, declared: pa.DataType) -> bool:
    """Equal, or timestamps that differ in the name of their zone only, or the large form of a type."""
    import pyarrow.types as is_

    if found == declared or (is_.is_large_string(found) and is_.is_string(declared)):
        return True
    if is_.is_large_binary(found) and is_.is_binary(declared):
        return True
    if is_.is_timestamp(found) and is_.is_timestamp(declared):
        return (found.tz is None) == (declared.tz is None) and found.unit == declared.unit
    if is_.is_nested(found) and is_.is_nested(declared) and found.num_fields == declared.num_fields:
        pairs = [(found.field(n), declared.field(n)) for n in range(found.num_fields)]
        return type(found) is type(declared) and all(_fits(a.type, b.type) for a, b in pairs)
    return False
