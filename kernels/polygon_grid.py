"""Polygons under a grid, so that where a point lies is mostly read from one cell of a table.

A cell that no edge touches lies in a polygon as a whole, or outside of it. For the others the grid keeps, for each
polygon with an edge there, just those edges, and the parity of all the polygon's other edges that a ray from the cell
to the right would cross. That parity is one number for the whole cell, except where a chain of edges leaves the cell
and goes on, beyond it and within its row, along an edge that does not touch it: at that vertex an edge to infinity is
added to the cell's, which a ray crosses from the vertex's height on.

Edges are given to all cells that they touch or nearly touch, by a margin far above the rounding of anything computed
here. So the index itself decides nothing by rounding, and the exact test of the few edges gives the exact answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.geometry import Ring, each_geometry, rings_of
from gpuspark.kernels.spec import CallError, Constant

__all__ = ["Polygons"]

MARGIN = 1e-3
"""Of a cell's side: how near an edge is for being taken as touching the cell."""
FINEST = 1e-10
"""A cell's side at least, of the largest coordinate: below, rounding would come near the margin."""
CELLS_FOR_EACH_EDGE = 64
FEWEST_CELLS, MOST_CELLS = 1 << 12, 1 << 22

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Polygons:
    """Polygons that points are looked up in: made once, on the driver, for ``point_in_polygon`` and ``within``.

    ``geometries``: a sequence of polygons and multipolygons, with holes or without: of shapely or of whatever has a
    ``__geo_interface__``, GeoJSON's geometries and features, well-known binary, or lists of rings of points ``(x, y)``.
    Further coordinates are left out. What lies in a polygon is decided by the even-odd rule over all its rings, which
    for valid polygons is what everybody means. An empty polygon contains nothing. What lies so near to an edge that the
    products of coordinates' differences underflow (below 1e-290) counts as on it. ``cells``: how many cells the grid
    has, at most; the default follows the number of edges. The grid lies over the box around all polygons: very small
    ones in a very large box get few cells, and are slower.

    Raises :class:`~gpuspark.errors.CallError` for what cannot be read, for a ring of fewer than three points, and for
    coordinates that are not finite or not below 1e100.

    >>> Polygons([[[(0, 0), (2, 0), (2, 2), (0, 2)]]])
    <gpuspark Polygons: 1 with 4 edges under 64 x 64 cells>
    """

    def __init__(self, geometries: Any, *, cells: int | None = None) -> None:
        if cells is not None and cells < 1:
            raise CallError(f"cells is {cells}, and must be at least 1")
        rings = [rings_of(geometry, number) for number, geometry in enumerate(each_geometry(geometries))]
        edges = _Edges.of(rings)
        self.count = len(rings)
        self.edge_count = len(edges.ax)
        wanted = min(max(CELLS_FOR_EACH_EDGE * self.edge_count, FEWEST_CELLS), MOST_CELLS) if cells is None else cells
        self.columns = self.rows = max(int(wanted**0.5), 1)
        self.left = self.bottom = 0.0
        self.cells_a_unit_across = self.cells_a_unit_up = 0.0  # without edges every point is in the first cell
        if self.edge_count:
            self.left, self.columns, self.cells_a_unit_across = _axis(edges.ax, self.columns)
            self.bottom, self.rows, self.cells_a_unit_up = _axis(edges.ay, self.rows)
        table = _Table(
            edges,
            edges.on_grid(self.left, self.bottom, self.cells_a_unit_across, self.cells_a_unit_up),
            self.count,
            self.columns,
            self.rows,
        )
        self.answers, self.entry_polygons, self.entry_parities, self.entry_at, self.edges = (
            Constant(array) for array in table.built()
        )

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return (
            f"<gpuspark Polygons: {self.count} with {self.edge_count} edges under {self.columns} x {self.rows} cells>"
        )

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return tuple(value for name, value in sorted(vars(self).items()) if name != "_key")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polygons) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_key"}


def _axis(values: Floats, cells: int) -> tuple[float, int, float]:
    """Where the grid begins, how many cells it has, and how many there are in one unit."""
    low, high = float(values.min()), float(values.max())
    size = max(high - low, 1e-300)
    largest = max(abs(low), abs(high), 1e-290)
    cells = max(min(cells, int(size / (FINEST * largest))), 1)
    edge = max(MARGIN * size / cells, 1e-13 * largest)
    return low - edge, cells, cells / (size + 2 * edge)


@dataclass(frozen=True)
class _Edges:
    """Edges from a to b, with the numbers of their polygon and of the edges before and after them in the ring."""

    ax: Floats
    ay: Floats
    bx: Floats
    by: Floats
    polygon: Ints
    before: Ints
    after: Ints

    @staticmethod
    def of(polygons: list[list[Ring]]) -> _Edges:
        a, b, number, before, after = [], [], [], [], []
        start = 0
        for polygon, rings in enumerate(polygons):
            for ring in rings:
                here = np.arange(start, start + len(ring))
                a.append(ring)
                b.append(np.roll(ring, -1, axis=0))
                number.append(np.full(len(ring), polygon))
                before.append(np.roll(here, 1))
                after.append(np.roll(here, -1))
                start += len(ring)
        if not a:
            nothing, none = np.zeros(0), np.zeros(0, np.int64)
            return _Edges(nothing, nothing, nothing, nothing, none, none, none)
        starts, ends = np.concatenate(a), np.concatenate(b)
        return _Edges(
            starts[:, 0], starts[:, 1], ends[:, 0], ends[:, 1],
            np.concatenate(number), np.concatenate(before), np.concatenate(after),
        )  # fmt: skip

    def on_grid(self, left: float, bottom: float, across: float, up: float) -> _Edges:
        """The edges in a grid's units: cell (0, 0) reaches from 0 to 1."""
        return _Edges(
            (self.ax - left) * across, (self.ay - bottom) * up, (self.bx - left) * across, (self.by - bottom) * up,
            self.polygon, self.before, self.after,
        )  # fmt: skip


class _Table:
    """The grid's table in the making. ``true``: the edges; ``grid``: the same in the grid's units."""

    def __init__(self, true: _Edges, grid: _Edges, polygons: int, columns: int, rows: int) -> None:
        self.true, self.grid, self.polygons, self.columns, self.rows = true, grid, polygons, columns, rows

    def built(self) -> tuple[NDArray[Any], ...]:
        """For each cell its answer, a polygon's number or -1, or -2 less the number of its first entry. For each entry
        its polygon, its parity, and where its edges begin; then the edges, four numbers each. A cell's last entry has
        no edges and parity 1, so that the search ends with the answer that is its polygon."""
        self._cut_into_rows()
        self._cut_into_cells()
        whole = self._whole_cells()
        entries, of_pair = np.unique(self.cell * self.polygons + self.polygon, return_inverse=True)
        cells, numbers = np.divmod(entries, max(self.polygons, 1))
        toggle, toggle_y, toggles_centre = self._edges_to_infinity(of_pair)
        parity = self._crossed_from_centre(cells, numbers)
        parity += np.bincount(of_pair[self.crosses_from_centre], minlength=len(entries))
        parity += np.bincount(toggle[toggles_centre], minlength=len(entries))

        edges = np.concatenate([self._edges(), _to_infinity(toggle_y)])
        owner = np.concatenate([of_pair, toggle])
        kept = (whole[cells] < 0) | (numbers < whole[cells])  # what lies wholly in a polygon is in no later one first
        ended = np.unique(cells[kept])
        place = np.concatenate([np.flatnonzero(kept), np.full(len(ended), len(entries))])
        order = np.lexsort((place, np.concatenate([cells[kept], ended])))
        place = place[order]  # the entries' numbers in their new order; that of a cell's last is len(entries)
        last = place == len(entries)

        by_entry = np.argsort(owner, kind="stable")
        counts = np.append(np.bincount(owner, minlength=len(entries)), 0)
        starts = np.append(0, np.cumsum(counts))
        taken = counts[place]
        gathered = edges[by_entry][_ranges(starts[place], taken)]

        answers = whole.copy()
        answers[ended] = -2 - np.append(0, np.flatnonzero(last)[:-1] + 1)[: len(ended)]
        polygon_of = np.append(numbers, 0)[place]
        polygon_of[last] = whole[ended]
        parities = np.append(parity % 2, 1)[place]
        at = np.append(0, np.cumsum(taken))
        return answers.astype(np.int32), polygon_of.astype(np.int32), parities.astype(np.uint8), at, gathered

    def _cut_into_rows(self) -> None:
        """Each edge in each row of cells that it touches."""
        edges = self.grid
        low, high = np.minimum(edges.ay, edges.by), np.maximum(edges.ay, edges.by)
        first, last = _cells(low - MARGIN, self.rows), _cells(high + MARGIN, self.rows)
        self.edge = np.repeat(np.arange(len(low)), last - first + 1)
        self.row = _ranges(first, last - first + 1)
        ax, ay, bx, by = (part[self.edge] for part in (edges.ax, edges.ay, edges.bx, edges.by))
        with np.errstate(divide="ignore", invalid="ignore"):
            part_low = (self.row - MARGIN - ay) / (by - ay)
            part_high = (self.row + 1 + MARGIN - ay) / (by - ay)
            centre = ax + (self.row + 0.5 - ay) / (by - ay) * (bx - ax)
        level = ay == by
        start = np.where(level, 0.0, np.clip(np.fmin(part_low, part_high), 0.0, 1.0))
        end = np.where(level, 1.0, np.clip(np.fmax(part_low, part_high), 0.0, 1.0))
        x, y = ax + start * (bx - ax), ax + end * (bx - ax)
        self.from_x, self.to_x = np.minimum(x, y), np.maximum(x, y)
        self.straddles = (ay <= self.row + 0.5) != (by <= self.row + 0.5)
        """Whether the edge crosses the middle of the row."""
        crossing = np.where(self.straddles, centre, 0.0)
        self.centres_left = np.clip(np.ceil(crossing - 0.5), 0, self.columns).astype(np.int64)
        """How many cells of the row have their centre left of that crossing."""

    def _cut_into_cells(self) -> None:
        """Each edge in each cell that it touches."""
        first, last = _cells(self.from_x - MARGIN, self.columns), _cells(self.to_x + MARGIN, self.columns)
        part = np.repeat(np.arange(len(first)), last - first + 1)
        self.column = _ranges(first, last - first + 1)
        self.row_of_pair = self.row[part]
        self.cell = self.row_of_pair * self.columns + self.column
        self.edge_of_pair = self.edge[part]
        self.polygon = self.grid.polygon[self.edge_of_pair]
        self.crosses_from_centre = self.straddles[part] & (self.centres_left[part] > self.column)
        straddling = self.straddles
        of_row = self.grid.polygon[self.edge[straddling]] * self.rows + self.row[straddling]
        self.crossings = np.sort(of_row * (self.columns + 1) + self.centres_left[straddling])
        """Of each polygon's middle of each row: how many centres are left of each crossing, in order."""

    def _crossed_from_centre(self, cells: Ints, polygons: Ints) -> Ints:
        """How many edges of the polygon a ray to the right crosses from each cell's centre."""
        row, column = np.divmod(cells, self.columns)
        start = (polygons * self.rows + row) * (self.columns + 1)
        end = np.searchsorted(self.crossings, start + self.columns, "right")
        return end - np.searchsorted(self.crossings, start + column, "right")

    def _edges_to_infinity(self, entry: Ints) -> tuple[Ints, Floats, Mask]:
        """Where a chain goes on right of a cell: the entry, the vertex's true height, and whether the ray from the
        cell's centre crosses the edge that begins there."""
        count = max(len(self.grid.ax), 1)
        known = np.sort(self.cell * count + self.edge_of_pair)
        found = []
        for x, y, true_y, neighbour in (
            (self.grid.ax, self.grid.ay, self.true.ay, self.grid.before),
            (self.grid.bx, self.grid.by, self.true.by, self.grid.after),
        ):
            right = x[self.edge_of_pair] > self.column + 0.5
            height = y[self.edge_of_pair] - self.row_of_pair
            pair = np.flatnonzero(right & (height >= -MARGIN) & (height <= 1 + MARGIN))
            wanted = self.cell[pair] * count + neighbour[self.edge_of_pair[pair]]
            place = np.searchsorted(known, wanted)
            pair = pair[known[np.minimum(place, len(known) - 1)] != wanted] if len(known) else pair
            edge = self.edge_of_pair[pair]
            found.append((entry[pair], true_y[edge], y[edge] <= self.row_of_pair[pair] + 0.5))
        first, second = found
        return (
            np.concatenate([first[0], second[0]]),
            np.concatenate([first[1], second[1]]),
            np.concatenate([first[2], second[2]]),
        )

    def _whole_cells(self) -> Ints:
        """For each cell the first polygon that it lies in as a whole, or -1."""
        answers = np.full(self.columns * self.rows, -1, np.int64)
        touched = np.zeros(len(answers), np.bool_)
        by_polygon = np.argsort(self.polygon, kind="stable")
        bounds = np.arange(self.polygons + 1)
        pairs = np.searchsorted(self.polygon[by_polygon], bounds)
        row, start = np.divmod(self.crossings[0::2], self.columns + 1)  # of each row an even number
        length = self.crossings[1::2] % (self.columns + 1) - start
        spans = np.searchsorted(row, bounds * self.rows)
        for polygon in reversed(range(self.polygons)):
            here = self.cell[by_polygon[pairs[polygon] : pairs[polygon + 1]]]
            span = slice(spans[polygon], spans[polygon + 1])
            inside = _ranges(row[span] % self.rows * self.columns + start[span], length[span])
            touched[here] = True
            answers[inside[~touched[inside]]] = polygon
            touched[here] = False
        return answers

    def _edges(self) -> Floats:
        edges, pair = self.true, self.edge_of_pair
        return np.stack([edges.ax[pair], edges.ay[pair], edges.bx[pair], edges.by[pair]], axis=1)


def _to_infinity(y: Floats) -> Floats:
    edges = np.full((len(y), 4), np.inf)
    edges[:, 1] = y
    return edges


def _cells(places: Floats, count: int) -> Ints:
    return np.clip(np.floor(places), 0, count - 1).astype(np.int64)


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """``start, start + 1, …`` of each, one after the other."""
    before = np.cumsum(counts) - counts
    ranges: Ints = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return ranges
