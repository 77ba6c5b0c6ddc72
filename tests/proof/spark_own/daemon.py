"""PySpark's daemon with what workers import loaded already, gpuspark and its compiler too: many of Spark's own tests
kill their worker by an error."""

from __future__ import annotations

import importlib

from pyspark.daemon import manager

OURS = ("worker", "series_worker", "frames", "compiler.build", "compiler.operations")
for name in ("warm_daemon", *(f"gpuspark.{module}" for module in OURS)):
    importlib.import_module(name)

if __name__ == "__main__":
    manager()
