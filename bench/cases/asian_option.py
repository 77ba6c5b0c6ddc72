"""Monte Carlo prices of Asian options, against NumPy in a pandas_udf: the same estimator and control variate, with
different random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gpuspark import functions
from gpuspark.bench.cases import Case
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RATE, VOLATILITY = 0.05, 0.2
STEPS, PATHS = 52, 2_000


def options(rows: int) -> pa.Table:
    """Returns call options near the money, with half a year to two years to run."""
    random = np.random.default_rng(17)
    spot, strike, years = random.uniform(95, 110, rows), random.uniform(95, 105, rows), random.uniform(0.5, 2, rows)
    return pa.table({"spot": spot, "strike": strike, "years": years})


def gpuspark(frame: DataFrame) -> DataFrame:
    price = functions.asian_option("spot", "strike", "years", RATE, VOLATILITY, steps=STEPS, paths=PATHS)
    return frame.select("spot", "strike", "years", price.alias("price"))


def numpy(frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("double")
    def price(spot, strike, years):  # no type hints: PySpark would reject Any
        import pandas as pd
        from scipy.stats import norm

        random = np.random.default_rng(1)
        prices = []
        for s, k, t in zip(spot, strike, years, strict=True):
            step, n = t / STEPS, STEPS
            level = random.standard_normal((PATHS, n))
            level *= VOLATILITY * np.sqrt(step)
            level += (RATE - VOLATILITY**2 / 2) * step
            np.cumsum(level, axis=1, out=level)
            geometric = np.maximum(s * np.exp(level.mean(axis=1)) - k, 0)
            arithmetic = np.maximum(s * np.exp(level, out=level).mean(axis=1) - k, 0)
            mean = (RATE - VOLATILITY**2 / 2) * t * (n + 1) / (2 * n)
            variance = VOLATILITY**2 * t * (n + 1) * (2 * n + 1) / (6 * n * n)
            d = (np.log(s / k) + mean + variance) / np.sqrt(variance)
            exact = s * np.exp(mean + variance / 2) * norm.cdf(d) - k * norm.cdf(d - np.sqrt(variance))
            prices.append(np.exp(-RATE * t) * ((arithmetic - geometric).mean() + exact))
        return pd.Series(prices)

    return frame.select("spot", "strike", "years", price("spot", "strike", "years").alias("price"))


CASES = [
    Case(
        name="asian_option",
        data=options,
        elements=1_000,
        unit=f"options of {STEPS} dates on {PATHS} paths",
        paths={"gpuspark": gpuspark, "pandas_udf with NumPy": numpy},
        oracle="pandas_udf with NumPy",
        close=0.02,
        sorted_by=("spot", "strike", "years"),
        bytes_in=24,
        bytes_out=8,
        operations=120 * STEPS * PATHS,
        settings={"spark.sql.execution.arrow.maxRecordsPerBatch": 250},
        note="The random numbers differ, so prices are compared to within 2 per cent: several standard errors.",
    )
]
