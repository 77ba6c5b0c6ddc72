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
    from gpuspark import errors as errors
    from gpuspark import functions, kernels, testing
    from gpuspark.accounting.report import Ledger, ledger
    from gpuspark.columns import layout as layout
    from gpuspark.columns.batch import Batch, Column
    from gpuspark.dialects.map_in_arrow import map_in_arrow
    from gpuspark.dialects.segments import Segments, apply_in_segments
    from gpuspark.dialects.series import pandas_udf
    from gpuspark.dialects.udf import udf
    from gpuspark.execution import capsule as capsule
    from gpuspark.execution.arrays import Constant, Out, Scratch, array_function
    from gpuspark.execution.plan import Plan
    from gpuspark.models.score import score
    from gpuspark.scans.scan import Scan, scan_delta, scan_parquet
    from gpuspark.tools import replay as replay
    from gpuspark.tools.info import info

__version__ = "0.1.0"

_PUBLIC = {
    "Scan": "gpuspark.scans.scan",
    "scan_parquet": "gpuspark.scans.scan",
    "scan_delta": "gpuspark.scans.scan",
    "udf": "gpuspark.dialects.udf",
    "pandas_udf": "gpuspark.dialects.series",
    "map_in_arrow": "gpuspark.dialects.map_in_arrow",
    "apply_in_segments": "gpuspark.dialects.segments",
    "Segments": "gpuspark.dialects.segments",
    "score": "gpuspark.models.score",
    "array_function": "gpuspark.execution.arrays",
    "Out": "gpuspark.execution.arrays",
    "Scratch": "gpuspark.execution.arrays",
    "Constant": "gpuspark.execution.arrays",
    "Batch": "gpuspark.columns.batch",
    "Column": "gpuspark.columns.batch",
    "Plan": "gpuspark.execution.plan",
    "ledger": "gpuspark.accounting.report",
    "Ledger": "gpuspark.accounting.report",
    "info": "gpuspark.tools.info",
}
_MODULES = {
    "capsule": "gpuspark.execution.capsule",
    "errors": "gpuspark.errors",
    "functions": "gpuspark.functions",
    "kernels": "gpuspark.kernels",
    "layout": "gpuspark.columns.layout",
    "replay": "gpuspark.tools.replay",
    "testing": "gpuspark.testing",
}

__all__ = [
    "Batch",
    "Column",
    "Constant",
    "Ledger",
    "Out",
    "Plan",
    "Scan",
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
    "scan_delta",
    "scan_parquet",
    "score",
    "testing",
    "udf",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'gpuspark' has no attribute {name!r}")
