"""Similarities of two vectors per row, against Spark SQL's array functions and NumPy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from gpuspark import functions
from gpuspark.bench.cases import Aim, Case
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LENGTH = 64


def vectors(rows: int) -> pa.Table:
    """Returns two float vectors per row."""
    random = np.random.default_rng(11)
    offsets = np.arange(rows + 1, dtype=np.int32) * LENGTH
    column = [pa.ListArray.from_arrays(offsets, random.normal(size=rows * LENGTH).astype("f4")) for _ in range(2)]
    return pa.table(column, names=["a", "b"])


_SUM = "aggregate(zip_with({0}, {1}, (x, y) -> {2}), 0D, (s, x) -> s + x)"
_PRODUCTS, _SQUARES = "double(x) * double(y)", "pow(double(x) - double(y), 2)"
_AB, _AA, _BB = (_SUM.format(*pair, _PRODUCTS) for pair in ("ab", "aa", "bb"))
SQL = {
    "cosine_similarity": f"{_AB} / sqrt({_AA}) / sqrt({_BB})",
    "dot_product": _AB,
    "euclidean_distance": f"sqrt({_SUM.format('a', 'b', _SQUARES)})",
}


def gpuspark(name: str, frame: DataFrame) -> DataFrame:
    return frame.select(getattr(functions, name)("a", "b").alias("result"))


def spark_sql(name: str, frame: DataFrame) -> DataFrame:
    return frame.selectExpr(f"{SQL[name]} as result")


def numpy(name: str, frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("double")
    def similarity(a: pd.Series, b: pd.Series) -> pd.Series:
        x, y = np.stack(a.to_numpy()).astype("f8"), np.stack(b.to_numpy()).astype("f8")
        if name == "euclidean_distance":
            return pd.Series(np.sqrt(((x - y) ** 2).sum(1)))
        dot = (x * y).sum(1)
        if name == "dot_product":
            return pd.Series(dot)
        return pd.Series(dot / np.sqrt((x * x).sum(1)) / np.sqrt((y * y).sum(1)))

    return frame.select(similarity("a", "b").alias("result"))


CASES = [
    Case(
        name=name,
        data=vectors,
        elements=100_000,
        unit="pairs of 64 floats",
        paths={
            "gpuspark": partial(gpuspark, name),
            "Spark SQL": partial(spark_sql, name),
            "pandas_udf with NumPy": partial(numpy, name),
        },
        oracle="pandas_udf with NumPy",
        close=1e-7,
        bytes_in=8 * LENGTH,
        bytes_out=8,
        operations=operations * LENGTH,
        aims=(Aim("gpuspark", "Spark SQL", 5, missed="most of our time goes into moving lists through Arrow"),),
    )
    for name, operations in (("cosine_similarity", 6), ("dot_product", 2), ("euclidean_distance", 3))
]
