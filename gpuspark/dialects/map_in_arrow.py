"""``gs.map_in_arrow``: the batch dialect, a body over an iterator of device-neutral batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.columns.batch import Batch
from gpuspark.dialects.batch_worker import BatchWorker
from gpuspark.spark.builder import prepare

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Body = Callable[[Iterator[Batch]], Iterable[Batch]]


def map_in_arrow(
    df: DataFrame, func: Body, schema: StructType | str, barrier: bool = False, profile: Any = None
) -> DataFrame:
    """Returns ``df`` with its batches mapped by ``func``, like :meth:`pyspark.sql.DataFrame.mapInArrow`.

    ``func(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]`` is called once for each partition with Spark's
    own batches (``spark.sql.execution.arrow.maxRecordsPerBatch`` rows, 10,000 unless set), and may yield any
    number of batches of any length, or return them in a list or any other iterable (unless
    ``spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled=false`` demands an iterator). It is
    never called again, whatever happens. Batches are on the task's device; compiled functions and kernels that are
    called on their columns run there, and the ledger counts their time separately. ``schema``: the columns that
    ``func`` yields, in order, by name and type, as a DDL string or a ``StructType``. ``barrier`` and ``profile`` are
    PySpark's.

    Raises :class:`~gpuspark.errors.ResultError` if ``schema`` is not a list of columns and, in the task, for a batch
    that does not fit ``schema``. Nothing is cast, as in PySpark; unlike there, columns must have the declared names
    too. Raises :class:`~gpuspark.errors.OutOfMemory`, in the task, if ``func`` runs out of memory.

    >>> def doubled(batches):
    ...     for batch in batches:
    ...         yield batch.select(["id"]).with_column("twice", batch["id"].values * 2)
    >>> frame = map_in_arrow(spark.range(3), doubled, "id bigint, twice bigint")  # doctest: +SKIP
    """
    from gpuspark.spark.arrow_types import arrow_schema, declared_columns

    prepare(df.sparkSession)
    declared = declared_columns(schema)
    arrow = arrow_schema(declared)
    worker = BatchWorker(func, arrow, call_id("map_in_arrow", func, arrow))
    return df.mapInArrow(worker, declared, barrier, profile)
