"""Fitted models on rows of 20 features: a random forest and a logistic model, against their own ``predict``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

import gpuspark as gs
from gpuspark.bench.cases import Aim, Case
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FEATURES, TREES, DEPTH = 20, 100, 8
NAMES = [f"x{k}" for k in range(FEATURES)]
PREDICT = "pandas_udf with predict"


def features(rows: int) -> pa.Table:
    """Returns twenty columns of normally distributed numbers."""
    random = np.random.default_rng(5)
    return pa.table({name: random.normal(size=rows) for name in NAMES})


@functools.cache
def forest() -> Any:
    """Returns a forest fitted to sums of products, 5,000 rows of them, so that its trees are full."""
    from sklearn.ensemble import RandomForestRegressor

    random = np.random.default_rng(6)
    x = random.normal(size=(5_000, FEATURES))
    y = (x[:, ::2] * x[:, 1::2]).sum(axis=1)
    return RandomForestRegressor(TREES, max_depth=DEPTH, random_state=0).fit(x, y)


@functools.cache
def logistic() -> Any:
    """Returns a logistic model on scaled features, fitted to 5,000 rows whose class depends on a weighted sum."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(6)
    x = random.normal(2, 3, size=(5_000, FEATURES))
    y = (x @ random.normal(size=FEATURES) + random.normal(size=len(x))) > 0
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y.astype(float))


def gpuspark(model: Callable[[], Any], frame: DataFrame) -> DataFrame:
    return gs.score(frame, model(), NAMES).select("prediction")


def estimator(model: Callable[[], Any], frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()
    fitted = model()

    @spark_functions.pandas_udf("double")
    def predict(x: pd.DataFrame) -> pd.Series:
        return pd.Series(fitted.predict(x.to_numpy()))

    return frame.select(predict(spark_functions.struct(*NAMES)).alias("prediction"))


def case(name: str, model: Callable[[], Any], elements: int, description: str, operations: int, **options: Any) -> Case:
    return Case(
        name=name,
        data=features,
        elements=elements,
        unit=f"rows of {FEATURES} features, {description}",
        paths={"gpuspark": partial(gpuspark, model), PREDICT: partial(estimator, model)},
        oracle=PREDICT,
        close=0.0,
        bytes_in=8 * FEATURES,
        bytes_out=8,
        operations=operations,
        **options,
    )


TRANSPORT = "both paths move twenty columns to Python, which takes most of our time"

CASES = [
    case(
        "tree_ensemble", forest, 400_000, f"{TREES} trees of depth {DEPTH}", 2 * TREES * DEPTH,
        suite="smoke", aims=(Aim("gpuspark", PREDICT, 2, missed=TRANSPORT),),
    ),
    case("linear_model", logistic, 400_000, "scaled, and a logistic model", 4 * FEATURES),
]  # fmt: skip
