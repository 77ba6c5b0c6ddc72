"""Named columnar operations, one file each. Every one is called on gpuspark columns, Arrow arrays, pandas or
cuDF Series, Spark columns, or plain numbers. Those over series of rows (:func:`rolling`, :func:`ewm_mean`,
:func:`holt_winters`) are called on :class:`~gpuspark.dialects.segments.Segments`, and are not in ``CATALOGUE``.

>>> round(haversine(52.52, 13.405, 48.8566, 2.3522))
877
"""

from __future__ import annotations

from gpuspark.kernels.asian_option import asian_option
from gpuspark.kernels.ewm import ewm_mean
from gpuspark.kernels.haversine import haversine
from gpuspark.kernels.holt_winters import HoltWinters, holt_winters
from gpuspark.kernels.levenshtein import levenshtein
from gpuspark.kernels.point_in_polygon import point_in_polygon, within
from gpuspark.kernels.polygon_grid import Polygons
from gpuspark.kernels.rolling import rolling
from gpuspark.kernels.shingles import jaccard, lsh_bands, minhash
from gpuspark.kernels.similarity import cosine_similarity, dot_product, euclidean_distance
from gpuspark.kernels.spec import AnyKernel, ColumnKernel, Kernel
from gpuspark.kernels.top_k import top_k
from gpuspark.kernels.tree_ensemble import Categories, Tree, TreeEnsemble, tree_ensemble

CATALOGUE: dict[str, AnyKernel] = {
    kernel.__name__: kernel
    for kernel in (
        haversine,
        asian_option,
        cosine_similarity,
        dot_product,
        euclidean_distance,
        point_in_polygon,
        within,
        top_k,
        jaccard,
        levenshtein,
        lsh_bands,
        minhash,
    )
}

__all__ = [
    "CATALOGUE",
    "AnyKernel",
    "Categories",
    "ColumnKernel",
    "HoltWinters",
    "Kernel",
    "Polygons",
    "Tree",
    "TreeEnsemble",
    "asian_option",
    "cosine_similarity",
    "dot_product",
    "euclidean_distance",
    "ewm_mean",
    "haversine",
    "holt_winters",
    "jaccard",
    "levenshtein",
    "lsh_bands",
    "minhash",
    "point_in_polygon",
    "rolling",
    "top_k",
    "tree_ensemble",
    "within",
]
