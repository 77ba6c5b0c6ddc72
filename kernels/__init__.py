"""Named columnar operations, one file each. Every one is called on gpuspark columns, Arrow arrays, pandas or
cuDF Series, Spark columns, or plain numbers.

>>> round(haversine(52.52, 13.405, 48.8566, 2.3522))
877
"""

from __future__ import annotations

from gpuspark.kernels.haversine import haversine
from gpuspark.kernels.levenshtein import levenshtein
from gpuspark.kernels.shingles import jaccard, lsh_bands, minhash
from gpuspark.kernels.similarity import cosine_similarity, dot_product, euclidean_distance
from gpuspark.kernels.spec import AnyKernel, ColumnKernel, Kernel

CATALOGUE: dict[str, AnyKernel] = {
    kernel.__name__: kernel
    for kernel in (
        haversine,
        cosine_similarity,
        dot_product,
        euclidean_distance,
        jaccard,
        levenshtein,
        lsh_bands,
        minhash,
    )
}

__all__ = [
    "CATALOGUE",
    "AnyKernel",
    "ColumnKernel",
    "Kernel",
    "cosine_similarity",
    "dot_product",
    "euclidean_distance",
    "haversine",
    "jaccard",
    "levenshtein",
    "lsh_bands",
    "minhash",
]
