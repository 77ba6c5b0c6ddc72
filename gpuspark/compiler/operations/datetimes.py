"""Dates, timestamps and their differences, compared and subtracted as by Python's ``datetime``.

A date is a 64-bit number of days; a timestamp and a time difference are 64-bit numbers of microseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuspark.compiler.operations.registry import (
    MARKED,
    is_datetime,
    is_duration,
    operation,
    reinterpret,
    wrap_add,
    wrap_mul,
    wrap_sub,
)

DATE = types.NPDatetime("D")
TIMESTAMP = types.NPDatetime("us")
DURATION = types.NPTimedelta("us")
_DAY = 86_400_000_000
"""The microseconds of a day."""
_EXACT = 2**53
_LEAST = -(2**63)

as_date = reinterpret("as_date", DATE)
as_timestamp = reinterpret("as_timestamp", TIMESTAMP)
as_duration = reinterpret("as_duration", DURATION)
as_int = reinterpret("as_int", types.int64)


@operation
def date(_checked: bool, a: Any, row: Any) -> Any:
    return lambda a, row: as_date(np.int64(a))


@operation
def timestamp(_checked: bool, a: Any, row: Any) -> Any:
    return lambda a, row: as_timestamp(np.int64(a))


@operation
def duration(_checked: bool, a: Any, row: Any) -> Any:
    return lambda a, row: as_duration(np.int64(a))


def add(a: Any, b: Any) -> Any:
    """Returns the sum of two time differences, or ``None`` for other types."""
    if not (is_duration(a) and is_duration(b)):
        return None

    def total(a, b, row):
        x, y = as_int(a), as_int(b)
        total = wrap_add(x, y)
        if ((x ^ total) & (y ^ total)) < 0:
            row[0][0] = MARKED
        return as_duration(total)

    return total


def sub(a: Any, b: Any) -> Any:
    """Returns the difference of two dates, timestamps or time differences, or ``None`` for other types."""
    if is_datetime(a) and a == b:
        scale = _DAY if a == DATE else 1

        def between(a, b, row):
            return as_duration(wrap_mul(wrap_sub(as_int(a), as_int(b)), np.int64(scale)))

        return between
    if not (is_duration(a) and is_duration(b)):
        return None

    def difference(a, b, row):
        x, y = as_int(a), as_int(b)
        left = wrap_sub(x, y)
        if ((x ^ y) & (x ^ left)) < 0:
            row[0][0] = MARKED
        return as_duration(left)

    return difference


def neg(a: Any) -> Any:
    """Returns the negation of a time difference, or ``None`` for other types."""
    if not is_duration(a):
        return None

    def opposite(a, row):
        if as_int(a) == _LEAST:  # its opposite needs more than 64 bits
            row[0][0] = MARKED
        return as_duration(wrap_sub(np.int64(0), as_int(a)))

    return opposite


def compare(relation: Any, a: Any, b: Any) -> Any:
    """Returns the comparison of two values of one type, or ``None`` for other types."""
    if a != b or not (is_datetime(a) or is_duration(a)):
        return None
    return lambda a, b, row: relation(as_int(a), as_int(b))


def truth() -> Any:
    """Returns the truth test of a time difference, which is false for zero."""
    return lambda a, row: as_int(a) != 0


@operation
def days(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) // _DAY) if is_duration(a) else None


@operation
def seconds(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % _DAY // 1_000_000) if is_duration(a) else None


@operation
def microseconds(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % 1_000_000) if is_duration(a) else None


@operation
def total_seconds(_checked: bool, a: Any, row: Any) -> Any:
    if not is_duration(a):
        return None

    def quotient(a, row):
        whole = as_int(a)
        if abs(np.float64(whole)) >= _EXACT:
            row[0][0] = MARKED
        return np.float64(whole) / 1e6

    return quotient
