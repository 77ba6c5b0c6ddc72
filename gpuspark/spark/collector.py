"""Keeps the garbage collection that PySpark runs after each task short.

A Python worker calls ``gc.collect()`` when a task has ended (``pyspark/daemon.py``). That visits every object of every
loaded module: tens of milliseconds with pandas and Arrow, and several times as much once a compiler is loaded.
"""

from __future__ import annotations

import gc
import sys

from gpuspark.spark.session import running_task

MORE_MODULES = 50
"""So many newly loaded modules are worth another call of ``gc.freeze``."""
_modules = 0
"""The number of modules that were loaded at the last call of ``gc.freeze``; 0 before any."""


def exempt_loaded_modules() -> None:
    """Exempts all objects that now exist from garbage collection, with ``gc.freeze``; does nothing outside a task.

    Objects that are no longer referenced are freed as before. Only reference cycles among objects that exist now stay,
    if they are dropped later. Garbage of before is collected first.
    """
    global _modules
    if running_task() is None or len(sys.modules) < _modules + MORE_MODULES:
        return
    gc.collect()
    gc.freeze()
    _modules = len(sys.modules)
