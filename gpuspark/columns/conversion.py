"""Converts the arguments of a function that is called on columns to Arrow, and its result back to their form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuspark.columns.batch import Column, series_to_arrow
from gpuspark.errors import CallError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def as_columns(
    function: str, names: Sequence[str], values: Sequence[Any]
) -> tuple[list[pa.Array], Callable[[pa.Array], Any]]:
    """Returns ``values`` as Arrow columns of one length, and a function that converts a result to their form.

    A single value is repeated for every row. Raises :class:`~gpuspark.errors.CallError` for values that are neither
    columns nor single values, for different lengths and for different indexes.
    """
    for name, value in zip(names, values, strict=False):
        _refuse_collections(function, name, value)
    lengths = {name: len(value) for name, value in zip(names, values, strict=False) if _is_column(value)}
    if len(set(lengths.values())) > 1:
        raise CallError(f"{function} was given columns of different lengths: {lengths}")
    columns = [value for value in values if _is_column(value)]
    if not columns:
        raise CallError(
            f"{function} takes columns: gpuspark's, Arrow's, Series, NumPy arrays, or Spark columns and their names"
        )
    _check_indexes(function, columns)
    columns.sort(key=lambda column: isinstance(column, np.ndarray))
    return [_arrow(value, len(columns[0])) for value in values], lambda result: _like(function, columns, result)


_SINGLE_VALUES = (str, bytes, bytearray, dict, np.generic)
"""Types that have a length but count as one value."""
_COLLECTION_ATTRIBUTES = ("__len__", "__iter__", "__array__", "__arrow_c_stream__", "__cuda_array_interface__")
"""Attributes of objects that hold several values."""


def _is_column(value: Any) -> bool:
    series = hasattr(value, "iloc") and getattr(value, "ndim", 1) == 1
    return series or hasattr(value, "__arrow_c_array__") or isinstance(value, np.ndarray) or _is_chunked(value)


def _is_chunked(value: Any) -> bool:
    return hasattr(value, "combine_chunks") and hasattr(value, "chunks")


def _refuse_collections(function: str, name: str, value: Any) -> None:
    """Raises for an object of several values that is not a column: each row would get all of them."""
    refused = _collection(value)
    if refused is not None:
        raise CallError(
            f"{function} was given {refused} for {name}, which is not a column. Columns are gpuspark's, Arrow's, "
            "Series, and one-dimensional NumPy arrays of numbers, booleans, strings or dates. A value that is the same "
            "for every row can be captured by the body"
        )


def _collection(value: Any) -> str | None:
    """Returns what ``value`` is and how to make a column of it; ``None`` for a column and for a single value."""
    name = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array (make it pa.array(a.data, mask=a.mask))"
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            return f"an array of {value.ndim} dimensions (give one column for each of its columns, or a single value)"
        if value.dtype.kind not in "biufMmUS" or (value.dtype.kind in "iuf" and value.dtype.itemsize > 8):
            return f"an array of {value.dtype} (make it an array of another type, or pa.array(..., type))"
        return None
    if (hasattr(value, "iloc") and value.ndim > 1) or hasattr(value, "column_names"):
        return f"a {name} (give its columns)"
    if _is_column(value) or isinstance(value, _SINGLE_VALUES):
        return None
    if any(hasattr(value, attribute) for attribute in _COLLECTION_ATTRIBUTES):
        return f"a {name} (make it pa.array(...), if that is what it is)"
    return None


def _check_indexes(function: str, columns: Sequence[Any]) -> None:
    indexes = [column.index for column in columns if hasattr(column, "iloc")]
    if any(not index.equals(indexes[0]) for index in indexes[1:]):
        raise CallError(
            f"{function} was given Series of different indexes, but matches rows by position. "
            "Align them first, or drop their indexes: s.reset_index(drop=True)."
        )


def _arrow(value: Any, rows: int) -> pa.Array:
    import pyarrow as pa

    if isinstance(value, pa.Array):
        return value
    if _is_chunked(value):
        return value.combine_chunks()
    if isinstance(value, np.ndarray):
        return _of_numpy(value)
    if isinstance(value, Column) or hasattr(value, "to_arrow"):
        return value.to_arrow()
    if hasattr(value, "iloc"):
        return series_to_arrow(value)
    if hasattr(value, "__arrow_c_array__"):
        return pa.array(value)
    return pa.repeat(pa.scalar(value), rows)


def _of_numpy(values: NDArray[Any]) -> pa.Array:
    """Returns the column that Spark would send: dates in days, times in microseconds, half floats as floats."""
    import pyarrow as pa

    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    match values.dtype.kind, np.datetime_data(values.dtype)[0] if values.dtype.kind in "mM" else "":
        case ("M", "D") | (_, "us"):
            pass
        case ("M" | "m") as code, _:
            values = values.astype(f"{code}8[us]")
        case "f", _:
            values = values.astype(np.float32) if values.dtype.itemsize == 2 else values
    return pa.array(values)


def _to_numpy(function: str, result: pa.Array) -> NDArray[Any]:
    import pyarrow as pa

    if result.null_count and not pa.types.is_floating(result.type):
        raise CallError(
            f"{function} gave null for {result.null_count} of {len(result)} rows, and a NumPy array of {result.type} "
            "has no null. Call it with columns that have nulls: pa.array(...), or gpuspark's."
        )
    values: NDArray[Any] = result.to_numpy(zero_copy_only=False)
    return values


def _like(function: str, columns: Sequence[Any], result: pa.Array) -> Any:
    """Returns ``result`` in the form of the first of ``columns``, in which NumPy arrays come last."""
    first = columns[0]
    if isinstance(first, np.ndarray):
        return _to_numpy(function, result)
    if isinstance(first, Column):
        return Column(result, first.device)
    if not hasattr(first, "iloc"):
        return result
    if type(first).__module__.startswith("cudf"):
        from gpuspark.devices.rapids import series_from_arrow

        series = series_from_arrow(result)
    else:
        series = result.to_pandas()
    series.index = first.index
    names = {column.name for column in columns if hasattr(column, "iloc")}
    series.name = names.pop() if len(names) == 1 else None
    return series
