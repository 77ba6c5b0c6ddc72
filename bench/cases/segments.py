"""Time series in many groups: smoothing, rolling means and Holt-Winters, against Spark's grouped functions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark.bench.cases import FLOOR, Aim, Case
from gpuspark.kernels import ewm_mean, holt_winters, rolling

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ALPHA = 0.3
SMOOTHED = "k bigint, t bigint, x double, level double"
ROLLED, WINDOW = "k bigint, t bigint, mean double", 7
SERIES_ROWS, SEASON, HORIZON = 84, 7, 14
FORECAST = "k bigint, step bigint, forecast double"
ARROW, PANDAS = "applyInArrow", "applyInPandas"


def rows_of_groups(size: int, rows: int) -> pa.Table:
    """Returns rows in groups of ``size``; the rows of a group are far apart."""
    groups = max(rows // size, 1)
    number = np.arange(groups * size)
    values = np.random.default_rng(5).normal(size=len(number)).cumsum()
    return pa.table({"k": number % groups, "t": number // groups, "x": values})


def ewm(segments: gs.Segments) -> gs.Batch:
    level = ewm_mean(segments, "x", ALPHA, adjust=False)
    return segments.batch.select(["k", "t", "x"]).with_column("level", level)


def gpuspark(frame: DataFrame) -> DataFrame:
    return gs.apply_in_segments(frame, "k", ewm, SMOOTHED, order_by="t")


def floor(frame: DataFrame) -> DataFrame:
    """Returns the floor: the same shuffle and sort, and a mapInArrow that only drains its input."""

    def drain(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            pass
        return iter(())

    return frame.repartition("k").sortWithinPartitions("k", "t").mapInArrow(drain, frame.schema)


def apply_in_arrow(frame: DataFrame) -> DataFrame:
    def smooth(rows: pa.Table) -> pa.Table:
        rows = rows.sort_by("t")
        level, levels = None, []
        for x in rows.column("x").to_pylist():
            level = x if level is None else level + ALPHA * (x - level)
            levels.append(level)
        return rows.append_column("level", pa.array(levels, pa.float64()))

    grouped: Any = frame.groupBy("k")  # PySpark's stubs lack its newer methods
    smoothed: DataFrame = grouped.applyInArrow(smooth, SMOOTHED)
    return smoothed


def apply_in_pandas(frame: DataFrame) -> DataFrame:
    def smooth(rows: Any) -> Any:
        rows = rows.sort_values("t")
        return rows.assign(level=rows.x.ewm(alpha=ALPHA, adjust=False).mean())

    return frame.groupBy("k").applyInPandas(smooth, SMOOTHED)


def smoothing(size: int, suite: str, rows: int, *aims: Aim) -> Case:
    return Case(
        name=f"smoothing_groups_of_{size}",
        data=partial(rows_of_groups, size),
        elements=rows,
        unit=f"rows in groups of {size}",
        paths={"gpuspark": gpuspark, FLOOR: floor, ARROW: apply_in_arrow, PANDAS: apply_in_pandas},
        oracle=PANDAS,
        sorted_by=("k", "t"),
        bytes_in=24,
        bytes_out=32,
        operations=3,
        aims=aims,
        along=("rows of a group", size),
        suite=suite,
        capped={PANDAS: min(size * 500, rows), ARROW: min(size * 5_000, rows)},
        note=DRAINED,
    )


def rolling_mean(segments: gs.Segments) -> gs.Batch:
    return segments.batch.select(["k", "t"]).with_column("mean", rolling(segments, "x", WINDOW))


def gpuspark_rolling(frame: DataFrame) -> DataFrame:
    return gs.apply_in_segments(frame, "k", rolling_mean, ROLLED, order_by="t")


def spark_rolling(frame: DataFrame) -> DataFrame:
    from pyspark.sql import Window, functions

    window = Window.partitionBy("k").orderBy("t").rowsBetween(1 - WINDOW, 0)
    count, mean = functions.count("x").over(window), functions.avg("x").over(window)
    return frame.select("k", "t", functions.when(count == WINDOW, mean).alias("mean"))


def pandas_rolling(frame: DataFrame) -> DataFrame:
    def smooth(rows: Any) -> Any:
        rows = rows.sort_values("t")
        return rows[["k", "t"]].assign(mean=rows.x.rolling(WINDOW).mean())

    return frame.groupBy("k").applyInPandas(smooth, ROLLED)


def series_of_days(series: int) -> pa.Table:
    """Returns series of twelve weeks with a weekly pattern."""
    random = np.random.default_rng(6)
    t = np.arange(SERIES_ROWS)
    pattern = random.normal(size=(series, SEASON)) * 8
    values = 100 + random.normal(size=(series, 1)) * 0.3 * t + pattern[:, t % SEASON]
    values += random.normal(size=(series, SERIES_ROWS)).cumsum(axis=1) + random.normal(size=values.shape) * 3
    return pa.table({"k": np.repeat(np.arange(series), SERIES_ROWS), "t": np.tile(t, series), "x": values.ravel()})


def forecast(segments: gs.Segments) -> gs.Batch:
    result = holt_winters(segments, "x", season=SEASON, horizon=HORIZON)
    return result.forecasts.select(["k", "step", "forecast"])


def gpuspark_forecasts(frame: DataFrame) -> DataFrame:
    return gs.apply_in_segments(frame, "k", forecast, FORECAST, order_by="t")


def statsmodels_forecasts(frame: DataFrame) -> DataFrame:
    def ahead(rows: Any) -> Any:
        import warnings

        import pandas as pd
        from statsmodels.tsa.holtwinters import ExponentialSmoothing

        warnings.simplefilter("ignore")
        values = rows.sort_values("t").x.to_numpy()
        fitted = ExponentialSmoothing(values, trend="add", seasonal="add", seasonal_periods=SEASON).fit()
        steps = np.arange(1, HORIZON + 1)
        return pd.DataFrame({"k": rows.k.iloc[0], "step": steps, "forecast": fitted.forecast(HORIZON)})

    return frame.groupBy("k").applyInPandas(ahead, FORECAST)


DRAINED = "The floor is the same shuffle and sort, and a mapInArrow that drains its input and returns no rows."

SWEEP = {1: "core", 10: "core", 40: "smoke", 100: "full", 1_000: "full", 10_000: "core"}
"""The rows of a group, and the suite of each case."""
ROWS = 2_000_000
RETURNED = "unlike the floor, gpuspark finds where groups begin, computes, and returns its rows to Spark"
AIMS: dict[int, tuple[Aim, ...]] = {
    10: (Aim("gpuspark", ARROW, 20),),
    40: (
        Aim("gpuspark", FLOOR, 1 / 1.15, missed=RETURNED),
        Aim("gpuspark", ARROW, 6, missed=RETURNED),
        Aim("gpuspark", PANDAS, 35),
    ),
}

CASES = [
    *(
        smoothing(size, suite, ROWS // 10 if size == 1 else ROWS if size in AIMS else ROWS // 2, *AIMS.get(size, ()))
        for size, suite in SWEEP.items()
    ),
    Case(
        name="rolling_mean",
        data=partial(rows_of_groups, 100),
        elements=ROWS // 2,
        unit=f"rows in groups of 100, the mean of {WINDOW}",
        paths={"gpuspark": gpuspark_rolling, FLOOR: floor, "Spark SQL": spark_rolling, PANDAS: pandas_rolling},
        oracle="Spark SQL",
        sorted_by=("k", "t"),
        bytes_in=24,
        bytes_out=24,
        operations=4,
        capped={PANDAS: 100_000},
        note=DRAINED,
    ),
    Case(
        name="holt_winters",
        data=series_of_days,
        elements=2_000,
        unit=f"series of {SERIES_ROWS} days",
        paths={"gpuspark": gpuspark_forecasts, "statsmodels in applyInPandas": statsmodels_forecasts},
        oracle="statsmodels in applyInPandas",
        close=0.5,
        sorted_by=("k", "step"),
        bytes_in=8 * SERIES_ROWS,
        bytes_out=16 * HORIZON,
        operations=400 * 14 * SERIES_ROWS,
        aims=(Aim("gpuspark", "statsmodels in applyInPandas", 50),),
        capped={"statsmodels in applyInPandas": 30},
        note="statsmodels also optimises the initial states, so forecasts differ: tests/kernels/test_holt_winters.py "
        "compares the smoothing, the sum of squares and the intervals with it.",
    ),
]
