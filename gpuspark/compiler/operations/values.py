"""Loads, stores, nulls, truth and control flow: what surrounds the arithmetic of a body."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from gpuspark.compiler.operations import datetimes
from gpuspark.compiler.operations.registry import (
    MARKED,
    NULL_RESULT,
    is_boolean,
    is_duration,
    is_float,
    is_integer,
    is_none,
    is_number,
    is_optional,
    operation,
    optional_value,
    stubs,
    type_in_words,
)


@operation
def non_null(checked: bool, a: Any, row: Any) -> Any:
    """``a`` where Python needs a value. ``None``, for which Python raises, marks the row in both modes."""
    if not is_optional(a):
        return "None where a value is needed" if is_none(a) else lambda a, row: a

    def unwrap(a, row):
        if a is None:
            row[0][0] = MARKED
        return optional_value(a)

    return unwrap


@operation
def read_if_set(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """The name ``a`` if the flag ``b`` says that it is set. If not, Python raises ``UnboundLocalError``: the row is
    marked."""
    if is_optional(a):

        def optional(a, b, row):
            if b:
                return a
            row[0][0] = MARKED
            return None

        return optional
    if not is_number(a):
        return "a name that may be read before it is set and holds no number"

    def number(a, b, row):
        if b:
            return a
        row[0][0] = MARKED
        return a - a if is_real else zero

    zero = False if is_boolean(a) else 0
    is_real = is_float(a)
    return number


@operation
def left_to_python(checked: bool, a: Any, row: Any) -> Any:
    """The side of a conditional expression that is left to Python: marks the row. ``a`` only provides the type."""

    def mark(a, row):
        row[0][0] = MARKED
        return a

    return mark


@operation
def begin_try(checked: bool, row: Any) -> Any:
    """The beginning of ``try``, which needs the checks of ``arithmetic=python``: its handlers run in marked rows."""

    def nothing(row):
        pass

    return nothing if checked else "try in spark.gpuspark.arithmetic=native, which does not check for errors"


@operation
def truth(checked: bool, a: Any, row: Any) -> Any:
    """``bool(a)``: false for ``None`` and zero."""
    if is_none(a):
        return lambda a, row: False
    if is_optional(a) and is_number(a.type):
        return lambda a, row: False if a is None else optional_value(a) != 0
    if is_duration(a):
        return datetimes.truth()
    return (lambda a, row: a != 0) if is_number(a) else None


@operation
def mark(checked: bool, row: Any) -> Any:
    """``raise``: marks the row, so that Python raises."""

    def mark(row):
        row[0][0] = MARKED

    return mark


@operation
def is_marked(checked: bool, row: Any) -> Any:
    """Whether the row is marked. A marked row leaves its loops, which might not end otherwise."""
    return lambda row: row[0][0] != 0


@operation
def range_bound(checked: bool, a: Any, row: Any) -> Any:
    """A bound of a range."""
    if is_boolean(a):
        return "range of a boolean"
    return (lambda a, row: np.int64(a)) if is_integer(a) else None


@operation
def range_step(checked: bool, a: Any, row: Any) -> Any:
    """The step of a range. Zero, for which Python raises, marks the row."""

    def nonzero(a, row):
        if a == 0:
            row[0][0] = MARKED
            return np.int64(1)
        return np.int64(a)

    return nonzero if is_integer(a) else None


@operation
def len_(checked: bool, a: Any, row: Any) -> Any:
    """``len(a)`` of a tuple or array."""
    return (lambda a, row: len(a)) if isinstance(a, types.BaseTuple | types.Array) else None


@operation
def item(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``a[b]`` of a tuple of one type or of an array. An index out of range, for which Python raises, marks the row."""
    if is_boolean(b):
        return "a boolean as an index, which is a mask to NumPy"

    def of_sequence(a, b, row):
        i = np.int64(b)
        if i < 0:
            i += len(a)
        if i < 0 or i >= len(a):
            row[0][0] = MARKED
            return a[0]
        return a[i]

    def of_matrix(a, b, row):
        i, j = np.int64(b[0]), np.int64(b[1])
        if i < 0:
            i += a.shape[0]
        if j < 0:
            j += a.shape[1]
        if i < 0 or i >= a.shape[0] or j < 0 or j >= a.shape[1]:
            row[0][0] = MARKED
            return a[0, 0]
        return a[i, j]

    if isinstance(a, types.Array) and a.ndim == 2:
        pair = isinstance(b, types.UniTuple) and b.count == 2 and is_integer(b.dtype) and not is_boolean(b.dtype)
        return of_matrix if pair else None
    one_type = isinstance(a, types.UniTuple) or (isinstance(a, types.Array) and a.ndim == 1)
    return of_sequence if one_type and is_integer(b) else None


# --- between columns and values


@operation
def bit(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """Bit ``b`` of the bitmap at ``a``, least significant bit first as in Arrow."""
    return lambda a, b, row: (a[b >> 3] >> (b & 7)) & 1 != 0


@operation
def nullable(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """The value ``a`` if the validity ``b`` is true, else ``None``."""

    def choose(a, b, row):
        if b:
            return a
        return None

    return choose


@operation
def store(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """Writes the result ``b`` to the row's element of the column ``a``; ``None`` makes it null."""
    write_value = stubs(("write",), checked)["write"]

    def null(a, b, row):
        row[0][0] |= NULL_RESULT

    def optional(a, b, row):
        if b is None:
            row[0][0] |= NULL_RESULT
        else:
            write_value(a, optional_value(b), row)

    def plain(a, b, row):
        write_value(a, b, row)

    return null if is_none(b) else optional if is_optional(b) else plain


@operation
def write(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """Writes the value ``b`` to the row's element of the column ``a``, whose type decides which values it takes.

    ``gpuspark.columns.values`` does the same in Python. A value that the column cannot hold marks the row, in both
    modes: Python converts it or raises.
    """
    column_type = a.dtype
    if column_type == types.uint8:  # a boolean column: no other has unsigned bytes

        def boolean(a, b, row):
            a[row[1]] = 1 if b != 0 else 0

        return boolean if is_number(b) else None
    if is_float(column_type) and is_number(b):
        return _write_float(column_type, b)
    if is_integer(column_type) and is_number(b) and not is_boolean(b):
        return _write_integer(column_type, b)
    if column_type == b and not is_integer(column_type):

        def same(a, b, row):
            a[row[1]] = b

        return same
    return f"the result is {type_in_words(b)}, which a column of {column_type} cannot hold"


def _write_float(column_type: Any, numba_type: Any) -> Any:
    """Returns the function that writes a number to a column of floats."""
    exact = 2**53 if column_type.bitwidth == 64 else 2**24
    whole = is_integer(numba_type)

    def real(a, b, row):
        if whole and abs(np.float64(b)) >= exact:  # 2**53 + 1 is 2**53 as a float
            row[0][0] = MARKED
        a[row[1]] = b

    return real


def _write_integer(column_type: Any, numba_type: Any) -> Any:
    """Returns the function that writes a number to a column of integers, if it fits."""
    low, high = -(2 ** (column_type.bitwidth - 1)), 2 ** (column_type.bitwidth - 1) - 1
    under, over = float(low) - 1.0, float(high + 1)

    def whole(a, b, row):
        if b < low or b > high:
            row[0][0] = MARKED
        else:
            a[row[1]] = b

    def truncated(a, b, row):
        if not (b > under and b < over) or math.isnan(b):
            row[0][0] = MARKED
        else:
            a[row[1]] = np.int64(b)

    return truncated if is_float(numba_type) else whole


# --- isinstance


def _instance(name: str, holds: Callable[[Any], bool]) -> None:
    """Registers the test whether a number has the Python type ``name``: its Numba type decides for all rows."""

    def choose(checked: bool, a: Any, row: Any) -> Any:
        if not is_number(a):
            return None
        answer = holds(a)
        return lambda a, row: answer

    choose.__name__ = f"instance_of_{name}"
    operation(choose)


_instance("float", is_float)
_instance("int", is_integer)
_instance("bool", is_boolean)
_instance("other", lambda _: False)
