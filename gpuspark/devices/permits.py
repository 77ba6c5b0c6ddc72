"""Permits to use a GPU: at most ``spark.gpuspark.device.maxConcurrentTasks`` processes of a node hold one.

A permit is a lock on one of that many files. A process holds it for one batch's work on the device, and never while it
waits for Spark, so that functions chained in one task cannot block each other. The operating system releases the
permit of a process that dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from gpuspark.disk_cache import private_folder

_POLL_SECONDS = 0.002
"""The pause between two attempts to lock one of the files."""
_held: set[tuple[int, str]] = set()
"""The permits that this process holds: its id, so that a fork does not inherit them, and the device."""


@contextmanager
def permit(device: str, most: int) -> Iterator[float]:
    """Context manager that holds one of the ``most`` permits of ``device``; yields the seconds that it waited.

    A process that already holds one does not wait for a second: a batch body on the GPU may call a compiled function.
    Without a private folder for the lock files, no process waits.
    """
    folder = private_folder("permits")
    key = os.getpid(), device
    if folder is None or key in _held:
        yield 0.0
        return
    start = time.monotonic()
    locks = _locks(folder, device, most, os.getpid())
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
        time.sleep(_POLL_SECONDS)


@lru_cache
def _locks(folder: Path, device: str, most: int, _process: int) -> list[FileLock]:
    """Returns the locks of a device's permits. They are kept, because making them takes about as long as locking one;
    by process, so that a fork makes its own."""
    return [FileLock(folder / f"{device}.{n}.lock") for n in range(most)]
