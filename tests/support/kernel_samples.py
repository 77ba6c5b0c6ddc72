"""A small call of each operation that is made of array functions, for tests that want all of them: the machine code
of their programs, and the CUDA device on its stub driver. What they compute is asserted in ``tests/kernels``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from types import FunctionType
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark import kernels
from gpuspark.compiler import Parameter
from gpuspark.execution import arrays
from gpuspark.kernels.linear_model import Product, Standardise, Stretch
from gpuspark.testing import on_device

SERIES = [0, 5, 6], [1.0, None, 2.0, 4.0, 3.0, 7.0]
TRIANGLES = kernels.Polygons([[[(0, 0), (8, 0), (0, 8)]], [[(0, 0), (8, 8), (0, 8)]]], cells=4)
VECTORS = [[1.0, 2.0, 3.0], None, [], [4.0, -1.0, 0.5]], [[2.0, 0.0, 1.0], [1.0], [], [1.0, 1.0, 1.0]]
WORDS = ["kitten", None, "", "Zürich"], ["sitting", "a", "b", "Zurich"]
FEATURES = np.array([[0.5, 2.0], [np.nan, 1.0], [-3.0, np.nan], [0.25, 7.0]])
STUMP = kernels.Tree(
    *map(np.array, ([0, 0, 0], [0.3, 0, 0], [1, -1, -1], [2, -1, -1], [True, False, False], [0.0, 1.5, -2.0]))
)
ASKS = kernels.Categories(np.array([1, 2]), True)


def _trees() -> pa.Array:
    """Plain ones in single precision, and some with categories in double precision."""
    single = kernels.tree_ensemble([STUMP], 2, compared="float32")
    double = kernels.tree_ensemble([STUMP, replace(STUMP, categories={0: ASKS})], 2, average=True)
    return pa.array(np.concatenate([trees.margins(FEATURES).reshape(-1) for trees in (single, double)]))


def _linear_steps() -> pa.Array:
    two, many = gs.Constant([2.0, 4.0]), gs.Constant([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]])
    steps = (Standardise(two, two), Stretch(two, two, -1.0, 1.0), Product(many, gs.Constant([1.0, 2.0, 3.0])))
    return pa.array(np.concatenate([step.apply(FEATURES).reshape(-1) for step in steps]))


def _holt_winters() -> kernels.HoltWinters:
    rows = pa.record_batch({"k": ["a"] * 6, "x": [1.0, 5.0, 2.5, 6.0, 3.0, 7.0]})
    segments = gs.Segments(gs.Batch.from_arrow(rows), np.array([0, 6]), ["k"])
    return kernels.holt_winters(segments, "x", season=2, horizon=2, alpha=0.5, beta=0.1, gamma=0.2)


SAMPLES: dict[str, Callable[[], Any]] = {
    "asian_option": lambda: kernels.asian_option(
        *(pa.array([value, None]) for value in (100.0, 90.0, 1.0, 0.05, 0.2)), steps=2, paths=3
    ),
    "cosine_similarity": lambda: kernels.cosine_similarity(*map(pa.array, VECTORS)),
    "dot_product": lambda: kernels.dot_product(*map(pa.array, VECTORS)),
    "euclidean_distance": lambda: kernels.euclidean_distance(*map(pa.array, VECTORS)),
    "ewm_mean": lambda: kernels.ewm_mean(*SERIES, 0.5),
    "holt_winters": _holt_winters,
    "jaccard": lambda: kernels.jaccard(*map(pa.array, WORDS), shingle=3),
    "levenshtein": lambda: kernels.levenshtein(*map(pa.array, WORDS), cutoff=2),
    "linear_model": _linear_steps,
    "lsh_bands": lambda: kernels.lsh_bands(pa.array([[1, 2, 3, 4], None]), bands=2),
    "minhash": lambda: kernels.minhash(pa.array(WORDS[0]), permutations=4, shingle=3),
    "point_in_polygon": lambda: kernels.point_in_polygon(
        pa.array([1.0, 2.0, 5.0, 9.0]), pa.array([1.0, 7.0, 6.0, 9.0]), polygons=TRIANGLES
    ),
    "rolling": lambda: [kernels.rolling(*SERIES, 2, statistic) for statistic in ("mean", "std", "max")],
    "top_k": lambda: kernels.top_k(pa.array([[1.0, 0.2], None]), matrix=np.array([[0.0, 1.0], [3.0, 0.0]]), k=1),
    "tree_ensemble": _trees,
    "within": lambda: kernels.within(pa.array([1.0, 9.0]), pa.array([1.0, 9.0]), polygons=TRIANGLES),
}
"""By the operation's public name. What they give is read by :func:`columns`."""


def columns(result: Any) -> dict[str, list[Any]]:
    """The result of a sample as lists: of one column, of several, or of an object that holds columns."""
    if isinstance(result, list | tuple):
        named = {str(n): column for n, column in enumerate(result)}
    elif is_dataclass(result) and not isinstance(result, type):
        named = {f.name: getattr(result, f.name) for f in fields(result)}
    else:
        named = {"result": result}
    return {name: _listed(column) for name, column in named.items()}


def _listed(column: Any) -> list[Any]:
    if hasattr(column, "to_arrow"):
        column = column.to_arrow()
    found: list[Any] = column.to_pylist() if hasattr(column, "to_pylist") else np.asarray(column).tolist()
    return found


@contextmanager
def recorded() -> Iterator[dict[tuple[str, FunctionType, tuple[Parameter, ...]], None]]:
    """The array functions that are called meanwhile, by name, with their parameters, in their order."""
    seen: dict[tuple[str, FunctionType, tuple[Parameter, ...]], None] = {}
    runner = arrays.ArrayRunner

    def spy(name, function, parameters, config):
        seen[name, function, parameters] = None
        return runner(name, function, parameters, config)

    with mock.patch.object(arrays, "ArrayRunner", spy):
        yield seen


def array_programs() -> Iterator[tuple[str, FunctionType, tuple[Parameter, ...]]]:
    """Every array function that the samples use: the operation and its own name, its body and its parameters."""
    seen: set[tuple[str, FunctionType, tuple[Parameter, ...]]] = set()
    for operation, call in SAMPLES.items():
        with recorded() as found, on_device("python"):
            call()
        for entry in found:
            if entry not in seen:
                seen.add(entry)
                name, function, parameters = entry
                yield f"{operation}: {name.lstrip('_')}", function, parameters
