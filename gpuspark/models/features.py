"""Resolves the features that a user names to columns of a Spark frame, and checks that they are numeric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

_UNCONVERTED = {"tinyint", "smallint", "int", "bigint", "float", "double", "boolean"}
_CAST_TO_DOUBLE = ("decimal", "void")
_ADVICE = {
    "string": "if it holds numbers, cast it: F.col(...).cast('double'); else encode it as when the model was fitted",
    "date": "convert it as when the model was fitted, such as by F.unix_date(...)",
    "timestamp": "convert it as when the model was fitted, such as by F.unix_micros(...)",
    "struct": "name its fields, as in 'point.x'",
    "array": "give its elements as columns, as in F.col(...)[0]",
    "vector": "give its elements as columns, as in pyspark.ml.functions.vector_to_array(...)[0]",
    "map": "give its values as columns, as in F.col(...)['key']",
}
"""What to do with a column of a type that is not numeric, by the beginning of the type's name."""


def features_of(
    df: DataFrame, columns: Sequence[str | Column], fitted: Sequence[str]
) -> tuple[list[str], list[Column]]:
    """Returns the names of the features, for messages, and their numeric columns.

    A string that is the whole name of a column, dots included, is that column. Others are resolved as by
    ``df.select``: with backticks, and ``point.x`` for a field. ``fitted`` are the names that the model was fitted to,
    if it knows them.

    Raises :class:`~gpuspark.errors.CallError` for a column that does not exist, is ambiguous or is not numeric, and
    for features in a different order from the model's.
    """
    names = [column if isinstance(column, str) else f"number {n + 1}" for n, column in enumerate(columns)]
    chosen = [_column(df, column, name) for column, name in zip(columns, names, strict=True)]
    fields = _fields(df, chosen, names)
    names = [field.name for field in fields]
    _check_order(names, fitted)
    return names, [_number(column, field) for column, field in zip(chosen, fields, strict=True)]


def _column(df: DataFrame, column: Any, name: str) -> Column:
    from pyspark.errors import AnalysisException
    from pyspark.sql import Column

    if isinstance(column, Column):
        return column
    if not isinstance(column, str):
        raise CallError(
            f"the feature {name} is of type {type(column).__name__}: give a column's name, or a Spark column"
        )
    try:
        return df[_quoted(df, column)]
    except AnalysisException as error:
        raise _unresolved(df, name, error) from None


def _quoted(df: DataFrame, name: str) -> str:
    """Returns ``name`` in backticks if it is the whole name of a column, else unchanged."""
    matches = [column for column in df.columns if column == name]
    if not matches and "." in name and df.sparkSession.conf.get("spark.sql.caseSensitive") != "true":
        matches = [column for column in df.columns if column.lower() == name.lower()]
    return f"`{matches[0].replace('`', '``')}`" if matches else name


def _unresolved(df: DataFrame, name: str, error: PySparkException) -> CallError:
    if (error.getCondition() or "").startswith("AMBIGUOUS"):
        return CallError(f"the feature {name} is the name of several columns: rename all but one, as in df.toDF(...)")
    matches = [column for column in df.columns if column.lower() == name.lower()]
    hint = f"Did you mean {matches[0]!r}?" if matches else nearest(name, df.columns)
    return CallError(f"the feature {name} is not a column of the frame, nor a field of one. {hint}")


def _fields(df: DataFrame, columns: Sequence[Column], names: Sequence[str]) -> list[StructField]:
    """Returns the name and type of each column, as Spark resolves them."""
    from pyspark.errors import AnalysisException

    try:
        fields = list(df.select(*columns).schema.fields)
    except AnalysisException as error:
        if len(columns) == 1:
            raise _unresolved(df, names[0], error) from None
        for column, name in zip(columns, names, strict=True):
            _fields(df, [column], [name])
        raise
    if len(fields) != len(columns):
        raise CallError(f"columns={list(names)} are {len(fields)} columns of the frame: name each feature, without *")
    return fields


def _check_order(names: Sequence[str], fitted: Sequence[str]) -> None:
    """Raises for a feature whose position differs from that in the fitted model."""
    positions = {name.lower(): position for position, name in enumerate(fitted)}
    if len(positions) < len(fitted):
        positions = {name: position for position, name in enumerate(fitted)}
    for position, name in enumerate(names):
        fitted_position = positions.get(name, positions.get(name.lower(), position))
        if fitted_position != position:
            raise CallError(
                f"the feature {name} is given in position {position + 1}, but the model was fitted with it in position "
                f"{fitted_position + 1}, its features being in another order: give columns={list(fitted)}"
            )


def _number(column: Column, field: StructField) -> Column:
    type_name = field.dataType.simpleString()
    if type_name in _UNCONVERTED:
        return column
    if type_name.startswith(_CAST_TO_DOUBLE):
        return column.cast("double")
    advice = next(
        (advice for prefix, advice in _ADVICE.items() if type_name.startswith(prefix)), "convert it to a number"
    )
    raise CallError(f"the feature {field.name} is a column of {type_name}, and must be numeric: {advice}")
