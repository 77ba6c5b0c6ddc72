"""The kernels: named columnar operations, one file each.

A kernel is called on gpuspark columns, Arrow arrays, pandas or cuDF Series, Spark columns, or plain numbers.
Operations on series of rows (:func:`rolling`, :func:`ewm_mean`, :func:`holt_winters`) take
:class:`~gpuspark.Segments` and are not in :data:`CATALOGUE`.

This package imports every module of its folder and re-exports the names in that module's ``__all__``. A module without
``__all__`` is a helper of other modules and adds nothing. So a new kernel needs no edit here.

>>> round(haversine(52.52, 13.405, 48.8566, 2.3522))
877
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from gpuspark.kernels import spec
from gpuspark.kernels.spec import AnyKernel as AnyKernel
from gpuspark.kernels.spec import ColumnKernel as ColumnKernel
from gpuspark.kernels.spec import Kernel as Kernel


def _public_names() -> dict[str, Any]:
    """Imports the modules of this folder and returns their public objects by name, in alphabetical order.

    Raises ``ImportError`` where two modules export the same name.
    """
    public: dict[str, Any] = {"AnyKernel": AnyKernel, "ColumnKernel": ColumnKernel, "Kernel": Kernel}
    for entry in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = importlib.import_module(entry.name)
        if module is spec:
            continue  # its names are for the authors of kernels
        for name in getattr(module, "__all__", ()):
            if name in public:
                raise ImportError(f"{entry.name} exports {name}, and so does another module of {__name__}")
            public[name] = getattr(module, name)
    return dict(sorted(public.items()))


_PUBLIC = _public_names()

CATALOGUE: dict[str, AnyKernel] = {
    name: value for name, value in _PUBLIC.items() if isinstance(value, Kernel | ColumnKernel)
}
"""The kernels by name, in alphabetical order."""

# After all imports, so that `gpuspark.kernels.haversine` is the kernel and not the module of the same name.
globals().update(_PUBLIC, __all__=["CATALOGUE", *_PUBLIC])

if TYPE_CHECKING:
    # The same names for type checkers, written by: GPUSPARK_WRITE_DOCS=1 pytest tests/test_catalogue.py
    # <names>
    from gpuspark.kernels.asian_option import asian_option as asian_option
    from gpuspark.kernels.ewm import ewm_mean as ewm_mean
    from gpuspark.kernels.haversine import haversine as haversine
    from gpuspark.kernels.holt_winters import HoltWinters as HoltWinters
    from gpuspark.kernels.holt_winters import holt_winters as holt_winters
    from gpuspark.kernels.levenshtein import levenshtein as levenshtein
    from gpuspark.kernels.point_in_polygon import point_in_polygon as point_in_polygon
    from gpuspark.kernels.point_in_polygon import within as within
    from gpuspark.kernels.polygon_grid import Polygons as Polygons
    from gpuspark.kernels.rolling import rolling as rolling
    from gpuspark.kernels.shingles import jaccard as jaccard
    from gpuspark.kernels.shingles import lsh_bands as lsh_bands
    from gpuspark.kernels.shingles import minhash as minhash
    from gpuspark.kernels.similarity import cosine_similarity as cosine_similarity
    from gpuspark.kernels.similarity import dot_product as dot_product
    from gpuspark.kernels.similarity import euclidean_distance as euclidean_distance
    from gpuspark.kernels.top_k import top_k as top_k
    from gpuspark.kernels.tree_ensemble import Categories as Categories
    from gpuspark.kernels.tree_ensemble import Tree as Tree
    from gpuspark.kernels.tree_ensemble import TreeEnsemble as TreeEnsemble
    from gpuspark.kernels.tree_ensemble import tree_ensemble as tree_ensemble
    # </names>
