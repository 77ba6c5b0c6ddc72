"""A forest over rows of features: 100 trees of depth 8, 20 features."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

import gpuspark as gs
from gpuspark.bench.cases import Aim, Case

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FEATURES, TREES, DEPTH = 20, 100, 8
NAMES = [f"x{k}" for k in range(FEATURES)]
PREDICT = "pandas_udf with predict"


def features(rows: int) -> pa.Table:
    """Twenty columns of normal numbers."""
    random = np.random.default_rng(5)
    return pa.table({name: random.normal(size=rows) for name in NAMES})


@functools.cache
def forest() -> Any:
    """Fitted to 5,000 rows of a sum of products, so that its trees are full."""
    from sklearn.ensemble import RandomForestRegressor

    random = np.random.default_rng(6)
    x = random.normal(size=(5_000, FEATURES))
    y = (x[:, ::2] * x[:, 1::2]).sum(axis=1)
    return RandomForestRegressor(TREES, max_depth=DEPTH, random_state=0).fit(x, y)


def gpuspark(frame: DataFrame) -> DataFrame:
    return gs.score(frame, forest(), NAMES).select("prediction")


def predict(frame: DataFrame, model: Any) -> DataFrame:
    """The estimator's own ``predict``, in a pandas UDF."""
    from pyspark.sql import functions as spark_functions

    known: Any = spark_functions  # PySpark's stubs lack its newer functions

    @known.pandas_udf("double")
    def predicted(x: pd.DataFrame) -> pd.Series:
        return pd.Series(model.predict(x.to_numpy()))

    return frame.select(predicted(known.struct(*NAMES)).alias("prediction"))


def estimator(frame: DataFrame) -> DataFrame:
    return predict(frame, forest())


CASES = [
    Case(
        name="tree_ensemble",
        suite="smoke",
        data=features,
        elements=500_000,
        unit=f"rows of {FEATURES} features, {TREES} trees of depth {DEPTH}",
        paths={"gpuspark": gpuspark, PREDICT: estimator},
        oracle=PREDICT,
        close=0.0,
        bytes_in=8 * FEATURES,
        bytes_out=8,
        operations=2 * TREES * DEPTH,
        aims=(Aim("gpuspark", PREDICT, 2),),
    )
]
