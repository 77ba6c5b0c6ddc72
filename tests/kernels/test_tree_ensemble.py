"""Trees as they are walked, beside the same trees walked by plain Python, a row and a node at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuspark import kernels
from gpuspark.kernels.tree_ensemble import Categories, Tree
from gpuspark.testing import on_device

FEATURES = 3
CODED = 2  # the feature that is a category
NUMBERS = [0.0, -0.0, 0.1, float(np.float32(0.1)), 1.0, -1.0, 2.5, 1e300, -1e300, math.inf, -math.inf, 5e-324]
VALUES = st.sampled_from([*NUMBERS, math.nan])
CODES = st.sampled_from([*range(-1, 70), math.nan, 1e9, -math.inf])


@dataclass(frozen=True)
class Ask:
    """A node: where a feature is at most a number, or one of the categories, ``yes``."""

    feature: int
    limit: float
    codes: tuple[int, ...]
    codes_go_right: bool
    missing_left: bool
    left: Any
    right: Any

    def next(self, row: list[float], dtype: type[np.floating[Any]]) -> Any:
        value = row[self.feature]
        if math.isnan(value):
            return self.left if self.missing_left else self.right
        if self.feature == CODED:
            return self.right if (value in self.codes) == self.codes_go_right else self.left
        with np.errstate(over="ignore"):
            return self.left if float(dtype(value)) <= self.limit else self.right


def asks(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        Ask, st.integers(0, FEATURES - 1), st.sampled_from(NUMBERS),
        st.lists(st.integers(0, 66), min_size=1, max_size=4).map(tuple), st.booleans(), st.booleans(), below, below,
    )  # fmt: skip


TREES = st.recursive(st.floats(-4, 4).map(lambda v: round(v * 8) / 8), asks, max_leaves=12)


@dataclass
class Flat:
    """The same tree as arrays."""

    rows: list[tuple[int, float, int, int, bool, float]] = field(default_factory=list)
    categories: dict[int, Categories] = field(default_factory=dict)

    def add(self, node: Any) -> int:
        place = len(self.rows)
        self.rows.append((0, 0.0, -1, -1, False, node if isinstance(node, float) else 0.0))
        if isinstance(node, Ask):
            left, right = self.add(node.left), self.add(node.right)
            self.rows[place] = (node.feature, node.limit, left, right, node.missing_left, 0.0)
            if node.feature == CODED:
                self.categories[place] = Categories(np.array(node.codes), node.codes_go_right)
        return place

    def tree(self) -> Tree:
        feature, limit, left, right, missing_left, leaves = map(np.array, zip(*self.rows, strict=True))
        return Tree(feature, limit, left, right, missing_left, leaves, self.categories)


def flat(node: Any) -> Tree:
    made = Flat()
    made.add(node)
    return made.tree()


def walked(node: Any, row: list[float], dtype: type[np.floating[Any]]) -> float:
    while isinstance(node, Ask):
        node = node.next(row, dtype)
    return node


@pytest.mark.parametrize("device", ["python", "cpu", "emulated"])
@given(
    st.lists(TREES, min_size=1, max_size=4),
    st.lists(st.tuples(VALUES, VALUES, CODES).map(list), max_size=20),
    st.sampled_from([np.float32, np.float64]),
)
def test_each_row_ends_where_python_ends(device: str, trees: list[Any], rows: list[list[float]], dtype: Any) -> None:
    ensemble = kernels.tree_ensemble([flat(t) for t in trees], FEATURES, compared=np.dtype(dtype).name)
    with on_device(device):
        result = ensemble.margins(np.array(rows, float).reshape(len(rows), FEATURES))
    # Leaves are eighths: their sums are exact in any order.
    assert result[:, 0].tolist() == [sum(walked(t, row, dtype) for t in trees) for row in rows]


@pytest.mark.parametrize("device", ["python", "cpu", "emulated"])
def test_a_missing_category_is_not_one_that_no_tree_lists(device: str) -> None:
    tree = flat(Ask(CODED, 0.0, (3,), codes_go_right=False, missing_left=True, left=1.0, right=2.0))
    rows = [[0.0, 0.0, code] for code in (3, 4, 1e9, -1.0, math.nan)]
    with on_device(device):
        result = kernels.tree_ensemble([tree], FEATURES).margins(np.array(rows))
    assert result[:, 0].tolist() == [1.0, 2.0, 2.0, 2.0, 1.0]


def test_sums_of_several_outputs_start_somewhere_and_are_averaged() -> None:
    trees = [flat(0.5), flat(1.5), flat(4.0)]
    made = kernels.tree_ensemble(trees, 1, outputs=2, adds_to=[0, 1, 1], start=[10.0, 20.0], average=True)
    assert made.margins(np.zeros((2, 1))).tolist() == [[10.5 / 3, 25.5 / 3]] * 2


def test_no_trees_are_no_ensemble() -> None:
    with pytest.raises(ValueError, match="at least one tree"):
        kernels.tree_ensemble([], 1)


# Samples: see tests/support/kernel_samples.py


def sample_tree_ensemble() -> Any:
    """Plain trees in single precision, and trees with categories in double precision."""
    features = np.array([[0.5, 2.0], [np.nan, 1.0], [-3.0, np.nan], [0.25, 7.0]])
    nodes = ([0, 0, 0], [0.3, 0, 0], [1, -1, -1], [2, -1, -1], [True, False, False], [0.0, 1.5, -2.0])
    stump = Tree(*map(np.array, nodes))
    with_categories = replace(stump, categories={0: Categories(np.array([1, 2]), True)})
    single = kernels.tree_ensemble([stump], 2, compared="float32")
    double = kernels.tree_ensemble([stump, with_categories], 2, average=True)
    return np.concatenate([trees.margins(features).reshape(-1) for trees in (single, double)])
