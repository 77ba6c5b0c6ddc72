"""Points in polygons against shapely's ``contains_xy``, on every device: on a lattice, where points lie on edges and
vertices, and among floats; and, next to an edge, against exact fractions."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.kernels import Polygons
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

LATTICE = st.tuples(st.integers(-5, 5), st.integers(-5, 5))
CELLS = st.sampled_from([1, 4, 49, 400, None])
SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
HOLE = [(1, 1), (1, 3), (3, 3), (3, 1)]


@st.composite
def lattice_polygons(draw: st.DrawFn) -> Any:
    """A polygon with whole coordinates, perhaps with holes or of several parts, or empty."""
    made = shapely.Polygon()
    for points in draw(st.lists(st.lists(LATTICE, min_size=3, max_size=6), min_size=1, max_size=3)):
        hull = shapely.convex_hull(shapely.MultiPoint(points))
        made = shapely.set_precision(made.symmetric_difference(hull), 1)
    parts = [part for part in shapely.get_parts(made) if part.geom_type == "Polygon" and not part.is_empty]
    return shapely.union_all(parts) if parts else shapely.Polygon()


@st.composite
def stars(draw: st.DrawFn) -> Any:
    """A polygon of 3 to 60 vertices around a point that may be far from the origin."""
    count, seed = draw(st.integers(3, 60)), draw(st.integers(0, 10_000))
    random = np.random.default_rng(seed)
    angle, radius = np.sort(random.uniform(0, 2 * math.pi, count)), random.uniform(0.4, 1, count)
    centre = draw(st.sampled_from([0.0, 1e3, -1e7]))
    return shapely.Polygon(np.stack([radius * np.cos(angle) + centre, radius * np.sin(angle) - centre], 1)).buffer(0)


def shapely_finds(polygons: list[Any], x: Any, y: Any) -> list[int]:
    result = np.full(len(x), -1)
    for number in reversed(range(len(polygons))):
        result[shapely.contains_xy(polygons[number], x, y)] = number
    return result.tolist()


def found_in(polygons: Any, x: Any, y: Any, **options: Any) -> Any:
    return kernels.point_in_polygon(pa.array(x), pa.array(y), polygons=Polygons(polygons, **options)).to_pylist()


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(
    polygons=st.lists(lattice_polygons(), max_size=3),
    points=st.lists(st.tuples(st.integers(-12, 12), st.integers(-12, 12)), max_size=12),
    cells=CELLS,
)
def test_on_a_lattice_edges_are_outside_as_in_shapely(device: str, polygons: Any, points: Any, cells: Any) -> None:
    x, y = (np.array([point[axis] for point in points], np.float64) / 2 for axis in (0, 1))
    with on_device(device):
        assert found_in(polygons, x, y, cells=cells) == shapely_finds(polygons, x, y)


@settings(max_examples=60)
@given(polygons=st.lists(lattice_polygons(), max_size=5), cells=CELLS)
def test_each_lattice_point_and_each_half(polygons: Any, cells: Any) -> None:
    x, y = (axis.ravel() / 2 for axis in np.meshgrid(np.arange(-12, 13), np.arange(-12, 13)))
    with on_device("cpu"):
        assert found_in(polygons, x, y, cells=cells) == shapely_finds(polygons, x, y)


@settings(max_examples=60)
@given(polygons=st.lists(stars(), min_size=1, max_size=3), cells=CELLS, seed=st.integers(0, 1000))
def test_floats(polygons: list[Any], cells: int | None, seed: int) -> None:
    """Around the polygons, level with their vertices, and near their edges; but for points within their rounding."""
    random = np.random.default_rng(seed)
    left, bottom, right, top = shapely.total_bounds(polygons)
    vertices = shapely.get_coordinates(polygons)
    middles = (vertices[1:] + vertices[:-1]) / 2
    x = np.concatenate([random.uniform(left - 0.1, right + 0.1, 2000), random.permutation(vertices[:, 0])])
    y = np.concatenate([random.uniform(bottom - 0.1, top + 0.1, 2000), vertices[:, 1]])
    x, y = np.append(x, middles[:, 0] + 1e-6), np.append(y, middles[:, 1])
    lines = shapely.union_all(shapely.boundary(polygons))
    far = shapely.distance(lines, shapely.points(x, y)) > 1e-15 * max(abs(left), abs(right), 1)
    assert far.sum() > 1000
    with on_device("cpu"):
        result = found_in(polygons, x[far], y[far], cells=cells)
    assert result == shapely_finds(polygons, x[far], y[far])


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(
    corners=st.lists(st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3), min_size=6, max_size=6),
    places=st.lists(st.floats(0.1, 0.9), min_size=8, max_size=8, unique=True),
)
def test_a_hairs_breadth_from_an_edge(device: str, corners: list[float], places: list[float]) -> None:
    """Points next to an edge, in the last digits, are on the side that exact arithmetic has them on."""
    a, b, c = (corners[n : n + 2] for n in (0, 2, 4))
    points = []
    for along in places:
        x, y = (a[n] + along * (b[n] - a[n]) for n in (0, 1))
        points += [(near, y) for near in (math.nextafter(x, -math.inf), x, math.nextafter(x, math.inf))]

    def side(p: Any, q: Any, r: Any) -> Fraction:
        px, py, qx, qy, rx, ry = map(Fraction, (*p, *q, *r))
        return (qx - px) * (ry - py) - (qy - py) * (rx - px)

    turn = side(a, b, c)
    assume(turn != 0 and all(abs(x) > 1e-3 for x, _ in points))  # products of the last digits of 0 would be 0
    expected = [
        0 if all(side(*pair, point) * turn > 0 for pair in ((a, b), (b, c), (c, a))) else -1 for point in points
    ]
    with on_device(device):
        assert found_in([[[a, b, c]]], *map(list, zip(*points, strict=True))) == expected


@pytest.mark.parametrize("device", DEVICES)
def test_nulls_nan_infinities_and_slices(device: str) -> None:
    x = pa.array([9.0, 1.0, None, 1.0, math.nan, math.inf, -math.inf, 1.0, 1e300, 3.0]).slice(1)
    y = pa.array([9.0, 2.0, 1.0, None, 1.0, 1.0, 1.0, math.nan, 1e300, 3.0]).slice(1)
    polygons = Polygons([[SQUARE]])
    with on_device(device):
        result = kernels.point_in_polygon(x, y, polygons=polygons)
        inside = kernels.within(x, y, polygons=polygons)
    assert result.type == pa.int32()
    assert result.to_pylist() == [0, None, None, -1, -1, -1, -1, -1, 0]
    assert inside.to_pylist() == [None if n is None else n == 0 for n in result.to_pylist()]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float32(), pa.float64()])
def test_any_numbers(kind: pa.DataType) -> None:
    x, y = pa.array([2, 2, 7], kind), pa.array([2, 0, 2], kind)
    with on_device("cpu"):
        assert kernels.point_in_polygon(x, y, polygons=Polygons([[SQUARE]])).to_pylist() == [0, -1, -1]


def test_every_form_of_a_polygon_is_the_same() -> None:
    ringed = shapely.Polygon(SQUARE, [HOLE])
    several = shapely.MultiPolygon([ringed, shapely.Polygon([(5, 5), (9, 5), (5, 9)])])
    for shape in (ringed, several):
        first = Polygons([shape])
        raised = shapely.force_3d(shape, 7.0)
        forms = [
            shape.__geo_interface__,
            {"type": "Feature", "properties": {}, "geometry": shape.__geo_interface__},
            shape.__geo_interface__["coordinates"],
            raised,
            *(
                shapely.to_wkb(s, byte_order=order, flavor=flavor, include_srid=srid)
                for s in (shape, raised, shapely.set_srid(raised, 4326))
                for order in (0, 1)
                for flavor, srid in (("extended", True), ("extended", False), ("iso", False))
            ),
        ]
        for form in forms:
            assert Polygons([form]) == first
            assert hash(Polygons([form])) == hash(first)
        assert Polygons(shape) == first == Polygons(shapely.GeometryCollection([shape]))
        assert Polygons({"type": "FeatureCollection", "features": [forms[1]]}) == first
        travelled = pickle.loads(pickle.dumps(first))
        assert travelled == first
        assert hash(travelled) == hash(first)
    assert Polygons([ringed]) != Polygons([several])
    assert Polygons([ringed, shapely.Polygon()]) != Polygons([ringed])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([shapely.Point(0, 0)], "polygon 0 is a 'Point'"),
        ([SQUARE], "polygon 0 cannot be read"),
        ([[SQUARE], "POLYGON"], "polygon 1 is a str"),
        ([[SQUARE], [SQUARE[:2]]], "polygon 1 has a ring of fewer than three"),
        ([[[(0, 0), (1, math.nan), (1, 1)]]], "polygon 0 has a coordinate that is not a finite number"),
        ([shapely.to_wkb(shapely.LineString(SQUARE))], "well-known binary of type 2"),
        ([shapely.to_wkb(shapely.Polygon(SQUARE))[:-1]], "polygon 0 cannot be read"),
        (7, "a int is not a sequence of polygons"),
    ],
)
def test_what_is_no_polygon_is_named(given: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        Polygons(given)


def test_wrong_calls_are_named() -> None:
    x = pa.array([1.0])
    with pytest.raises(CallError, match="polygons is a list: prepare them once"):
        kernels.point_in_polygon(x, x, polygons=[[SQUARE]])
    with pytest.raises(CallError, match="y is a column of string"):
        kernels.within(x, pa.array(["a"]), polygons=Polygons([[SQUARE]]))
    with pytest.raises(CallError, match="cells is 0"):
        Polygons([[SQUARE]], cells=0)


def test_most_cells_need_no_edge() -> None:
    """What the index is for: of a polygon of 1,000 vertices most points meet no edge, and the others a few."""
    angle = np.linspace(0, 2 * math.pi, 1000, endpoint=False)
    polygons = Polygons([[np.stack([np.cos(angle), np.sin(angle)], 1)]])
    assert (polygons.answers.array < -1).mean() < 0.05
    assert np.diff(polygons.entry_at.array).max() <= 12


@pytest.mark.parametrize("device", ["cpu"])
def test_on_spark_columns(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.createDataFrame([(2.0, 0.5), (2.0, 2.0), (6.0, 6.0), (None, 1.0)], "x double, y double")
    polygons = Polygons([[SQUARE, HOLE], shapely.box(5, 5, 7, 7)])
    gs.ledger(spark).clear()
    made = frame.select(
        functions.point_in_polygon("x", "y", polygons=polygons).alias("number"),
        functions.within("x", y="y", polygons=polygons).alias("inside"),
    )
    assert made.dtypes == [("number", "int"), ("inside", "boolean")]
    assert [tuple(row) for row in made.collect()] == [(0, True), (-1, False), (1, True), (None, None)]
    records = gs.ledger(spark).records
    assert {(r.function, r.device) for r in records} == {("point_in_polygon", device), ("within", device)}
    assert sum(r.rows for r in records) == 8


# Samples: see tests/support/kernel_samples.py


TRIANGLES = Polygons([[[(0, 0), (8, 0), (0, 8)]], [[(0, 0), (8, 8), (0, 8)]]], cells=4)


def sample_point_in_polygon() -> Any:
    x, y = pa.array([1.0, 2.0, 5.0, 9.0]), pa.array([1.0, 7.0, 6.0, 9.0])
    return kernels.point_in_polygon(x, y, polygons=TRIANGLES)


def sample_within() -> Any:
    return kernels.within(pa.array([1.0, 9.0]), pa.array([1.0, 9.0]), polygons=TRIANGLES)
