"""Ensembles of decision trees (forests and boosted trees) over rows of features.

Each feature is compared as a whole number, its key, in the same order as the features. So every comparison is exact, a
record of four whole numbers holds a node, and a missing value is a number too: the largest one where it goes right, the
smallest where it goes left. The two children of a node are neighbours, and a leaf is its own child, so that every step
down a tree is the same. Eight rows walk together, so that reading memory for one overlaps with the others.

The trees are those of L. Breiman, J. Friedman, R. Olshen, C. Stone, Classification and Regression Trees, 1984; their
order in memory is that of N. Asadi, J. Lin, A. de Vries, Runtime Optimizations for Tree-Based Machine Learning Models,
IEEE TKDE 26 (9), 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import ArrayFunction, Constant, Out, array_function, planned_device

__all__ = ["Categories", "Tree", "TreeEnsemble", "tree_ensemble"]

AT_ONCE = 8
"""The number of rows that walk down a tree together."""
_BLOCK_BYTES = 1 << 18
"""On a CPU, the bytes of keys that are taken through all trees at a time, so that they stay in the caches."""
_ROWS = 4096
"""The rows of features whose keys are made at a time, while they are in the caches."""
_FIELDS = 4
_BITS = 32
_MISSING, _UNLISTED = 0, 1
"""The first two bits of a set of categories. Category c has the bit c + 2."""


@dataclass(frozen=True)
class Categories:
    """The test of a node whether a feature is one of ``codes``, whole numbers from 0 on."""

    codes: NDArray[Any]
    go_right: bool
    """Whether the listed categories go right, and the others left, or the other way round."""


@dataclass(frozen=True)
class Tree:
    """A tree: arrays with an entry for each node, the root first."""

    feature: NDArray[Any]
    threshold: NDArray[Any]
    """The largest value of the feature that goes left."""
    left: NDArray[Any]
    """The node number of the left child; negative for a leaf."""
    right: NDArray[Any]
    missing_left: NDArray[np.bool_]
    """Whether a missing feature goes left."""
    leaves: NDArray[Any]
    """What a leaf adds: one number, or one for each output. Ignored for inner nodes."""
    categories: Mapping[int, Categories] = field(default_factory=dict)
    """The nodes that test categories instead of the threshold, by node number."""


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees laid out in memory for prediction, by :func:`tree_ensemble`. Pickled with the function that uses it."""

    outputs: int
    columns: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    """The features that are read with missing values as the largest number, as the smallest, and as categories."""
    sizes: NDArray[np.int64]
    """The number of bits in a node's set, for each feature of categories."""
    compared: str
    """The type that features are rounded to before they are compared: ``float32`` or ``float64``."""
    summed: str
    """The type of the outputs."""
    nodes: Constant
    roots: Constant
    depths: Constant
    adds_to: Constant
    """For each tree, the output that its leaves add to; the first of several."""
    leaves: Constant
    sets: Constant
    start: NDArray[np.float64]
    """The value that each output begins with."""
    divisor: float
    """The divisor of the sums: the number of trees for an average, else 1."""

    def margins(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """Returns the sums of the leaves for each row of features in ``x``, as a matrix with a column for each output.

        NaN is a missing feature. Leaves are added in the order of the trees.

        >>> stump = Tree(*(np.array(v) for v in ([0, 0, 0], [0.5, 0, 0], [1, -1, -1], [2, -1, -1], [True] * 3,
        ...     [[0.0], [10.0], [20.0]])))
        >>> tree_ensemble([stump], features=1).margins(np.array([[0.5], [0.6], [np.nan]])).tolist()
        [[10.0], [20.0], [10.0]]
        """
        keys = self._keys(x)
        size = AT_ONCE
        if planned_device() == "cpu":
            size *= max(_BLOCK_BYTES // (AT_ONCE * keys.shape[1] * keys.itemsize), 1)
        dtype = np.dtype(self.summed)
        function = _with_sets if len(self.columns[2]) else _plain
        rows = len(keys)
        sums: NDArray[Any] = function(
            -(-rows // size),
            size=size,
            rows=rows,
            keys=keys,
            width=keys.shape[1],
            nodes=self.nodes,
            roots=self.roots,
            depths=self.depths,
            adds_to=self.adds_to,
            count=len(self.roots),
            leaves=self.leaves,
            values=self.leaves.array.shape[1],
            sets=self.sets,
            start=self.start.astype(dtype),
            outputs=self.outputs,
            out=Out(dtype, rows * self.outputs),
        )
        margins: NDArray[Any] = sums.reshape(rows, self.outputs)[: len(x)]
        if self.divisor != 1:
            margins /= dtype.type(self.divisor)
        return margins

    def _keys(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """Returns the keys of the features, row after row, padded with rows up to a multiple of :data:`AT_ONCE`."""
        width = sum(map(len, self.columns))
        keys = np.zeros((-(-len(x) // AT_ONCE) * AT_ONCE, width), self.compared.replace("float", "int"))
        for begin in range(0, len(x), _ROWS):
            rows = x[begin : begin + _ROWS]
            self._write_keys(rows, keys[begin : begin + len(rows)])
        return keys

    def _write_keys(self, x: NDArray[np.float64], keys: NDArray[Any]) -> None:
        """Writes the keys of the features in ``x`` into as many rows of ``keys``."""
        high, low, coded = self.columns
        whole, missing = _ordered(x, self.compared), np.isnan(x)
        limits, some_missing = np.iinfo(whole.dtype), missing.any()
        for begin, chosen, instead in ((0, high, limits.max), (len(high), low, limits.min)):
            part = keys[:, begin : begin + len(chosen)]
            part[:] = np.take(whole, chosen, axis=1)
            if some_missing:
                part[missing[:, chosen]] = instead
        for column, (feature, size) in enumerate(zip(coded, self.sizes, strict=True), len(high) + len(low)):
            with np.errstate(invalid="ignore"):
                listed = (x[:, feature] >= 0) & (x[:, feature] < size - 2)
            part = keys[:, column]
            part[:] = np.where(listed, x[:, feature], 0).astype(whole.dtype) + 2
            part[~listed] = _UNLISTED
            part[missing[:, feature]] = _MISSING


def _ordered(x: Any, dtype: str) -> NDArray[Any]:
    """Returns for each float a whole number of the same size and order; that of -0.0 is just below that of 0.0."""
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinity
        bits = np.ascontiguousarray(x, dtype).view(dtype.replace("float", "int"))
    sign = bits >> (8 * bits.itemsize - 1)
    keys: NDArray[Any] = bits ^ (sign & np.iinfo(bits.dtype).max)
    return keys


def _down(node, row, keys, nodes, sets):  # noqa: ARG001  (the parameters of _down_or_look_up)
    """Returns the child that a row goes to from a node that compares with its threshold."""
    return np.int64(nodes[node + 2]) + (np.int64(keys[row + nodes[node + 1]] > nodes[node]) << 2)


def _down_or_look_up(node, row, keys, nodes, sets):
    """Returns the child that a row goes to from any node."""
    key = np.int64(keys[row + nodes[node + 1]])
    right = np.int64(key > nodes[node])
    if nodes[node + 3] < -1:
        right = (np.int64(sets[nodes[node] + (key >> 5)]) >> (key & 31)) & 1
    return np.int64(nodes[node + 2]) + (right << 2)


def _add(out, at, leaves, leaf, count):
    """Adds the values of a leaf to as many outputs."""
    for k in range(count):
        out[at + k] += leaves[leaf + k]


def _walk(name: str, down: Callable[..., Any]) -> ArrayFunction:
    """Returns the array function over blocks of rows, for one way to go down from a node."""

    def trees(
        block, size, rows, keys, width, nodes, roots, depths, adds_to, count, leaves, values, sets, start, outputs, out
    ):
        begin = block * size
        end = min(begin + size, rows)
        for row in range(begin, end):
            for k in range(outputs):
                out[row * outputs + k] = start[k]
        for tree in range(count):
            root = np.int64(roots[tree])
            for row in range(begin, end, 8):
                at0 = row * width
                at1, at2, at3, at4 = at0 + width, at0 + 2 * width, at0 + 3 * width, at0 + 4 * width
                at5, at6, at7 = at0 + 5 * width, at0 + 6 * width, at0 + 7 * width
                n0 = n1 = n2 = n3 = n4 = n5 = n6 = n7 = root
                leaf0 = leaf1 = leaf2 = leaf3 = leaf4 = leaf5 = leaf6 = leaf7 = np.int64(-1)
                below = depths[tree] + 0
                while (leaf0 | leaf1 | leaf2 | leaf3 | leaf4 | leaf5 | leaf6 | leaf7) < 0:
                    for _ in range(min(below, 4)):
                        n0 = down(n0, at0, keys, nodes, sets)
                        n1 = down(n1, at1, keys, nodes, sets)
                        n2 = down(n2, at2, keys, nodes, sets)
                        n3 = down(n3, at3, keys, nodes, sets)
                        n4 = down(n4, at4, keys, nodes, sets)
                        n5 = down(n5, at5, keys, nodes, sets)
                        n6 = down(n6, at6, keys, nodes, sets)
                        n7 = down(n7, at7, keys, nodes, sets)
                    below -= 4
                    leaf0, leaf1 = np.int64(nodes[n0 + 3]), np.int64(nodes[n1 + 3])
                    leaf2, leaf3 = np.int64(nodes[n2 + 3]), np.int64(nodes[n3 + 3])
                    leaf4, leaf5 = np.int64(nodes[n4 + 3]), np.int64(nodes[n5 + 3])
                    leaf6, leaf7 = np.int64(nodes[n6 + 3]), np.int64(nodes[n7 + 3])
                at = row * outputs + adds_to[tree]
                _add(out, at, leaves, leaf0, values)
                _add(out, at + outputs, leaves, leaf1, values)
                _add(out, at + 2 * outputs, leaves, leaf2, values)
                _add(out, at + 3 * outputs, leaves, leaf3, values)
                _add(out, at + 4 * outputs, leaves, leaf4, values)
                _add(out, at + 5 * outputs, leaves, leaf5, values)
                _add(out, at + 6 * outputs, leaves, leaf6, values)
                _add(out, at + 7 * outputs, leaves, leaf7, values)

    trees.__name__ = name
    return array_function(trees)


_plain = _walk("trees", _down)
_with_sets = _walk("trees_with_categories", _down_or_look_up)


def tree_ensemble(
    trees: Sequence[Tree],
    features: int,
    *,
    outputs: int = 1,
    adds_to: Sequence[int] | None = None,
    start: Sequence[float] | None = None,
    average: bool = False,
    compared: str = "float64",
    summed: str = "float64",
) -> TreeEnsemble:
    """Lays trees out in memory for :meth:`TreeEnsemble.margins`.

    ``features``: the number of features in a row. ``outputs``: the number of sums. ``adds_to``: for each tree the
    output that its leaves add to, 0 unless given; leaves of several values add to as many outputs from there.
    ``start``: the value that each sum begins with. ``average``: whether the sums are divided by the number of trees.
    ``compared``, ``summed``: the types, ``float32`` or ``float64``, that features are rounded to, and that leaves are
    added in.

    Raises ``ValueError`` for an empty sequence of trees.
    """
    if not trees:
        raise ValueError("an ensemble has at least one tree")
    coded, sizes = _categorical_features(trees)
    numeric = [_numeric(tree) for tree in trees]
    low = np.unique(np.concatenate([t.feature[i & t.missing_left] for t, i in zip(trees, numeric, strict=True)]))
    columns = np.arange(features), low.astype(np.int64), coded
    sets: list[NDArray[np.uint32]] = [np.zeros(1, np.uint32)]
    records, roots, depths, leaves = [], [], [], []
    nodes = values = 0
    for tree, inner in zip(trees, numeric, strict=True):
        position, depth = _positions(tree)
        record = _records(tree, inner, columns, compared, position)
        record[:, 2] += _FIELDS * nodes
        is_leaf = tree.left < 0
        record[is_leaf, 3] += values
        for node, categories in tree.categories.items():
            size = int(sizes[coded == tree.feature[node]][0])
            record[node, 0] = sum(map(len, sets))
            sets.append(_bits(categories, bool(tree.missing_left[node]), size))
        records.append(record[np.argsort(position)])
        leaves.append(tree.leaves.reshape(len(position), -1)[is_leaf])
        roots.append(_FIELDS * nodes)
        depths.append(depth)
        nodes += len(position)
        values += leaves[-1].size
    return TreeEnsemble(
        outputs=outputs, columns=columns, sizes=sizes, compared=compared, summed=summed,
        nodes=Constant(np.concatenate(records).astype(compared.replace("float", "int"))),
        roots=Constant(np.array(roots, np.int32)), depths=Constant(np.array(depths, np.int32)),
        adds_to=Constant(np.array(adds_to if adds_to is not None else [0] * len(trees), np.int32)),
        leaves=Constant(np.concatenate(leaves).astype(summed)), sets=Constant(np.concatenate(sets)),
        start=np.array(start if start is not None else [0.0] * outputs), divisor=len(trees) if average else 1,
    )  # fmt: skip


def _numeric(tree: Tree) -> NDArray[np.bool_]:
    """Returns whether each node compares with its threshold."""
    numeric: NDArray[np.bool_] = tree.left >= 0
    numeric[list(tree.categories)] = False
    return numeric


def _records(
    tree: Tree,
    numeric: NDArray[np.bool_],
    columns: tuple[NDArray[np.int64], ...],
    compared: str,
    position: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Returns the record of each node: what its key is compared with, where the key stands in a row, where the left
    child stands, and where its values stand (-1 for an inner node, -2 for one that tests categories)."""
    is_leaf = tree.left < 0
    width = tree.leaves.reshape(len(position), -1).shape[1]
    record = np.empty((len(position), _FIELDS), np.int64)
    record[:, 0] = np.where(numeric, _ordered(_at_most(tree.threshold, compared), compared), _largest(compared))
    record[:, 1] = _column(tree, numeric, columns)
    record[:, 2] = _FIELDS * np.where(is_leaf, position, position[np.where(is_leaf, 0, tree.left)])
    record[:, 3] = -1
    record[is_leaf, 3] = np.arange(np.count_nonzero(is_leaf)) * width
    record[list(tree.categories), 3] = -2
    return record


def _categorical_features(trees: Sequence[Tree]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the features that are categories, and the number of bits in a node's set for each."""
    largest: dict[int, int] = {}
    for tree in trees:
        for node, categories in tree.categories.items():
            feature = int(tree.feature[node])
            largest[feature] = max(largest.get(feature, 0), int(max(categories.codes, default=0)))
    coded = sorted(largest)
    return np.array(coded, np.int64), np.array([largest[feature] + 3 for feature in coded], np.int64)


def _bits(categories: Categories, missing_left: bool, size: int) -> NDArray[np.uint32]:
    """Returns a bit for missing values, one for unlisted ones, and one for each category: 1 where a row goes right."""
    right = np.full(-(-size // _BITS) * _BITS, not categories.go_right)
    right[np.asarray(categories.codes, np.int64) + 2] = categories.go_right
    right[_MISSING] = not missing_left
    return np.packbits(right, bitorder="little").view(np.uint32)


def _positions(tree: Tree) -> tuple[NDArray[np.int64], int]:
    """Returns the position of each node, and the depth of the tree. The children of a node are neighbours; all nodes
    below the left one follow, then all below the right one."""
    levels = []
    inner = np.flatnonzero(tree.left[:1] >= 0)
    while len(inner):
        levels.append(inner)
        both = np.concatenate([tree.left[inner], tree.right[inner]])
        inner = both[tree.left[both] >= 0]
    below = np.zeros(len(tree.left), np.int64)
    for inner in reversed(levels):
        below[inner] = 2 + below[tree.left[inner]] + below[tree.right[inner]]
    position, start = np.zeros(len(below), np.int64), np.ones(len(below), np.int64)
    for inner in levels:
        left, right = tree.left[inner], tree.right[inner]
        position[left], position[right] = start[inner], start[inner] + 1
        start[left], start[right] = start[inner] + 2, start[inner] + 2 + below[left]
    return position, len(levels)


def _column(tree: Tree, numeric: NDArray[np.bool_], columns: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Returns where each node finds its key in a row."""
    high, low, coded = columns
    column = np.where(tree.left < 0, 0, tree.feature).astype(np.int64)
    lows = numeric & tree.missing_left
    column[lows] = len(high) + np.searchsorted(low, column[lows])
    for node in tree.categories:
        column[node] = len(high) + len(low) + int(np.searchsorted(coded, tree.feature[node]))
    return column


def _at_most(threshold: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Returns the largest numbers of ``dtype`` at most the thresholds: the same features are at most these."""
    exact = threshold.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype)
    below = np.nextafter(rounded, rounded.dtype.type(-np.inf))
    largest: NDArray[Any] = np.where(rounded > exact, below, rounded)
    largest += largest.dtype.type(0)  # turns -0.0 into 0.0, whose key is larger
    return largest


def _largest(dtype: str) -> int:
    """Returns the largest key of a type."""
    return int(np.iinfo(dtype.replace("float", "int")).max)
