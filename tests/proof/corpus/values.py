"""Random rows for engineering functions: plausible magnitudes, mixed with hostile values."""

from __future__ import annotations

import math
import random
from typing import Any

HOSTILE: dict[str, list[Any]] = {
    "double": [
        math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.7, 5e-324, -5e-324, 1e-300, 1e308, -1e308,
        2.0**53, 709.8, -745.2, 1e16,
    ],
    "bigint": [0, 1, -1, 2, 3, -7, 100, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)],
    "int": [0, 1, -1, 2, 3, -7, 100, 2**31 - 1, -(2**31)],
    "boolean": [True, False],
}  # fmt: skip


def rows(types: tuple[str, ...], count: int, seed: str) -> list[tuple[Any, ...]]:
    """Returns ``count`` rows: half of plausible values, the others with hostile ones. They depend on ``seed`` only."""
    source = random.Random(seed)
    return [_row(types, source, row) for row in range(count)]


def _row(types: tuple[str, ...], source: random.Random, row: int) -> tuple[Any, ...]:
    hostile = {0: 0.0, 1: 0.0, 2: 1.5 / max(len(types), 1), 3: 0.5}[row % 4]
    return tuple(
        source.choice(HOSTILE[name]) if source.random() < hostile else _plausible(name, source) for name in types
    )


def _plausible(name: str, source: random.Random) -> Any:
    if name == "boolean":
        return source.random() < 0.5
    if name in ("bigint", "int"):
        return int(source.choice((source.randint(0, 5), source.randint(1, 100), 10 ** source.uniform(2, 6))))
    return source.choice(
        (
            source.random(),
            source.uniform(0, 10),
            source.lognormvariate(0, 1),
            10 ** source.uniform(-6, 6),
            float(source.randint(1, 1000)),
        )
    )
