"""Spark's types as Arrow types.

The only module that calls PySpark's type converters, whose arguments differ by version. It also reads and writes the
types that Arrow lacks (variant, geometry, geography), which Spark sends as structs with marked fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpuspark.errors import ResultError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType, StructType

_MARKED = ("variant", "geometry", "geography")


def arrow_type(declared: DataType | str) -> pa.DataType:
    """Returns the Arrow type of a Spark type, timestamps in UTC. A DDL string needs a session."""
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import DataType

    parsed = DataType.fromDDL(declared) if isinstance(declared, str) else declared
    return _in_utc(to_arrow_type, parsed)


def declared_columns(schema: StructType | str) -> StructType:
    """Returns the columns that a body is declared to yield, a DDL string or PySpark's own. A string needs a session.

    Raises :class:`~gpuspark.errors.ResultError` for what is not a list of columns.
    """
    from pyspark.sql.types import DataType, StructType

    declared = DataType.fromDDL(schema) if isinstance(schema, str) else schema
    if not isinstance(declared, StructType):
        raise ResultError(f"schema={schema!r} is not a list of columns: write it as 'name type, name type'")
    return declared


def arrow_schema(declared: StructType) -> pa.Schema:
    """Returns the Arrow schema of a Spark schema, timestamps in UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return _in_utc(to_arrow_schema, declared)


def spark_schema(schema: pa.Schema) -> StructType:
    """Returns the Spark schema of an Arrow schema. Raises PySpark's error for a type that Spark lacks."""
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(field.name, spark_type(field.type), field.nullable) for field in schema])


def spark_type(arrow: pa.DataType) -> DataType:
    """Returns the Spark type of an Arrow type. Raises PySpark's error for a type that Spark lacks."""
    from pyspark.sql.pandas.types import from_arrow_type

    return from_arrow_type(arrow, prefer_timestamp_ntz=True)


def _in_utc(convert: Callable[..., Any], declared: DataType) -> Any:
    """Calls a converter of PySpark so that timestamps are in UTC: the default in 4.1, an argument from 4.2 on."""
    zone = {"timezone": "UTC"} if "timezone" in inspect.signature(convert).parameters else {}
    return convert(declared, **zone)


def marked(arrow: pa.DataType) -> str | None:
    """Returns ``variant``, ``geometry`` or ``geography`` for a struct that Spark marked as one, else ``None``."""
    import pyarrow.types as is_

    if not is_.is_struct(arrow):
        return None
    marks = {key for field in arrow for key, text in (field.metadata or {}).items() if text == b"true"}
    return next((name for name in _MARKED if name.encode() in marks), None)


def read_marked(arrow: pa.DataType) -> Callable[[dict[str, Any]], Any] | None:
    """Returns the function that converts a marked struct to PySpark's object; ``None`` for an unmarked struct."""
    name = marked(arrow)
    if name is None:
        return None
    pyspark_class = _class_of(name)
    if name == "variant":
        return lambda record: pyspark_class(record["value"], record["metadata"])
    return lambda record: pyspark_class.fromWKB(record["wkb"], record["srid"])


def write_marked(arrow: pa.DataType) -> Callable[[Any], dict[str, Any]] | None:
    """Returns the function that converts PySpark's object to a marked struct; ``None`` for an unmarked struct.

    The function raises ``TypeError`` for other values.
    """
    name = marked(arrow)
    if name is None:
        return None
    pyspark_class, fields = _class_of(name), ("value", "metadata") if name == "variant" else ("srid", "wkb")

    def write(value: Any) -> dict[str, Any]:
        if not isinstance(value, pyspark_class):
            raise TypeError
        return {field: getattr(value, field) for field in fields}

    return write


def _class_of(name: str) -> Any:
    from pyspark.sql import types

    return getattr(types, {"variant": "VariantVal", "geometry": "Geometry", "geography": "Geography"}[name])
