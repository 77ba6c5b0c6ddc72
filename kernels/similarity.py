"""The similarity and the distance of two vectors in each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import ArrayFunction, CallError, Out, array_function, column_kernel, lists, nulls_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cosine_similarity", "dot_product", "euclidean_distance"]

_REFERENCE = "G. Salton, A. Wong, C. S. Yang, A Vector Space Model for Automatic Indexing, CACM 18 (11), 1975"
_LEAST, _MOST = 1e-200, 1e200
"""Sums of squares between these have lost no digits to underflow or overflow."""
_PARAMETERS = {"left": "lists of numbers", "right": "lists of numbers, as long as the left ones"}


@array_function
def _dot(row, left_at, left, right_at, right, out):
    total = 0.0
    for k in range(left_at[row + 1] - left_at[row]):
        total += np.float64(left[left_at[row] + k]) * np.float64(right[right_at[row] + k])
    out[row] = total


@array_function
def _euclidean(row, left_at, left, right_at, right, out):
    total = 0.0
    for k in range(left_at[row + 1] - left_at[row]):
        difference = np.float64(left[left_at[row] + k]) - np.float64(right[right_at[row] + k])
        total += difference * difference
    out[row] = math.sqrt(total)


@array_function
def _cosine(row, left_at, left, right_at, right, out):
    total = 0.0
    of_left = 0.0
    of_right = 0.0
    for k in range(left_at[row + 1] - left_at[row]):
        a = np.float64(left[left_at[row] + k])
        b = np.float64(right[right_at[row] + k])
        total += a * b
        of_left += a * a
        of_right += b * b
    if min(of_left, of_right) < _LEAST or max(of_left, of_right) > _MOST:  # squares underflow or overflow
        a_size = 0.0
        b_size = 0.0
        for k in range(left_at[row + 1] - left_at[row]):
            a_size = max(a_size, math.fabs(np.float64(left[left_at[row] + k])))
            b_size = max(b_size, math.fabs(np.float64(right[right_at[row] + k])))
        total = 0.0
        of_left = 0.0
        of_right = 0.0
        for k in range(left_at[row + 1] - left_at[row] if a_size > 0.0 and b_size > 0.0 else 0):
            a = np.float64(left[left_at[row] + k]) / a_size
            b = np.float64(right[right_at[row] + k]) / b_size
            total += a * b
            of_left += a * a
            of_right += b * b
    out[row] = math.nan
    if of_left > 0.0 and of_right > 0.0:
        cosine = total / math.sqrt(of_left) / math.sqrt(of_right)
        out[row] = max(min(cosine, 1.0), -1.0)  # against rounding; in this order NaN stays NaN


@column_kernel(
    "double",
    parameters=_PARAMETERS,
    unit="the product of the vectors' units",
    reference=_REFERENCE,
)
def dot_product(left: pa.Array, right: pa.Array) -> pa.Array:
    """Returns the sum of the products of the elements of two vectors, in double precision; 0 for empty vectors.

    A null vector gives null. Raises :class:`~gpuspark.errors.CallError` for vectors of different lengths and for
    nulls inside a vector.

    >>> import pyarrow as pa
    >>> dot_product(pa.array([[1.0, 2.0]]), pa.array([[3.0, 4.0]])).to_pylist()
    [11.0]
    """
    return _for_each_pair(_dot, left, right)


@column_kernel(
    "double",
    parameters=_PARAMETERS,
    unit="the vectors' unit",
    reference=_REFERENCE,
)
def euclidean_distance(left: pa.Array, right: pa.Array) -> pa.Array:
    """Returns the length of the difference of two vectors, in double precision; 0 for empty vectors.

    A null vector gives null. Raises :class:`~gpuspark.errors.CallError` for vectors of different lengths and for
    nulls inside a vector.

    >>> import pyarrow as pa
    >>> euclidean_distance(pa.array([[0.0, 3.0]]), pa.array([[4.0, 0.0]])).to_pylist()
    [5.0]
    """
    return _for_each_pair(_euclidean, left, right)


@column_kernel(
    "double",
    parameters=_PARAMETERS,
    unit="none: between -1 and 1",
    reference=_REFERENCE,
)
def cosine_similarity(left: pa.Array, right: pa.Array) -> pa.Array:
    """Returns the cosine of the angle between two vectors, in double precision, from -1 to 1; NaN where one of them is
    empty, all zeros, or holds NaN or an infinity.

    A null vector gives null. Raises :class:`~gpuspark.errors.CallError` for vectors of different lengths and for
    nulls inside a vector.

    >>> import pyarrow as pa
    >>> cosine_similarity(pa.array([[1.0, 0.0]]), pa.array([[0.0, 2.0]])).to_pylist()
    [0.0]
    """
    return _for_each_pair(_cosine, left, right)


def _for_each_pair(function: ArrayFunction, left: pa.Array, right: pa.Array) -> Any:
    """Calls an array function of two columns of vectors, and returns its numbers as a column."""
    import pyarrow as pa

    nulls = nulls_of(left, right)
    left_at, a = _vectors(left, "left")
    right_at, b = _vectors(right, "right")
    differ = np.diff(left_at) != np.diff(right_at)
    if nulls is not None:
        if (differ & nulls).any():  # the array function reads as many elements of both
            keep = pa.array(~nulls)
            left_at, a = _vectors(_emptied(left, keep), "left")
            right_at, b = _vectors(_emptied(right, keep), "right")
        differ &= ~nulls
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        raise CallError(
            f"row {row} of the batch has a vector of {len(left[row])} and one of {len(right[row])} numbers: "
            "both must have the same length"
        )
    values = function(len(left), left_at=left_at, left=a, right_at=right_at, right=b, out=Out("float64", len(left)))
    return pa.array(values, mask=nulls)


def _vectors(column: pa.Array, name: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns the offsets and the values of vectors: single precision as it is stored, everything else in double."""
    single = str(getattr(column.type, "value_type", None)) == "float"
    return lists(column, np.float32 if single else np.float64, name)


def _emptied(lists_: pa.Array, keep: pa.Array) -> pa.Array:
    """Returns the lists, with an empty one in the rows that are not kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(keep, lists_, pa.scalar([], lists_.type))
