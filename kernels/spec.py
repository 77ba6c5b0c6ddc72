"""What a kernel is: a scalar core with a name, a reference and a declared cost.

The core is a plain Python function of numbers. From it come the compiled programs of every device; the
kernel object is called on columns, Series, Spark columns or numbers alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpuspark.scalar_udf import ScalarUDF


@dataclass(frozen=True)
class Cost:
    """Per element: bytes read and written, and floating-point operations (a function of ``math`` is one)."""

    bytes_in: int
    bytes_out: int
    operations: int


class Kernel(ScalarUDF):
    """A named columnar operation. ``kernel(...)`` takes what a ``gs.udf`` function takes."""

    def __init__(self, core: Callable[..., Any], declared: str, reference: str, cost: Cost) -> None:
        super().__init__(core, declared)
        self.reference = reference
        self.cost = cost

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self.__module__, self.__name__)


def kernel(declared: str, *, reference: str, cost: Cost) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a kernel of a scalar core. ``declared``: Spark's name of the result's type."""
    return lambda core: Kernel(core, declared, reference, cost)


def _find(module: str, name: str) -> Kernel:
    found: Kernel = getattr(importlib.import_module(module), name)
    return found
