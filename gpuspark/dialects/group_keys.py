"""The columns whose values make a group: by name as Spark finds them, and in a form that Spark can sort by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_NOT_GROUPED = {"VariantType", "CalendarIntervalType"}
"""Types that Spark's ``groupBy`` refuses."""


def key_columns(df: DataFrame, by: str | Sequence[str]) -> list[str]:
    """The columns of ``df`` that ``by`` names, as they are called there.

    A name may stand between backticks, and is compared as ``spark.sql.caseSensitive`` says. Raises
    :class:`~gpuspark.errors.CallError` for a name of no column or of several, and for a type that Spark does not
    group by.
    """
    given = [by] if isinstance(by, str) or not isinstance(by, Sequence) else list(by)
    if not given or not all(isinstance(key, str) for key in given):
        raise CallError(f"by={by!r}: give names of columns of {df.columns}")
    keys = [_column_called(df, key) for key in given]
    for field in (df.schema[key] for key in keys):
        if _NOT_GROUPED & {type(part).__name__ for part in _parts(field.dataType)}:
            declared = field.dataType.simpleString()
            raise CallError(f"by={by!r}: {field.name} is a column of {declared}, which Spark cannot group by: cast it")
    return keys


def _column_called(df: DataFrame, key: str) -> str:
    plain = key[1:-1].replace("``", "`") if len(key) > 2 and key[0] == key[-1] == "`" else key
    sensitive = df.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
    for name in (key, plain):
        found = [c for c in df.columns if c == name]
        if not found and not sensitive:
            found = [c for c in df.columns if c.lower() == name.lower()]
        alike = found if sensitive else [c for c in df.columns if c.lower() == name.lower()]
        if len(alike) > 1:
            raise CallError(f"by={key!r} is the name of several columns of {df.columns}: rename all but one of them")
        if found:
            return found[0]
    field = " To group by a field, make it a column: df.withColumn(...)." if "." in key else ""
    raise CallError(f"by={key!r}: give names of columns of {df.columns}. {nearest(plain, df.columns)}{field}")


def _parts(kind: DataType) -> Iterator[DataType]:
    """The type and all that is inside it."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    yield kind
    inside: list[DataType] = []
    if isinstance(kind, ArrayType):
        inside = [kind.elementType]
    elif isinstance(kind, MapType):
        inside = [kind.keyType, kind.valueType]
    elif isinstance(kind, StructType):
        inside = [field.dataType for field in kind.fields]
    for part in inside:
        yield from _parts(part)


def quoted(name: str) -> str:
    """The name between backticks, so that Spark takes it whole."""
    return f"`{name.replace('`', '``')}`"


def comparable(column: Column, kind: DataType) -> Column:
    """``column`` with maps, which Spark does not sort, as their entries in order: equal for equal maps alone."""
    from pyspark.sql import functions
    from pyspark.sql.types import ArrayType, MapType, StructType

    if not any(isinstance(part, MapType) for part in _parts(kind)):
        return column
    if isinstance(kind, ArrayType):
        return functions.transform(column, lambda item: comparable(item, kind.elementType))
    if isinstance(kind, StructType):
        fields = [comparable(column.getField(f.name), f.dataType).alias(f"f{n}") for n, f in enumerate(kind.fields)]
        return functions.when(column.isNotNull(), functions.struct(*fields))
    if not isinstance(kind, MapType):
        return column

    def entry(pair: Any) -> Column:
        value = comparable(pair.getField("value"), kind.valueType)
        return functions.struct(pair.getField("key").alias("key"), value.alias("value"))

    return functions.array_sort(functions.transform(functions.map_entries(column), entry))
