"""``gs.apply_in_segments``: calls a body once for many groups, where Spark's ``applyInArrow`` calls it once for each.

Spark brings the rows of each group together, in order: one shuffle and one sort, or none if the frame is already
partitioned and sorted so. Where a group begins is marked by Spark, or seen by the worker
(:mod:`gpuspark.dialects.group_order` says which): as in ``groupBy``, null equals null, NaN equals NaN, and -0.0 equals
0.0. The worker gathers whole groups until they have about ``spark.gpuspark.batch.targetBytes``; a group is never split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuspark.accounting.entries import call_id
from gpuspark.columns.batch import Batch, Column
from gpuspark.devices.protocol import DeviceName
from gpuspark.dialects.batch_worker import BatchWorker, Incoming
from gpuspark.dialects.group_keys import key_columns
from gpuspark.dialects.group_order import arranged
from gpuspark.dialects.group_starts import GroupStarts, marked_by_spark
from gpuspark.errors import GroupTooLarge, ResultError
from gpuspark.spark.builder import prepare
from gpuspark.spark.session import task_config

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    Body = Callable[["Segments"], Batch]


def apply_in_segments(
    df: DataFrame,
    by: str | Sequence[str],
    func: Body,
    schema: StructType | str,
    order_by: str | SparkColumn | Sequence[str | SparkColumn] | None = None,
) -> DataFrame:
    """Returns ``df`` with its groups mapped by ``func``, many groups per call.

    ``func(segments: gs.Segments) -> gs.Batch`` gets the rows of many groups, one group after the other: the columns by
    name (``segments["x"]``), where each group begins (``segments.offsets``) and the groups' keys (``segments.keys``).
    It returns any number of rows for these groups: one per group, one per row, or any other. It is called at least
    once for each partition that has rows, and must not rely on how many groups a call gets.

    ``by``: the names of the columns to group by, as in ``groupBy``. ``order_by``: the order of the rows within a
    group (columns, their names, or ``F.desc(...)``); without it the order is undefined. ``schema``: the columns that
    ``func`` returns.

    Raises :class:`~gpuspark.errors.CallError` if a column of ``by`` does not exist or Spark cannot group by it; and in
    the task :class:`~gpuspark.errors.ResultError` for a result that does not fit ``schema``, and
    :class:`~gpuspark.errors.GroupTooLarge` for a group of more than ``spark.gpuspark.segment.maxBytes``, with its key.

    >>> def last(segments):
    ...     return segments.keys.with_column("last", segments["x"].values[segments.offsets[1:] - 1])
    >>> frame = apply_in_segments(df, "k", last, "k bigint, last double", order_by="t")  # doctest: +SKIP
    """
    from gpuspark.spark.arrow_types import arrow_schema, declared_columns

    keys = key_columns(df, by)
    declared = declared_columns(schema)
    prepare(df.sparkSession)
    order: list[Any] = (
        [] if order_by is None else [order_by] if not isinstance(order_by, list | tuple) else list(order_by)
    )
    frame, marked = arranged(df, keys, order)
    names = None
    if any("." in name or "`" in name for name in df.columns):  # mapInArrow cannot resolve such names
        names = frame.columns
        frame = frame.toDF(*(f"c{n}" for n in range(len(names))))
    arrow = arrow_schema(declared)
    grouped = _Grouped(func, keys, marked=marked, names=names)
    worker = BatchWorker(grouped, arrow, call_id("apply_in_segments", func, keys, arrow))
    return frame.mapInArrow(worker, declared)


class Segments:
    """The rows of whole groups, one group after the other.

    >>> import pyarrow as pa
    >>> batch = Batch.from_arrow(pa.record_batch({"k": ["a", "a", "b"], "x": [1.0, 2.0, 5.0]}))
    >>> segments = Segments(batch, np.array([0, 2, 3]), ["k"])
    >>> segments.keys.with_column("total", np.add.reduceat(segments["x"].values, segments.offsets[:-1])).to_frame()
       k  total
    0  a    3.0
    1  b    5.0
    """

    def __init__(self, batch: Batch, offsets: NDArray[np.int64], by: Sequence[str]) -> None:
        self.batch = batch
        """The rows."""
        self.offsets = offsets
        """The first row of each group, then the number of rows: ``groups + 1`` int64 values in host memory."""
        self.by = tuple(by)
        """The names of the key columns."""

    def __getitem__(self, name: str) -> Column:
        return self.batch[name]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"<gpuspark Segments of {self.num_rows} rows in {len(self)} groups by {', '.join(self.by)}>"

    @property
    def num_rows(self) -> int:
        return self.batch.num_rows

    @property
    def device(self) -> str:
        return self.batch.device

    @property
    def schema(self) -> pa.Schema:
        return self.batch.schema

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of rows in each group."""
        return np.diff(self.offsets)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The position, among these groups, of each row's group."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def keys(self) -> Batch:
        """The keys, one row per group."""
        import pyarrow as pa

        firsts = pa.array(self.offsets[:-1])
        columns = {name: Column(self.batch[name].to_arrow().take(firsts), self.batch.device) for name in self.by}
        return Batch(columns, len(self), self.batch.device)


class _Grouped:
    """A batch body that gathers whole groups of rows that lie group by group, and calls a segments body with them.

    ``marked``: whether Spark has marked the first row of each group. ``names``: the names of the columns, if they had
    to be replaced for ``mapInArrow``.
    """

    def __init__(self, body: Body, by: Sequence[str], *, marked: bool, names: Sequence[str] | None = None) -> None:
        self.body, self.by, self.marked, self.names = body, tuple(by), marked, names
        self.__name__ = getattr(body, "__name__", type(body).__name__)

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch, offsets in self._whole_groups(batches):
            if isinstance(batches, Incoming):
                batches.check_room(batch.to_arrow().nbytes)
            result = self.body(Segments(batch, offsets, self.by))
            if not isinstance(result, Batch):
                raise ResultError(
                    f"{self.__name__} returned a {type(result).__name__}, not a gs.Batch. Begin with segments.keys or "
                    "segments.batch, or wrap it: gs.Batch.from_arrow(...), gs.Batch.from_frame(...)."
                )
            yield result

    def _whole_groups(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, NDArray[np.int64]]]:
        """Yields batches of whole groups, of about ``spark.gpuspark.batch.targetBytes``, with the groups' offsets."""
        config = task_config()
        starts_in = marked_by_spark if self.marked else GroupStarts(self.by)
        held = _Held()
        for batch in batches:
            rows, starts = starts_in(self._named(batch.to_arrow()))
            if held.nbytes >= config.target_bytes and len(starts):
                begin = int(starts[0])
                held.add(rows.slice(0, begin), starts[:0])
                yield held.whole(batch.device)
                held, rows, starts = _Held(), rows.slice(begin), starts - begin
            held.add(rows, starts)
            if held.nbytes > config.segment_bytes:
                self._refuse_if_large(held.last_group(), config.segment_bytes)
            device = batch.device
        if held.rows:
            yield held.whole(device)

    def _named(self, arrow: pa.RecordBatch) -> pa.RecordBatch:
        """Returns the rows under the frame's own column names, if they had to be replaced for ``mapInArrow``."""
        import pyarrow as pa

        return arrow if self.names is None else pa.RecordBatch.from_arrays(arrow.columns, names=list(self.names))

    def _refuse_if_large(self, group: Sequence[pa.RecordBatch], most_bytes: int) -> None:
        """Raises :class:`~gpuspark.errors.GroupTooLarge` if ``group`` has more than ``most_bytes``."""
        group_bytes = sum(piece.nbytes for piece in group)
        if group_bytes <= most_bytes:
            return
        key = {name: group[0].column(name)[0].as_py() for name in self.by}
        rows = sum(piece.num_rows for piece in group)
        raise GroupTooLarge(
            f"the group {key} has {rows:,} rows so far, {group_bytes:,} bytes, and spark.gpuspark.segment.maxBytes "
            f"allows {most_bytes:,}. Raise it, drop columns before, or make smaller groups."
        )


class _Held:
    """Rows that wait for the end of their last group: the first of them begins a group."""

    def __init__(self) -> None:
        self.pieces: list[pa.RecordBatch] = []
        self.starts: list[NDArray[np.int64]] = []
        """Where groups begin among all rows, piece by piece."""
        self.rows = self.nbytes = 0

    def add(self, piece: pa.RecordBatch, starts: NDArray[np.int64]) -> None:
        """Adds rows, in which groups begin at ``starts``."""
        if piece.num_rows:
            self.pieces.append(piece)
            self.starts.append(starts + self.rows)
            self.rows += piece.num_rows
            self.nbytes += piece.nbytes

    def whole(self, device: DeviceName) -> tuple[Batch, NDArray[np.int64]]:
        """Returns all rows and the offsets of their groups."""
        import pyarrow as pa

        return Batch.from_arrow(pa.concat_batches(self.pieces), device), np.concatenate([*self.starts, [self.rows]])

    def last_group(self) -> list[pa.RecordBatch]:
        """Returns the rows of the group that began last."""
        begin, group = int(np.concatenate(self.starts)[-1]), []
        for piece in self.pieces:
            if begin < piece.num_rows:
                group.append(piece.slice(max(begin, 0)))
            begin -= piece.num_rows
        return group
