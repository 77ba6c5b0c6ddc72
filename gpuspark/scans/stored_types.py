"""What a column of a parquet file holds, told by the file's own schema, and whether a scan reads it exactly.

A writer may add an Arrow schema to a file, which Spark does not read; neither does this module. The types are those of
the Parquet format's specification (LogicalTypes.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class StoredType:
    """The type of a column in a file."""

    arrow: pa.DataType | None
    """``None`` for a type that scans do not read."""
    name: str
    """The name in Parquet's words, for messages."""
    int96: bool = False
    """Whether timestamps are stored in Parquet's old form, in which Spark writes those with a time zone, in UTC, and
    those without one."""


def stored_type(column: Any) -> StoredType:
    """Returns the type of a column, a :class:`pyarrow.parquet.ColumnSchema`."""
    import pyarrow as pa

    logical = json.loads(column.logical_type.to_json())
    physical, meaning = column.physical_type, logical["Type"]
    name = physical if meaning == "None" else f"{physical} ({meaning.upper()})"
    if physical == "INT96":
        return StoredType(pa.timestamp("us", "UTC"), name, int96=True)
    if meaning == "None":
        plain = {
            "BOOLEAN": pa.bool_(), "INT32": pa.int32(), "INT64": pa.int64(), "FLOAT": pa.float32(),
            "DOUBLE": pa.float64(), "BYTE_ARRAY": pa.binary(), "FIXED_LEN_BYTE_ARRAY": pa.binary(),
        }  # fmt: skip
        return StoredType(plain.get(physical), name)
    match meaning:
        case "String" | "Enum":
            return StoredType(pa.string(), name)
        case "Date":
            return StoredType(pa.date32(), name)
        case "Decimal":
            digits = (logical["precision"], logical["scale"])
            return StoredType(pa.decimal128(*digits) if digits[0] <= _MOST_DIGITS else None, f"{name} of {digits}")
        case "Int":
            bits, signed = logical["bitWidth"], logical["isSigned"]
            return StoredType(getattr(pa, f"{'' if signed else 'u'}int{bits}")(), f"{name} of {bits} bits")
        case "Timestamp":
            unit = {"milliseconds": "ms", "microseconds": "us"}.get(logical["timeUnit"])
            zone = "UTC" if logical["isAdjustedToUTC"] else None
            return StoredType(unit and pa.timestamp(unit, zone), f"{name} in {logical['timeUnit']}")
    return StoredType(None, name)


_MOST_DIGITS = 38


def read_exactly(stored: StoredType, target: pa.DataType) -> bool:
    """Returns whether values stored as ``stored`` are read as ``target`` without loss, and as Spark reads them.

    These are the conversions of Spark's vectorized reader that keep every value: to wider integers, decimals and
    floating-point numbers, from whole days to timestamps without time zone, and between units of time.
    """
    import pyarrow.types as is_

    source = stored.arrow
    if source is None:
        return False
    if source == target:
        return True
    if is_.is_signed_integer(source):
        wider = is_.is_signed_integer(target) and target.bit_width >= source.bit_width
        return bool(wider or (is_.is_float64(target) and source.bit_width <= 32))
    if is_.is_unsigned_integer(source):
        return bool(is_.is_signed_integer(target) and target.bit_width > source.bit_width)
    if is_.is_float32(source):
        return bool(is_.is_float64(target))
    if is_.is_date32(source):
        return bool(is_.is_timestamp(target) and target.tz is None)
    if is_.is_timestamp(source):
        return bool(is_.is_timestamp(target) and (stored.int96 or (source.tz is None) == (target.tz is None)))
    if is_.is_decimal(source) and is_.is_decimal(target):
        return bool(target.scale >= source.scale and target.precision - target.scale >= source.precision - source.scale)
    return False
