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
Series, cuDF Series on a GPU) and *batch* (:func:`map_in_arrow`, and for groups :func:`apply_in_segments`:
device-neutral columns). Functions keep
plain PySpark's values, nulls, types and errors on every device. ``f.explain()`` tells where a function
would run, and :func:`ledger` where it did. The session flag is ``spark.gpuspark.*``.

Importing this package loads neither Spark nor a compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuspark import functions, kernels, testing
    from gpuspark.account import Ledger, ledger
    from gpuspark.arrays import Constant, Out, Scratch, array_function
    from gpuspark.batch import Batch, Column
    from gpuspark.frames import map_in_arrow
    from gpuspark.machine import info
    from gpuspark.models import score
    from gpuspark.plan import Plan
    from gpuspark.scalar_udf import udf
    from gpuspark.segments import Segments, apply_in_segments
    from gpuspark.series import pandas_udf

__version__ = "0.1.0"

_PUBLIC = {
    "udf": "gpuspark.scalar_udf",
    "pandas_udf": "gpuspark.series",
    "map_in_arrow": "gpuspark.frames",
    "apply_in_segments": "gpuspark.segments",
    "Segments": "gpuspark.segments",
    "score": "gpuspark.models",
    "array_function": "gpuspark.arrays",
    "Out": "gpuspark.arrays",
    "Scratch": "gpuspark.arrays",
    "Constant": "gpuspark.arrays",
    "Batch": "gpuspark.batch",
    "Column": "gpuspark.batch",
    "Plan": "gpuspark.plan",
    "ledger": "gpuspark.account",
    "Ledger": "gpuspark.account",
    "info": "gpuspark.machine",
}
_MODULES = ("functions", "kernels", "testing")

__all__ = [
    "Batch",
    "Column",
    "Constant",
    "Ledger",
    "Out",
    "Plan",
    "Scratch",
    "Segments",
    "__version__",
    "apply_in_segments",
    "array_function",
    "functions",
    "info",
    "kernels",
    "ledger",
    "map_in_arrow",
    "pandas_udf",
    "score",
    "testing",
    "udf",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gpuspark.{name}")
    raise AttributeError(f"module 'gpuspark' has no attribute {name!r}")
