"""The column types of the scalar dialect, under the names that Spark's DDL gives them.

A scalar body sees Python values, as in PySpark: every integer width is an ``int``, ``float`` and
``double`` are a ``float``, and dates and timestamps are ``datetime`` objects. So a column's type
decides how a value is loaded and stored, and its *kind* what the body computes with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
