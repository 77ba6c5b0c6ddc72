"""CPU time and memory of the Python workers of a local Spark, read from the operating system."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SAMPLING_SECONDS = 0.1


@dataclass
class WorkerUse:
    """What all Python processes below Spark's JVM used during a run."""

    cpu: float = 0.0
    """Seconds."""
    peak_memory: int = 0
    """The largest resident memory of one process, in bytes, sampled ten times a second."""


@contextmanager
def watch_workers(spark: SparkSession) -> Iterator[WorkerUse]:
    """Yields a record of what the workers of ``spark`` use inside the block, complete when the block ends.

    Workers of a remote cluster cannot be seen: for them everything stays zero.
    """
    import psutil

    jvm = psutil.Process(spark.sparkContext._gateway.proc.pid)  # type: ignore[union-attr]  # noqa: SLF001
    use, ended = WorkerUse(), threading.Event()
    cpu_before = _cpu_seconds(jvm)

    def sample_memory() -> None:
        use.peak_memory = max([use.peak_memory, *map(_resident_bytes, _workers(jvm))])

    def sample_until_ended() -> None:
        while not ended.wait(_SAMPLING_SECONDS):
            sample_memory()

    sampler = threading.Thread(target=sample_until_ended, daemon=True)
    sampler.start()
    try:
        yield use
    finally:
        ended.set()
        sampler.join()
        use.cpu = _cpu_seconds(jvm) - cpu_before
        sample_memory()


def _workers(jvm: Any) -> list[Any]:
    return list(jvm.children(recursive=True))


def _cpu_seconds(jvm: Any) -> float:
    """Returns the CPU seconds of the workers, including workers that have ended and were reaped by their daemon."""
    import psutil

    total = 0.0
    for process in _workers(jvm):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _resident_bytes(process: Any) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
