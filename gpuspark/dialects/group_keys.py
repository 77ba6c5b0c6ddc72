"""The key columns of ``gs.apply_in_segments``: resolved by name as Spark does, and made sortable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_NOT_GROUPED = {"VariantType", "CalendarIntervalType"}
"""The types that Spark's ``groupBy`` refuses."""


def key_columns(df: DataFrame, by: str | Sequence[str]) -> list[str]:
    """Returns the names of the columns of ``df`` that ``by`` names, as ``df`` spells them.

    A name may be quoted with backticks; ``spark.sql.caseSensitive`` decides whether case matters. Raises
    :class:`~gpuspark.errors.CallError` for a name of no column or of several, and for a type that Spark cannot group
    by.
    """
    names = [by] if isinstance(by, str) or not isinstance(by, Sequence) else list(by)
    if not names or not all(isinstance(name, str) for name in names):
        raise CallError(f"by={by!r}: give names of columns of {df.columns}")
    keys = [_column_called(df, name) for name in names]
    for field in (df.schema[key] for key in keys):
        if _NOT_GROUPED & {type(part).__name__ for part in _parts(field.dataType)}:
            declared = field.dataType.simpleString()
            raise CallError(f"by={by!r}: {field.name} is a column of {declared}, which Spark cannot group by: cast it")
    return keys


def _column_called(df: DataFrame, key: str) -> str:
    unquoted = key[1:-1].replace("``", "`") if len(key) > 2 and key[0] == key[-1] == "`" else key
    sensitive = df.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
    for name in (key, unquoted):
        exact = [c for c in df.columns if c == name]
        matches = exact if sensitive else [c for c in df.columns if c.lower() == name.lower()]
        if len(matches) > 1:
            raise CallError(f"by={key!r} is the name of several columns of {df.columns}: rename all but one of them")
        if matches:
            return matches[0]
    field = " To group by a field, make it a column: df.withColumn(...)." if "." in key else ""
    raise CallError(f"by={key!r}: give names of columns of {df.columns}. {nearest(unquoted, df.columns)}{field}")


def _parts(data_type: DataType) -> Iterator[DataType]:
    """Yields the type and all types nested in it."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    yield data_type
    nested: list[DataType] = []
    if isinstance(data_type, ArrayType):
        nested = [data_type.elementType]
    elif isinstance(data_type, MapType):
        nested = [data_type.keyType, data_type.valueType]
    elif isinstance(data_type, StructType):
        nested = [field.dataType for field in data_type.fields]
    for part in nested:
        yield from _parts(part)


def quoted(name: str) -> str:
    """Returns the name in backticks, so that Spark reads dots in it as part of it."""
    return f"`{name.replace('`', '``')}`"


def comparable(column: Column, data_type: DataType) -> Column:
    """Returns ``column`` with each map, which Spark cannot sort, replaced by the sorted array of its entries. Two
    results are equal exactly if the maps are."""
    from pyspark.sql import functions
    from pyspark.sql.types import ArrayType, MapType, StructType

    if not any(isinstance(part, MapType) for part in _parts(data_type)):
        return column
    if isinstance(data_type, ArrayType):
        return functions.transform(column, lambda item: comparable(item, data_type.elementType))
    if isinstance(data_type, StructType):
        named = enumerate(data_type.fields)
        fields = [comparable(column.getField(f.name), f.dataType).alias(f"f{n}") for n, f in named]
        return functions.when(column.isNotNull(), functions.struct(*fields))
    if not isinstance(data_type, MapType):
        return column

    def entry(pair: Any) -> Column:
        value = comparable(pair.getField("value"), data_type.valueType)
        return functions.struct(pair.getField("key").alias("key"), value.alias("value"))

    return functions.array_sort(functions.transform(functions.map_entries(column), entry))
