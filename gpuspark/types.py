"""The column types of the scalar dialect, under the names that Spark's DDL gives them.

A scalar body sees Python values, as in PySpark: every integer width is an ``int``, ``float`` and
``double`` are a ``float``, and dates and timestamps are ``datetime`` objects. So a column's type
decides how a value is loaded and stored, and its *kind* what the body computes with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gpuspark.errors import DeclarationError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

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
_ALIASES = {
    "bool": "boolean",
    "byte": "tinyint",
    "short": "smallint",
    "integer": "int",
    "long": "bigint",
    "real": "float",
    "timestamp_ltz": "timestamp",
    "daytimeinterval": "interval day to second",
}
# Types of Spark that no scalar program computes with. They run on the python device.
_OTHERS = re.compile(
    r"(string|binary|variant|void|decimal|dec|numeric|char|varchar|time|interval)\b|(array|map|struct)\s*<", re.I
)


def parse(text: str) -> ColumnType:
    """The type that a DDL name stands for, with no Spark session.

    >>> parse("BIGINT").kind, parse("long").name, parse("array<int>").kind
    ('integer', 'bigint', 'other')

    Raises :class:`~gpuspark.errors.DeclarationError` for a name that Spark does not have.
    """
    name = " ".join(text.lower().split())
    found = BY_NAME.get(_ALIASES.get(name, name))
    if found is not None:
        return found
    if _OTHERS.match(name):
        return ColumnType(name, "other")
    hint = nearest(name, [*BY_NAME, *_ALIASES, "string", "binary", "decimal"])
    raise DeclarationError(f"{text!r} is not a type of Spark SQL. {hint}")


def of_arrow(arrow: pa.DataType) -> ColumnType:
    """The type of an Arrow column that Spark sent. A timestamp with a zone is Spark's ``timestamp``."""
    text = str(arrow)
    if text.startswith("timestamp[us"):
        return BY_NAME["timestamp" if "tz=" in text else "timestamp_ntz"]
    text = {"double": "float64", "float": "float32", "date32[day]": "date32"}.get(text, text)
    for known in _TYPES:
        if known.arrow == text:
            return known
    return ColumnType(str(arrow), "other")


def named(given: Any, parameters: tuple[str, ...]) -> tuple[tuple[str, ...], list[ColumnType]]:
    """Parameter names and column types out of any form that ``explain`` takes: a list of type names, ``"a double, b
    int"``, a mapping from parameter to type, a Spark or Arrow schema; every parameter a ``double`` by default.

    >>> [str(t) for t in named("a double, b decimal(3,1)", ("a", "b"))[1]]
    ['double', 'decimal(3,1)']
    """
    if given is None:
        given = ["double"] * len(parameters)
    if isinstance(given, str):
        given = dict(field.split(maxsplit=1) for field in _split(given.replace(":", " ")))
    if hasattr(given, "fields") or (hasattr(given, "names") and hasattr(given, "types")):
        given = {field.name: getattr(field, "dataType", None) or field.type for field in given}
    if isinstance(given, Mapping):
        named = {n: given[n] for n in parameters if n in given} or dict(zip(parameters, given.values(), strict=False))
    else:
        named = dict(zip(parameters, given, strict=False))
    return tuple(named), [_column_type(t) for t in named.values()]


def _column_type(given: Any) -> ColumnType:
    if isinstance(given, ColumnType):
        return given
    if isinstance(given, str):
        return parse(given)
    if hasattr(given, "simpleString"):
        return parse(given.simpleString())
    return of_arrow(given)


def _split(ddl: str) -> list[str]:
    """The fields of a DDL schema: cut at the commas outside brackets."""
    fields, depth, start = [], 0, 0
    for place, letter in enumerate(ddl + ","):
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and depth == 0:
            fields.append(ddl[start:place].strip())
            start = place + 1
    return [field for field in fields if field]
