"""Great-circle distances between two places per row, against Spark SQL and NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from gpuspark import functions, kernels
from gpuspark.bench.cases import BATCHES, EXPRESSION, LIKE_SQL, Aim, Case, as_expression, in_batches
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DIAMETER = 2 * 6371.0088
NAMES = ("lat1", "lon1", "lat2", "lon2")
NUMPY = "pandas_udf with NumPy"
SQL = (
    f"{DIAMETER}D * asin(sqrt(least(1D, pow(sin(radians(lat2 - lat1) / 2), 2) "
    "+ cos(radians(lat1)) * cos(radians(lat2)) * pow(sin(radians(lon2 - lon1) / 2), 2)))) as km"
)


def places(rows: int) -> pa.Table:
    """Returns pairs of places from all over the globe."""
    random = np.random.default_rng(15)
    return pa.table({name: random.uniform(-1, 1, rows) * (90 if "lat" in name else 180) for name in NAMES})


def gpuspark(frame: DataFrame) -> DataFrame:
    return frame.select(functions.haversine(*NAMES).alias("km"))


def gpuspark_in_batches(frame: DataFrame) -> DataFrame:
    return in_batches(frame, "km", "double", kernels.haversine)


def spark_sql(frame: DataFrame) -> DataFrame:
    return frame.selectExpr(SQL)


def numpy(frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("double")
    def km(lat1: pd.Series, lon1: pd.Series, lat2: pd.Series, lon2: pd.Series) -> pd.Series:
        p1, l1, p2, l2 = (np.radians(v) for v in (lat1, lon1, lat2, lon2))
        h = np.sin((p2 - p1) / 2) ** 2 + np.cos(p1) * np.cos(p2) * np.sin((l2 - l1) / 2) ** 2
        return DIAMETER * np.arcsin(np.sqrt(np.minimum(h, 1.0)))

    return frame.select(km(*NAMES).alias("km"))


CASES = [
    Case(
        name="haversine",
        data=places,
        elements=2_000_000,
        unit="pairs of places",
        paths={
            "gpuspark": gpuspark,
            EXPRESSION: as_expression(gpuspark),
            BATCHES: gpuspark_in_batches,
            "Spark SQL": spark_sql,
            NUMPY: numpy,
        },
        oracle="Spark SQL",
        bytes_in=32,
        bytes_out=8,
        operations=200,
        aims=(LIKE_SQL, Aim(BATCHES, NUMPY, 2, missed="moving four columns is most of either's time")),
    )
]
