"""Whether two results are the same: rows, nulls and values, floats up to a stated relative difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def differences(found: pa.Table, right: pa.Table, sorted_by: Sequence[str], close: float) -> str:
    """What is different first, in words; empty where nothing is. Rows are compared in the order of the columns
    ``sorted_by``; without one as they came, or else in the order of all columns. Columns are compared by their
    place."""
    if found.num_rows != right.num_rows:
        return f"{found.num_rows} rows, not {right.num_rows}"
    if found.num_columns != right.num_columns:
        return f"the columns {found.column_names}, not {right.column_names}"
    names = right.column_names
    ours, theirs = _rows(found, names), _rows(right, names)
    if not sorted_by and all(same(one, other, close) for one, other in zip(ours, theirs, strict=True)):
        return ""
    ours, theirs = (sorted(rows, key=_order(names, sorted_by)) for rows in (ours, theirs))
    for one, other in zip(ours, theirs, strict=True):
        if not same(one, other, close):
            return f"{dict(zip(names, one, strict=True))}, not {dict(zip(names, other, strict=True))}"
    return ""


def _rows(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if names else []


def _order(names: Sequence[str], sorted_by: Sequence[str]) -> Any:
    """Floats by their first digits, so that what is close stands at one place."""
    places = [names.index(name) for name in sorted_by] or range(len(names))
    return lambda row: [_rough(row[place]) for place in places]


def _rough(value: Any) -> Any:
    if value is None:
        return (0, "")
    if isinstance(value, float):
        return (1, f"{value:+.3e}") if math.isnan(value) else (2, float(f"{value:.4g}"))
    if isinstance(value, bool | int):
        return (2, value)
    return (3, str(value)) if isinstance(value, str) else (4, repr([_rough(v) for v in _parts(value)]))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [str(value)]


def same(one: Any, other: Any, close: float) -> bool:
    """Equal, floats up to a relative difference of ``close``; NaN is NaN.

    >>> same([1.0, None], [1.0 + 1e-12, None], 1e-9), same(1.0, None, 1e-9)
    (True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=close, abs_tol=close) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict | list | tuple) and type(one) is type(other):
        ours, theirs = _parts(one), _parts(other)
        return len(ours) == len(theirs) and all(same(a, b, close) for a, b in zip(ours, theirs, strict=True))
    return bool(one == other)
