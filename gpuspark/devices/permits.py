"""Permits to use a GPU: at most ``spark.gpuspark.device.maxConcurrentTasks`` at a time on a node.

A permit is a lock on one of that many files, held by one process for one batch's device work and never
while it waits for Spark, so that functions chained in one task cannot wait for each other. The
operating system gives back the permit of a process that dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from gpuspark.disk_cache import private_folder

_PAUSE = 0.002  # seconds between two rounds over the files
_held: set[tuple[int, str]] = set()


@contextmanager
def permit(device: str, most: int) -> Iterator[float]:
    """Holds one of the ``most`` permits of ``device``; gives the seconds that it took to get it.

    A process that holds one already needs no second: a compiled function may be called inside a batch body that
    has the GPU. Where no private folder can be had, every process may go.
    """
    folder = private_folder("permits")
    key = os.getpid(), device
    if folder is None or key in _held:
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
            _held.add(key)
            try:
                yield time.monotonic() - start
            finally:
                _held.discard(key)
                lock.release()
            return
        time.sleep(_PAUSE)
