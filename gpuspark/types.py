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

from gpuspark.errors import CallError, DeclarationError, nearest

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
        given = _fields(given)
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


def _fields(ddl: str) -> dict[str, str] | list[str]:
    """The types by name of ``"a double, b int not null"``; of ``"double, int"`` the types alone."""
    fields = [re.sub(r"\s+(not\s+null|comment\s+'.*')", "", field, flags=re.I) for field in _split(ddl)]
    try:
        for field in fields:
            parse(field)
    except DeclarationError:
        pairs = (re.split(r"\s*:\s*|\s+", field, maxsplit=1) for field in fields)
        return {pair[0]: pair[-1] for pair in pairs}
    return fields


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
