"""A small call of each operation that is made of array functions, for tests that want all of them: the machine code
of their programs, and the CUDA device on its stub driver. What they compute is asserted in ``tests/kernels``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark import arrays, kernels
from gpuspark.arrays import ArrayFunction
from gpuspark.compiler import Parameter
from gpuspark.kernels.linear_model import Product, Standardise, Stretch
from gpuspark.testing import on_device

TRIANGLES = kernels.Polygons([[[(0, 0), (8, 0), (0, 8)]], [[(0, 0), (8, 8), (0, 8)]]], cells=4)
VECTORS = [[1.0, 2.0, 3.0], None, [], [4.0, -1.0, 0.5]], [[2.0, 0.0, 1.0], [1.0], [], [1.0, 1.0, 1.0]]

FEATURES = np.array([[0.5, 2.0], [np.nan, 1.0], [-3.0, np.nan], [0.25, 7.0]])
STUMP = [
    *map(np.array, ([0, 0, 0], [0.3, 0, 0], [1, -1, -1], [2, -1, -1], [True, False, False], [0.0, 1.5, -2.0])),
]
ASKS = kernels.Categories(np.array([1, 2]), True)


def _trees() -> pa.Array:
    """Plain ones in single precision, and some with categories in double precision."""
    single = kernels.tree_ensemble([kernels.Tree(*STUMP)], 2, compared="float32")
    asks = dataclasses.replace(kernels.Tree(*STUMP), categories={0: ASKS})
    double = kernels.tree_ensemble([kernels.Tree(*STUMP), asks], 2, average=True)
    return pa.array(np.concatenate([trees.margins(FEATURES).reshape(-1) for trees in (single, double)]))


def _linear_steps() -> pa.Array:
    two, many = gs.Constant([2.0, 4.0]), gs.Constant([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]])
    steps = (Standardise(two, two), Stretch(two, two, -1.0, 1.0), Product(many, gs.Constant([1.0, 2.0, 3.0])))
    return pa.array(np.concatenate([step.apply(FEATURES).reshape(-1) for step in steps]))


SAMPLES: dict[str, Callable[[], pa.Array]] = {
    "asian_option": lambda: kernels.asian_option(
        *(pa.array([value, None]) for value in (100.0, 90.0, 1.0, 0.05, 0.2)), steps=2, paths=3
    ),
    "cosine_similarity": lambda: kernels.cosine_similarity(*map(pa.array, VECTORS)),
    "dot_product": lambda: kernels.dot_product(*map(pa.array, VECTORS)),
    "euclidean_distance": lambda: kernels.euclidean_distance(*map(pa.array, VECTORS)),
    "point_in_polygon": lambda: kernels.point_in_polygon(
        pa.array([1.0, 2.0, 5.0, 9.0]), pa.array([1.0, 7.0, 6.0, 9.0]), polygons=TRIANGLES
    ),
    "linear_model": _linear_steps,
    "top_k": lambda: kernels.top_k(
        pa.array([[1.0, 2.0], None, [0.0, -1.0]]), matrix=[[1.0, 2.0], [3.0, 1.0], [1.0, 2.0]], k=2
    ),
    "tree_ensemble": _trees,
    "within": lambda: kernels.within(pa.array([1.0, 9.0]), pa.array([1.0, 9.0]), polygons=TRIANGLES),
}
"""By the operation's public name."""


@contextmanager
def recorded() -> Iterator[dict[tuple[ArrayFunction, tuple[Parameter, ...]], None]]:
    """The array functions that are called meanwhile, with their parameters, in their order."""
    seen: dict[tuple[ArrayFunction, tuple[Parameter, ...]], None] = {}
    decide = arrays.decide

    def spy(function, kinds, *rest):
        seen[function, kinds] = None
        return decide(function, kinds, *rest)

    with mock.patch.object(arrays, "decide", spy):
        yield seen


def array_programs() -> Iterator[tuple[str, ArrayFunction, tuple[Parameter, ...]]]:
    """Every array function that the samples use: the operation and its own name, and its parameters."""
    seen: set[tuple[ArrayFunction, tuple[Parameter, ...]]] = set()
    for name, call in SAMPLES.items():
        with recorded() as found, on_device("python"):
            call()
        for function, kinds in found:
            if (function, kinds) not in seen:
                seen.add((function, kinds))
                yield f"{name}: {function.name.lstrip('_')}", function, kinds
