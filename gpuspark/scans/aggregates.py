"""``Scan.aggregate``: count, sum, mean, min and max, in part by Arrow in the tasks, and merged by Spark.

The meaning is Spark's. Nulls are left out, and a group of nulls alone gives null (0 for ``count``). Null, NaN, and
zeros of either sign are one key each. NaN is greater than every other number. Integers are added as ``bigint``, and
decimals with ten more digits. ``spark.sql.ansi.enabled`` decides whether a sum that does not fit is an error, or wraps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from gpuspark.columns.batch import Batch
from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

How = Literal["count", "sum", "mean", "min", "max"]
_MOST_GROUPS = 1 << 16
"""Groups that a task holds before it hands them to Spark."""
_MOST_DIGITS_TO_ADD = 28
"""Decimals of more digits may have sums that Spark's type does not hold."""
_MERGED_BY = {"count": "sum", "sum": "sum", "min": "min", "max": "max", "nan": "max"}
"""How parts of several batches are merged, by the last word of their names."""


@dataclass(frozen=True)
class Aggregate:
    """One aggregate: ``how`` of ``column``, which is ``*`` for a count of rows. Its parts are called ``0 sum``,
    ``0 count`` and so on, by its number."""

    number: int
    name: str
    column: str
    how: How
    sum_type: str = ""
    """Spark's type of a sum."""

    def __str__(self) -> str:
        return f"{self.name} = {self.how}({self.column})"

    def fields(self, before: pa.Schema, ansi: bool) -> Iterator[pa.Field]:
        """Yields the parts as Spark gets them, for columns ``before``. ``ansi``: whether sums of integers must fit."""
        import pyarrow as pa
        import pyarrow.types as is_

        if self.how in ("count", "mean"):
            yield pa.field(f"{self.number} count", pa.int64())
        if self.how in ("sum", "mean"):
            total = _type_of_sum(before.field(self.column).type, self.how)
            yield pa.field(f"{self.number} sum", _wide_integers() if is_.is_integer(total) and ansi else total)
        if self.how in ("min", "max"):
            yield pa.field(f"{self.number} {self.how}", before.field(self.column).type)

    def parts(self, batch: pa.RecordBatch) -> Iterator[tuple[str, str, pa.Array]]:
        """Yields what is measured of a batch: the part's name, Arrow's aggregate, and the column for it."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as is_

        if self.column == "*":
            yield f"{self.number} count", "sum", pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows)
            return
        column = batch.column(self.column)
        if self.how in ("count", "mean"):
            yield f"{self.number} count", "count", column
        if self.how in ("sum", "mean"):
            yield f"{self.number} sum", "sum", column.cast(_type_of_sum(column.type, self.how), safe=False)
        if self.how in ("min", "max"):
            if is_.is_floating(column.type):
                is_nan = pc.is_nan(column)
                yield f"{self.number} nan", "max", is_nan
                column = pc.if_else(is_nan, pa.scalar(None, column.type), column)
            yield f"{self.number} {self.how}", self.how, column

    def merged(self) -> SparkColumn:
        """Returns the Spark column that merges the parts of all tasks."""
        from pyspark.sql import functions as F

        def part(name: str) -> SparkColumn:
            return F.col(f"{self.number} {name}")

        none = F.lit(0).cast("bigint")
        match self.how:
            case "count":
                return F.coalesce(F.sum(part("count")), none)
            case "mean":
                return F.sum(part("sum")) / F.nullif(F.sum(part("count")), none)
            case "sum":
                return F.sum(part("sum")).cast(self.sum_type)
            case "min":
                return F.min(part("min"))
            case "max":
                return F.max(part("max"))


def aggregates_of(named: Mapping[str, Any], keys: Sequence[str], schema: pa.Schema) -> tuple[Aggregate, ...]:
    """Returns the aggregates that ``named`` describes, as ``name=(column, how)``.

    Raises :class:`~gpuspark.errors.CallError` for what is no such pair, for unknown columns and aggregates, for a name
    that is a key's, and for a column whose type has no such aggregate.
    """
    import pyarrow.types as is_

    if not named:
        raise CallError("aggregate needs at least one aggregate, such as total=('km', 'sum')")
    for key in keys:
        if key not in schema.names:
            raise CallError(f"there is no column {key!r} to group by. {nearest(str(key), schema.names)}")
        if is_.is_nested(schema.field(key).type):
            raise CallError(
                f"{key!r} is {schema.field(key).type}, by which scans do not group. Use to_df() and groupBy."
            )
    return tuple(_aggregate(n, name, pair, keys, schema) for n, (name, pair) in enumerate(named.items()))


def _aggregate(number: int, name: str, pair: Any, keys: Sequence[str], schema: pa.Schema) -> Aggregate:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise CallError(f"{name}={pair!r} is no aggregate: write {name}=(column, how), such as ('km', 'sum')")
    column, how = pair
    if how not in get_args(How):
        raise CallError(f"{name}: there is no aggregate {how!r}. {nearest(str(how), get_args(How))}")
    if name in keys:
        raise CallError(f"{name} is a key: give the aggregate another name")
    if column == "*":
        if how != "count":
            raise CallError(f"{name}: {how} needs a column; only count takes '*'")
    elif column not in schema.names:
        raise CallError(f"{name}: there is no column {column!r}. {nearest(str(column), schema.names)}")
    elif obstacle := _obstacle(how, schema.field(column).type):
        raise CallError(f"{name}: {obstacle}. Use to_df() and Spark's own {how}.")
    return Aggregate(number, name, column, how, _result_of_sum(schema.field(column).type) if how == "sum" else "")


def _result_of_sum(column: pa.DataType) -> str:
    """Returns Spark's type of the sum of a column."""
    import pyarrow.types as is_

    if is_.is_decimal(column):
        return f"decimal({column.precision + 10},{column.scale})"
    return "bigint" if is_.is_integer(column) else "double"


def _obstacle(how: How, column: pa.DataType) -> str:
    """Returns why there is no such aggregate of a column of this type; an empty string if there is."""
    import pyarrow.types as is_

    if how == "count":
        return ""
    if how in ("min", "max"):
        return f"no {how} of {column}" if is_.is_nested(column) or is_.is_binary(column) else ""
    if is_.is_decimal(column) and how == "sum":
        too_long = column.precision > _MOST_DIGITS_TO_ADD
        return f"sums of {column} may have more digits than decimals have" if too_long else ""
    return "" if is_.is_integer(column) or is_.is_floating(column) else f"no {how} of {column}"


def _type_of_sum(column: pa.DataType, how: How) -> pa.DataType:
    """Returns the type in which values of a column are added."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_decimal(column):
        return pa.decimal128(38, column.scale)
    return pa.int64() if is_.is_integer(column) and how == "sum" else pa.float64()


@dataclass(frozen=True)
class Grouping:
    """The last step of a scan that aggregates: batches of parts, with a row for each group that the task met."""

    schema: pa.Schema
    """The columns of the parts: the keys as ``key 0`` and so on, and the parts of each aggregate."""
    keys: tuple[str, ...]
    aggregates: tuple[Aggregate, ...]
    ansi: bool
    """Whether a sum of integers that does not fit is an error, in Spark; else it wraps."""

    @classmethod
    def of(cls, before: pa.Schema, keys: Sequence[str], aggregates: Sequence[Aggregate], ansi: bool) -> Grouping:
        """Returns the step for columns ``before``."""
        import pyarrow as pa

        named = [pa.field(f"key {n}", before.field(key).type) for n, key in enumerate(keys)]
        parts = [field for aggregate in aggregates for field in aggregate.fields(before, ansi)]
        return cls(pa.schema([*named, *parts]), tuple(keys), tuple(aggregates), ansi)

    def merged(self, parts: DataFrame) -> DataFrame:
        """Returns the groups, merged by Spark from the ``parts`` of all tasks."""
        from pyspark.sql import functions as F

        keys = [F.col(f"key {n}").alias(key) for n, key in enumerate(self.keys)]
        columns = [aggregate.merged().alias(aggregate.name) for aggregate in self.aggregates]
        return parts.groupBy(*keys).agg(*columns) if keys else parts.agg(*columns)

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002  (all of them are)
        return tuple(dict.fromkeys([*self.keys, *(a.column for a in self.aggregates if a.column != "*")]))

    def without(self, wanted: Sequence[str]) -> Grouping:  # noqa: ARG002
        return self

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        held: list[pa.Table] = []
        for batch in batches:
            held.append(self._parts(batch.to_arrow()))
            if len(held) > 1 and sum(part.num_rows for part in held) > _MOST_GROUPS:
                held = [self._together(held)]
                if held[0].num_rows > _MOST_GROUPS // 2:
                    yield self._handed_over(held.pop())
        if held:
            yield self._handed_over(self._together(held))

    def __str__(self) -> str:
        return f"aggregate by {', '.join(self.keys) or 'nothing'}: {'; '.join(map(str, self.aggregates))}"

    def _parts(self, batch: pa.RecordBatch) -> pa.Table:
        """Returns the parts of one batch."""
        columns = {f"key {n}": batch.column(key) for n, key in enumerate(self.keys)}
        measured = [part for aggregate in self.aggregates for part in aggregate.parts(batch)]
        return self._grouped(
            columns | {name: column for name, _, column in measured}, {n: how for n, how, _ in measured}
        )

    def _together(self, parts: Sequence[pa.Table]) -> pa.Table:
        """Returns the parts of several batches with one row for each group."""
        import pyarrow as pa

        if len(parts) == 1:
            return parts[0]
        wide = {n for part in parts for n, column in enumerate(part.columns) if column.type == _wide_integers()}
        alike = [
            part.cast(pa.schema([f.with_type(_wide_integers()) if n in wide else f for n, f in enumerate(part.schema)]))
            for part in parts
        ]
        whole = pa.concat_tables(alike).combine_chunks()
        hows = {name: _MERGED_BY[name.rpartition(" ")[2]] for name in whole.column_names if not name.startswith("key ")}
        return self._grouped({name: whole[name] for name in whole.column_names}, hows)

    def _grouped(self, columns: Mapping[str, Any], hows: Mapping[str, str]) -> pa.Table:
        """Returns a row for each group, of the columns that ``hows`` names, each aggregated as it says."""
        import pyarrow as pa

        keys = [f"key {n}" for n in range(len(self.keys))]
        if self.ansi:
            columns = {n: _wide_enough(column) if hows.get(n) == "sum" else column for n, column in columns.items()}
        table = pa.table(dict(columns)).group_by(keys, use_threads=False).aggregate(list(hows.items()))
        return table.select([*keys, *(f"{name}_{how}" for name, how in hows.items())]).rename_columns([*keys, *hows])

    def _handed_over(self, parts: pa.Table) -> Batch:
        """Returns parts as Spark gets them: NaN is the greatest number, and the least where there is no other."""
        import pyarrow as pa
        import pyarrow.compute as pc

        arrays = []
        for field in self.schema:
            column = parts[field.name].combine_chunks()
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            number, _, part = field.name.partition(" ")
            if f"{number} nan" in parts.column_names and part in ("min", "max"):
                nan = parts[f"{number} nan"].combine_chunks()
                shown = pc.fill_null(nan if part == "max" else pc.and_(nan, column.is_null()), False)
                column = pc.if_else(shown, pa.scalar(float("nan"), column.type), column)
            arrays.append(column.cast(field.type))
        return Batch.from_arrow(pa.RecordBatch.from_arrays(arrays, schema=self.schema))


def _wide_enough(column: Any) -> Any:
    """Returns integers in a type that holds their sum: as they are, if no sum of as many can leave 64 bits."""
    import pyarrow.compute as pc
    import pyarrow.types as is_

    if not is_.is_integer(column.type):
        return column
    bounds = pc.min_max(column).as_py()
    largest = max(abs(bounds["min"] or 0), abs(bounds["max"] or 0))
    return column if largest * len(column) < 2**63 else column.cast(_wide_integers())


def _wide_integers() -> pa.DataType:
    import pyarrow as pa

    return pa.decimal128(38, 0)
