"""Spark's types as Arrow's: the one place that calls PySpark's own converters, whose arguments differ by version; and
the types that Arrow has no form of its own for: Spark sends them as structs with a mark."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType, StructType

_MARKED = ("variant", "geometry", "geography")


def arrow_type(declared: DataType | str) -> pa.DataType:
    """The Arrow type of a Spark type, timestamps in UTC. A DDL string needs a session."""
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import DataType

    parsed = DataType.fromDDL(declared) if isinstance(declared, str) else declared
    return _in_utc(to_arrow_type, parsed)


def arrow_schema(declared: StructType) -> pa.Schema:
    """The Arrow schema of a Spark schema, timestamps in UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return _in_utc(to_arrow_schema, declared)


def _in_utc(convert: Callable[..., Any], declared: DataType) -> Any:
    """PySpark 4.1 writes timestamps in UTC unless told otherwise; later versions want the zone named."""
    zone = {"timezone": "UTC"} if "timezone" in inspect.signature(convert).parameters else {}
    return convert(declared, **zone)


def marked(arrow: pa.DataType) -> str | None:
    """The type of Spark's that an Arrow struct stands for, where Spark has marked it: ``variant``, ``geometry`` or
    ``geography``."""
    import pyarrow.types as is_

    if not is_.is_struct(arrow):
        return None
    marks = {key for field in arrow for key, text in (field.metadata or {}).items() if text == b"true"}
    return next((name for name in _MARKED if name.encode() in marks), None)


def read_marked(arrow: pa.DataType) -> Callable[[dict[str, Any]], Any] | None:
    """What makes PySpark's object of a struct that Spark has marked; ``None`` for another struct."""
    name = marked(arrow)
    if name is None:
        return None
    made = _class_of(name)
    if name == "variant":
        return lambda record: made(record["value"], record["metadata"])
    return lambda record: made.fromWKB(record["wkb"], record["srid"])


def write_marked(arrow: pa.DataType) -> Callable[[Any], dict[str, Any]] | None:
    """What makes of PySpark's object the struct that Spark expects; ``None`` for another struct. It raises
    ``TypeError`` for other values."""
    name = marked(arrow)
    if name is None:
        return None
    made, parts = _class_of(name), ("value", "metadata") if name == "variant" else ("srid", "wkb")

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, made):
            raise TypeError
        return {part: getattr(value, part) for part in parts}

    return write


def _class_of(name: str) -> Any:
    from pyspark.sql import types

    return getattr(types, {"variant": "VariantVal", "geometry": "Geometry", "geography": "Geography"}[name])
