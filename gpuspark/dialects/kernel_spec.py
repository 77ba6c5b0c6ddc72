"""The description of a kernel: parameters, units, reference and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Nulls = Literal["propagate", "pass"]


@dataclass(frozen=True)
class Cost:
    """The cost per element: bytes read and written, and floating-point operations (a call of ``math`` is one)."""

    bytes_in: int
    bytes_out: int
    operations: int


@dataclass(frozen=True)
class Spec:
    """The description of a kernel."""

    result: str
    """Spark's name of the result type."""
    parameters: Mapping[str, str]
    """The meaning of each parameter, with its unit, in the order of the function's parameters."""
    unit: str
    """The unit of the result."""
    reference: str
    """The paper, book or standard that the formula is from."""
    cost: Cost
    nulls: Nulls = "propagate"
    """``propagate``: any null gives null. ``pass``: the function gets ``None``."""
