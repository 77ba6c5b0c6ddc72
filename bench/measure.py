"""Timing that can be compared: paths in turn, A B C A B C, after a warm-up round; medians and spread."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of the counted rounds of one path."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The fastest and the slowest round."""
        return min(self.seconds), max(self.seconds)


def interleave(
    paths: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 1
) -> Iterator[tuple[str, int, float]]:
    """Runs every path once per round; yields path, round (negative while warming up) and seconds."""
    for turn in range(-warm_up, rounds):
        for name, run in paths.items():
            start = time.perf_counter()
            run()
            yield name, turn, time.perf_counter() - start


def timings(measured: Iterator[tuple[str, int, float]]) -> dict[str, Timing]:
    """The counted rounds by path."""
    by_path: dict[str, list[float]] = {}
    for name, turn, seconds in measured:
        if turn >= 0:
            by_path.setdefault(name, []).append(seconds)
    return {name: Timing(tuple(seconds)) for name, seconds in by_path.items()}


def ratios(one: Timing, other: Timing) -> Timing:
    """Round by round, ``one`` over ``other``: what the machine does to both at once cancels out."""
    return Timing(tuple(a / b for a, b in zip(one.seconds, other.seconds, strict=True)))


def machine() -> dict[str, Any]:
    """What the record says of the machine and its load."""
    import pyarrow as pa
    import pyspark

    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "pyspark": pyspark.__version__,
        "pyarrow": pa.__version__,
    }
