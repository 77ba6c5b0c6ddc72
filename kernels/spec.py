"""What a kernel is: a scalar core with a name, described parameters, a reference and a declared cost.

The core is a plain Python function of numbers. From it come the compiled programs of every device; the
kernel object is called on columns, Series, Spark columns or numbers alike. A new kernel is one file that
imports this module, and one line in the catalogue (``kernels/__init__.py``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpuspark.scalar_udf import ScalarUDF

Nulls = Literal["propagate", "pass"]


@dataclass(frozen=True)
class Cost:
    """Per element: bytes read and written, and floating-point operations (a function of ``math`` is one)."""

    bytes_in: int
    bytes_out: int
    operations: int


@dataclass(frozen=True)
class Spec:
    """What is known of a kernel besides its core."""

    result: str
    """Spark's name of the result's type."""
    parameters: Mapping[str, str]
    """What each parameter means, with its unit; in the core's order."""
    unit: str
    """The result's unit."""
    reference: str
    """The paper, book or standard that the formula is from."""
    cost: Cost
    nulls: Nulls = "propagate"
    """``propagate``: any null gives null. ``pass``: the core is given ``None``."""


class Kernel(ScalarUDF):
    """A named columnar operation. ``kernel(...)`` takes what a ``gs.udf`` function takes."""

    def __init__(self, core: Callable[..., Any], spec: Spec) -> None:
        super().__init__(core, spec.result, spec.nulls)
        self.spec = spec
        if list(spec.parameters) != list(self.signature.parameters):
            raise TypeError(f"{self.__name__}{self.signature} is described with {list(spec.parameters)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self.__module__, self.__name__)


def kernel(
    result: str,
    *,
    parameters: Mapping[str, str],
    unit: str,
    reference: str,
    cost: Cost,
    nulls: Nulls = "propagate",
) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a kernel of a scalar core, by the fields of :class:`Spec`.

    Raises ``TypeError`` where ``parameters`` are not the core's.
    """
    return lambda core: Kernel(core, Spec(result, parameters, unit, reference, cost, nulls))


def _find(module: str, name: str) -> Kernel:
    found: Kernel = getattr(importlib.import_module(module), name)
    return found
