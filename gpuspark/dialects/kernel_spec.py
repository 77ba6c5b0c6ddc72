"""The description of a kernel, besides what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Nulls = Literal["propagate", "pass"]


@dataclass(frozen=True)
class Spec:
    """The description of a kernel. The documentation is made from it."""

    result: str
    """Spark's name of the result type."""
    parameters: Mapping[str, str]
    """The meaning of each parameter, with its unit, in the order of the signature."""
    unit: str
    """The unit of the result."""
    reference: str
    """The paper, book or standard that defines the formula."""
    nulls: Nulls = "propagate"
    """``propagate``: any null gives null. ``pass``: the function is called with ``None``."""
