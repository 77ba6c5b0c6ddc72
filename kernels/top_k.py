"""The rows of a matrix that are nearest to each vector.

On a CPU NumPy computes the products of all vectors with all rows: its linear algebra library is faster than any loop
of ours. That library rounds in an order of its own, so its products only choose candidates. Every row whose product
could be among the best is computed again in double precision, term by term, as other devices compute every row. So all
devices return equal bits, and the first of equal rows. The error of a product is bounded as in N. Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1.
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

    _Ranked = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

__all__ = ["top_k"]

Metric = Literal["cosine", "dot", "euclidean"]
_METRICS = ("cosine", "dot", "euclidean")
_EUCLIDEAN = _METRICS.index("euclidean")
_PRODUCTS = 1 << 22
"""The most products that are computed at a time."""
_THREADS = 1 << 16
"""The threads that shall keep a GPU busy."""
_SLICE = 64
"""The fewest rows of a slice of the matrix, one thread's work."""
_SLICE_OF_BEST = 8
"""The fewest rows of a slice for each row that is chosen, so that it has far fewer results than rows."""
_TERMS = 16
"""An upper bound for the roundings of a product besides those of its sum."""


def _rank(vector, row, vectors, matrix, length, metric, norms, sizes):
    """Returns what is larger for a nearer row: the product, the cosine, or the negative square of the distance."""
    total = 0.0
    for j in range(length):
        a, b = np.float64(vectors[vector * length + j]), np.float64(matrix[row * length + j])
        if metric == _EUCLIDEAN:
            total -= (a - b) * (a - b)
        else:
            total += a * b
    return total / norms[vector] / sizes[row]


def _ranks_of_four(vector, row, vectors, matrix, length, metric, norms, sizes):
    """Returns what :func:`_rank` does for four rows, and reads the vector once for them."""
    first = second = third = fourth = 0.0
    at, one = vector * length, row * length
    two, three, four = one + length, one + 2 * length, one + 3 * length
    for j in range(length):
        x, a, b = np.float64(vectors[at + j]), np.float64(matrix[one + j]), np.float64(matrix[two + j])
        c, d = np.float64(matrix[three + j]), np.float64(matrix[four + j])
        if metric == _EUCLIDEAN:
            first -= (x - a) * (x - a)
            second -= (x - b) * (x - b)
            third -= (x - c) * (x - c)
            fourth -= (x - d) * (x - d)
        else:
            first += x * a
            second += x * b
            third += x * c
            fourth += x * d
    norm = norms[vector]
    return (
        first / norm / sizes[row],
        second / norm / sizes[row + 1],
        third / norm / sizes[row + 2],
        fourth / norm / sizes[row + 3],
    )


def _insert(rank, row, at, filled, k, ranks, rows):
    """Inserts a row into the ordered best ones, behind its equals, unless its rank is NaN; returns their number."""
    position = min(filled, k - 1)
    if rank != rank or (filled == k and rank <= ranks[at + position]):
        return filled
    while position > 0 and ranks[at + position - 1] < rank:
        ranks[at + position], rows[at + position] = ranks[at + position - 1], rows[at + position - 1]
        position -= 1
    ranks[at + position], rows[at + position] = rank, row
    return min(filled + 1, k)


def _end(item, filled, k, ranks, rows, counts):
    """Ends an item's best rows: the places that no row took get zeros."""
    for position in range(item * k + filled, (item + 1) * k):
        ranks[position], rows[position] = 0.0, 0
    counts[item] = filled


@array_function
def _nearest_of_slice(
    item, queries, slices, vectors, matrix, length, count, metric, norms, sizes, k, ranks, rows, counts
):
    """Neighbouring threads read the same rows of the matrix, for different vectors."""
    vector = item % queries
    slice_ = item // queries
    result = vector * slices + slice_
    row, end, at, filled = count * slice_ // slices, count * (slice_ + 1) // slices, result * k, 0
    while row + 4 <= end:
        one, two, three, four = _ranks_of_four(vector, row, vectors, matrix, length, metric, norms, sizes)
        filled = _insert(one, row, at, filled, k, ranks, rows)
        filled = _insert(two, row + 1, at, filled, k, ranks, rows)
        filled = _insert(three, row + 2, at, filled, k, ranks, rows)
        filled = _insert(four, row + 3, at, filled, k, ranks, rows)
        row += 4
    while row < end:
        rank = _rank(vector, row, vectors, matrix, length, metric, norms, sizes)
        filled = _insert(rank, row, at, filled, k, ranks, rows)
        row += 1
    _end(result, filled, k, ranks, rows, counts)


@array_function
def _nearest_of_slices(vector, slices, slice_ranks, slice_rows, slice_counts, k, ranks, rows, counts):
    filled = 0
    for result in range(vector * slices, (vector + 1) * slices):
        for position in range(result * k, result * k + slice_counts[result]):
            filled = _insert(slice_ranks[position], slice_rows[position], vector * k, filled, k, ranks, rows)
    _end(vector, filled, k, ranks, rows, counts)


@array_function
def _nearest_of_products(
    vector, products, tolerance, vectors, matrix, length, count, metric, norms, sizes, k, ranks, rows, counts
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
        if not (products[first + row] < limit):  # also where it is NaN
            rank = _rank(vector, row, vectors, matrix, length, metric, norms, sizes)
            filled = _insert(rank, row, at, filled, k, ranks, rows)
    _end(vector, filled, k, ranks, rows, counts)


@column_kernel(
    "array<struct<index:int,score:double>>",
    parameters={
        "vectors": "lists of numbers, each as long as a row of the matrix",
        "matrix": "gs.Constant or array: the rows to choose from",
        "k": "the number of rows to choose",
        "metric": "'cosine' or 'dot' (the largest), or 'euclidean' (the smallest distance)",
    },
    unit="index: a row of the matrix, from 0; score: none, the product of the units, or the vectors' unit",
    reference="N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, 2002, section 3.1",
)
def top_k(vectors: pa.Array, *, matrix: Any, k: int, metric: Metric = "cosine") -> pa.Array:
    """Returns the ``k`` rows of ``matrix`` nearest to each vector, with their scores, the nearest first. Equal rows are
    in the order of the matrix. A matrix with fewer than ``k`` rows gives all its rows.

    Vectors are read in the precision of the matrix, ``float32`` or ``float64``. Scores are in double precision, and the
    same on every device. A row whose score is NaN (such as the cosine with a vector of zeros) is left out. A null
    vector gives null. Raises :class:`~gpuspark.errors.CallError` for a vector of another length than the rows of the
    matrix, nulls inside a vector, an unknown ``metric`` and a ``k`` below 1.

    >>> import pyarrow as pa
    >>> top_k(pa.array([[1.0, 0.2]]), matrix=[[0.0, 1.0], [3.0, 0.0]], k=1, metric="euclidean").to_pylist()
    [[{'index': 0, 'score': 1.2806248474865698}]]
    """
    import pyarrow as pa

    rows = _rows_of(matrix if isinstance(matrix, Constant) else Constant(matrix), metric)
    chosen = min(int(k), rows.count)
    if chosen < 1:
        raise CallError(f"k={k} must be at least 1")
    nulls = nulls_of(vectors)
    queries = _dense(vectors, rows, nulls)
    ranks, indices, counts = rows.nearest(queries, chosen)
    keep = np.arange(chosen) < counts[:, None]
    if nulls is not None:
        keep &= ~nulls[:, None]
    score = np.sqrt(0.0 - ranks) if metric == "euclidean" else ranks
    if metric == "cosine":
        score = np.clip(score, -1.0, 1.0)  # rounding may lead beyond
    pairs = pa.StructArray.from_arrays([pa.array(indices[keep]), pa.array(score[keep])], ["index", "score"])
    return list_array(np.concatenate([[0], np.cumsum(keep.sum(axis=1))]), pairs, nulls)


@dataclass(frozen=True)
class _Rows:
    """A matrix, prepared to be searched by one metric."""

    matrix: Constant
    metric: int
    sizes: Constant
    """The divisor of each row's products."""
    by_products: NDArray[Any]
    """The rows that vectors are multiplied with on a CPU."""
    lowered: NDArray[Any]
    """What is subtracted from each product there."""
    longest: float
    """The length of the longest row, in the products' unit."""

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.matrix)

    @property
    def length(self) -> int:
        """The length of a row."""
        return int(self.matrix.array.shape[1])

    def nearest(self, vectors: NDArray[Any], k: int) -> _Ranked:
        """Returns for each vector ``k`` ranks and row numbers, and how many of them count."""
        wide = vectors.astype(np.float64)
        lengths = np.sqrt((wide * wide).sum(axis=1))
        norms = lengths if self.metric == _METRICS.index("cosine") else np.ones(len(vectors))
        if planned_device() != "cpu":
            return self._by_every_row(vectors, norms, k)
        height = max(_PRODUCTS // self.count, 1)
        parts = [
            self._by_products(vectors[n : n + height], norms[n : n + height], lengths[n : n + height], k)
            for n in range(0, max(len(vectors), 1), height)
        ]
        ranks, rows, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ranks, rows, counts

    def _by_every_row(self, vectors: NDArray[Any], norms: NDArray[Any], k: int) -> _Ranked:
        """Computes the rank of every row for every vector, slice by slice of the matrix, so that few vectors keep a
        GPU busy too."""
        queries, fewest = max(len(vectors), 1), max(_SLICE, _SLICE_OF_BEST * k)
        slices = max(min(_THREADS // queries, self.count // fewest), 1)
        ranks, rows, counts = _nearest_of_slice(
            len(vectors) * slices, queries=queries, slices=slices, **self._arguments(vectors, norms, k, slices)
        )
        if slices > 1:
            ranks, rows, counts = _nearest_of_slices(
                len(vectors),
                slices=slices,
                slice_ranks=ranks,
                slice_rows=rows,
                slice_counts=counts,
                k=k,
                **_results(len(vectors), k),
            )
        return ranks.reshape(-1, k), rows.reshape(-1, k), counts

    def _by_products(self, vectors: NDArray[Any], norms: NDArray[Any], lengths: NDArray[Any], k: int) -> _Ranked:
        """Computes the ranks of those rows only that could be among the best by NumPy's products."""
        with np.errstate(all="ignore"):
            scaled = vectors / norms[:, None].astype(vectors.dtype)
            products = scaled @ self.by_products.T
            products -= self.lowered
            largest = lengths / norms * self.longest + float(np.max(self.lowered))
            unit = float(np.finfo(products.dtype).eps)  # twice the error of one rounding, for two products
            tolerance = (self.length + _TERMS) * unit * largest
        ranks, rows, counts = _nearest_of_products(
            len(vectors), products=products, tolerance=tolerance, **self._arguments(vectors, norms, k)
        )
        return ranks.reshape(-1, k), rows.reshape(-1, k), counts

    def _arguments(self, vectors: NDArray[Any], norms: NDArray[Any], k: int, results: int = 1) -> dict[str, Any]:
        """Returns the arguments that the array functions which read the matrix have, with a number of results for each
        vector."""
        return {
            "vectors": vectors,
            "matrix": self.matrix,
            "length": self.length,
            "count": self.count,
            "metric": self.metric,
            "norms": norms,
            "sizes": self.sizes,
            "k": k,
            **_results(len(vectors) * results, k),
        }


def _results(items: int, k: int) -> dict[str, Out]:
    """Returns the arrays for the best rows of some items."""
    return {"ranks": Out("f8", items * k), "rows": Out("i4", items * k), "counts": Out("i4", items)}


@functools.lru_cache(maxsize=8)
def _rows_of(matrix: Constant, metric: Metric) -> _Rows:
    """Prepares a matrix for a metric. Cached, so that every batch finds the same constants."""
    if metric not in _METRICS:
        raise CallError(f"metric={metric!r} is not one of {', '.join(_METRICS)}")
    rows = matrix.array
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "iuf":
        raise CallError(f"matrix is {matrix!r}, and must be numeric, with rows and columns")
    if rows.dtype not in (np.float32, np.float64):
        return _rows_of(Constant(rows.astype(np.float64)), metric)
    wide = rows.astype(np.float64)
    squares = (wide * wide).sum(axis=1)
    sizes = np.sqrt(squares) if metric == "cosine" else np.ones(len(wide))
    with np.errstate(all="ignore"):
        by_products = (wide / sizes[:, None]).astype(rows.dtype)
    lowered = squares / 2 if metric == "euclidean" else np.zeros(len(wide))
    longest = 1.0 if metric == "cosine" else float(np.sqrt(squares.max()))
    return _Rows(matrix, _METRICS.index(metric), Constant(sizes), by_products, lowered.astype(rows.dtype), longest)


def _dense(vectors: pa.Array, rows: _Rows, nulls: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Returns the vectors as a matrix, with zeros for a null vector."""
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
