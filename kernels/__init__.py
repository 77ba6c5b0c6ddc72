"""Named columnar operations, one file each. Every one is called on gpuspark columns, Arrow arrays, pandas or
cuDF Series, Spark columns, or plain numbers. Those over series of rows (:func:`rolling`, :func:`ewm_mean`,
:func:`holt_winters`) are called on :class:`~gpuspark.segments.Segments`, and are not in ``CATALOGUE``.

>>> round(haversine(52.52, 13.405, 48.8566, 2.3522))
877
"""

from __future__ import annotations

from gpuspark.kernels.ewm import ewm_mean
from gpuspark.kernels.haversine import haversine
from gpuspark.kernels.holt_winters import HoltWinters, holt_winters
from gpuspark.kernels.rolling import rolling
from gpuspark.kernels.similarity import cosine_similarity, dot_product, euclidean_distance
from gpuspark.kernels.spec import AnyKernel, ColumnKernel, Kernel

CATALOGUE: dict[str, AnyKernel] = {
    kernel.__name__: kernel
    for kernel in (
        haversine,
        cosine_similarity,
        dot_product,
        euclidean_distance,
    )
}

__all__ = [
    "CATALOGUE",
    "AnyKernel",
    "ColumnKernel",
    "HoltWinters",
    "Kernel",
    "cosine_similarity",
    "dot_product",
    "euclidean_distance",
    "ewm_mean",
    "haversine",
    "holt_winters",
    "rolling",
]
