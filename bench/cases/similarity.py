"""Similarity of two vectors in each row, against Spark SQL's array functions and NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gpuspark import functions
from gpuspark.bench.cases import Aim, Case

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LENGTH = 64


def vectors(rows: int) -> pa.Table:
    """Two float vectors in each row."""
    random = np.random.default_rng(11)
    offsets = np.arange(rows + 1, dtype=np.int32) * LENGTH
    column = [pa.ListArray.from_arrays(offsets, random.normal(size=rows * LENGTH).astype("f4")) for _ in range(2)]
    return pa.table(column, names=["a", "b"])


def gpuspark(frame: DataFrame) -> DataFrame:
    return frame.select(functions.cosine_similarity("a", "b").alias("cosine"))


def spark_sql(frame: DataFrame) -> DataFrame:
    dot = "aggregate(zip_with({0}, {1}, (x, y) -> double(x) * double(y)), 0D, (s, x) -> s + x)"
    words = [dot.format(*pair) for pair in (("a", "b"), ("a", "a"), ("b", "b"))]
    return frame.selectExpr(f"{words[0]} / sqrt({words[1]}) / sqrt({words[2]}) as cosine")


def numpy(frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as spark_functions

    known: Any = spark_functions  # PySpark's stubs lack its newer functions

    @known.pandas_udf("double")
    def cosine(a: pd.Series, b: pd.Series) -> pd.Series:
        x, y = np.stack(a.to_numpy()).astype("f8"), np.stack(b.to_numpy()).astype("f8")
        return pd.Series((x * y).sum(1) / np.sqrt((x * x).sum(1)) / np.sqrt((y * y).sum(1)))

    return frame.select(cosine("a", "b").alias("cosine"))


CASES = [
    Case(
        name="cosine_similarity",
        data=vectors,
        elements=200_000,
        unit="pairs of 64 floats",
        paths={"gpuspark": gpuspark, "Spark SQL": spark_sql, "pandas_udf with NumPy": numpy},
        oracle="pandas_udf with NumPy",
        bytes_in=8 * LENGTH,
        bytes_out=8,
        operations=6 * LENGTH,
        aims=(Aim("gpuspark", "Spark SQL", 5),),
    )
]
