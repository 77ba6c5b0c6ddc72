"""A function with what it captures, as it is now: what changes later does not change the copy.

PySpark takes a function so when it pickles it. The copy is made by pickling too, so that both hold the same: functions
of importable modules go by name, and stay what their module says.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

_OF_THE_DRIVER = ("pyspark.core.broadcast", "pyspark.accumulators")


def take(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of ``function``: globals, closure and defaults, and what they hold. Spark's broadcast variables and
    accumulators, which belong to the driver, are not copied."""
    from pyspark import cloudpickle

    kept: list[Any] = []

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, thing: Any) -> int | None:
            if type(thing).__module__ not in _OF_THE_DRIVER:
                return None
            kept.append(thing)
            return len(kept) - 1

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> Any:
            return kept[number]

    pickled = io.BytesIO()
    Pickler(pickled).dump(function)  # type: ignore[no-untyped-call]
    pickled.seek(0)
    copy: Callable[..., Any] = Unpickler(pickled).load()
    return copy
