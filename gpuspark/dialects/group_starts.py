"""Where the groups begin in rows that lie group by group: the worker half of :mod:`gpuspark.dialects.group_order`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FIRST = "__gpuspark_first"
"""The column in which Spark marks the first row of each group."""


def marked_by_spark(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Returns the rows without Spark's marks, and the positions of the marked ones."""
    first = batch.column(FIRST).to_numpy(zero_copy_only=False)
    return batch.drop_columns([FIRST]), np.flatnonzero(first)


class GroupStarts:
    """The beginnings of groups in sorted batches, found by comparing the keys of each row with those of the row before.

    Equal are, as in Spark's ``groupBy``: null and null, NaN and NaN, -0.0 and 0.0. Calls must be in the order of the
    batches, since the first row of a batch is compared with the last one of the batch before.

    >>> import pyarrow as pa
    >>> starts = GroupStarts(["k"])
    >>> batches = [pa.record_batch({"k": keys}) for keys in ([1.0, 1.0, None], [None, 0.0, -0.0, float("nan")])]
    >>> [starts(batch)[1].tolist() for batch in batches]
    [[0, 2], [1, 3]]
    """

    def __init__(self, by: Sequence[str]) -> None:
        self.by = tuple(by)
        self._last: pa.RecordBatch | None = None
        """The keys of the last row so far."""

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Returns the rows, and the positions at which groups begin."""
        import pyarrow as pa

        rows = batch.num_rows
        begins = np.ones(rows, bool)
        if rows:
            keys = batch.select(self.by)
            begins[1:] = _differs(keys)
            if self._last is not None:
                begins[0] = _differs(pa.concat_batches([self._last, keys.slice(0, 1)]))[0]
            self._last = keys.slice(rows - 1)
        return batch, np.flatnonzero(begins)


def _differs(keys: pa.RecordBatch) -> NDArray[np.bool_]:
    """Returns for each row but the first whether one of its keys is another than in the row before."""
    differs = np.zeros(keys.num_rows - 1, bool)
    for column in keys.columns:
        differs |= _changes(column).to_numpy(zero_copy_only=False)
    return differs


def _changes(column: pa.Array) -> pa.BooleanArray:
    import pyarrow.compute as pc
    import pyarrow.types as is_

    before, after = column.slice(0, len(column) - 1), column.slice(1)
    changes = pc.not_equal(before, after)
    if is_.is_floating(column.type):
        changes = pc.and_not(changes, pc.and_(pc.is_nan(before), pc.is_nan(after)))
    if column.null_count:
        changes = pc.coalesce(changes, pc.xor(before.is_null(), after.is_null()))
    return changes
