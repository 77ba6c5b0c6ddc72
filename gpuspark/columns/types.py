"""The column types of the scalar dialect, named as in Spark's DDL.

A scalar body sees Python values, as in PySpark: every integer width is an ``int``, ``float`` and
``double`` are a ``float``, and dates and timestamps are ``datetime`` objects. A column's type
determines how a value is loaded and stored, its *kind* which Python type the body computes with.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpuspark.columns import ddl
from gpuspark.errors import CallError, DeclarationError
from gpuspark.spark.arrow_types import marked

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType

Kind = Literal["boolean", "integer", "float", "date", "timestamp", "interval", "other"]


@dataclass(frozen=True)
class ColumnType:
    """A Spark type. ``bits`` is the width of one value in Arrow's data buffer."""

    name: str
    """The name in Spark's DDL, such as ``bigint``."""
    kind: Kind
    bits: int = 0
    arrow: str = ""
    """Arrow's alias of the type (:func:`pyarrow.type_for_alias`)."""

    @property
    def compiles(self) -> bool:
        """Whether compiled programs support this type."""
        return self.kind != "other"

    def __str__(self) -> str:
        return self.name


_TYPES = (
    ColumnType("boolean", "boolean", 1, "bool"),
    ColumnType("tinyint", "integer", 8, "int8"),
    ColumnType("smallint", "integer", 16, "int16"),
    ColumnType("int", "integer", 32, "int32"),
    ColumnType("bigint", "integer", 64, "int64"),
    ColumnType("float", "float", 32, "float32"),
    ColumnType("double", "float", 64, "float64"),
    ColumnType("date", "date", 32, "date32"),
    ColumnType("timestamp", "timestamp", 64, "timestamp[us]"),
    ColumnType("timestamp_ntz", "timestamp", 64, "timestamp[us]"),
    ColumnType("interval day to second", "interval", 64, "duration[us]"),
)
BY_NAME = {t.name: t for t in _TYPES}
# Types that columns may have in Spark's plans, but that have no Arrow form, so no Python function can return them.
_NO_RESULTS = re.compile(r"(?:^|[<:,])((?:var)?char\(\d+\)|interval(?: year| month| year to month)?)(?=$|[>,])")


def parse(text: str) -> ColumnType:
    """Returns the type that a DDL string names; needs no Spark session.

    >>> parse("BIGINT").kind, parse("long").name, parse("array<int>").kind, parse("a int, b string").name
    ('integer', 'bigint', 'other', 'struct<a:int,b:string>')

    Raises :class:`~gpuspark.errors.DeclarationError` for a string that Spark does not accept as a type.
    """
    name = ddl.canonical(text)
    return BY_NAME.get(name) or ColumnType(name, "other")


def of_spark(spark: DataType) -> ColumnType:
    """Returns the type of a PySpark ``DataType``."""
    name = spark.simpleString()
    column_type = None if hasattr(spark, "sqlType") else BY_NAME.get(name)  # a user-defined type may have any name
    return column_type or ColumnType(name, "other")


def declared(result_type: str | DataType) -> ColumnType:
    """Returns the declared type of a result, a DDL string or a PySpark ``DataType``.

    Raises :class:`~gpuspark.errors.DeclarationError` as :func:`parse` does, and for a type that Python functions
    cannot return.

    >>> declared("array<char(3)>")
    Traceback (most recent call last):
        ...
    gpuspark.errors.DeclarationError: Python functions cannot return array<char(3)>: PySpark has no char(3) ...
    """
    column_type = parse(result_type) if isinstance(result_type, str) else of_spark(result_type)
    unsupported = _NO_RESULTS.search(column_type.name)
    if unsupported:
        instead = "string" if "char" in unsupported[1] else "interval day to second, or a number of months"
        raise DeclarationError(
            f"Python functions cannot return {column_type}: PySpark has no {unsupported[1]} in Arrow. "
            f"Declare {instead}."
        )
    return column_type


def of_arrow(arrow: pa.DataType) -> ColumnType:
    """Returns the type of an Arrow column that Spark sent. A timestamp with a zone is Spark's ``timestamp``."""
    text = str(arrow)
    if text.startswith("timestamp[us"):
        return BY_NAME["timestamp" if "tz=" in text else "timestamp_ntz"]
    text = {"double": "float64", "float": "float32", "date32[day]": "date32"}.get(text, text)
    for column_type in _TYPES:
        if column_type.arrow == text:
            return column_type
    return ColumnType(marked(arrow) or str(arrow), "other")


def named(types: Any, signature: inspect.Signature) -> tuple[tuple[str, ...], list[ColumnType]]:
    """Returns parameter names and their column types, from any form of ``types`` that ``explain`` accepts.

    These are a list of type names or ``"double, int"``; and ``"a double, b int"``, a mapping from name to type, or a
    Spark or Arrow schema, matched by name if they have names of parameters, else by position. ``None`` stands for a
    ``double`` for every parameter.

    Raises :class:`~gpuspark.errors.CallError` if a parameter without default gets no type, or if there are too many
    types.

    >>> [str(t) for t in named("a double, b decimal(3,1) not null", inspect.signature(lambda a, b: a))[1]]
    ['double', 'decimal(3,1)']
    """
    parameters = [n for n, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    starred = len(parameters) < len(signature.parameters)
    if types is None:
        types = ["double"] * len(parameters)
    if isinstance(types, str):
        types = ddl.columns(types)
    if hasattr(types, "fields") or (hasattr(types, "names") and hasattr(types, "types")):
        types = {field.name: getattr(field, "dataType", None) or field.type for field in types}
    if isinstance(types, Mapping) and any(n in types for n in parameters):
        by_name = {n: types[n] for n in parameters if n in types}
    else:
        values = list(types.values() if isinstance(types, Mapping) else types)
        if len(values) > len(parameters) and not starred:
            raise CallError(f"{len(values)} types were given for {signature}. Give one type per parameter.")
        names = [*parameters, *(f"column {n}" for n in range(len(parameters), len(values)))]
        by_name = dict(zip(names, values, strict=False))
    missing = [n for n in parameters if n not in by_name and signature.parameters[n].default is inspect.Parameter.empty]
    if missing:
        raise CallError(f"no type was given for {', '.join(missing)} of {signature}. Give one type per parameter.")
    return tuple(by_name), [_column_type(t) for t in by_name.values()]


def _column_type(type_like: Any) -> ColumnType:
    if isinstance(type_like, ColumnType):
        return type_like
    if isinstance(type_like, str):
        return parse(type_like)
    if hasattr(type_like, "simpleString"):
        return of_spark(type_like)
    return of_arrow(type_like)
