"""The frame in which the rows of each group lie together, in order, for ``gs.apply_in_segments``.

There are two ways to such a frame. Spark's window functions mark the first row of each group: that works for every
type, and shuffles nothing if the rows of a group lie in one partition already, but Spark then holds and copies all rows
of a group. Or Spark only shuffles and sorts, and the worker compares the keys of neighbouring rows
(:class:`~gpuspark.dialects.group_starts.GroupStarts`). :func:`arranged` takes the second way where it is exact, and
where Spark would shuffle for the window too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpuspark.dialects.group_keys import comparable, quoted
from gpuspark.dialects.group_starts import FIRST
from gpuspark.spark.plans import physical_plan

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_COMPARED_BY_VALUE = {
    *("BooleanType", "ByteType", "ShortType", "IntegerType", "LongType", "FloatType", "DoubleType", "DecimalType"),
    *("DateType", "TimestampType", "TimestampNTZType", "DayTimeIntervalType", "BinaryType", "StringType"),
}
"""The types of keys for which Spark's equality, its hash and its order are those of Arrow's values."""

_OWN = 0x67707573
"""A number among the columns of our shuffle, so that Spark never takes it for one that the frame has. It would drop
ours, and then, as no operator asks for whole groups, cut them: where it splits a skewed join, reads a shuffle locally,
or reads a table without its buckets."""

_COLUMN = re.compile(r"Column<'(?!\d)[\w.`]+(?: (?:ASC|DESC)(?: NULLS (?:FIRST|LAST))?)?'>")
_EDGES = r"[^a-zA-Z\n]*"  # of the tree, and the numbers of compiled stages
_SHUFFLED_FOR_WINDOW = re.compile(
    rf"(?:{_EDGES}(?:Physical Plan|AdaptiveSparkPlan|Project) .*\n)*"
    rf"{_EDGES}Window .*\n{_EDGES}Sort .*\n{_EDGES}Exchange hashpartitioning\("
)


def arranged(df: DataFrame, keys: Sequence[str], order: Sequence[str | Column]) -> tuple[DataFrame, bool]:
    """Returns ``df`` with the rows of each group together, in ``order``, and whether Spark has marked the first row of
    each group, in the column :data:`~gpuspark.dialects.group_starts.FIRST`."""
    ordered = [quoted(c) if isinstance(c, str) and c in df.columns else c for c in order]
    marked = _marked(df, keys, ordered)
    exact = all(compared_by_value(df.schema[key].dataType) for key in keys) and all(map(is_column, ordered))
    if exact and not df.isStreaming and shuffles_for_window(physical_plan(marked)):
        return _sorted(df, keys, ordered), False
    return marked, True


def compared_by_value(key: DataType) -> bool:
    """Returns whether two keys of this type are equal for Spark exactly if their Arrow values are, apart from nulls,
    NaN and -0.0: not so for strings with a collation, nor for nested types, in which -0.0 and NaN may hide."""
    return type(key).__name__ in _COMPARED_BY_VALUE and getattr(key, "collation", "UTF8_BINARY") == "UTF8_BINARY"


def is_column(order: str | Column) -> bool:
    """Returns whether ``order`` is a column or a field in either direction, and no expression: Spark computes those of
    a window before it shuffles, those of a sort after, which matters for ``monotonically_increasing_id()``."""
    return isinstance(order, str) or _COLUMN.fullmatch(repr(order)) is not None


def shuffles_for_window(plan: str) -> bool:
    """Returns whether, in the plan of a marked frame, Spark shuffles for the window. Not so if the plan cannot be
    told."""
    return _SHUFFLED_FOR_WINDOW.match(plan) is not None


def _sorted(df: DataFrame, keys: Sequence[str], order: Sequence[str | Column]) -> DataFrame:
    from pyspark.sql import functions

    columns = [functions.col(quoted(key)) for key in keys]
    return df.repartition(*columns, functions.lit(_OWN)).sortWithinPartitions(*columns, *order)


def _marked(df: DataFrame, keys: Sequence[str], order: Sequence[str | Column]) -> DataFrame:
    """Returns ``df`` sorted by Spark for a window, with the first row of each group marked.

    A condition that all rows fulfil, and that Spark cannot know, keeps our window the last one: Spark would compute it
    before a window of the user's by more columns, and leave the rows in the order of that one.
    """
    from pyspark.sql import Window, functions

    rows = df.where(functions.spark_partition_id() >= 0)
    window = Window.partitionBy(*(comparable(functions.col(quoted(key)), df.schema[key].dataType) for key in keys))
    if order:  # lag is cheaper than count: it only looks whether there is a row before this one
        return rows.withColumn(FIRST, functions.lag(functions.lit(False), 1, True).over(window.orderBy(*order)))
    so_far = window.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    return rows.withColumn(FIRST, functions.count(functions.lit(1)).over(so_far) == 1)
