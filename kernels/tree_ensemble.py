"""Ensembles of decision trees (forests and boosted trees) over rows of features.

Each feature is compared as a whole number that is ordered as the feature is, so that every comparison is exact, one
record of four numbers holds a node, and a missing value is a number too: the largest one where it goes right, the
smallest where it goes left. A node's children stand side by side, and a leaf is its own child, so that a tree is
walked in equal steps. Eight rows walk together, so that none of them waits for the others' memory.

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
"""Rows that walk down a tree together."""
_BLOCK_BYTES = 1 << 18
"""On a CPU: the keys of the rows that meet one tree while it lies in the caches."""
_FIELDS = 4
_BITS = 32
_MISSING, _UNLISTED = 0, 1
"""Of a category's bits: the first two. The category c has the bit c + 2."""


@dataclass(frozen=True)
class Categories:
    """A node that asks whether a feature is one of ``codes``; whole numbers from 0 on."""

    codes: NDArray[Any]
    go_right: bool
    """Where those go; the others go the other way."""


@dataclass(frozen=True)
class Tree:
    """One tree: an entry for each node in each array, the root first."""

    feature: NDArray[Any]
    threshold: NDArray[Any]
    """A row goes left where its feature is at most this."""
    left: NDArray[Any]
    """The number of the left child; negative for a leaf."""
    right: NDArray[Any]
    missing_left: NDArray[np.bool_]
    """Whether a missing feature goes left."""
    leaves: NDArray[Any]
    """What a leaf adds: one number, or one for each output; of inner nodes, anything."""
    categories: Mapping[int, Categories] = field(default_factory=dict)
    """The nodes that do not compare with the threshold."""


@dataclass(frozen=True)
class TreeEnsemble:
    """Trees as they are walked. Made by :func:`tree_ensemble`; workers get it with their function."""

    outputs: int
    columns: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    """Which features are read: with missing values as the largest, as the smallest, and as categories."""
    sizes: NDArray[np.int64]
    """For each feature of categories, how many bits a node has for it."""
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
    """What each output begins with."""
    divisor: float
    """What the sums are divided by: the number of trees where these are averaged, else 1."""

    def margins(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """For each row of ``x`` (a row of features each, NaN where one is missing) what the trees' leaves sum to, in
        the trees' order: a matrix with a column for each output.

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
        padded = len(keys)
        sums: NDArray[Any] = function(
            -(-padded // size), size, padded, keys, keys.shape[1], self.nodes, self.roots, self.depths, self.adds_to,
            len(self.roots), self.leaves, self.leaves.array.shape[1], self.sets, self.start.astype(dtype),
            self.outputs, Out(dtype, padded * self.outputs),
        )  # fmt: skip
        found: NDArray[Any] = sums.reshape(padded, self.outputs)[: len(x)]
        if self.divisor != 1:
            found /= dtype.type(self.divisor)
        return found

    def _keys(self, x: NDArray[np.float64]) -> NDArray[Any]:
        """The features as ordered whole numbers, row after row, and rows up to a multiple of :data:`AT_ONCE`."""
        high, low, coded = self.columns
        whole, missing = _ordered(x, self.compared), np.isnan(x)
        keys = np.zeros((-(-len(x) // AT_ONCE) * AT_ONCE, len(high) + len(low) + len(coded)), whole.dtype)
        limits, some_missing = np.iinfo(whole.dtype), missing.any()
        for begin, chosen, instead in ((0, slice(None), limits.max), (len(high), low, limits.min)):
            part = keys[: len(x), begin : begin + whole[:1, chosen].shape[1]]
            part[:] = whole[:, chosen]
            if some_missing:
                part[missing[:, chosen]] = instead
        for column, (feature, size) in enumerate(zip(coded, self.sizes, strict=True), len(high) + len(low)):
            with np.errstate(invalid="ignore"):
                listed = (x[:, feature] >= 0) & (x[:, feature] < size - 2)
            part = keys[: len(x), column]
            part[:] = np.where(listed, x[:, feature], 0).astype(whole.dtype) + 2
            part[~listed] = _UNLISTED
            part[missing[:, feature]] = _MISSING
        return keys


def _ordered(x: Any, dtype: str) -> NDArray[Any]:
    """For each float a whole number of its size, so that these are ordered as the floats; -0.0 just before 0.0."""
    with np.errstate(over="ignore"):  # what is beyond float32 is infinity there
        bits = np.ascontiguousarray(x, dtype).view(dtype.replace("float", "int"))
    sign = bits >> (8 * bits.itemsize - 1)
    keys: NDArray[Any] = bits ^ (sign & np.iinfo(bits.dtype).max)
    return keys


def _down(node, row, keys, nodes, sets):  # noqa: ARG001  (as its sister has it)
    return np.int64(nodes[node + 2]) + (np.int64(keys[row + nodes[node + 1]] > nodes[node]) << 2)


def _down_or_look_up(node, row, keys, nodes, sets):
    key = np.int64(keys[row + nodes[node + 1]])
    right = np.int64(key > nodes[node])
    if nodes[node + 3] < -1:
        right = (np.int64(sets[nodes[node] + (key >> 5)]) >> (key & 31)) & 1
    return np.int64(nodes[node + 2]) + (right << 2)


def _add(out, at, leaves, leaf, count):
    for k in range(count):
        out[at + k] += leaves[leaf + k]


def _walk(name: str, down: Callable[..., Any]) -> ArrayFunction:
    """The function of a block of rows, for one way to go down a node."""

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

    ``features``: how many each row has. ``outputs``: sums to make; ``adds_to``: for each tree the one that its leaves
    add to, 0 unless given (leaves of several values add to as many outputs from there). ``start``: what each sum
    begins with. ``average``: the sums are divided by the number of trees. ``compared``, ``summed``: the types,
    ``float32`` or ``float64``, that features are rounded to, and that leaves are added up in.

    Raises ``ValueError`` for no trees at all.
    """
    if not trees:
        raise ValueError("an ensemble has at least one tree")
    coded, sizes = _categorical_features(trees)
    numeric = [tree.left >= 0 for tree in trees]
    for tree, inner in zip(trees, numeric, strict=True):
        inner[list(tree.categories)] = False
    low = np.unique(np.concatenate([t.feature[i & t.missing_left] for t, i in zip(trees, numeric, strict=True)]))
    columns = np.arange(features), low.astype(np.int64), coded
    sets: list[NDArray[np.uint32]] = [np.zeros(1, np.uint32)]
    records, roots, depths, leaves = [], [], [], []
    nodes = held = 0
    for tree, inner in zip(trees, numeric, strict=True):
        place, depth = _places(tree)
        is_leaf = tree.left < 0
        record = np.empty((len(place), _FIELDS), np.int64)
        record[:, 0] = np.where(inner, _ordered(_at_most(tree.threshold, compared), compared), _largest(compared))
        record[:, 1] = _column(tree, inner, columns)
        record[:, 2] = _FIELDS * (nodes + np.where(is_leaf, place, place[np.where(is_leaf, 0, tree.left)]))
        record[:, 3] = -1
        values = tree.leaves.reshape(len(place), -1)
        record[is_leaf, 3] = held + np.arange(np.count_nonzero(is_leaf)) * values.shape[1]
        for node, categories in tree.categories.items():
            size = int(sizes[coded == tree.feature[node]][0])
            record[node, 0] = sum(map(len, sets))
            record[node, 3] = -2
            sets.append(_bits(categories, bool(tree.missing_left[node]), size))
        records.append(record[np.argsort(place)])
        leaves.append(values[is_leaf])
        roots.append(_FIELDS * nodes)
        depths.append(depth)
        nodes += len(place)
        held += leaves[-1].size
    return TreeEnsemble(
        outputs=outputs, columns=columns, sizes=sizes, compared=compared, summed=summed,
        nodes=Constant(np.concatenate(records).astype(compared.replace("float", "int"))),
        roots=Constant(np.array(roots, np.int32)), depths=Constant(np.array(depths, np.int32)),
        adds_to=Constant(np.array(adds_to if adds_to is not None else [0] * len(trees), np.int32)),
        leaves=Constant(np.concatenate(leaves).astype(summed)), sets=Constant(np.concatenate(sets)),
        start=np.array(start if start is not None else [0.0] * outputs), divisor=len(trees) if average else 1,
    )  # fmt: skip


def _categorical_features(trees: Sequence[Tree]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The features that are categories, and how many bits a node has for each."""
    largest: dict[int, int] = {}
    for tree in trees:
        for node, categories in tree.categories.items():
            feature = int(tree.feature[node])
            largest[feature] = max(largest.get(feature, 0), int(max(categories.codes, default=0)))
    coded = sorted(largest)
    return np.array(coded, np.int64), np.array([largest[feature] + 3 for feature in coded], np.int64)


def _bits(categories: Categories, missing_left: bool, size: int) -> NDArray[np.uint32]:
    """A bit for each category, and for those that are missing and unlisted: 1 where a row goes right."""
    right = np.full(-(-size // _BITS) * _BITS, not categories.go_right)
    right[np.asarray(categories.codes, np.int64) + 2] = categories.go_right
    right[_MISSING] = not missing_left
    return np.packbits(right, bitorder="little").view(np.uint32)


def _places(tree: Tree) -> tuple[NDArray[np.int64], int]:
    """Where each node goes: children side by side, behind them all below the left one, then all below the right one.
    And how many steps lead to the lowest."""
    levels = []
    inner = np.flatnonzero(tree.left[:1] >= 0)
    while len(inner):
        levels.append(inner)
        both = np.concatenate([tree.left[inner], tree.right[inner]])
        inner = both[tree.left[both] >= 0]
    below = np.zeros(len(tree.left), np.int64)
    for inner in reversed(levels):
        below[inner] = 2 + below[tree.left[inner]] + below[tree.right[inner]]
    place, start = np.zeros(len(below), np.int64), np.ones(len(below), np.int64)
    for inner in levels:
        left, right = tree.left[inner], tree.right[inner]
        place[left], place[right] = start[inner], start[inner] + 1
        start[left], start[right] = start[inner] + 2, start[inner] + 2 + below[left]
    return place, len(levels)


def _column(tree: Tree, inner: NDArray[np.bool_], columns: tuple[NDArray[np.int64], ...]) -> NDArray[np.int64]:
    """Where each node finds its key in a row."""
    high, low, coded = columns
    found = np.where(tree.left < 0, 0, tree.feature).astype(np.int64)
    lows = inner & tree.missing_left
    found[lows] = len(high) + np.searchsorted(low, found[lows])
    for node in tree.categories:
        found[node] = len(high) + len(low) + int(np.searchsorted(coded, tree.feature[node]))
    return found


def _at_most(threshold: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The largest numbers of ``dtype`` that are not above the thresholds: at most the one is at most the other."""
    exact = threshold.astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype)
    below = np.nextafter(rounded, rounded.dtype.type(-np.inf))
    found: NDArray[Any] = np.where(rounded > exact, below, rounded)
    found += found.dtype.type(0)  # + 0: no -0.0, whose key is below that of 0.0
    return found


def _largest(dtype: str) -> int:
    return int(np.iinfo(dtype.replace("float", "int")).max)
