"""The series dialect: a drop-in for pandas_udf, here Series to Series and as an aggregate.

Run it: python examples/series.py
"""

from __future__ import annotations

import pandas as pd
from pyspark.sql import DataFrame, SparkSession

import gpuspark as gs


@gs.pandas_udf("double")
def clipped(reading: pd.Series) -> pd.Series:
    return reading.clip(-3.0, 3.0)


@gs.pandas_udf("double")
def root_mean_square(reading: pd.Series) -> float:
    return float((reading**2).mean() ** 0.5)


def build(spark: SparkSession) -> DataFrame:
    readings = spark.range(10_000).selectExpr("id % 4 as sensor", "sin(id) * 5 as reading")
    quiet = readings.select("sensor", clipped("reading").alias("reading"))
    return quiet.groupBy("sensor").agg(root_mean_square("reading").alias("rms")).orderBy("sensor")


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    build(spark).show()
    print(gs.ledger(spark))
    spark.stop()
