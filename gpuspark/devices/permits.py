"""Permits to use a GPU: at most ``spark.gpuspark.device.maxConcurrentTasks`` at a time on a node.

A permit is a lock on one of that many files, held by one process for one batch's device work and never
while it waits for Spark, so that functions chained in one task cannot wait for each other. The
operating system gives back the permit of a process that dies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from gpuspark.disk_cache import private_folder

_PAUSE = 0.002  # seconds between two rounds over the files


@contextmanager
def permit(device: str, most: int) -> Iterator[float]:
    """Holds one of the ``most`` permits of ``device``; gives the seconds that it took to get it.

    Where no private folder can be had, or ``device`` is the CPU, everybody may go.
    """
    folder = None if device == "cpu" else private_folder("permits")
    if folder is None:
        yield 0.0
        return
    start = time.monotonic()
    locks = [FileLock(folder / f"{device}.{n}.lock") for n in range(most)]
    while True:
        for lock in locks:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield time.monotonic() - start
            finally:
                lock.release()
            return
        time.sleep(_PAUSE)
