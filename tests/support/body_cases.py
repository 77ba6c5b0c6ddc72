"""The list of scalar functions that tests share, and the decorator that registers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpuspark as gs


@dataclass(frozen=True)
class Case:
    """A decorated function and the types of its columns."""

    f: Any
    types: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.f.__name__}-{'-'.join(self.types)}".replace(" ", "_")


CASES: list[Case] = []


def case(declared: str, *types: str, nulls: str = "propagate") -> Callable[[Any], Any]:
    """Registers a body for one or more lists of column types, such as ``"bigint int"``."""

    def register(body: Any) -> Any:
        decorated = gs.udf(declared, nulls=nulls)(body)
        CASES.extend(Case(decorated, tuple(t.split())) for t in types)
        return body

    return register
