"""The column types of the scalar dialect, under the names that Spark's DDL gives them.

A scalar body sees Python values, as in PySpark: every integer width is an ``int``, ``float`` and
``double`` are a ``float``, and dates and timestamps are ``datetime`` objects. So a column's type
decides how a value is loaded and stored, and its *kind* what the body computes with.
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
    """Spark's DDL name, such as ``bigint``."""
    kind: Kind
    bits: int = 0
    arrow: str = ""
    """Arrow's alias of the type (:func:`pyarrow.type_for_alias`)."""

    @property
    def compiles(self) -> bool:
        """Whether compiled programs can hold values of this type."""
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
# Types that columns may have in Spark's plans, but no Arrow column, and so no result of a Python function.
_NO_RESULTS = re.compile(r"(?:^|[<:,])((?:var)?char\(\d+\)|interval(?: year| month| year to month)?)(?=$|[>,])")


def parse(text: str) -> ColumnType:
    """The type that a DDL text stands for, with no Spark session.

    >>> parse("BIGINT").kind, parse("long").name, parse("array<int>").kind, parse("a int, b string").name
    ('integer', 'bigint', 'other', 'struct<a:int,b:string>')

    Raises :class:`~gpuspark.errors.DeclarationError` for a text that Spark does not read as a type.
    """
    name = ddl.canonical(text)
    return BY_NAME.get(name) or ColumnType(name, "other")


def of_spark(spark: DataType) -> ColumnType:
    """The type that an object of PySpark's stands for."""
    name = spark.simpleString()
    known = None if hasattr(spark, "sqlType") else BY_NAME.get(name)  # a user-defined type may have any name
    return known or ColumnType(name, "other")


def declared(given: str | DataType) -> ColumnType:
    """The type of a result, as a text or an object of PySpark's.

    Raises :class:`~gpuspark.errors.DeclarationError` as :func:`parse` does, and for a type that no Python function may
    return.

    >>> declared("array<char(3)>")
    Traceback (most recent call last):
        ...
    gpuspark.errors.DeclarationError: Python functions cannot return array<char(3)>: PySpark has no char(3) ...
    """
    column = parse(given) if isinstance(given, str) else of_spark(given)
    missing = _NO_RESULTS.search(column.name)
    if missing:
        instead = "string" if "char" in missing[1] else "interval day to second, or a number of months"
        raise DeclarationError(
            f"Python functions cannot return {column}: PySpark has no {missing[1]} in Arrow. Declare {instead}."
        )
    return column


def of_arrow(arrow: pa.DataType) -> ColumnType:
    """The type of an Arrow column that Spark sent. A timestamp with a zone is Spark's ``timestamp``."""
    text = str(arrow)
    if text.startswith("timestamp[us"):
        return BY_NAME["timestamp" if "tz=" in text else "timestamp_ntz"]
    text = {"double": "float64", "float": "float32", "date32[day]": "date32"}.get(text, text)
    for known in _TYPES:
        if known.arrow == text:
            return known
    return ColumnType(marked(arrow) or str(arrow), "other")


def named(given: Any, signature: inspect.Signature) -> tuple[tuple[str, ...], list[ColumnType]]:
    """Parameter names and column types out of any form that ``explain`` takes: a list of type names or
    ``"double, int"``; ``"a double, b int"``, a mapping from name to type, a Spark or Arrow schema, by name where the
    names are the parameters', else by place; every parameter a ``double`` by default.

    Raises :class:`~gpuspark.errors.CallError` where a parameter without default gets no type, or a type no parameter.

    >>> [str(t) for t in named("a double, b decimal(3,1) not null", inspect.signature(lambda a, b: a))[1]]
    ['double', 'decimal(3,1)']
    """
    parameters = [n for n, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    starred = len(parameters) < len(signature.parameters)
    if given is None:
        given = ["double"] * len(parameters)
    if isinstance(given, str):
        given = ddl.columns(given)
    if hasattr(given, "fields") or (hasattr(given, "names") and hasattr(given, "types")):
        given = {field.name: getattr(field, "dataType", None) or field.type for field in given}
    if isinstance(given, Mapping) and any(n in given for n in parameters):
        found = {n: given[n] for n in parameters if n in given}
    else:
        values = list(given.values() if isinstance(given, Mapping) else given)
        if len(values) > len(parameters) and not starred:
            raise CallError(f"{len(values)} types were given for {signature}. Give one type per parameter.")
        names = [*parameters, *(f"column {n}" for n in range(len(parameters), len(values)))]
        found = dict(zip(names, values, strict=False))
    missing = [n for n in parameters if n not in found and signature.parameters[n].default is inspect.Parameter.empty]
    if missing:
        raise CallError(f"no type was given for {', '.join(missing)} of {signature}. Give one type per parameter.")
    return tuple(found), [_column_type(t) for t in found.values()]


def _column_type(given: Any) -> ColumnType:
    if isinstance(given, ColumnType):
        return given
    if isinstance(given, str):
        return parse(given)
    if hasattr(given, "simpleString"):
        return of_spark(given)
    return of_arrow(given)
