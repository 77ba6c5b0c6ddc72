"""What the Python workers of a local Spark take: processor time and memory, as the operating system says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_EVERY = 0.1  # seconds between two looks at the workers' memory


@dataclass
class WorkerUse:
    """Of all Python processes under Spark's JVM during a run. ``cpu`` in seconds, ``peak_memory`` in bytes: the most
    that one process held resident, as seen ten times a second."""

    cpu: float = 0.0
    peak_memory: int = 0


@contextmanager
def watched(spark: SparkSession) -> Iterator[WorkerUse]:
    """Fills in what the workers of ``spark`` take in the block. A remote cluster's are not seen: all stays zero."""
    import psutil

    jvm = psutil.Process(spark.sparkContext._gateway.proc.pid)  # type: ignore[union-attr]  # noqa: SLF001
    found, ended = WorkerUse(), threading.Event()
    before = _cpu(jvm)

    def look() -> None:
        while not ended.wait(_EVERY):
            found.peak_memory = max([found.peak_memory, *map(_memory, _workers(jvm))])

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield found
    finally:
        ended.set()
        watch.join()
        found.cpu = _cpu(jvm) - before
        found.peak_memory = max([found.peak_memory, *map(_memory, _workers(jvm))])


def _workers(jvm: Any) -> list[Any]:
    return list(jvm.children(recursive=True))


def _cpu(jvm: Any) -> float:
    """Seconds of the workers, and of those that their daemon saw ending."""
    import psutil

    total = 0.0
    for process in _workers(jvm):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
