"""An index of polygons: a grid of cells, so that the polygon of most points is read from one cell of a table.

A cell that no edge touches lies in a polygon as a whole, or outside of it. For another cell the table has an entry for
each polygon with an edge in it: those edges, and the parity of all other edges of the polygon that a ray from the cell
to the right would cross. That parity is one number for the whole cell, with one exception: a chain of edges that leaves
the cell to the right and goes on, in the same row, along an edge that does not touch the cell. At the vertex where it
goes on, an edge to infinity is added to the cell's edges, which a ray crosses from the height of the vertex on.

The table where an edge of polygon 0, which lies to the left of it, crosses column 1::

          column 0   column 1   column 2
         +----------+----------+----------+
    row 1|   in 0   |      /   | outside  |     answers   0  -2  -1    row 0
         |          |     /    |          |               0  -4  -1    row 1
         +----------+----/-----+----------+
    row 0|   in 0   |   /      | outside  |     entries   0: polygon 0, parity 0, the edge    row 0, column 1
         |          |  /       |          |               1: polygon -1, parity 1, no edge
         +----------+-/--------+----------+               2: polygon 0, parity 0, the edge    row 1, column 1
                                                          3: polygon -1, parity 1, no edge

An answer is the number of a polygon, -1 for none, or -2 less the number of the cell's first entry. The last entry of a
cell has no edges and parity 1, so that the search ends there: it holds the answer for points in no earlier entry.

An edge is given to all cells that it touches or nearly touches, by a margin far above the rounding of anything computed
here. So rounding never decides in the index, and the exact test of the few edges gives the exact answer.
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
"""The distance, in sides of a cell, up to which an edge is taken to touch the cell."""
FINEST = 1e-10
"""The smallest side of a cell, relative to the largest coordinate: below, rounding would come near the margin."""
CELLS_FOR_EACH_EDGE = 64
FEWEST_CELLS, MOST_CELLS = 1 << 12, 1 << 22

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Polygons:
    """An index of polygons, made once, on the driver, for ``point_in_polygon`` and ``within``.

    ``geometries``: a sequence of polygons and multipolygons, with holes or without: shapely's or other objects with a
    ``__geo_interface__``, GeoJSON's geometries and features, well-known binary, or lists of rings of points ``(x, y)``.
    Further coordinates are ignored. The even-odd rule over all rings decides what lies in a polygon; for valid polygons
    that is the usual meaning. An empty polygon contains nothing. A point so near to an edge that products of coordinate
    differences underflow (below 1e-290) counts as on the edge. ``cells``: the most cells of the grid; by default it
    depends on the number of edges. The grid covers the box around all polygons: very small polygons in a very large box
    get few cells, and are slower.

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
        scaled = edges.scaled(self.left, self.bottom, self.cells_a_unit_across, self.cells_a_unit_up)
        table = _table(_Grid(edges, scaled, self.count, self.columns, self.rows))
        self.answers = Constant(table.answers)
        self.entry_polygons = Constant(table.polygons)
        self.entry_parities = Constant(table.parities)
        self.entry_at = Constant(table.edges_at)
        self.edges = Constant(table.edges)

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
    """Returns where the grid begins along an axis, its number of cells, and the cells in one unit."""
    low, high = float(values.min()), float(values.max())
    size = max(high - low, 1e-300)
    largest = max(abs(low), abs(high), 1e-290)
    cells = max(min(cells, int(size / (FINEST * largest))), 1)
    border = max(MARGIN * size / cells, 1e-13 * largest)
    return low - border, cells, cells / (size + 2 * border)


@dataclass(frozen=True)
class _Edges:
    """Edges from a to b, with the number of their polygon and those of the edges before and after them in the ring."""

    ax: Floats
    ay: Floats
    bx: Floats
    by: Floats
    polygon: Ints
    before: Ints
    after: Ints

    @staticmethod
    def of(polygons: list[list[Ring]]) -> _Edges:
        """Returns the edges of the rings of all polygons."""
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

    def scaled(self, left: float, bottom: float, across: float, up: float) -> _Edges:
        """Returns the edges in the units of a grid, whose first cell reaches from 0 to 1."""
        return _Edges(
            (self.ax - left) * across, (self.ay - bottom) * up, (self.bx - left) * across, (self.by - bottom) * up,
            self.polygon, self.before, self.after,
        )  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """Edges and the grid over them."""

    edges: _Edges
    """In the units of the data."""
    scaled: _Edges
    """In the units of the grid."""
    polygons: int
    columns: int
    rows: int


@dataclass(frozen=True)
class _Pieces:
    """Each edge in each row of cells that it touches."""

    edge: Ints
    row: Ints
    from_x: Floats
    to_x: Floats
    straddles: Mask
    """Whether the edge crosses the middle of the row."""
    centres_left: Ints
    """The number of cells in the row whose centre is left of that crossing."""


@dataclass(frozen=True)
class _Pairs:
    """Each edge in each cell that it touches."""

    edge: Ints
    row: Ints
    column: Ints
    cell: Ints
    polygon: Ints
    crosses_from_centre: Mask
    """Whether a ray to the right from the centre of the cell crosses the edge."""


@dataclass(frozen=True)
class _Table:
    """The table of a grid, as drawn at the top of this module."""

    answers: NDArray[np.int32]
    polygons: NDArray[np.int32]
    """Of each entry, as the following two."""
    parities: NDArray[np.uint8]
    edges_at: Ints
    """The number of each entry's first edge, and one offset more."""
    edges: Floats
    """Four numbers for each edge."""


def _table(grid: _Grid) -> _Table:
    """Returns the table of a grid."""
    pieces = _pieces(grid)
    pairs = _pairs(grid, pieces)
    crossings = _crossings(grid, pieces)
    whole = _whole_cells(grid, pairs, crossings)
    entries, entry_of_pair = np.unique(pairs.cell * grid.polygons + pairs.polygon, return_inverse=True)
    cells, polygons = np.divmod(entries, max(grid.polygons, 1))
    added, added_y, added_cross = _edges_to_infinity(grid, pairs, entry_of_pair)
    parities = _crossed_from_centre(grid, crossings, cells, polygons)
    parities += np.bincount(entry_of_pair[pairs.crosses_from_centre], minlength=len(entries))
    parities += np.bincount(added[added_cross], minlength=len(entries))
    edges = np.concatenate([_coordinates(grid, pairs), _to_infinity(added_y)])
    owner = np.concatenate([entry_of_pair, added])
    return _ordered_table(whole, cells, polygons, parities % 2, owner, edges)


def _ordered_table(whole: Ints, cells: Ints, polygons: Ints, parities: Ints, owner: Ints, edges: Floats) -> _Table:
    """Returns the table with its entries in the order of their cells, and a last entry for each cell that has any.

    ``whole``: the answers of cells without entries. ``owner``: the entry of each edge.
    """
    kept = (whole[cells] < 0) | (polygons < whole[cells])  # the answer is never a polygon after one that has the cell
    ended = np.unique(cells[kept])
    source = np.concatenate([np.flatnonzero(kept), np.full(len(ended), len(cells))])
    source = source[np.lexsort((source, np.concatenate([cells[kept], ended])))]
    last = source == len(cells)  # each entry's old number, which is len(cells) for the last one of a cell

    by_entry = np.argsort(owner, kind="stable")
    counts = np.append(np.bincount(owner, minlength=len(cells)), 0)
    starts = np.append(0, np.cumsum(counts))
    answers = whole.copy()
    answers[ended] = -2 - np.append(0, np.flatnonzero(last)[:-1] + 1)[: len(ended)]
    entry_polygons = np.append(polygons, 0)[source]
    entry_polygons[last] = whole[ended]
    return _Table(
        answers=answers.astype(np.int32),
        polygons=entry_polygons.astype(np.int32),
        parities=np.append(parities, 1)[source].astype(np.uint8),
        edges_at=np.append(0, np.cumsum(counts[source])),
        edges=edges[by_entry][_ranges(starts[source], counts[source])],
    )


def _pieces(grid: _Grid) -> _Pieces:
    """Cuts the edges into rows of cells."""
    edges = grid.scaled
    low, high = np.minimum(edges.ay, edges.by), np.maximum(edges.ay, edges.by)
    first, last = _cells(low - MARGIN, grid.rows), _cells(high + MARGIN, grid.rows)
    edge = np.repeat(np.arange(len(low)), last - first + 1)
    row = _ranges(first, last - first + 1)
    ax, ay, bx, by = (part[edge] for part in (edges.ax, edges.ay, edges.bx, edges.by))
    with np.errstate(divide="ignore", invalid="ignore"):
        part_low = (row - MARGIN - ay) / (by - ay)
        part_high = (row + 1 + MARGIN - ay) / (by - ay)
        centre = ax + (row + 0.5 - ay) / (by - ay) * (bx - ax)
    level = ay == by
    start = np.where(level, 0.0, np.clip(np.fmin(part_low, part_high), 0.0, 1.0))
    end = np.where(level, 1.0, np.clip(np.fmax(part_low, part_high), 0.0, 1.0))
    x, y = ax + start * (bx - ax), ax + end * (bx - ax)
    straddles = (ay <= row + 0.5) != (by <= row + 0.5)
    crossing = np.where(straddles, centre, 0.0)
    centres_left = np.clip(np.ceil(crossing - 0.5), 0, grid.columns).astype(np.int64)
    return _Pieces(edge, row, np.minimum(x, y), np.maximum(x, y), straddles, centres_left)


def _pairs(grid: _Grid, pieces: _Pieces) -> _Pairs:
    """Cuts the pieces into cells."""
    first, last = _cells(pieces.from_x - MARGIN, grid.columns), _cells(pieces.to_x + MARGIN, grid.columns)
    piece = np.repeat(np.arange(len(first)), last - first + 1)
    column = _ranges(first, last - first + 1)
    row, edge = pieces.row[piece], pieces.edge[piece]
    crosses = pieces.straddles[piece] & (pieces.centres_left[piece] > column)
    return _Pairs(edge, row, column, row * grid.columns + column, grid.scaled.polygon[edge], crosses)


def _crossings(grid: _Grid, pieces: _Pieces) -> Ints:
    """Returns the crossings of edges with the middles of rows, in order, each as one number: of its polygon, its row,
    and the number of cell centres left of it."""
    edge, row = pieces.edge[pieces.straddles], pieces.row[pieces.straddles]
    row_of_polygon = grid.scaled.polygon[edge] * grid.rows + row
    return np.sort(row_of_polygon * (grid.columns + 1) + pieces.centres_left[pieces.straddles])


def _crossed_from_centre(grid: _Grid, crossings: Ints, cells: Ints, polygons: Ints) -> Ints:
    """Returns for each cell how many edges of the polygon beside it a ray to the right from the centre crosses."""
    row, column = np.divmod(cells, grid.columns)
    start = (polygons * grid.rows + row) * (grid.columns + 1)
    end = np.searchsorted(crossings, start + grid.columns, "right")
    return end - np.searchsorted(crossings, start + column, "right")


def _edges_to_infinity(grid: _Grid, pairs: _Pairs, entry: Ints) -> tuple[Ints, Floats, Mask]:
    """Returns the edges that are added where a chain goes on right of a cell: their entries, the heights of their
    vertices in the units of the data, and whether a ray from the centre of the cell crosses them."""
    scaled, edges = grid.scaled, grid.edges
    count = max(len(scaled.ax), 1)
    known = np.sort(pairs.cell * count + pairs.edge)
    added = []
    for x, y, true_y, neighbour in (
        (scaled.ax, scaled.ay, edges.ay, scaled.before),
        (scaled.bx, scaled.by, edges.by, scaled.after),
    ):
        right = x[pairs.edge] > pairs.column + 0.5
        height = y[pairs.edge] - pairs.row
        pair = np.flatnonzero(right & (height >= -MARGIN) & (height <= 1 + MARGIN))
        wanted = pairs.cell[pair] * count + neighbour[pairs.edge[pair]]
        nearest = np.searchsorted(known, wanted)
        pair = pair[known[np.minimum(nearest, len(known) - 1)] != wanted] if len(known) else pair
        edge = pairs.edge[pair]
        added.append((entry[pair], true_y[edge], y[edge] <= pairs.row[pair] + 0.5))
    entries, heights, crosses = zip(*added, strict=True)
    return np.concatenate(entries), np.concatenate(heights), np.concatenate(crosses)


def _whole_cells(grid: _Grid, pairs: _Pairs, crossings: Ints) -> Ints:
    """Returns for each cell the first polygon that it lies in as a whole, or -1."""
    answers = np.full(grid.columns * grid.rows, -1, np.int64)
    touched = np.zeros(len(answers), np.bool_)
    by_polygon = np.argsort(pairs.polygon, kind="stable")
    bounds = np.arange(grid.polygons + 1)
    pair_bounds = np.searchsorted(pairs.polygon[by_polygon], bounds)
    row, start = np.divmod(crossings[0::2], grid.columns + 1)  # each row has an even number of crossings
    length = crossings[1::2] % (grid.columns + 1) - start
    span_bounds = np.searchsorted(row, bounds * grid.rows)
    for polygon in reversed(range(grid.polygons)):
        with_edges = pairs.cell[by_polygon[pair_bounds[polygon] : pair_bounds[polygon + 1]]]
        span = slice(span_bounds[polygon], span_bounds[polygon + 1])
        inside = _ranges(row[span] % grid.rows * grid.columns + start[span], length[span])
        touched[with_edges] = True
        answers[inside[~touched[inside]]] = polygon
        touched[with_edges] = False
    return answers


def _coordinates(grid: _Grid, pairs: _Pairs) -> Floats:
    """Returns the edge of each pair in the units of the data: ax, ay, bx, by."""
    edges, edge = grid.edges, pairs.edge
    return np.stack([edges.ax[edge], edges.ay[edge], edges.bx[edge], edges.by[edge]], axis=1)


def _to_infinity(y: Floats) -> Floats:
    """Returns an edge from (inf, y) to (inf, inf) for each height y."""
    edges = np.full((len(y), 4), np.inf)
    edges[:, 1] = y
    return edges


def _cells(coordinates: Floats, count: int) -> Ints:
    """Returns the cell of each coordinate along one axis; the first or the last for those outside of the grid."""
    return np.clip(np.floor(coordinates), 0, count - 1).astype(np.int64)


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """Returns ``start, start + 1, ...`` for each start, as many as its count, all in one array."""
    before = np.cumsum(counts) - counts
    ranges: Ints = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    return ranges
