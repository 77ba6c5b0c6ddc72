"""The batch dialect: the nearest of a few cities for each point, by a kernel on the columns of a batch.

Run it: python examples/batch.py
"""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql import DataFrame, SparkSession

import gpuspark as gs
from gpuspark import kernels

CITIES = {"Paris": (48.86, 2.35), "Berlin": (52.52, 13.40), "Rome": (41.89, 12.48)}


def nearest_city(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    for batch in batches:
        xp = batch.xp  # NumPy, or CuPy on a GPU
        distances = [kernels.haversine(batch["lat"], batch["lon"], lat, lon).values for lat, lon in CITIES.values()]
        stacked = xp.stack(distances)
        found = batch.with_column("city", xp.argmin(stacked, axis=0)).with_column("km", stacked.min(axis=0))
        yield found.select(["id", "city", "km"])


def build(spark: SparkSession) -> DataFrame:
    points = spark.range(10_000).selectExpr("id", "40D + id % 150 / 10 as lat", "id % 170 / 10D as lon")
    return gs.map_in_arrow(points, nearest_city, "id bigint, city bigint, km double")


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    build(spark).groupBy("city").count().orderBy("city").show()
    print(gs.ledger(spark))
    spark.stop()
