"""Comparison of two results: rows, nulls and values, floats up to a relative tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def first_difference(actual: pa.Table, expected: pa.Table, sort_columns: Sequence[str], tolerance: float) -> str:
    """Returns a description of the first difference, or an empty string if there is none.

    Rows are compared after sorting by ``sort_columns``. Without those they are compared in their own order first, and
    if that fails after sorting by all columns. Columns are compared by position.
    """
    if actual.num_rows != expected.num_rows:
        return f"{actual.num_rows} rows, not {expected.num_rows}"
    if actual.num_columns != expected.num_columns:
        return f"the columns {actual.column_names}, not {expected.column_names}"
    names = expected.column_names
    actual_rows, expected_rows = _rows(actual), _rows(expected)
    if not sort_columns and all(same(a, b, tolerance) for a, b in zip(actual_rows, expected_rows, strict=True)):
        return ""
    key = _sort_key(names, sort_columns)
    for row, expected_row in zip(sorted(actual_rows, key=key), sorted(expected_rows, key=key), strict=True):
        if not same(row, expected_row, tolerance):
            return f"{dict(zip(names, row, strict=True))}, not {dict(zip(names, expected_row, strict=True))}"
    return ""


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []


def _sort_key(names: Sequence[str], sort_columns: Sequence[str]) -> Callable[[Sequence[Any]], list[Any]]:
    """Returns a sort key that rounds floats, so that nearly equal rows are sorted alike in both results; and those that
    are equal then by their floats as they are."""
    positions = [names.index(name) for name in sort_columns] or range(len(names))
    return lambda row: [_sortable(row[position], digits) for digits in (4, 17) for position in positions]


def _sortable(value: Any, digits: int) -> Any:
    """Returns a sortable form of ``value``: its type's rank, and the value with floats rounded to ``digits`` digits."""
    if value is None:
        return (0, "")
    if isinstance(value, float):
        return (1, f"{value:+.3e}") if math.isnan(value) else (2, float(f"{value:.{digits}g}"))
    if isinstance(value, bool | int):
        return (2, value)
    return (3, str(value)) if isinstance(value, str) else (4, repr([_sortable(v, digits) for v in _items(value)]))


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [str(value)]


def same(actual: Any, expected: Any, tolerance: float) -> bool:
    """Returns whether two values are equal: floats up to the relative ``tolerance``, NaN equal to NaN.

    >>> same([1.0, None], [1.0 + 1e-12, None], 1e-9), same(1.0, None, 1e-9)
    (True, False)
    """
    if isinstance(actual, float) and isinstance(expected, float):
        both_nan = math.isnan(actual) and math.isnan(expected)
        return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=tolerance) or both_nan
    if isinstance(actual, dict | list | tuple) and type(actual) is type(expected):
        items, expected_items = _items(actual), _items(expected)
        if len(items) != len(expected_items):
            return False
        return all(same(a, b, tolerance) for a, b in zip(items, expected_items, strict=True))
    return bool(actual == expected)
