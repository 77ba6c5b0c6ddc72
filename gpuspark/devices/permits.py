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

from filelock import FileLock, Timeout

from gpuspark.disk_cache import VARIABLE, private_folder

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
    key = os.getpid(), device
    if key in _held:
        yield 0.0
        return
    start = time.monotonic()
    locks = _locks(*key, most, os.environ.get(VARIABLE))
    if not locks:
        yield 0.0
        return
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
def _locks(_process: int, device: str, most: int, _folder: str | None) -> list[FileLock]:
    """Returns the locks of a device's permits, none without a private folder. They are kept for each process and
    choice of the folder: making them for each batch would take longer than locking one."""
    folder = private_folder("permits")
    return [FileLock(folder / f"{device}.{n}.lock") for n in range(most)] if folder is not None else []
