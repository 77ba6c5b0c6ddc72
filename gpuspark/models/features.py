"""Which columns of a frame a model is given: by the names that users write, or as Spark columns; all numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

_AS_THEY_ARE = {"tinyint", "smallint", "int", "bigint", "float", "double", "boolean"}
_CAST = ("decimal", "void")
_ADVICE = {
    "string": "if it holds numbers as texts, cast it: F.col(...).cast('double'); else encode it as when the model was "
    "fitted",
    "date": "make it a number as when the model was fitted, such as F.unix_date(...)",
    "timestamp": "make it a number as when the model was fitted, such as F.unix_micros(...)",
    "struct": "name its fields, as in 'point.x'",
    "array": "give its elements as columns, as in F.col(...)[0]",
    "vector": "give its elements as columns, as in pyspark.ml.functions.vector_to_array(...)[0]",
    "map": "give its values as columns, as in F.col(...)['key']",
}


def features_of(
    df: DataFrame, columns: Sequence[str | Column], fitted: Sequence[str]
) -> tuple[list[str], list[Column]]:
    """The features' names, for messages, and the columns of numbers that workers are given.

    A text that is the whole name of one of the frame's columns is that column, dots and all. Others are read as
    ``df.select`` reads them: with backticks, and ``point.x`` for a field. ``fitted``: the names that the model was
    fitted to, if it knows them.

    Raises :class:`~gpuspark.errors.CallError` for a column that there is not, or twice, or that holds no numbers,
    and for features in another order than the model's.
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
        raise CallError(f"the feature {name} is a {type(column).__name__}: give a column's name, or a Spark column")
    try:
        return df[_written(df, column)]
    except AnalysisException as error:
        raise _unresolved(df, name, error) from None


def _written(df: DataFrame, name: str) -> str:
    """``name`` as Spark reads it: between backticks where it is the whole name of a column."""
    whole = [column for column in df.columns if column == name]
    if not whole and "." in name and df.sparkSession.conf.get("spark.sql.caseSensitive") != "true":
        whole = [column for column in df.columns if column.lower() == name.lower()]
    return f"`{whole[0].replace('`', '``')}`" if whole else name


def _unresolved(df: DataFrame, name: str, error: PySparkException) -> CallError:
    if (error.getCondition() or "").startswith("AMBIGUOUS"):
        return CallError(f"the feature {name} is the name of several columns: rename all but one, as in df.toDF(...)")
    alike = [column for column in df.columns if column.lower() == name.lower()]
    hint = f"Did you mean {alike[0]!r}?" if alike else nearest(name, df.columns)
    return CallError(f"the feature {name} is no column of the frame, nor a field of one. {hint}")


def _fields(df: DataFrame, columns: Sequence[Column], names: Sequence[str]) -> list[StructField]:
    """The name and type of each column, as Spark finds them."""
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
    """Refuses a feature that stands in the place of another one."""
    places = {name.lower(): place for place, name in enumerate(fitted)}
    if len(places) < len(fitted):
        places = {name: place for place, name in enumerate(fitted)}
    for place, name in enumerate(names):
        meant = places.get(name, places.get(name.lower(), place))
        if meant != place:
            raise CallError(
                f"the feature {name} is given in place {place + 1}, and stood in place {meant + 1} where the model was "
                f"fitted, to its features in another order: give columns={list(fitted)}"
            )


def _number(column: Column, field: StructField) -> Column:
    kind = field.dataType.simpleString()
    if kind in _AS_THEY_ARE:
        return column
    if kind.startswith(_CAST):
        return column.cast("double")
    advice = next((advice for name, advice in _ADVICE.items() if kind.startswith(name)), "make it a number")
    raise CallError(f"the feature {field.name} is a column of {kind}, and must be one of numbers: {advice}")
