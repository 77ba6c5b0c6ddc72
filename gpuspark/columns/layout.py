"""Arrow's columns as plain arrays, the way array functions read them: texts as offsets and bytes, lists as offsets and
values, nulls as a byte for each row. Nothing is copied where Arrow has it in that form.

The layouts are those of the Arrow columnar format, version 1.5.
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
    """A column of strings as the bytes of all of them, and where each begins among them: one offset more than there
    are rows. A null has no bytes. Raises :class:`~gpuspark.errors.CallError` for another type."""
    import pyarrow as pa

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        raise CallError(f"{name} is a column of {array.type}, and must be one of strings: cast it")
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, places, data = array.buffers()
    offsets = _part(places, width, array.offset, len(array) + 1).astype(np.int64)
    return offsets, np.frombuffer(data or b"", np.uint8)


def lists(array: pa.Array, dtype: Any, name: str = "the column") -> tuple[NDArray[np.int64], NDArray[Any]]:
    """A column of lists of numbers as the numbers of all of them, of type ``dtype``, and where each list begins.
    Raises :class:`~gpuspark.errors.CallError` for another type, and for a null inside a list."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)) or not (
        pa.types.is_integer(array.type.value_type) or pa.types.is_floating(array.type.value_type)
    ):
        raise CallError(f"{name} is a column of {array.type}, and must be one of lists of numbers: cast it")
    offsets = array.offsets.to_numpy().astype(np.int64)
    inner = array.values
    if inner.null_count and pc.list_flatten(array).null_count:
        raise CallError(f"{name} has a null inside a list: drop it with filter(...), or give the whole list as null")
    return offsets, np.ascontiguousarray(numbers(inner), dtype)


def numbers(array: pa.Array, name: str = "the column") -> NDArray[Any]:
    """The values of a column of numbers, dates or times; what stands at nulls is unspecified. Raises
    :class:`~gpuspark.errors.CallError` for another type."""
    import pyarrow as pa

    from gpuspark.columns.batch import Column

    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)):
        raise CallError(f"{name} is a column of {kind}, and must be one of numbers: cast it")
    values: NDArray[Any] = Column(array).values
    return values


def present(array: pa.Array) -> NDArray[np.uint8]:
    """1 for each row that has a value, 0 for a null."""
    if not array.null_count:
        return np.ones(len(array), np.uint8)
    valid: NDArray[np.uint8] = array.is_valid().to_numpy(zero_copy_only=False).view(np.uint8)
    return valid


def nulls_of(*arrays: pa.Array) -> NDArray[np.bool_] | None:
    """Where any of the columns is null, as pyarrow wants it for a mask; ``None`` where none is."""
    found = None
    for array in arrays:
        if array.null_count:
            here = array.is_null().to_numpy(zero_copy_only=False)
            found = here if found is None else found | here
    return found


def list_array(offsets: NDArray[Any], values: Any, nulls: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of lists; ``nulls``: the rows that are null."""
    import pyarrow as pa

    mask = None if nulls is None else pa.array(nulls)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=mask)


def _part(buffer: pa.Buffer | None, dtype: Any, start: int, count: int) -> NDArray[Any]:
    if buffer is None or not buffer.size:  # a column without rows may have no buffer
        return np.zeros(count, dtype)
    return np.frombuffer(buffer, dtype)[start : start + count]


def observations(
    segments: Any, column: Any
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8], DeviceName]:
    """The numbers of many groups, one group after the other: where each begins, the numbers as doubles, 1 for each that
    is there (a null is not, and neither is NaN), and the device that the rows are on.

    ``segments``: a :class:`~gpuspark.Segments`, ``column`` being the name of a column; or an array of such
    offsets, ``column`` being numbers: a column, an Arrow array, a Series, an array. Raises
    :class:`~gpuspark.errors.CallError` for a column of another type, and for offsets that are not the column's.
    """
    import pyarrow as pa

    from gpuspark.columns.batch import as_column

    name = repr(column) if isinstance(column, str) else "the column"
    given = segments[column] if isinstance(column, str) else as_column(column)
    array = given.to_arrow()
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise CallError(f"{name} is a column of {array.type}, and must be one of numbers: cast it")
    offsets = np.asarray(getattr(segments, "offsets", segments), np.int64)
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(array) or (np.diff(offsets) < 0).any():
        raise CallError(f"the offsets are not those of {name}: they begin with 0, rise, and end with {len(array)}")
    values = np.ascontiguousarray(numbers(array), np.float64)
    there = present(array)
    if pa.types.is_floating(array.type):
        there = there & ~np.isnan(values)
    return offsets, values, there, given.device


def doubles(values: NDArray[np.float64], there: NDArray[np.bool_], device: DeviceName) -> Column:
    """A column of numbers, null where nothing is there."""
    import pyarrow as pa

    from gpuspark.columns.batch import Column

    return Column(pa.array(values, mask=None if there.all() else ~there), device)
