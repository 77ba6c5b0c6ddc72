"""The ten nearest rows of a matrix per vector, against Spark SQL's array functions and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

import gpuspark as gs
from gpuspark import functions
from gpuspark.bench.cases import Aim, Case
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Form = Callable[[DataFrame], DataFrame]

LENGTH, K = 256, 10
NUMPY, SPARK = "pandas_udf with NumPy", "Spark SQL"


def vectors(rows: int) -> pa.Table:
    """Returns a row number and a float vector per row."""
    values = np.random.default_rng(7).normal(size=rows * LENGTH).astype("f4")
    offsets = np.arange(rows + 1, dtype=np.int32) * LENGTH
    return pa.table({"row": np.arange(rows), "v": pa.ListArray.from_arrays(offsets, values)})


def matrix(rows: int) -> Any:
    """Returns the matrix whose rows are searched."""
    return np.random.default_rng(8).normal(size=(rows, LENGTH)).astype("f4")


def gpuspark(rows: int, frame: DataFrame) -> DataFrame:
    nearest = functions.top_k("v", matrix=gs.Constant(matrix(rows)), k=K, metric="dot")
    return frame.select("row", nearest["score"].alias("scores"))


def numpy(rows: int, frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()
    searched = matrix(rows)

    @spark_functions.pandas_udf("array<double>")
    def nearest(v: pd.Series) -> pd.Series:
        queries = np.stack(v.to_numpy())
        top_scores = []
        for begin in range(0, len(queries), 256):
            products = queries[begin : begin + 256] @ searched.T
            best = np.argpartition(-products, K - 1, axis=1)[:, :K]
            scores = np.take_along_axis(products, best, axis=1)
            order = np.argsort(-scores, axis=1)
            top_scores.append(np.take_along_axis(scores, order, axis=1).astype("f8"))
        return pd.Series(list(np.concatenate(top_scores)))

    return frame.select("row", nearest("v").alias("scores"))


def spark_sql(rows: int, frame: DataFrame) -> DataFrame:
    """Returns the scores of every vector with every matrix row, sorted; the matrix is one row that is cross-joined."""
    spark = frame.sparkSession
    table = pa.table({"row": np.arange(rows, dtype="i4"), "m": list(matrix(rows))})
    matrix_rows: Any = spark.createDataFrame(table.to_pandas(), "row int, m array<float>")
    whole = matrix_rows.selectExpr("struct(row as at, m) as r").agg({"r": "collect_list"}).toDF("matrix")
    dot = "aggregate(zip_with(v, r.m, (x, y) -> double(x) * double(y)), 0D, (s, x) -> s + x)"
    ranked = f"array_sort(transform(matrix, r -> struct(-{dot} as below, r.at as row)))"
    return frame.crossJoin(whole).selectExpr("row", f"transform(slice({ranked}, 1, {K}), x -> -x.below) as scores")


def nearest(
    name: str, queries: int, rows: int, aim: Aim, other_paths: Mapping[str, Form] | None = None, **options: Any
) -> Case:
    return Case(
        name=name,
        data=vectors,
        elements=queries,
        unit=f"vectors of {LENGTH} against {rows:,}",
        paths={"gpuspark": partial(gpuspark, rows), NUMPY: partial(numpy, rows), **(other_paths or {})},
        oracle=NUMPY,
        close=1e-5,
        sorted_by=("row",),
        bytes_in=4 * LENGTH,
        bytes_out=8 * K,
        operations=2 * LENGTH * rows,
        aims=(aim,),
        **options,
    )


NO_SLOWER = Aim("gpuspark", NUMPY, 1)
SCORES = "Scores are compared, not row numbers: NumPy's single precision orders near ties differently."

CASES = [
    nearest(
        "top_k_of_1000", 1_000, 1_000, Aim("gpuspark", SPARK, 20), {SPARK: partial(spark_sql, 1_000)},
        suite="smoke", capped={SPARK: 20},
    ),
    nearest("top_k_of_10000", 3_000, 10_000, NO_SLOWER, note=SCORES),
    nearest("top_k_of_10000_for_100000", 100_000, 10_000, NO_SLOWER, note=SCORES, suite="full"),
]  # fmt: skip
