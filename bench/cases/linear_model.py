"""A scaler and a logistic model over rows of features, against the estimator's own predict."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

import gpuspark as gs
from gpuspark.bench.cases import Case
from gpuspark.bench.cases.tree_ensemble import FEATURES, NAMES, PREDICT, features, predict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@functools.cache
def pipeline() -> Any:
    """Fitted to 5,000 rows of which a sum of the features tells the class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(6)
    x = random.normal(2, 3, size=(5_000, FEATURES))
    y = (x @ random.normal(size=FEATURES) + random.normal(size=len(x))) > 0
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y.astype(float))


def gpuspark(frame: DataFrame) -> DataFrame:
    return gs.score(frame, pipeline(), NAMES).select("prediction")


def estimator(frame: DataFrame) -> DataFrame:
    return predict(frame, pipeline())


CASES = [
    Case(
        name="linear_model",
        data=features,
        elements=1_000_000,
        unit=f"rows of {FEATURES} features, scaled, and a logistic model",
        paths={"gpuspark": gpuspark, PREDICT: estimator},
        oracle=PREDICT,
        bytes_in=8 * FEATURES,
        bytes_out=8,
        operations=4 * FEATURES,
    )
]
