"""gpuspark: your PySpark functions, compiled, on the best device present.

You decorate a function, call it in PySpark, and each columnar batch goes through a compiled program: on
the GPU where there is one, else on the CPU, else in plain Python, with the reason for every choice on
record.

>>> import gpuspark as gs
>>> @gs.udf("double")
... def fahrenheit(celsius):
...     return celsius * 9 / 5 + 32
>>> fahrenheit(100.0)
212.0

Three dialects: *scalar* (:func:`udf`: numbers in, a number out), *series* (:func:`pandas_udf`: pandas
Series, cuDF Series on a GPU) and *batch* (:func:`map_in_arrow`: device-neutral columns). Functions keep
plain PySpark's values, nulls, types and errors on every device. ``f.explain()`` tells where a function
would run, and :func:`ledger` where it did. The session flag is ``spark.gpuspark.*``.

Importing this package loads neither Spark nor a compiler.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "udf": "gpuspark.udf",
    "pandas_udf": "gpuspark.series",
    "map_in_arrow": "gpuspark.frames",
    "Batch": "gpuspark.batch",
    "Column": "gpuspark.batch",
    "info": "gpuspark.info",
    "Plan": "gpuspark.plan",
    "ledger": "gpuspark.account",
    "Ledger": "gpuspark.account",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in ("functions", "kernels", "testing"):
        return importlib.import_module(f"gpuspark.{name}")
    raise AttributeError(f"module 'gpuspark' has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps ``gs.udf`` the function: importing the module ``gpuspark.udf`` would bind the name to that."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
