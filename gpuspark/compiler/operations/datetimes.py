"""Dates, timestamps and their differences, compared, subtracted and taken apart as by Python's ``datetime``.

A date is a 64-bit number of days; a timestamp and a time difference are 64-bit numbers of microseconds. Year, month and
day of a day's number are computed as in H. Hinnant, chrono-Compatible Low-Level Date Algorithms, 2013.
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
    primitive,
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


# --- the parts of dates and timestamps

_TO_MARCH = 719_468
"""The days from 0000-03-01 to 1970-01-01. A year that begins in March ends with its leap day."""
_ERA = 146_097
"""The days of 400 years."""
_TO_ORDINAL = 719_163
"""The number of 1970-01-01 for ``toordinal()``."""


def _civil(days):
    """Returns year, month and day of a number of days since 1970-01-01."""
    of_era = (days + _TO_MARCH) % _ERA
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    year = (days + _TO_MARCH) // _ERA * 400 + year_of_era + (from_march >= 10)
    return year, month, of_year - (153 * from_march + 2) // 5 + 1


def _choose_days(a):
    """Returns how a date's or timestamp's number of days is computed."""
    return (lambda a: as_int(a)) if a == DATE else (lambda a: as_int(a) // _DAY)


_parts = primitive("civil", lambda days: _civil, lambda days: _civil)
_days_of = primitive("days_of", _choose_days, _choose_days)


@operation
def year(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: _parts(_days_of(a))[0]) if is_datetime(a) else None


@operation
def month(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: _parts(_days_of(a))[1]) if is_datetime(a) else None


@operation
def day(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: _parts(_days_of(a))[2]) if is_datetime(a) else None


@operation
def weekday(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: (_days_of(a) + 3) % 7) if is_datetime(a) else None  # 1970-01-01 was a Thursday


@operation
def isoweekday(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: (_days_of(a) + 3) % 7 + 1) if is_datetime(a) else None


@operation
def toordinal(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: _days_of(a) + _TO_ORDINAL) if is_datetime(a) else None


@operation
def hour(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % _DAY // 3_600_000_000) if a == TIMESTAMP else None


@operation
def minute(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % 3_600_000_000 // 60_000_000) if a == TIMESTAMP else None


@operation
def second(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % 60_000_000 // 1_000_000) if a == TIMESTAMP else None


@operation
def microsecond(_checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: as_int(a) % 1_000_000) if a == TIMESTAMP else None
