"""What is known of a kernel besides what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
