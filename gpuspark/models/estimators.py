"""Converts fitted estimators to a :class:`~gpuspark.models.scorer.Scorer`, on the driver.

The libraries that fitted them are not imported: everything is read from attributes of the estimator.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.errors import CallError
from gpuspark.execution.array_arguments import Constant
from gpuspark.kernels.linear_model import Product, Standardise, Stretch
from gpuspark.models.scorer import Scorer, Step
from gpuspark.models.trees import lightgbm_trees, sklearn_trees, trees_of_file, xgboost_trees


def read_model(model: Any) -> Scorer:
    """Returns the scorer of a fitted estimator, or of a model file.

    Raises :class:`~gpuspark.errors.CallError` for an estimator that is not fitted or not supported.
    """
    if isinstance(model, str | os.PathLike):
        return trees_of_file(Path(model))
    reader = _READERS.get((type(model).__module__.partition(".")[0], type(model).__name__))
    if reader is None:
        raise CallError(f"gs.score cannot run a {type(model).__name__}. {supported()}")
    if not (hasattr(model, "n_features_in_") or type(model).__name__ == "Booster"):
        raise CallError(f"this {type(model).__name__} is not fitted: call fit(...) first")
    return reader(model)


def supported() -> str:
    """Returns a sentence that lists the supported estimators and files."""
    libraries: dict[str, list[str]] = {}
    for library, name in _READERS:
        libraries.setdefault(library, []).append(name)
    listed = "; ".join(f"from {library} {', '.join(names)}" for library, names in libraries.items())
    return f"It runs {listed}; and model files of xgboost (.json, .ubj) and lightgbm (.txt)."


def _pipeline(model: Any) -> Scorer:
    """Chains the steps of a pipeline; the last one determines the outputs."""
    parts = [read_model(step) for _, step in model.steps if step not in (None, "passthrough")]
    if not parts:
        raise CallError("this Pipeline has no steps that do anything. Use the columns themselves.")
    if any(part.predicts for part in parts[:-1]):
        raise CallError("this Pipeline has a predictor before its last step, whose transform(...) gs.score cannot run")
    steps = tuple(step for part in parts for step in part.steps)
    return replace(parts[-1], features=parts[0].features, steps=steps)


def _transformer(model: Any, compute: Callable[[Any], Any], *, missing: bool) -> Scorer:
    step = Step(type(model).__name__, compute, "missing" if missing else "finite")
    return Scorer(features=model.n_features_in_, steps=(step,), predicts=False)


def _standard_scaler(model: Any) -> Scorer:
    width = model.n_features_in_
    shift = np.zeros(width) if model.mean_ is None or not model.with_mean else model.mean_
    scale = np.ones(width) if model.scale_ is None else model.scale_
    return _transformer(model, Standardise(_doubles(shift), _doubles(scale)).apply, missing=True)


def _min_max_scaler(model: Any) -> Scorer:
    low, high = model.feature_range if model.clip else (-np.inf, np.inf)
    step = Stretch(_doubles(model.scale_), _doubles(model.min_), float(low), float(high))
    return _transformer(model, step.apply, missing=True)


def _pca(model: Any) -> Scorer:
    matrix = np.asarray(model.components_, np.float64).T
    shift = -(np.asarray(model.mean_, np.float64) @ matrix)
    if model.whiten:
        scale = np.sqrt(model.explained_variance_)
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        matrix, shift = matrix / scale, shift / scale
    return _transformer(model, Product(_doubles(matrix), _doubles(shift)).apply, missing=False)


def _linear(model: Any) -> Scorer:
    return Scorer(features=model.n_features_in_, steps=(_product(model),))


def _logistic(model: Any) -> Scorer:
    if getattr(model, "multi_class", "deprecated") not in ("deprecated", "auto", "warn") or (
        model.solver == "liblinear" and len(model.classes_) > 2
    ):
        raise CallError("gs.score runs a LogisticRegression of two classes, or a multinomial one: fit one of these")
    binary = len(model.classes_) == 2
    return Scorer(
        features=model.n_features_in_,
        steps=(_product(model),),
        labels=model.classes_,
        link="sigmoid" if binary else "softmax",
        decision="positive margin" if binary else "largest margin",
    )


def _product(model: Any) -> Step:
    name, matrix = type(model).__name__, np.atleast_2d(np.asarray(model.coef_, np.float64)).T
    if matrix.shape[1] > 1 and not hasattr(model, "classes_"):
        raise CallError(f"gs.score takes models of one output; this {name} has {matrix.shape[1]}. Fit one for each.")
    shift = np.broadcast_to(np.asarray(model.intercept_, np.float64), matrix.shape[1])
    return Step(name, Product(_doubles(matrix), _doubles(shift)).apply)


def _doubles(values: NDArray[Any]) -> Constant:
    return Constant(np.array(values, np.float64))


_READERS: dict[tuple[str, str], Callable[[Any], Scorer]] = {
    **{
        ("sklearn", f"{family}{task}"): sklearn_trees
        for family in ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
        for task in ("Classifier", "Regressor")
    },
    **{("sklearn", name): _linear for name in ("LinearRegression", "Ridge", "Lasso", "ElasticNet")},
    ("sklearn", "LogisticRegression"): _logistic,
    ("sklearn", "StandardScaler"): _standard_scaler,
    ("sklearn", "MinMaxScaler"): _min_max_scaler,
    ("sklearn", "PCA"): _pca,
    ("sklearn", "Pipeline"): _pipeline,
    **{("xgboost", name): xgboost_trees for name in ("XGBClassifier", "XGBRegressor", "Booster")},
    **{("lightgbm", name): lightgbm_trees for name in ("LGBMClassifier", "LGBMRegressor", "Booster")},
}
