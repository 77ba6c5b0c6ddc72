"""Spark's types as Arrow's: the one place that calls PySpark's own converters, whose arguments differ by version."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType, StructType


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
