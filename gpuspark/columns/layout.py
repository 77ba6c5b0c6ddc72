"""Arrow columns as the NumPy arrays that array functions take.

Strings become offsets and bytes, lists become offsets and values, and validity becomes one byte per row, as in the
Arrow columnar format 1.5. Data is copied only if Arrow stores it differently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa

    from gpuspark.columns.batch import Column
    from gpuspark.devices.protocol import DeviceName


def texts(array: pa.Array, name: str = "the column") -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Returns the `rows + 1` int64 offsets of a string column and its UTF-8 bytes. What is between a null's offsets is
    unspecified.

    Raises :class:`~gpuspark.errors.CallError` for another type.
    """
    import pyarrow as pa

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        raise CallError(f"{name} is a column of {array.type}, and must hold strings: cast it")
    offset_type = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets_buffer, data = array.buffers()
    offsets = _slice_of(offsets_buffer, offset_type, array.offset, len(array) + 1).astype(np.int64)
    return offsets, np.frombuffer(data or b"", np.uint8)


def lists(array: pa.Array, dtype: Any, name: str = "the column") -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns the `rows + 1` int64 offsets of a column of numeric lists and all its values, as ``dtype``.

    Raises :class:`~gpuspark.errors.CallError` for another type, and for a null inside a list.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if not (is_list and _is_numeric(array.type.value_type)):
        raise CallError(f"{name} is a column of {array.type}, and must hold lists of numbers: cast it")
    offsets = array.offsets.to_numpy().astype(np.int64)
    inner = array.values
    if inner.null_count and pc.list_flatten(array).null_count:
        raise CallError(f"{name} has a null inside a list: drop it with filter(...), or make the whole list null")
    return offsets, np.ascontiguousarray(numbers(inner), dtype)


def numbers(array: pa.Array, name: str = "the column") -> NDArray[Any]:
    """Returns the values of a column of numbers, dates or times; unspecified at nulls.

    Raises :class:`~gpuspark.errors.CallError` for another type.
    """
    import pyarrow as pa

    from gpuspark.columns.batch import Column

    if not (_is_numeric(array.type) or pa.types.is_temporal(array.type)):
        raise CallError(f"{name} is a column of {array.type}, and must be numeric: cast it")
    values: NDArray[Any] = Column(array).values
    return values


def present(array: pa.Array) -> NDArray[np.uint8]:
    """Returns 1 for each row with a value and 0 for each null."""
    if not array.null_count:
        return np.ones(len(array), np.uint8)
    valid: NDArray[np.uint8] = array.is_valid().to_numpy(zero_copy_only=False).view(np.uint8)
    return valid


def nulls_of(*arrays: pa.Array) -> NDArray[np.bool_] | None:
    """Returns a mask of the rows in which any of the columns is null, or ``None`` if there are none."""
    mask = None
    for array in arrays:
        if array.null_count:
            nulls = array.is_null().to_numpy(zero_copy_only=False)
            mask = nulls if mask is None else mask | nulls
    return mask


def list_array(offsets: NDArray[Any], values: Any, nulls: NDArray[np.bool_] | None = None) -> pa.Array:
    """Returns an Arrow column of lists; ``nulls`` marks the rows that are null."""
    import pyarrow as pa

    mask = None if nulls is None else pa.array(nulls)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=mask)


def _is_numeric(arrow: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow))


def _slice_of(buffer: pa.Buffer | None, dtype: Any, start: int, count: int) -> NDArray[Any]:
    if buffer is None or not buffer.size:  # a column without rows may have no buffer
        return np.zeros(count, dtype)
    return np.frombuffer(buffer, dtype)[start : start + count]


def observations(
    segments: Any, column: Any
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8], DeviceName]:
    """Returns the `groups + 1` offsets of the groups, the values as doubles, their validity, and the device.

    The validity is 0 at nulls and NaN, else 1. ``segments`` is a :class:`~gpuspark.Segments` and ``column`` the name
    of one of its columns; or ``segments`` is an array of offsets and ``column`` a column, an Arrow array, a Series or
    an array. Raises :class:`~gpuspark.errors.CallError` for a column of another type, and for offsets that do not fit
    the column.
    """
    import pyarrow as pa

    from gpuspark.columns.batch import as_column

    name = repr(column) if isinstance(column, str) else "the column"
    source = segments[column] if isinstance(column, str) else as_column(column)
    array = source.to_arrow()
    if not _is_numeric(array.type):
        raise CallError(f"{name} is a column of {array.type}, and must be numeric: cast it")
    offsets = np.asarray(getattr(segments, "offsets", segments), np.int64)
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(array) or (np.diff(offsets) < 0).any():
        raise CallError(f"the offsets are not those of {name}: they begin with 0, rise, and end with {len(array)}")
    values = np.ascontiguousarray(numbers(array), np.float64)
    valid = present(array)
    if pa.types.is_floating(array.type):
        valid = valid & ~np.isnan(values)
    return offsets, values, valid, source.device


def doubles(values: NDArray[np.float64], valid: NDArray[np.bool_], device: DeviceName) -> Column:
    """Returns a column of doubles that is null where ``valid`` is false."""
    import pyarrow as pa

    from gpuspark.columns.batch import Column

    return Column(pa.array(values, mask=None if valid.all() else ~valid), device)
