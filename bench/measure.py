"""Comparable timings: paths run in turn (A B C A B C) after a warm-up round."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpuspark.devices.discover import discover


def interleave(
    paths: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 1
) -> Iterator[tuple[str, int, float]]:
    """Runs every path once per round; yields path, round (negative for warm-up rounds) and seconds."""
    for round_number in range(-warm_up, rounds):
        for name, run in paths.items():
            start = time.perf_counter()
            run()
            yield name, round_number, time.perf_counter() - start


def machine() -> dict[str, Any]:
    """Returns cores, processor, GPUs by name, load and versions, as they are kept in the records."""
    import pyarrow as pa
    import pyspark

    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "gpus": [gpu["name"] for gpu in discover().cuda.facts.get("gpus", ())],
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "pyspark": pyspark.__version__,
        "pyarrow": pa.__version__,
    }
