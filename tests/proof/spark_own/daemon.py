"""PySpark's daemon with what workers import loaded already, gpuspark and its compiler too: many of Spark's own tests
kill their worker by an error."""

from __future__ import annotations

import importlib

from pyspark.daemon import manager

OURS = (
    "dialects.scalar_worker",
    "dialects.series_worker",
    "dialects.batch_worker",
    "compiler.build",
    "compiler.operations",
)
for name in ("tests.support.warm_daemon", *(f"gpuspark.{module}" for module in OURS)):
    importlib.import_module(name)

if __name__ == "__main__":
    manager()
