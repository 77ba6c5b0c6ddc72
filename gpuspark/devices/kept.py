"""Arrays that stay in device memory until their process ends: matrices, models, indexes."""

from __future__ import annotations

from collections.abc import Callable

from gpuspark.devices.protocol import Bytes, Handle
from gpuspark.errors import DeviceLost


class Kept:
    """The arrays that one device keeps, by the digest of their contents."""

    def __init__(self, copy_in: Callable[[Bytes], Handle], free: Callable[[Handle], None]) -> None:
        self._copy_in, self._free = copy_in, free
        self._handles: dict[str, Handle] = {}

    def keep(self, digest: str, host: Bytes) -> Handle:
        """Returns device memory that holds ``host``, which is copied in at the first call with ``digest``."""
        if digest not in self._handles:
            self._handles[digest] = self._copy_in(host)
        return self._handles[digest]

    def forget(self) -> None:
        """Frees everything; on a lost device there is nothing to free."""
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            try:
                self._free(handle)
            except DeviceLost:
                return
