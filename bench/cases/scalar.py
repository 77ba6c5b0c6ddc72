"""Scalar functions, from light to heavy, with nulls and on wide rows, in every form that PySpark offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import gpuspark as gs
from gpuspark.bench.cases import BATCHES, EXPRESSION, LIKE_SQL, Aim, Case, as_expression, in_batches
from gpuspark.bench.option_value import value, value_arrow, value_numpy
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Path = Callable[[DataFrame], DataFrame]

WIDE = 20
NAMES = ("s", "k", "t")


def option_rows(rows: int) -> pa.Table:
    """Returns rows of three doubles."""
    random = np.random.default_rng(7)
    columns = [random.uniform(10, 200, rows), random.uniform(10, 200, rows), random.uniform(0.1, 3, rows)]
    return pa.table(columns, names=list(NAMES))


def rows_with_nulls(rows: int) -> pa.Table:
    """Returns the same rows, with 3 in 10 values of the second column null."""
    table = option_rows(rows)
    hidden = np.random.default_rng(8).random(rows) < 0.3
    return table.set_column(1, "k", pa.array(table["k"].to_numpy(), mask=hidden))


def wide_rows(rows: int) -> pa.Table:
    """Returns rows of twenty doubles."""
    random = np.random.default_rng(9)
    return pa.table({f"c{n}": random.normal(size=rows) for n in range(WIDE)})


def light(s, k, t):
    return s * 0.5 + k * t


def squares(c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19):
    first = c0 * c0 + c1 * c1 + c2 * c2 + c3 * c3 + c4 * c4 + c5 * c5 + c6 * c6 + c7 * c7 + c8 * c8 + c9 * c9
    last = c10 * c10 + c11 * c11 + c12 * c12 + c13 * c13 + c14 * c14 + c15 * c15 + c16 * c16 + c17 * c17
    return first + last + c18 * c18 + c19 * c19


def column_hook(f: Callable[..., Any]) -> Path:
    """Returns the path that calls ``f`` as a ``gs.udf`` column function."""
    column_function = gs.udf("double")(f)
    return lambda frame: frame.select(column_function(*frame.columns).alias("v"))


def batch_hook(f: Callable[..., Any]) -> Path:
    """Returns the path that calls the same function in a body of ``gs.map_in_arrow``."""
    column_function = gs.udf("double")(f)
    return lambda frame: in_batches(frame, "v", "double", column_function)


def plain(f: Callable[..., Any], nulls: bool = False) -> Path:
    def path(frame: DataFrame) -> DataFrame:
        from pyspark.sql import functions

        guarded = (lambda *v: None if None in v else f(*v)) if nulls else f
        return frame.select(functions.udf(guarded, "double")(*frame.columns).alias("v"))

    return path


def pandas(f: Callable[..., Any]) -> Path:
    def path(frame: DataFrame) -> DataFrame:
        spark_functions = untyped_functions()

        def on_series(*columns: pd.Series) -> pd.Series:
            return f(*columns)

        return frame.select(spark_functions.pandas_udf(on_series, "double")(*frame.columns).alias("v"))

    return path


def polars(expression: Callable[[], Any]) -> Path:
    """Returns the path that evaluates a Polars expression on Spark's record batches."""

    def on_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import polars as pl

        for batch in batches:
            result = pl.DataFrame(batch).select(expression())
            yield from result.to_arrow().to_batches()

    return lambda frame: frame.mapInArrow(on_batches, "v double")


def value_polars() -> Any:
    import polars as pl

    s, k, t = (pl.col(name) for name in NAMES)
    spread = 0.2 * t.sqrt()
    d = (((s + 1) / (k + 1)).log() + 0.04 * t) / spread
    return (s / (1 + (-1.7 * d).exp()) - k * (-0.02 * t).exp() / (1 + (-1.7 * (d - spread)).exp())).alias("v")


def arrow(f: Callable[..., Any]) -> Path:
    def path(frame: DataFrame) -> DataFrame:
        spark_functions = untyped_functions()

        def on_arrays(*columns: pa.Array) -> pa.Array:
            return f(*columns)

        return frame.select(spark_functions.arrow_udf(on_arrays, "double")(*frame.columns).alias("v"))

    return path


def sql(expression: str) -> Path:
    return lambda frame: frame.selectExpr(f"{expression} as v")


VALUE_SQL = (
    "s / (1 + exp(-1.7 * (ln((s + 1) / (k + 1)) + 0.04 * t) / (0.2 * sqrt(t)))) - k * exp(-0.02 * t) "
    "/ (1 + exp(-1.7 * ((ln((s + 1) / (k + 1)) + 0.04 * t) / (0.2 * sqrt(t)) - 0.2 * sqrt(t))))"
)
TRANSPORT = "most of our time goes into moving the rows, and pandas_udf moves them too"

CASES = [
    Case(
        name="scalar_light", data=option_rows, elements=2_000_000, unit="rows of three doubles",
        paths={
            "gpuspark": column_hook(light), EXPRESSION: as_expression(column_hook(light)), BATCHES: batch_hook(light),
            "Spark SQL": sql("s * 0.5D + k * t"), "pandas_udf with NumPy": pandas(light),
            "arrow_udf with pyarrow": arrow(lambda s, k, t: pc.add(pc.multiply(s, 0.5), pc.multiply(k, t))),
            "udf": plain(light),
        },
        oracle="Spark SQL", bytes_in=24, bytes_out=8, operations=3, capped={"udf": 400_000}, aims=(LIKE_SQL,),
        note="In a worker, almost all time goes into moving the rows. An expression moves none.",
    ),
    Case(
        name="scalar_heavy", suite="smoke", data=option_rows, elements=2_000_000, unit="rows of three doubles",
        paths={
            "gpuspark": column_hook(value), EXPRESSION: as_expression(column_hook(value)), BATCHES: batch_hook(value),
            "Spark SQL": sql(VALUE_SQL), "pandas_udf with NumPy": pandas(value_numpy),
            "mapInArrow with Polars": polars(value_polars), "udf": plain(value),
        },
        oracle="Spark SQL", bytes_in=24, bytes_out=8, operations=30, capped={"udf": 400_000},
        aims=(LIKE_SQL, Aim(BATCHES, "pandas_udf with NumPy", 2.3, missed=TRANSPORT)),
    ),
    Case(
        name="scalar_native", data=option_rows, elements=2_000_000,
        unit="rows of three doubles, in native arithmetic",
        paths={
            "gpuspark": column_hook(value), BATCHES: batch_hook(value), "Spark SQL": sql(VALUE_SQL),
            "arrow_udf with NumPy": arrow(value_arrow), "pandas_udf with NumPy": pandas(value_numpy),
        },
        oracle="Spark SQL", bytes_in=24, bytes_out=8, operations=30,
        settings={"spark.gpuspark.arithmetic": "native"},
        note="gpuspark skips its checks for overflow, division by zero and domain errors here.",
    ),
    Case(
        name="scalar_nulls", data=rows_with_nulls, elements=2_000_000,
        unit="rows of three doubles, 3 in 10 with a null",
        paths={
            "gpuspark": column_hook(value), EXPRESSION: as_expression(column_hook(value)),
            "Spark SQL": sql(VALUE_SQL), "pandas_udf with NumPy": pandas(value_numpy),
            "udf": plain(value, nulls=True),
        },
        oracle="Spark SQL", bytes_in=24, bytes_out=8, operations=30, capped={"udf": 400_000}, aims=(LIKE_SQL,),
    ),
    Case(
        name="scalar_wide", data=wide_rows, elements=400_000, unit="rows of twenty doubles",
        paths={
            "gpuspark": column_hook(squares), EXPRESSION: as_expression(column_hook(squares)),
            "Spark SQL": sql(" + ".join(f"c{n} * c{n}" for n in range(WIDE))),
            "pandas_udf with NumPy": pandas(lambda *columns: sum(column * column for column in columns)),
            "udf": plain(squares),
        },
        oracle="Spark SQL", bytes_in=8 * WIDE, bytes_out=8, operations=2 * WIDE, capped={"udf": 100_000},
        aims=(LIKE_SQL,),
    ),
]  # fmt: skip
