"""The number of the polygon that a point lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.polygon_grid import Polygons
from gpuspark.kernels.spec import CallError, Out, array_function, column_kernel, nulls_of, numbers

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["point_in_polygon", "within"]

_REFERENCE = (
    "E. Haines, Point in Polygon Strategies, Graphics Gems IV, 1994; orientation: J. R. Shewchuk, Adaptive Precision "
    "Floating-Point Arithmetic and Fast Robust Geometric Predicates, Discrete & Computational Geometry 18 (3), 1997"
)
_PARAMETERS = {
    "x": "the points' x, or longitude, in the polygons' unit",
    "y": "the points' y, or latitude",
    "polygons": "gs.kernels.Polygons",
}

ROUNDING = 3.3306690738754716e-16
"""Shewchuk's bound for the error of an orientation in double precision, relative to the sum of absolute products."""
SPLITTER = 134217729.0
"""2^27 + 1, by which Dekker's product splits a double into two halves."""


def _difference(a, b):
    """Returns a - b exactly, as a sum of two doubles (Knuth)."""
    high = a - b
    back = high - a
    return high, (a - (high - back)) - (b + back)


def _product(a, a_low, b, b_low):
    """Returns the product of two such sums as another (Dekker)."""
    high = a * b
    scaled = SPLITTER * a
    a_top = scaled - (scaled - a)
    scaled = SPLITTER * b
    b_top = scaled - (scaled - b)
    a_rest = a - a_top
    b_rest = b - b_top
    low = ((a_top * b_top - high) + a_top * b_rest + a_rest * b_top) + a_rest * b_rest
    low += a * b_low + a_low * b
    total = high + low
    return total, low - (total - high)


def _exact_side(px, py, ax, ay, bx, by):
    """Returns a number with the sign of the orientation, computed with twice the digits of a double."""
    u, u_low = _difference(ax, px)
    v, v_low = _difference(by, py)
    first, first_low = _product(u, u_low, v, v_low)
    u, u_low = _difference(bx, px)
    v, v_low = _difference(ay, py)
    second, second_low = _product(u, u_low, v, v_low)
    if first == second:
        return first_low - second_low
    return first - second


def _lies_in(px, py, parity, start, end, edges):
    """Returns whether the point lies in a polygon, by its edges in the cell and the parity of its other edges."""
    inside = parity
    for edge in range(start, end):
        ax = edges[4 * edge]
        ay = edges[4 * edge + 1]
        bx = edges[4 * edge + 2]
        by = edges[4 * edge + 3]
        if (ay <= py) != (by <= py):
            if px < ax and px < bx:
                inside = 1 - inside
            elif px <= ax or px <= bx:
                first = (ax - px) * (by - py)
                second = (bx - px) * (ay - py)
                side = first - second
                bound = ROUNDING * (abs(first) + abs(second))
                if -bound <= side and side <= bound:
                    side = _exact_side(px, py, ax, ay, bx, by)
                    if side == 0.0:
                        return False  # on the edge
                if (side > 0.0) == (by > ay):
                    inside = 1 - inside
        elif py == by and (px == bx or (py == ay and (px < ax) != (px < bx))):
            return False  # on a vertex, or on a level edge
    return inside == 1


@array_function
def _containing(i, x, y, left, bottom, across, up, columns, rows, answers, polygons, parities, entry_at, edges, out):
    px = x[i]
    py = y[i]
    u = (px - left) * across
    v = (py - bottom) * up
    polygon = np.int64(-1)
    if u >= 0.0 and u < columns and v >= 0.0 and v < rows:  # not so for NaN
        polygon = np.int64(answers[int(v) * columns + int(u)])
        if polygon < -1:
            entry = -2 - polygon
            while not _lies_in(px, py, np.int64(parities[entry]), entry_at[entry], entry_at[entry + 1], edges):
                entry += 1
            polygon = np.int64(polygons[entry])
    out[i] = polygon


@column_kernel("int", parameters=_PARAMETERS, unit="a polygon's number", reference=_REFERENCE)
def point_in_polygon(x: pa.Array, y: pa.Array, *, polygons: Polygons) -> pa.Array:
    """Returns the number, from 0, of the first polygon that the point lies in; -1 if it lies in none.

    A point on an edge or a vertex does not lie in the polygon, as in shapely's ``contains``. On which side of an edge a
    point lies is decided with 106 bits, as in GEOS. Points with NaN or an infinity lie in no polygon. A null gives
    null. Raises :class:`~gpuspark.errors.CallError` for columns that are not numeric, and for ``polygons`` that are not
    ``gs.kernels.Polygons``.

    >>> import pyarrow as pa
    >>> square = Polygons([[[(0, 0), (2, 0), (2, 2), (0, 2)]]])
    >>> point_in_polygon(pa.array([1.0, 3.0]), pa.array([1.0, 1.0]), polygons=square).to_pylist()
    [0, -1]
    """
    import pyarrow as pa

    return pa.array(_numbers_of(x, y, polygons), mask=nulls_of(x, y))


@column_kernel("boolean", parameters=_PARAMETERS, unit="none", reference=_REFERENCE)
def within(x: pa.Array, y: pa.Array, *, polygons: Polygons) -> pa.Array:
    """Returns whether the point lies in any of the polygons, by the rules of ``point_in_polygon``.

    >>> import pyarrow as pa
    >>> square = Polygons([[[(0, 0), (2, 0), (2, 2), (0, 2)]]])
    >>> within(pa.array([1.0, 3.0]), pa.array([1.0, 1.0]), polygons=square).to_pylist()
    [True, False]
    """
    import pyarrow as pa

    return pa.array(_numbers_of(x, y, polygons) >= 0, mask=nulls_of(x, y))


def _numbers_of(x: pa.Array, y: pa.Array, polygons: Any) -> NDArray[np.int32]:
    """Returns the number of each point's polygon, or -1. What it returns for nulls is unspecified."""
    if not isinstance(polygons, Polygons):
        raise CallError(
            f"polygons is a {type(polygons).__name__}: prepare them once, with polygons = gs.kernels.Polygons(...)"
        )
    polygon_numbers: NDArray[np.int32] = _containing(
        len(x),
        x=_coordinates(x, "x"),
        y=_coordinates(y, "y"),
        left=polygons.left,
        bottom=polygons.bottom,
        across=polygons.cells_a_unit_across,
        up=polygons.cells_a_unit_up,
        columns=polygons.columns,
        rows=polygons.rows,
        answers=polygons.answers,
        polygons=polygons.entry_polygons,
        parities=polygons.entry_parities,
        entry_at=polygons.entry_at,
        edges=polygons.edges,
        out=Out("int32", len(x)),
    )
    return polygon_numbers


def _coordinates(column: pa.Array, name: str) -> NDArray[np.float64]:
    """Returns a numeric column as doubles."""
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise CallError(f"{name} is a column of {column.type}, and must be numeric: cast it")
    return numbers(column).astype(np.float64, copy=False)
