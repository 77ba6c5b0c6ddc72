"""Hypothesis strategies for Arrow columns as Spark sends them: nulls, extremes, slices, any length."""

from __future__ import annotations

import datetime
import math

import pyarrow as pa
from hypothesis import strategies as st

from gpuspark.columns import types

_LENGTHS = (0, 1, 2, 7, 9, 17, 33)
_EXTREMES = (0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -1.5, 1e308, 0.5, 2.5, 2.675, 2.0**53, 2.0**63, 1e16)


def values(column: types.ColumnType) -> st.SearchStrategy:
    """Python values of a column type, extremes among them."""
    match column.kind:
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = -(2 ** (column.bits - 1)), 2 ** (column.bits - 1) - 1
            edges = [
                v for v in (low, low + 1, -1, 0, 1, 2, 3, 13, high - 1, high, 2**53, 2**53 + 1) if low <= v <= high
            ]
            return st.one_of(
                st.sampled_from(edges), st.integers(max(low, -100), min(high, 100)), st.integers(low, high)
            )
        case "float":
            edges = [
                v
                for v in _EXTREMES
                if column.bits == 64 or not (5e-324 <= abs(v) < 1e-300 or 1e300 < abs(v) < math.inf)
            ]
            return st.one_of(
                st.sampled_from(edges), st.floats(-1000, 1000, width=column.bits), st.floats(width=column.bits)
            )
        case "date":
            return st.dates()
        case "timestamp":
            return st.datetimes()
        case "interval":
            return st.timedeltas(datetime.timedelta(days=-100000), datetime.timedelta(days=100000))
    raise ValueError(column)


@st.composite
def arrays(draw: st.DrawFn, column: types.ColumnType, rows: int) -> pa.Array:
    """A column of ``rows`` rows; often with nulls, and often a slice of a longer one."""
    before = draw(st.sampled_from((0, 0, 1, 3, 8, 13)))
    one = values(column)
    nullable = draw(st.booleans())
    element = st.one_of(st.none(), one) if nullable else one
    listed = draw(st.lists(element, min_size=rows + before, max_size=rows + before))
    return pa.array(listed, pa.type_for_alias(column.arrow)).slice(before)


@st.composite
def tables(
    draw: st.DrawFn, names: tuple[str, ...], columns: tuple[str, ...], lengths: tuple[int, ...] = _LENGTHS
) -> pa.Table:
    """A batch for the given columns: empty, one row, or a few more than a byte of validity bits."""
    rows = draw(st.sampled_from(lengths))
    drawn = {n: draw(arrays(types.parse(c), rows)) for n, c in zip(names, columns, strict=True)}
    return pa.table(drawn)
