"""Copies a function with all that it captures, so that later changes to globals or closures do not affect the copy.

PySpark captures a function in the same way: by pickling it. The copy is made by pickling too, so that both hold the
same values. Functions of importable modules are pickled by name, so they are looked up in their module again.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

_DRIVER_ONLY = ("pyspark.core.broadcast", "pyspark.accumulators")


def copy_body(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a copy of ``function`` with its globals, closure and defaults. Broadcast variables and accumulators
    belong to the driver and are shared, not copied."""
    from pyspark import cloudpickle

    shared: list[Any] = []

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            if type(value).__module__ not in _DRIVER_ONLY:
                return None
            shared.append(value)
            return len(shared) - 1

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> Any:
            return shared[number]

    pickled = io.BytesIO()
    Pickler(pickled).dump(function)  # type: ignore[no-untyped-call]
    pickled.seek(0)
    copy: Callable[..., Any] = Unpickler(pickled).load()
    return copy
