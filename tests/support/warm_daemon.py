"""PySpark's daemon with what its workers import loaded already: a test that kills a worker, by an error of a body, is
not followed by seconds of imports. Only conftest.py names it; what workers import, and when, is tested without it."""

from __future__ import annotations

import importlib

from pyspark.daemon import manager

for name in ("numpy", "pandas", "pyarrow.compute", "pyspark.sql.pandas.types", "pyspark.worker"):
    importlib.import_module(name)

if __name__ == "__main__":
    manager()
