"""Converts the tree ensembles of scikit-learn, XGBoost and LightGBM, through treelite, to gpuspark's.

Runs on the driver only: workers get the resulting arrays and need neither treelite nor this module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.errors import CallError
from gpuspark.kernels.tree_ensemble import Categories, Tree, TreeEnsemble, tree_ensemble
from gpuspark.models.scorer import LINKS, Accepts, Decision, Scorer, Step

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LEAF, _NUMERICAL, _CATEGORICAL = 0, 1, 2
"""treelite's codes of node types."""
_LESS, _AT_MOST = 2, 3
"""treelite's codes of comparisons: < and <=."""
_REGRESSION = 1
"""treelite's code of the regression task; the others are classifications."""
_POSTPROCESSORS = {"identity_multiclass": "identity", "multiclass_ova": "sigmoid"} | {name: name for name in LINKS}


def sklearn_trees(model: Any) -> Scorer:
    """Returns the scorer of a forest or of boosted trees of scikit-learn."""
    import treelite

    name = type(model).__name__
    histogram = name.startswith("Hist")
    if getattr(model, "n_outputs_", 1) > 1:
        raise CallError(f"gs.score takes models of one output; this {name} has {model.n_outputs_}. Fit one for each.")
    if not histogram:
        model = copy.copy(model)
        model.n_estimators = len(model.estimators_)  # treelite relies on it, but early stopping leaves fewer trees
    missing = model.__sklearn_tags__().input_tags.allow_nan and getattr(model, "monotonic_cst", None) is None
    imported = _import(treelite, lambda: treelite.sklearn.import_model(model), name)
    accepts: Accepts = "anything" if histogram else "missing" if missing else "finite"
    forest = name.startswith(("RandomForest", "ExtraTrees"))
    trees = _ensemble(
        imported,
        "float64" if histogram else "float32",
        missing=accepts != "finite",
        leaves=[tree.tree_.value[:, 0] for tree in model.estimators_] if forest else None,
    )
    step = Step(name, trees.margins, accepts, **({} if histogram else {"limit": _FLOAT32_MAX}))
    if not hasattr(model, "classes_"):
        link = _link(imported, name)
        return Scorer(features=model.n_features_in_, steps=(step,), link=link)
    decision: Decision = "largest margin"
    if trees.outputs == 1:
        decision = "positive margin" if histogram else "margin from zero on"
    return Scorer(
        features=model.n_features_in_,
        steps=(step,),
        labels=model.classes_,
        decision=decision,
        link="identity" if forest else "sigmoid" if trees.outputs == 1 else "softmax",
        scale=2.0 if getattr(model, "loss", "") == "exponential" else 1.0,
    )


def xgboost_trees(model: Any) -> Scorer:
    """Returns the scorer of an XGBoost model or booster."""
    import treelite

    name = type(model).__name__
    if not np.isnan(getattr(model, "missing", np.nan)):
        raise CallError(f"this {name} takes {model.missing} for missing. Fit it with missing=nan, and give nulls.")
    booster = model if name == "Booster" else model.get_booster()
    best = booster.attr("best_iteration")
    if best is not None and name != "Booster":
        booster = booster[: int(best) + 1]
    imported = _import(treelite, lambda: treelite.frontend.from_xgboost(booster), name)
    return _boosted(imported, name, "float32", getattr(model, "classes_", None))


def lightgbm_trees(model: Any) -> Scorer:
    """Returns the scorer of a LightGBM model or booster."""
    import treelite

    name = type(model).__name__
    booster = model if name == "Booster" else model.booster_
    imported = _import(treelite, lambda: treelite.frontend.from_lightgbm(booster), name)
    return _boosted(imported, name, "float64", getattr(model, "classes_", None))


def trees_of_file(path: Path) -> Scorer:
    """Returns the scorer of a file that XGBoost (``.json``, ``.ubj``) or LightGBM (``.txt``) saved."""
    import treelite

    if not path.exists():
        raise CallError(f"there is no file {path}")
    if path.suffix == ".txt":
        imported = _import(treelite, lambda: treelite.frontend.load_lightgbm_model(path), path.name)
        return _boosted(imported, path.name, "float64", None)
    if path.suffix in (".json", ".ubj"):
        imported = _import(treelite, lambda: treelite.frontend.load_xgboost_model(path), path.name)
        return _boosted(imported, path.name, "float32", None)
    raise CallError(f"{path.name} is not a model file: XGBoost's end in .json or .ubj, LightGBM's in .txt")


def _import(treelite: Any, convert: Callable[[], Any], name: str) -> Any:
    """Calls ``convert`` and returns treelite's model; raises :class:`CallError` if treelite cannot read it."""
    try:
        return convert()
    except (treelite.TreeliteError, NotImplementedError) as error:
        raise CallError(f"treelite cannot read this {name}: {error}") from error


def _boosted(imported: Any, name: str, compared: str, classes: NDArray[Any] | None) -> Scorer:
    """Returns the scorer of a booster; its classes are numbered if ``classes`` is ``None``."""
    header = imported.get_header_accessor()
    trees = _ensemble(imported, compared, missing=True)
    step = Step(name, trees.margins, "anything")
    labels = None
    if int(header.get_field("task_type")[0]) != _REGRESSION:
        labels = np.asarray(classes) if classes is not None else np.arange(max(trees.outputs, 2))
    elif classes is not None:
        raise CallError(f"this {name} has an objective that gives no classes: gs.score cannot tell what it predicts")
    link = _link(imported, name)
    return Scorer(
        features=imported.num_feature,
        steps=(step,),
        link=link,
        labels=labels,
        decision="likeliest",
        single=trees.summed == "float32",
        scale=float(header.get_field("sigmoid_alpha")[0]) if link == "sigmoid" else 1.0,
    )


def _link(imported: Any, name: str) -> str:
    """Returns the name of the link function of treelite's model."""
    postprocessor = imported.get_header_accessor().get_field("postprocessor")
    if postprocessor not in _POSTPROCESSORS:
        raise CallError(f"this {name} has an objective with the postprocessor {postprocessor!r}, which gs.score lacks")
    return _POSTPROCESSORS[postprocessor]


def _ensemble(
    imported: Any, compared: str, *, missing: bool, leaves: Sequence[NDArray[Any]] | None = None
) -> TreeEnsemble:
    """Returns the trees of treelite's model.

    ``missing`` says whether they define a direction for missing features. ``leaves`` are the values of every node of
    every tree, for models whose values treelite rounds, which could change the predicted class.
    """
    header = imported.get_header_accessor()
    if header.get_field("num_target")[0] != 1:
        raise CallError("gs.score takes models of one output. Fit one for each.")
    accessors = [imported.get_tree_accessor(n) for n in range(imported.num_tree)]
    return tree_ensemble(
        [_tree(accessor, missing, leaves[n] if leaves else None) for n, accessor in enumerate(accessors)],
        int(imported.num_feature),
        outputs=int(header.get_field("num_class")[0]),
        adds_to=np.maximum(header.get_field("class_id"), 0).tolist(),
        start=header.get_field("base_scores").tolist(),
        average=bool(header.get_field("average_tree_output")[0]),
        compared=compared,
        summed=imported.output_type,
    )


def _tree(accessor: Any, missing: bool, leaf_values: NDArray[Any] | None) -> Tree:
    """Returns one tree; ``leaf_values`` replaces treelite's values of the nodes."""
    field = accessor.get_field
    left, node_types, comparison = field("cleft").copy(), field("node_type"), field("cmp")
    threshold = field("threshold").copy()
    if not set(comparison[node_types == _NUMERICAL].tolist()) <= {_LESS, _AT_MOST}:
        raise CallError("the trees use comparisons other than < and <=, which gs.score lacks")
    less = comparison == _LESS
    threshold[less] = np.nextafter(threshold[less], threshold.dtype.type(-np.inf))
    leaves, vectors = field("leaf_value").copy(), field("leaf_vector")
    if leaf_values is not None:
        leaves = leaf_values
    elif len(vectors):
        begin, end = field("leaf_vector_begin").astype(np.int64), field("leaf_vector_end").astype(np.int64)
        leaves = np.zeros((len(left), int((end - begin).max())), vectors.dtype)
        is_leaf = node_types == _LEAF
        leaves[is_leaf] = vectors[begin[is_leaf][:, None] + np.arange(leaves.shape[1])]
    return Tree(
        feature=field("split_index").copy(),
        threshold=threshold,
        left=left,
        right=field("cright").copy(),
        missing_left=field("default_left").astype(bool) if missing else np.zeros(len(left), bool),
        leaves=leaves,
        categories=_categories(field, np.flatnonzero(node_types == _CATEGORICAL)),
    )


def _categories(field: Callable[[str], Any], nodes: NDArray[Any]) -> dict[int, Categories]:
    if not len(nodes):
        return {}
    codes, go_right = field("category_list"), field("category_list_right_child")
    begin, end = field("category_list_begin"), field("category_list_end")
    return {
        int(node): Categories(codes[int(begin[node]) : int(end[node])].copy(), bool(go_right[node])) for node in nodes
    }
