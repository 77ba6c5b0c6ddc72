"""``gs.scan_parquet`` and ``gs.Scan``: files are read inside Spark's tasks, and only results enter the JVM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.columns.batch import Batch
from gpuspark.dialects.batch_worker import BatchWorker
from gpuspark.errors import CallError, nearest
from gpuspark.scans.aggregates import Grouping, aggregates_of
from gpuspark.scans.asked import Asked, asked_by
from gpuspark.scans.delta_table import delta_table
from gpuspark.scans.filters import Filters, RawConditions, columns_in, conditions_of, typed
from gpuspark.scans.parquet_table import parquet_table
from gpuspark.scans.plan import Reading, ScanPlan, plan_reading
from gpuspark.scans.reader import SplitReader
from gpuspark.scans.steps import Mapped, Select, Step, Steps, Where, WithColumns, columns_of, trimmed
from gpuspark.scans.table import Table
from gpuspark.scans.worker import ScanWorker
from gpuspark.spark.builder import prepare
from gpuspark.spark.session import configured

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from gpuspark.dialects.map_in_arrow import Body


def scan_parquet(spark: SparkSession, path: str, columns: Sequence[str] | None = None, filters: Any = None) -> Scan:
    """Returns a scan of the parquet files at ``path``, a file or a folder, which may be partitioned.

    Spark resolves schema, partition columns and files, and a small job reads the footers; nothing else is read before
    the scan is run. ``columns``: the names of the columns, all of them by default. ``filters``: the rows that are
    wanted, as pandas, pyarrow and cuDF write them: ``[("year", "=", 2013), ("origin", "in", ["JFK", "LGA"])]`` for
    rows that meet every condition, a list of such lists for rows that meet every condition of one of them. They mean
    what Spark's WHERE means: a comparison with null is never true, and NaN is greater than every number. Files and row
    groups that hold no such row, by their folders or statistics, are not read.

    A file that changes after the scan was built is an error when it is read, and so is a damaged one.

    Raises :class:`~gpuspark.errors.CallError` for an unknown column, a filter that is none, and for what scans do not
    read: patterns, remote file systems, settings such as ``spark.sql.files.ignoreCorruptFiles``.

    >>> trips = scan_parquet(spark, "trips/", filters=[("year", "=", 2013)])  # doctest: +SKIP
    >>> trips.aggregate("carrier", flights=("*", "count"), far=("distance", "max")).show()  # doctest: +SKIP
    """
    prepare(spark)
    conditions = conditions_of(filters)
    return _scan_of(spark, parquet_table(spark, path, columns_in(conditions)), columns, conditions)


def scan_delta(
    spark: SparkSession,
    path: str,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
) -> Scan:
    """Returns a scan of the Delta table at ``path``, as :func:`scan_parquet` returns one of parquet files.

    ``version``: the number of the table's version to read, by default the latest; the scan stays with that version.
    The package ``deltalake`` reads the table's log, in this process.

    Raises what :func:`scan_parquet` raises, and :class:`~gpuspark.errors.CallError` for tables with deletion vectors,
    mapped columns, or other features that change what their files mean.

    >>> trips = scan_delta(spark, "trips/", version=3, columns=["carrier", "distance"])  # doctest: +SKIP
    """
    prepare(spark)
    conditions = conditions_of(filters)
    return _scan_of(spark, delta_table(spark, path, version, columns_in(conditions)), columns, conditions)


def _scan_of(spark: SparkSession, table: Table, columns: Sequence[str] | None, conditions: RawConditions) -> Scan:
    if isinstance(columns, str):
        raise CallError(f"columns takes a list of names: columns=[{columns!r}]")
    table.check_columns(columns_in(conditions))
    scan = Scan(spark, table, typed(conditions, table.schema), ())
    return scan if columns is None else scan.select(*columns)


@dataclass(frozen=True, repr=False)
class Scan:
    """Files to be read and computed with inside Spark's tasks. Lazy and immutable: each method returns a new scan, and
    all steps run in one pass over the files when a DataFrame of it is used.

    A column is a function of a :class:`gpuspark.Batch`. It is called once on the driver, with a batch without rows, to
    learn which columns it asks for and the type that it returns: only columns that something needs are read.
    """

    spark: SparkSession
    table: Table
    filters: Filters
    steps: tuple[Step, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the columns so far."""
        return self.steps[-1].schema if self.steps else self.table.schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns so far."""
        return list(self.schema.names)

    def with_columns(self, **functions: Callable[[Batch], Any]) -> Scan:
        """Returns the scan with columns added, or replaced, each computed by a function of the batch before them.

        A function returns a gpuspark or Arrow column, a Series or a NumPy array, with as many rows as the batch.
        Functions of ``gs.udf`` and kernels are called on the batch's columns: ``fee=lambda b: fee(b["km"])``.
        """
        if not functions:
            raise CallError("with_columns needs columns: with_columns(km=lambda batch: ...)")
        asked = {}
        for name, function in functions.items():
            if not callable(function):
                raise CallError(f"{name} is a {type(function).__name__}, not a function of a batch: lambda batch: ...")
            asked[name] = self._asked_by(function, name)
        return self._with(WithColumns.after(self.schema, functions, asked))

    def where(self, condition: Callable[[Batch], Any] | Any) -> Scan:
        """Returns the scan with the rows that ``condition`` wants.

        ``condition``: a function of a batch that returns booleans, of which null counts as false; or filters as
        :func:`scan_parquet` takes them, which leave out no files here.
        """
        if not callable(condition):
            filters = typed(conditions_of(condition), self.schema)
            return self._with(Where(self.schema, filters, filters.columns))
        asked = self._asked_by(condition, "where")
        if str(asked.returns) != "bool":
            raise CallError(f"where: the function returned {asked.returns}, not booleans")
        return self._with(Where(self.schema, condition, asked.columns, asked.plans))

    def select(self, *names: str) -> Scan:
        """Returns the scan with the named columns only, in this order."""
        if not names:
            raise CallError("select needs the names of columns")
        for name in names:
            if name in self.table.unreadable and name not in self.schema.names:
                self.table.check_columns([name])
            if name not in self.schema.names:
                raise CallError(f"there is no column {name!r}. {nearest(str(name), self.schema.names)}")
        return self._with(Select(columns_of(self.schema, dict.fromkeys(names))))

    def map_in_arrow(self, func: Body, schema: StructType | str) -> Scan:
        """Returns the scan with its batches mapped by ``func``, as :func:`gpuspark.map_in_arrow` maps those of a
        DataFrame: ``func`` is called once for each task, with an iterator of batches."""
        from gpuspark.spark.arrow_types import arrow_schema, declared_columns

        return self._with(Mapped(arrow_schema(declared_columns(schema)), func, tuple(self.columns)))

    def aggregate(self, by: str | Sequence[str] = (), **named: tuple[str, str]) -> DataFrame:
        """Returns a DataFrame of aggregates, each ``name=(column, how)``: a row for each combination of the columns
        ``by``, or one row.

        ``how`` is ``count``, ``sum``, ``mean``, ``min`` or ``max``; ``("*", "count")`` counts rows. Tasks hand over one
        row for each group that they meet, and Spark merges them. Values, nulls and types are those of Spark's own
        aggregates; a sum of integers is an error, or wraps, only if the sum of all rows does not fit.
        """
        keys = (by,) if isinstance(by, str) else tuple(by)
        aggregates = aggregates_of(named, keys, self.schema)
        ansi = str(self.spark.conf.get("spark.sql.ansi.enabled")).lower() == "true"
        grouping = Grouping.of(self.schema, keys, aggregates, ansi)
        return grouping.merged(self._with(grouping).to_df())

    def to_df(self) -> DataFrame:
        """Returns the rows as a DataFrame, whose tasks read the files."""
        from gpuspark.spark.arrow_types import arrow_schema, spark_schema

        reading, steps = self._reading()
        declared = spark_schema(self.schema)
        call = call_id(steps, str(self.filters), reading.columns)
        worker = BatchWorker(steps, arrow_schema(declared), call)
        read = columns_of(self.table.schema, reading.columns)
        reader = SplitReader(f"files of {self.table.path}", call_id("files", call), read, self.filters)
        count = len(reading.splits)
        numbers = self.spark.range(0, count, 1, max(count, 1))
        return numbers.mapInArrow(ScanWorker(reading.splits, reader, worker), declared)

    def explain(self) -> ScanPlan:
        """Returns what a run would read and leave out, and the steps. Prints readably."""
        reading, steps = self._reading()
        return ScanPlan(self.table, self.filters, reading, tuple(map(str, steps.steps)), steps.plans)

    def __repr__(self) -> str:
        return f"<gpuspark Scan of {self.table.path}: {', '.join(self.columns)}>"

    def _with(self, step: Step) -> Scan:
        return replace(self, steps=(*self.steps, step))

    def _asked_by(self, function: Callable[[Batch], Any], name: str) -> Asked:
        with configured(prepare(self.spark).config):
            return asked_by(function, self.schema, name)

    def _reading(self) -> tuple[Reading, Steps]:
        """Returns what is read, and the steps without what nothing needs."""
        names = tuple(self.schema.names)
        steps, needed = trimmed(self.steps, names)
        columns = tuple(dict.fromkeys([*needed, *self.filters.columns]))
        ordered = tuple(name for name in self.table.schema.names if name in columns)
        return plan_reading(self.spark, self.table, self.filters, ordered), Steps(
            f"scan of {self.table.path}", steps, names
        )
