"""``gs.score`` against the estimators' own ``predict``, ``predict_proba`` and ``transform``, on every device."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition, ensemble, linear_model, neighbors, pipeline, preprocessing

import gpuspark as gs
from gpuspark.errors import CallError
from gpuspark.models import scorer as scorer_module
from gpuspark.models.estimators import read_model
from gpuspark.testing import on_device
from tests.support.devices import DEVICES
from tests.support.tolerances import assert_linked

METHODS = {"prediction": "predict", "probabilities": "predict_proba", "transformed": "transform"}
QUIET = {"verbose": -1, "min_child_samples": 2}
SMALL = {"min_samples_leaf": 2}


def classifiers(trees: int, seed: int) -> dict[str, Any]:
    """Returns small classifiers of every supported class."""
    forest = {"n_estimators": trees, "random_state": seed}
    boosted = {"max_iter": trees, "random_state": seed, **SMALL}
    return {
        "RandomForestClassifier": ensemble.RandomForestClassifier(**forest),
        "ExtraTreesClassifier": ensemble.ExtraTreesClassifier(**forest, max_depth=3),
        "GradientBoostingClassifier": ensemble.GradientBoostingClassifier(**forest),
        "HistGradientBoostingClassifier": ensemble.HistGradientBoostingClassifier(**boosted),
        "HistGradientBoostingClassifier, categories": ensemble.HistGradientBoostingClassifier(
            **boosted, categorical_features=[0]
        ),
        "XGBClassifier": xgboost.XGBClassifier(n_estimators=trees, max_depth=4, seed=seed),
        "LGBMClassifier": lightgbm.LGBMClassifier(n_estimators=trees, **QUIET),
        "LogisticRegression": linear_model.LogisticRegression(),
        "scaled logistic regression": pipeline.make_pipeline(
            preprocessing.StandardScaler(), "passthrough", decomposition.PCA(2), linear_model.LogisticRegression()
        ),
    }


def regressors(trees: int, seed: int) -> dict[str, Any]:
    forest = {"n_estimators": trees, "random_state": seed}
    boosted = {"max_iter": trees, "random_state": seed, **SMALL}
    return {
        "RandomForestRegressor": ensemble.RandomForestRegressor(**forest),
        "ExtraTreesRegressor": ensemble.ExtraTreesRegressor(**forest),
        "GradientBoostingRegressor": ensemble.GradientBoostingRegressor(**forest),
        "HistGradientBoostingRegressor": ensemble.HistGradientBoostingRegressor(
            **boosted, loss="poisson", categorical_features=[0]
        ),
        "XGBRegressor": xgboost.XGBRegressor(n_estimators=trees, objective="count:poisson"),
        "LGBMRegressor": lightgbm.LGBMRegressor(n_estimators=trees, **QUIET),
        "LinearRegression": linear_model.LinearRegression(),
        "Ridge": linear_model.Ridge(),
        "Lasso": linear_model.Lasso(alpha=0.01),
        "ElasticNet": linear_model.ElasticNet(alpha=0.01),
        "scaled forest": pipeline.make_pipeline(
            preprocessing.MinMaxScaler(clip=True), ensemble.RandomForestRegressor(**forest)
        ),
    }


TRANSFORMERS = {
    "StandardScaler": preprocessing.StandardScaler(),
    "StandardScaler, mean only": preprocessing.StandardScaler(with_std=False),
    "StandardScaler, scale only": preprocessing.StandardScaler(with_mean=False),
    "MinMaxScaler": preprocessing.MinMaxScaler((-1, 2)),
    "PCA": decomposition.PCA(2),
    "PCA, whitened": pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(2, whiten=True)),
}


@pytest.fixture(autouse=True, scope="module")
def short_blocks() -> Iterator[None]:
    """Rows of a model are laid out in blocks of thousands: here of 25, so that a batch has several."""
    trees = sys.modules["gpuspark.kernels.tree_ensemble"]
    with mock.patch.object(scorer_module, "_ROWS", 25), mock.patch.object(trees, "_ROWS", 25):
        yield


KNOWS_MISSING = ("Forest", "ExtraTrees", "Hist", "XGB", "LGBM", "forest", "Scaler")
EXACT = ("Forest", "ExtraTrees", "GradientBoosting", "LGBM", "forest", "Scaler")


def data(seed: int, rows: int = 60, *, missing: bool) -> np.ndarray:
    """Returns four features: category codes, few distinct values, values that float32 rounds, and tiny ones."""
    random = np.random.default_rng(seed)
    x = np.stack(
        [
            random.integers(0, 7, rows).astype(float),
            np.round(random.normal(size=rows), 1),
            random.normal(size=rows),
            random.choice([0.0, -0.0, 1e-7, -1e-7], rows),
        ],
        axis=1,
    )
    if missing:
        x[random.random(x.shape) < 0.1] = np.nan
    return x


def columns_of(x: np.ndarray) -> list[pa.Array]:
    """Returns the columns of ``x`` as Arrow; missing values are NaN in one half and null in the other."""
    return [pa.array(x[:, k], mask=np.isnan(x[:, k]) if k % 2 else None) for k in range(x.shape[1])]


def assert_scores_like(model: Any, x: np.ndarray, device: str, *, exact: bool) -> None:
    scorer = pickle.loads(pickle.dumps(read_model(model)))
    names = [f"x{k}" for k in range(x.shape[1])]
    for output in scorer.outputs:
        with on_device(device):
            column = scorer.compute(columns_of(x), names, output)
        want = getattr(model, METHODS[output])(x)
        assert len(column) == len(x)
        ours = np.array(column.to_pylist())
        is_label = output == "prediction" and scorer.labels is not None
        if is_label or (exact and scorer.link == "identity"):
            np.testing.assert_array_equal(ours, want)
        elif exact:
            assert_linked(ours, want)
        else:
            np.testing.assert_allclose(ours, want, rtol=1e-6 if "XGB" in repr(model) else 1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", classifiers(1, 0))
@settings(max_examples=5)
@given(seed=st.integers(0, 1000), trees=st.integers(1, 4), classes=st.integers(2, 3))
def test_classifiers_as_their_library(kind: str, seed: int, trees: int, classes: int) -> None:
    missing = any(word in kind for word in KNOWS_MISSING)
    x = data(seed, missing=missing)
    labels = [np.array(["no", "yes", "perhaps"]), np.array([3, 5, 9]), np.array([-1.0, 1.0, 2.0])][seed % 3]
    chosen = np.random.default_rng(seed).integers(0, classes, len(x))
    chosen[:classes] = range(classes)
    y = chosen if "XGB" in kind else labels[chosen]
    model = classifiers(trees, seed)[kind].fit(x, y)
    others = data(seed + 1, 21, missing=missing)
    others[:, 0] += seed % 4  # categories that it never saw
    assert_scores_like(model, np.concatenate([x, others]), "cpu", exact=any(word in kind for word in EXACT))


@pytest.mark.parametrize("kind", regressors(1, 0))
@settings(max_examples=5)
@given(seed=st.integers(0, 1000), trees=st.integers(1, 4))
def test_regressors_as_their_library(kind: str, seed: int, trees: int) -> None:
    missing = any(word in kind for word in KNOWS_MISSING)
    x = data(seed, missing=missing)
    y = np.random.default_rng(seed).poisson(2 + np.nan_to_num(x[:, 0]))
    model = regressors(trees, seed)[kind].fit(x, y.astype(float))
    others = data(seed + 1, 21, missing=missing)
    others[:, 0] -= seed % 4
    exact = any(word in kind for word in EXACT)
    assert_scores_like(model, np.concatenate([x, others]), "cpu", exact=exact)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_transformers_as_their_library(kind: str) -> None:
    x = data(3, missing="Scaler" in kind and "PCA" not in kind)
    assert_scores_like(TRANSFORMERS[kind].fit(x), x, "cpu", exact="Scaler" in kind)


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_scores_as_the_library(device: str) -> None:
    x = data(5, 40, missing=True)
    y = np.arange(40) % 3
    few = x[:9]
    for model in (
        ensemble.RandomForestClassifier(2, max_depth=3, random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=2, max_depth=3, categorical_features=[0], **SMALL),
        xgboost.XGBRegressor(n_estimators=2, max_depth=3),
        preprocessing.StandardScaler(),
        preprocessing.MinMaxScaler(clip=True),
    ):
        assert_scores_like(model.fit(x, y), few, device, exact=not isinstance(model, xgboost.XGBRegressor))
    whole = np.nan_to_num(x)
    assert_scores_like(classifiers(1, 0)["scaled logistic regression"].fit(whole, y), whole[:5], device, exact=False)


def test_a_feature_at_a_threshold_goes_where_the_library_sends_it() -> None:
    """scikit-learn's forests and XGBoost round features to float32 and compare with float64 and float32 thresholds."""
    x = np.array([[0.1], [0.3], [0.7], [0.9]])
    y = [0.0, 0.0, 1.0, 1.0]
    near = [np.nextafter(v, side) for v in (0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9) for side in (-1, v, 2)]
    near += [float(np.nextafter(np.float32(v), np.float32(s))) for v in (0.2, 0.5, 0.7, 0.8) for s in (-1, 2)]
    for model in (
        ensemble.ExtraTreesRegressor(20, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=3),
        ensemble.HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=1),
        xgboost.XGBRegressor(n_estimators=3, min_child_weight=0),
        lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, min_child_samples=1, min_data_in_bin=1),
    ):
        fitted = model.fit(x, y)
        takes_all = isinstance(model, ensemble.HistGradientBoostingRegressor | xgboost.XGBModel | lightgbm.LGBMModel)
        ends = [np.inf, -np.inf, 1e39, np.nan] if takes_all else []
        assert_scores_like(fitted, np.array([*near, *ends])[:, None], "cpu", exact=True)


def test_thresholds_between_neighbours_in_single_precision() -> None:
    """Thresholds halfway between two float32 values: rounding to nearest would turn half of them into the upper one."""
    x = (4 + np.arange(8) * 2.0**-21)[:, None]
    forest = ensemble.RandomForestRegressor(1, bootstrap=False)
    for model in (forest, ensemble.GradientBoostingRegressor(n_estimators=2)):
        assert_scores_like(model.fit(x, np.arange(8.0)), x, "cpu", exact=True)


def test_early_stopping_and_files(tmp_path: Path) -> None:
    x = data(9, 80, missing=True)
    y = np.random.default_rng(9).integers(0, 3, 80)
    stopped = ensemble.GradientBoostingClassifier(n_estimators=60, n_iter_no_change=1).fit(np.nan_to_num(x), y)
    assert len(stopped.estimators_) < 60
    assert_scores_like(stopped, np.nan_to_num(x), "cpu", exact=True)
    best = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2).fit(x[:60], y[:60], eval_set=[(x[60:], y[60:])], verbose=False)  # fmt: skip  # noqa: E501
    assert best.best_iteration < best.get_booster().num_boosted_rounds() - 1
    assert_scores_like(best, x, "cpu", exact=False)
    plain = xgboost.XGBClassifier(n_estimators=3).fit(x, y)
    light = lightgbm.LGBMClassifier(n_estimators=3, **QUIET).fit(x, y)
    for suffix in ("json", "ubj"):
        plain.save_model(tmp_path / f"model.{suffix}")
        assert read_model(tmp_path / f"model.{suffix}").compute(columns_of(x), "abcd", "prediction").to_pylist() == (
            plain.predict(x).tolist()
        )
    light.booster_.save_model(tmp_path / "model.txt")
    column = read_model(str(tmp_path / "model.txt")).compute(columns_of(x), "abcd", "probabilities")
    assert_linked(column.to_pylist(), light.predict_proba(x))
    assert read_model(plain.get_booster()).outputs == ["prediction", "probabilities"]


def test_what_is_not_supported_is_refused_by_name(tmp_path: Path) -> None:
    x, y = data(1, missing=False), np.arange(60) % 2
    with pytest.raises(CallError, match=r"run a KNeighborsClassifier\. It runs from sklearn RandomForestClassifi"):
        read_model(neighbors.KNeighborsClassifier().fit(x, y))
    with pytest.raises(CallError, match="this PCA is not fitted"):
        read_model(decomposition.PCA())
    with pytest.raises(CallError, match="RandomForestRegressor has 2"):
        read_model(ensemble.RandomForestRegressor(2).fit(x, np.stack([y, y], 1)))
    with pytest.raises(CallError, match="LinearRegression has 2"):
        read_model(linear_model.LinearRegression().fit(x, np.stack([y, y], 1)))
    with pytest.raises(CallError, match=r"takes -1\.0 for missing"):
        read_model(xgboost.XGBRegressor(n_estimators=1, missing=-1.0).fit(x, y))
    with pytest.raises(CallError, match="treelite cannot read this GradientBoostingRegressor: Custom init"):
        first = linear_model.LinearRegression()
        read_model(ensemble.GradientBoostingRegressor(n_estimators=1, init=first).fit(x, y))
    with pytest.raises(CallError, match="there is no file"):
        read_model(tmp_path / "none.json")
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(CallError, match=r"model.pkl is not a model file"):
        read_model(tmp_path / "model.pkl")


@pytest.mark.parametrize(
    ("model", "bad", "message"),
    [
        (linear_model.LinearRegression(), np.nan, "no missing values, and row 40 of the batch has null or NaN in b"),
        (ensemble.GradientBoostingRegressor(n_estimators=1), np.nan, "GradientBoostingRegressor takes no missing"),
        (ensemble.RandomForestRegressor(1), np.inf, "too large numbers, and row 40 of the batch has inf in b"),
        (ensemble.RandomForestRegressor(1), 1e39, "RandomForestRegressor takes no infinite or too large"),
        (preprocessing.StandardScaler(), -np.inf, "StandardScaler takes no infinite"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_features_that_the_estimator_refuses_are_refused(model: Any, bad: float, message: str) -> None:
    x = np.nan_to_num(data(2, missing=False))
    fitted = model.fit(x, x[:, 0])
    x[40, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity|inf"):
        getattr(fitted, "predict" if hasattr(fitted, "predict") else "transform")(x)
    scorer = read_model(fitted)
    with pytest.raises(CallError, match=message):
        scorer.compute([pa.array(x[:, k]) for k in range(4)], "abcd", scorer.outputs[0])


@pytest.mark.parametrize("device", ["cpu", "emulated", "python"])
def test_on_a_frame(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    x = data(4, 50, missing=True)
    y = np.array(["low", "high"])[np.arange(50) % 2]
    model = ensemble.RandomForestClassifier(2, max_depth=2, random_state=1).fit(x, y)
    rows = [tuple(None if np.isnan(v) else float(v) for v in row) for row in x[:9]]
    frame = spark.createDataFrame([(*row, True) for row in rows], "a double, b float, c double, d double, e boolean")
    frame = frame.withColumn("c", frame["c"].cast("decimal(20,12)")).coalesce(1)
    gs.ledger(spark).clear()
    scored = gs.score(frame, model, ["a", "b", "c", "d"])
    assert scored.columns == [*"abcde", "prediction"]
    assert scored.schema["prediction"].dataType.simpleString() == "string"
    assert [r.prediction for r in scored.collect()] == model.predict(x[:9]).tolist()
    [record] = gs.ledger(spark).records
    assert (record.function, record.device, record.rows) == ("score", device, 9)
    likely = gs.score(frame, model, list("abcd"), output="probabilities", name="p").collect()
    np.testing.assert_array_equal(np.array([r.p for r in likely]), model.predict_proba(x[:9]))


def test_frames_that_do_not_fit_are_refused(spark: Any) -> None:
    import pandas as pd

    frame = spark.createDataFrame([(1.0, 2.0, "x")], "a double, b double, word string")
    fitted = linear_model.LinearRegression().fit(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]}), [1.0, 2.0])
    for columns, message in (
        (["a"], "was fitted to 2 features, and is given 1"),
        (["b", "a"], r"in another order: give columns=\['a', 'b'\]"),
        (["a", "word"], "the feature word is a column of string"),
        ("ab", "is one name"),
    ):
        with pytest.raises(CallError, match=message):
            gs.score(frame, fitted, columns)
    with pytest.raises(CallError, match="this LinearRegression has prediction"):
        gs.score(frame, fitted, ["a", "b"], output="probabilities")


def test_workers_need_no_library_of_models() -> None:
    """Unpickles and runs a scorer as a worker does, in a process that cannot import these libraries."""
    x = data(6, missing=True)
    pickled = pickle.dumps((read_model(ensemble.RandomForestClassifier(2).fit(x, np.arange(60) % 2)), columns_of(x)))
    script = (
        "import pickle, sys\n"
        "for name in ('sklearn', 'treelite', 'xgboost', 'lightgbm', 'scipy'): sys.modules[name] = None\n"
        "scorer, columns = pickle.loads(sys.stdin.buffer.read())\n"
        "print(len(scorer.compute(columns, 'abcd', 'prediction')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=pickled, capture_output=True, check=False)
    assert done.stdout == b"60\n", done.stderr.decode()
