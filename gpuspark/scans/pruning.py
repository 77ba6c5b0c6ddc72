"""Which row groups hold no row that a filter wants, proven by the statistics in their footers.

Statistics of floating-point numbers leave NaN out, which is greater than every number: a row group whose largest value
is 1.0 may have rows that are greater. So conditions that NaN may meet keep every row group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from gpuspark.scans.filters import Condition, Filters
from gpuspark.scans.footers import Bounds


def may_hold(filters: Filters, bounds: Mapping[str, Bounds], rows: int) -> bool:
    """Returns whether a row group of ``rows`` rows may hold a row that ``filters`` want. ``bounds``: the statistics of
    its columns, by the table's names; those of columns that are not there are unknown."""
    if not filters.alternatives:
        return True
    return any(
        all(_may_meet(c, bounds[c.column], rows) for c in conditions if c.column in bounds)
        for conditions in filters.alternatives
    )


def _may_meet(condition: Condition, bounds: Bounds, rows: int) -> bool:
    if condition.value == ():
        return condition.operator == "not in"
    if bounds.nulls is not None and bounds.nulls == rows:
        return False
    if condition.operator in ("!=", "not in"):
        return True
    smallest, largest = bounds.smallest, bounds.largest
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if smallest is None or largest is None or not all(_comparable(smallest, value) for value in values):
        return True
    if isinstance(smallest, float) and (condition.operator not in _NEVER_NAN or any(map(math.isnan, values))):
        return True
    return any(_WITHIN[condition.operator](smallest, largest, value) for value in values)


def _comparable(bound: Any, value: Any) -> bool:
    """Returns whether a bound and a value are of one type: a file may store a column in another one than the table's,
    and has bounds of that one."""
    return type(bound) is type(value) and not isinstance(bound, bool)


_NEVER_NAN = ("=", "in", "<", "<=")
"""The operators that NaN does not meet, compared with a number."""

_WITHIN: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "=": lambda smallest, largest, value: smallest <= value <= largest,
    "in": lambda smallest, largest, value: smallest <= value <= largest,
    "<": lambda smallest, _, value: smallest < value,
    "<=": lambda smallest, _, value: smallest <= value,
    ">": lambda _, largest, value: largest > value,
    ">=": lambda _, largest, value: largest >= value,
}
"""By operator, whether a value between ``smallest`` and ``largest`` may meet it."""
