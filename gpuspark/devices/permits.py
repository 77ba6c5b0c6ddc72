"""Permits to use a GPU: at most ``spark.gpuspark.device.maxConcurrentTasks`` at a time on a node.

A permit is a lock on one of that many files, held by one process for one batch's device work and never
while it waits for Spark, so that functions chained in one task cannot wait for each other. The
operating system gives back the permit of a process that dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from gpuspark.devices.protocol import Device
from gpuspark.disk_cache import private_folder

_PAUSE = 0.002  # seconds between two rounds over the files
_held: set[tuple[int, str]] = set()


@contextmanager
def permit(device: str, most: int) -> Iterator[float]:
    """Holds one of the ``most`` permits of ``device``; gives the seconds that it took to get it.

    A process that holds one already needs no second: a compiled function may be called inside a batch body that
    has the GPU. Where no private folder can be had, or ``device`` is the CPU, everybody may go.
    """
    folder = None if device == "cpu" else private_folder("permits")
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


class Turn:
    """This task's turn on the GPU: between :meth:`begin` and :meth:`end` it holds a permit. Both may be called
    again; without a device they do nothing."""

    def __init__(self, device: Device | None, most: int) -> None:
        self._device, self._most = device, most
        self._held: ExitStack | None = None
        self.waited = 0.0
        """Seconds spent waiting, for Spark or for a permit."""

    def begin(self) -> None:
        if self._device is not None and self._held is None:
            self._held = ExitStack()
            self.waited += self._held.enter_context(permit(self._device.identity, self._most))

    def end(self) -> None:
        if self._device is not None and self._held is not None:
            held, self._held = self._held, None
            with held:
                self._device.trim()
