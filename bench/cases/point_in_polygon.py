"""Points in polygons, against shapely in a pandas_udf: one prepared polygon, and an index of many polygons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gpuspark import functions, kernels
from gpuspark.bench.cases import BATCHES, Aim, Case, in_batches
from gpuspark.bench.spark_functions import untyped_functions
from gpuspark.kernels import Polygons

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyspark.sql import DataFrame

MANY = 1_000
MANY_VERTICES = 50
SHAPELY = "pandas_udf with shapely"

TRANSPORT = "transport is so much of shapely's time that no function that gets its rows in Python can be so fast"

Ring = Any


def points(rows: int) -> pa.Table:
    """Returns points uniformly distributed over the square from -1 to 1."""
    random = np.random.default_rng(13)
    return pa.table({name: random.uniform(-1, 1, rows) for name in ("x", "y")})


def outline(vertices: int, seed: int, radius: float = 1.0) -> NDArray[np.float64]:
    """Returns a ragged ring around the origin that does not cross itself."""
    random = np.random.default_rng(seed)
    angle = (np.arange(vertices) + random.uniform(0, 0.9, vertices)) * (2 * np.pi / vertices)
    reach = radius * random.uniform(0.6, 1.0, vertices)
    return np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)


def single_ring(vertices: int) -> list[Ring]:
    return [outline(vertices, 3)]


def outlines() -> list[NDArray[np.float64]]:
    """Returns many small rings, scattered over the square."""
    centres = np.random.default_rng(5).uniform(-1, 1, (MANY, 2))
    return [outline(MANY_VERTICES, seed, 0.05) + centre for seed, centre in enumerate(centres)]


def ours(name: str, rings: Callable[[], list[Ring]], frame: DataFrame) -> DataFrame:
    polygons = Polygons([[ring] for ring in rings()])
    return frame.select(getattr(functions, name)("x", "y", polygons=polygons).alias("result"))


def ours_in_batches(rings: Callable[[], list[Ring]], frame: DataFrame) -> DataFrame:
    polygons = Polygons([[ring] for ring in rings()])
    return in_batches(frame, "result", "boolean", partial(kernels.within, polygons=polygons))


def shapely_contains(rings: Callable[[], list[Ring]], frame: DataFrame) -> DataFrame:
    import shapely

    spark_functions = untyped_functions()
    polygon = shapely.Polygon(rings()[0])

    @spark_functions.pandas_udf("boolean")
    def contains(x, y):  # no type hints: PySpark would reject Any
        import pandas as pd
        import shapely

        shapely.prepare(polygon)
        return pd.Series(shapely.contains_xy(polygon, x.to_numpy(), y.to_numpy()))

    return frame.select(contains("x", "y").alias("result"))


def shapely_tree(rings: Callable[[], list[Ring]], frame: DataFrame) -> DataFrame:
    import shapely

    spark_functions = untyped_functions()
    tree = shapely.STRtree([shapely.Polygon(ring) for ring in rings()])

    @spark_functions.pandas_udf("int")
    def first(x, y):
        import pandas as pd
        import shapely

        shapely.prepare(tree.geometries)
        row, polygon = tree.query(shapely.points(x.to_numpy(), y.to_numpy()), predicate="within")
        first_polygon = np.full(len(x), MANY, np.int32)
        np.minimum.at(first_polygon, row, polygon)
        return pd.Series(np.where(first_polygon == MANY, -1, first_polygon))

    return frame.select(first("x", "y").alias("result"))


def single_polygon(vertices: int, suite: str) -> Case:
    rings = partial(single_ring, vertices)
    return Case(
        name=f"point_in_polygon_{vertices}",
        data=points,
        elements=2_000_000,
        unit=f"points, in a polygon of {vertices} vertices",
        paths={
            "gpuspark": partial(ours, "within", rings),
            BATCHES: partial(ours_in_batches, rings),
            SHAPELY: partial(shapely_contains, rings),
        },
        oracle=SHAPELY,
        bytes_in=16,
        bytes_out=1,
        operations=8,
        aims=(Aim(BATCHES, SHAPELY, 3, missed=TRANSPORT),),
        along=("vertices of a polygon", vertices),
        suite=suite,
    )


CASES = [
    *(single_polygon(vertices, suite) for vertices, suite in ((50, "core"), (200, "full"), (1_000, "core"))),
    Case(
        name="point_in_polygon_many",
        data=points,
        elements=2_000_000,
        unit=f"points, in {MANY} polygons of {MANY_VERTICES} vertices",
        paths={"gpuspark": partial(ours, "point_in_polygon", outlines), SHAPELY: partial(shapely_tree, outlines)},
        oracle=SHAPELY,
        bytes_in=16,
        bytes_out=4,
        operations=8,
        aims=(Aim("gpuspark", SHAPELY, 3),),
        capped={SHAPELY: 400_000},
        note="shapely's STRtree is built once, on the driver; its polygons are prepared once per task.",
    ),
]
