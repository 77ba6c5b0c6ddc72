"""PySpark's daemon with what its workers import loaded already: a test that kills a worker, by an error of a body, is
not followed by seconds of imports. Only conftest.py and own_spark.py name it; what workers import, and when, is tested
without it.

PySpark begins each task with ``importlib.invalidate_caches()``, which reads the directories of the archives on the
module path again: Spark's jar and a second copy of PySpark. It ends the task with ``gc.collect()``, which looks at all
that is loaded. Here the path has no archives, and what is loaded is frozen.
"""

from __future__ import annotations

import gc
import importlib
import sys

sys.path[:] = [folder for folder in sys.path if not folder.endswith((".zip", ".jar"))]
sys.path_importer_cache.clear()

from pyspark.daemon import manager  # noqa: E402

for name in (
    "numpy",
    "pandas",
    "pyarrow.compute",
    "pyspark.sql.pandas.types",
    "pyspark.worker",
    "tests.support.warm_compilers",
    "numba.cuda.compiler",
):
    importlib.import_module(name)

from numba.cuda.descriptor import cuda_target  # noqa: E402

if __name__ == "__main__":
    cuda_target.target_context.refresh()
    gc.collect()
    gc.freeze()
    manager()
