"""The rows of a matrix that are nearest to each vector.

On a CPU the products of all vectors with all rows are NumPy's: no loop of ours would beat its library of linear
algebra. They are rounded in an order of that library's own, so they only choose candidates: every row whose product
could be among the best is measured again in double precision, term by term, as the other devices measure every row.
So all devices give equal bits, and of equal rows the first. How far a product may be off is bounded as in N. Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import (
    CallError,
    Constant,
    Out,
    array_function,
    column_kernel,
    list_array,
    lists,
    nulls_of,
    planned_device,
)

if TYPE_CHECKING:
    import pyarrow as pa

    _Found = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

__all__ = ["top_k"]

Metric = Literal["cosine", "dot", "euclidean"]
_METRICS = ("cosine", "dot", "euclidean")
_EUCLIDEAN = _METRICS.index("euclidean")
_PRODUCTS = 1 << 22
"""Products that are made at a time."""
_TERMS = 16
"""Roundings of a product besides its sum's, generously."""


def _rank(vector, row, vectors, matrix, length, metric, norms, sizes):
    """What is larger for a nearer row: the product, the cosine, or the square of the distance below zero."""
    total = 0.0
    for j in range(length):
        a, b = np.float64(vectors[vector * length + j]), np.float64(matrix[row * length + j])
        if metric == _EUCLIDEAN:
            total -= (a - b) * (a - b)
        else:
            total += a * b
    return total / norms[vector] / sizes[row]


def _insert(rank, row, at, filled, k, ranks, rows):
    """Puts a row among the best, which are in order, behind its equals; how many there are then. Not NaN."""
    place = min(filled, k - 1)
    if rank != rank or (filled == k and rank <= ranks[at + place]):
        return filled
    while place > 0 and ranks[at + place - 1] < rank:
        ranks[at + place], rows[at + place] = ranks[at + place - 1], rows[at + place - 1]
        place -= 1
    ranks[at + place], rows[at + place] = rank, row
    return min(filled + 1, k)


@array_function
def _nearest(vector, vectors, matrix, length, count, metric, norms, sizes, k, ranks, rows, found):
    filled = 0
    for row in range(count):
        rank = _rank(vector, row, vectors, matrix, length, metric, norms, sizes)
        filled = _insert(rank, row, vector * k, filled, k, ranks, rows)
    for place in range(filled, k):
        ranks[vector * k + place], rows[vector * k + place] = 0.0, 0
    found[vector] = filled


@array_function
def _nearest_of_products(
    vector, products, tolerance, vectors, matrix, length, count, metric, norms, sizes, k, ranks, rows, found
):
    at, first = vector * k, vector * count
    filled = 0
    worst = -np.inf
    for row in range(count):
        if products[first + row] > worst and products[first + row] < np.inf:
            filled = _insert(np.float64(products[first + row]), row, at, filled, k, ranks, rows)
            if filled == k:
                worst = ranks[at + k - 1]
    limit = worst - tolerance[vector]
    filled = 0
    for row in range(count):
        if not (products[first + row] < limit):  # not a number, too: it is measured
            rank = _rank(vector, row, vectors, matrix, length, metric, norms, sizes)
            filled = _insert(rank, row, at, filled, k, ranks, rows)
    for place in range(filled, k):
        ranks[at + place], rows[at + place] = 0.0, 0
    found[vector] = filled


@column_kernel(
    "array<struct<index:int,score:double>>",
    parameters={
        "vectors": "lists of numbers, each as long as a row of the matrix",
        "matrix": "gs.Constant or array: the rows to choose from",
        "k": "how many to choose",
        "metric": "'cosine' or 'dot' (the largest), or 'euclidean' (the smallest distance)",
    },
    unit="index: a row of the matrix, from 0; score: none, the product of the units, or the vectors' unit",
    reference="N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, 2002, section 3.1",
)
def top_k(vectors: pa.Array, *, matrix: Any, k: int, metric: Metric = "cosine") -> pa.Array:
    """The ``k`` rows of ``matrix`` nearest to each vector, the nearest first, with their scores; of equal ones the
    first in the matrix first. All rows, where there are fewer than ``k``.

    Vectors are read in the matrix's precision, ``float32`` or ``float64``; scores are in double precision, and the
    same on every device. A row whose score is not a number (a cosine with a vector of zeros, or NaN) is not among the
    nearest. A null vector gives null. Raises :class:`~gpuspark.errors.CallError` for a vector of another length than
    the matrix's rows, nulls inside a vector, an unknown ``metric`` and a ``k`` below 1.

    >>> import pyarrow as pa
    >>> top_k(pa.array([[1.0, 0.2]]), matrix=[[0.0, 1.0], [3.0, 0.0]], k=1, metric="euclidean").to_pylist()
    [[{'index': 0, 'score': 1.2806248474865698}]]
    """
    import pyarrow as pa

    rows = _rows_of(matrix if isinstance(matrix, Constant) else Constant(matrix), metric)
    chosen = min(int(k), rows.count)
    if chosen < 1:
        raise CallError(f"k={k}: at least one row is to be chosen, of a matrix with at least one")
    nulls = nulls_of(vectors)
    queries = _dense(vectors, rows, nulls)
    ranks, indices, found = rows.nearest(queries, chosen)
    keep = np.arange(chosen) < found[:, None]
    if nulls is not None:
        keep &= ~nulls[:, None]
    score = np.sqrt(0.0 - ranks) if metric == "euclidean" else ranks
    if metric == "cosine":
        score = np.clip(score, -1.0, 1.0)  # rounding may lead beyond
    pairs = pa.StructArray.from_arrays([pa.array(indices[keep]), pa.array(score[keep])], ["index", "score"])
    return list_array(np.concatenate([[0], np.cumsum(keep.sum(axis=1))]), pairs, nulls)


@dataclass(frozen=True)
class _Rows:
    """A matrix as it is searched by one metric."""

    matrix: Constant
    metric: int
    sizes: Constant
    """What a product is divided by for each row."""
    by_products: NDArray[Any]
    """The rows that vectors are multiplied with on a CPU."""
    lowered: NDArray[Any]
    """What is taken from each product there."""
    longest: float

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.matrix)

    @property
    def length(self) -> int:
        """How long a row is."""
        return int(self.matrix.array.shape[1])

    def nearest(self, vectors: NDArray[Any], k: int) -> _Found:
        """For each vector ``k`` ranks and rows, and how many of them count."""
        wide = vectors.astype(np.float64)
        lengths = np.sqrt((wide * wide).sum(axis=1))
        norms = lengths if self.metric == _METRICS.index("cosine") else np.ones(len(vectors))
        if planned_device() != "cpu":
            return self._measure(vectors, norms, k)
        height = max(_PRODUCTS // self.count, 1)
        parts = [
            self._measure_products(vectors[n : n + height], norms[n : n + height], lengths[n : n + height], k)
            for n in range(0, max(len(vectors), 1), height)
        ]
        ranks, rows, found = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ranks, rows, found

    def _measure(self, vectors: NDArray[Any], norms: NDArray[Any], k: int) -> _Found:
        n = len(vectors)
        ranks, rows, found = _nearest(
            n, vectors, self.matrix, self.length, self.count, self.metric, norms, self.sizes, k,
            Out("f8", n * k), Out("i4", n * k), Out("i4", n),
        )  # fmt: skip
        return ranks.reshape(n, k), rows.reshape(n, k), found

    def _measure_products(self, vectors: NDArray[Any], norms: NDArray[Any], lengths: NDArray[Any], k: int) -> _Found:
        n = len(vectors)
        with np.errstate(all="ignore"):
            scaled = vectors / norms[:, None].astype(vectors.dtype)
            products = scaled @ self.by_products.T
            products -= self.lowered
            largest = lengths / norms * self.longest + float(np.max(self.lowered))
            unit = float(np.finfo(products.dtype).eps)  # twice that of a rounding: of two products
            tolerance = (self.length + _TERMS) * unit * largest
        ranks, rows, found = _nearest_of_products(
            n, products, tolerance, vectors, self.matrix, self.length, self.count, self.metric, norms, self.sizes, k,
            Out("f8", n * k), Out("i4", n * k), Out("i4", n),
        )  # fmt: skip
        return ranks.reshape(n, k), rows.reshape(n, k), found


@functools.lru_cache(maxsize=8)
def _rows_of(matrix: Constant, metric: Metric) -> _Rows:
    if metric not in _METRICS:
        raise CallError(f"metric={metric!r} is none of {', '.join(_METRICS)}")
    given = matrix.array
    if given.ndim != 2 or not given.size or given.dtype.kind not in "iuf":
        raise CallError(f"matrix is {matrix!r}, and must be one of numbers with rows and columns")
    if given.dtype not in (np.float32, np.float64):
        return _rows_of(Constant(given.astype(np.float64)), metric)
    wide = given.astype(np.float64)
    squares = (wide * wide).sum(axis=1)
    sizes = np.sqrt(squares) if metric == "cosine" else np.ones(len(wide))
    with np.errstate(all="ignore"):
        by_products = (wide / sizes[:, None]).astype(given.dtype)
    lowered = squares / 2 if metric == "euclidean" else np.zeros(len(wide))
    longest = 1.0 if metric == "cosine" else float(np.sqrt(squares.max()))
    return _Rows(matrix, _METRICS.index(metric), Constant(sizes), by_products, lowered.astype(given.dtype), longest)


def _dense(vectors: pa.Array, rows: _Rows, nulls: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The vectors as a matrix; zeros where one is null."""
    offsets, values = lists(vectors, rows.matrix.array.dtype, "vectors")
    lengths = np.diff(offsets)
    wrong = (lengths != rows.length) if nulls is None else (lengths != rows.length) & ~nulls
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise CallError(
            f"row {row} of the batch has a vector of {lengths[row]} numbers, and the matrix has rows of {rows.length}"
        )
    if nulls is None:
        return values[offsets[0] : offsets[-1]].reshape(len(vectors), rows.length)
    dense = np.zeros((len(vectors), rows.length), values.dtype)
    dense[~nulls] = values[(offsets[:-1][~nulls])[:, None] + np.arange(rows.length)]
    return dense
