"""The memory of an emulated device: a flat 64-bit address space of its own.

Addresses are made up (they are no addresses of this process) and never used twice. Between two
allocations lies a gap that belongs to nobody, so an access just outside a buffer is found, and so is
one through the address of a buffer that was given back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.errors import OutOfMemory

Addresses = NDArray[np.uint64]
Watch = Callable[["Buffer", NDArray[np.int64], NDArray[np.intp] | None], None]
"""``watch(buffer, places, lanes)`` is told of each access: the bytes' places in the buffer, and which of the
lanes they belong to (``None``: all)."""

FIRST_ADDRESS = 0x10_0000_0000
ALIGNMENT = 256
GUARD = 4096
POISON = 0xA5
_FREED_REMEMBERED = 16


@dataclass(eq=False)
class Buffer:
    """One allocation. ``data`` is padded to whole 16-byte words; ``nbytes`` is what was asked for."""

    address: int
    nbytes: int
    name: str
    data: NDArray[np.uint8]
    initialised: NDArray[np.uint8] | None
    """255 for each byte that was written; ``None`` where all were."""
    writable: bool

    @property
    def end(self) -> int:
        return self.address + self.nbytes

    def describe(self, place: int) -> str:
        return f"byte {place:,} of {self}"

    def __str__(self) -> str:
        return f"{self.name} of {self.nbytes:,} bytes at {self.address:#x}"


class AddressSpace:
    """Allocations, and loads and stores by address for many lanes at once.

    ``capacity`` bytes may be allocated; ``check_uninitialised`` makes a load of bytes that nobody
    wrote an :class:`~.faults.AccessFault`.

    >>> space = AddressSpace(capacity=1024)
    >>> buffer = space.allocate(16, "doubles")
    >>> addresses = np.uint64(buffer.address) + np.array([0, 8], np.uint64)
    >>> space.store(addresses, np.array([1.5, 2.5]))
    >>> space.load(addresses, np.dtype(np.float64))
    array([1.5, 2.5])
    """

    def __init__(self, capacity: int, *, check_uninitialised: bool = True) -> None:
        self.capacity = capacity
        self.used = 0
        self._check_uninitialised = check_uninitialised
        self._next = FIRST_ADDRESS
        self._starts: list[int] = []
        self._buffers: list[Buffer] = []
        self._freed: deque[Buffer] = deque(maxlen=_FREED_REMEMBERED)

    # ---- allocations

    def allocate(self, nbytes: int, name: str = "a buffer") -> Buffer:
        """Memory that holds nothing yet. Raises :class:`~gpuspark.errors.OutOfMemory`."""
        if nbytes > self.capacity - self.used:
            raise OutOfMemory(
                f"The emulated device has no room for {nbytes:,} bytes: {self.capacity - self.used:,} of its "
                f"{self.capacity:,} bytes are free. Use smaller batches (spark.gpuspark.batch.targetBytes) "
                "or a larger device (spark.gpuspark.emulated.memoryBytes)."
            )
        self.used += nbytes
        blank = np.zeros(_padded(nbytes), np.uint8) if self._check_uninitialised else None
        return self._place(nbytes, name, np.full(_padded(nbytes), POISON, np.uint8), blank, writable=True)

    def put(self, host: NDArray[np.uint8], name: str = "a read-only buffer") -> Buffer:
        """Memory that holds a copy of ``host`` and may only be read."""
        buffer = self.allocate(host.nbytes, name)
        buffer.data[: host.nbytes] = host
        buffer.initialised = None
        buffer.writable = False
        return buffer

    def place_variable(self, nbytes: int, name: str, initial: bytes, *, writable: bool) -> Buffer:
        """Memory of a program's own variable. It does not count against the capacity."""
        data = np.zeros(_padded(nbytes), np.uint8)
        data[: len(initial)] = np.frombuffer(initial, np.uint8)
        return self._place(nbytes, name, data, None, writable=writable)

    def free(self, buffer: Buffer) -> None:
        """Gives an allocation back. Raises ``ValueError`` if that happened before."""
        place = bisect_right(self._starts, buffer.address) - 1
        if place < 0 or self._buffers[place] is not buffer:
            raise ValueError(f"{buffer} is not an allocation of this device, or was freed before.")
        del self._starts[place], self._buffers[place]
        self.used -= buffer.nbytes
        self._freed.append(buffer)
        buffer.data = np.empty(0, np.uint8)

    def _place(
        self,
        nbytes: int,
        name: str,
        data: NDArray[np.uint8],
        blank: NDArray[np.uint8] | None,
        *,
        writable: bool,
    ) -> Buffer:
        buffer = Buffer(self._next, nbytes, name, data, blank, writable)
        self._next += -(-(nbytes + GUARD) // ALIGNMENT) * ALIGNMENT
        self._starts.append(buffer.address)
        self._buffers.append(buffer)
        return buffer

    # ---- access

    def load(self, addresses: Addresses, dtype: np.dtype, watch: Watch | None = None) -> NDArray[np.generic]:
        """The values at ``addresses``, one for each lane."""
        buffer = self._only(addresses, dtype.itemsize)
        if buffer is not None:
            return self._gather(buffer, addresses, dtype, watch)
        values = np.empty(addresses.shape, dtype)
        for buffer, lanes in self._by_buffer(addresses, dtype.itemsize):
            values[lanes] = self._gather(buffer, addresses[lanes], dtype, watch, lanes)
        return values

    def store(self, addresses: Addresses, values: NDArray[np.generic], watch: Watch | None = None) -> None:
        """Writes ``values`` to ``addresses``. Where lanes collide, the last one wins."""
        buffer = self._only(addresses, values.dtype.itemsize)
        if buffer is not None:
            self._scatter(buffer, addresses, values, watch)
            return
        values = np.broadcast_to(values, addresses.shape)
        for buffer, lanes in self._by_buffer(addresses, values.dtype.itemsize):
            self._scatter(buffer, addresses[lanes], values[lanes], watch, lanes)

    def _only(self, addresses: Addresses, size: int) -> Buffer | None:
        """The buffer that holds all of the accesses, if one does and they are aligned."""
        if (addresses & np.uint64(size - 1)).any():
            lane = int(np.flatnonzero(addresses & np.uint64(size - 1))[0])
            raise AccessFault(lane, f"misaligned access of {size} bytes at {int(addresses[lane]):#x}", "alignment")
        low, high = int(addresses.min()), int(addresses.max())
        place = bisect_right(self._starts, low) - 1
        if place >= 0 and high + size <= self._buffers[place].end:
            return self._buffers[place]
        return None

    def _by_buffer(self, addresses: Addresses, size: int) -> list[tuple[Buffer, NDArray[np.intp]]]:
        """Each buffer that is touched, and the lanes that touch it."""
        starts = np.array(self._starts, np.uint64)
        ends = np.array([b.end for b in self._buffers], np.uint64)
        places = np.searchsorted(starts, addresses, side="right") - 1
        outside = places < 0
        if len(ends):
            outside |= addresses > ends[places] - np.uint64(size)
        if outside.any():
            lane = int(np.flatnonzero(outside)[0])
            address = int(addresses[lane])
            raise AccessFault(lane, f"no memory for {size} bytes at {address:#x}: {self._near(address)}", "bounds")
        return [(self._buffers[p], np.flatnonzero(places == p)) for p in np.unique(places).tolist()]

    def _gather(
        self,
        buffer: Buffer,
        addresses: Addresses,
        dtype: np.dtype,
        watch: Watch | None,
        lanes: NDArray[np.intp] | None = None,
    ) -> NDArray[np.generic]:
        index = _index(buffer, addresses, dtype)
        if buffer.initialised is not None:
            written = buffer.initialised.view(_unsigned(dtype))[index]
            complete = written == np.iinfo(written.dtype).max
            if not complete.all():
                lane = int(np.flatnonzero(~complete)[0])
                address = int(addresses[lane])
                raise AccessFault(
                    lane if lanes is None else int(lanes[lane]),
                    f"reads {dtype.itemsize} bytes at {address:#x} that nothing has written: {self._near(address)}",
                    "uninitialised reads",
                )
        if watch is not None:
            watch(buffer, index * dtype.itemsize, lanes)
        return buffer.data.view(dtype)[index]

    def _scatter(
        self,
        buffer: Buffer,
        addresses: Addresses,
        values: NDArray[np.generic],
        watch: Watch | None,
        lanes: NDArray[np.intp] | None = None,
    ) -> None:
        if not buffer.writable:
            lane = 0 if lanes is None else int(lanes[0])
            address = int(addresses[0])
            problem = f"writes to read-only memory at {address:#x}: {self._near(address)}"
            raise AccessFault(lane, problem, "read-only memory")
        index = _index(buffer, addresses, values.dtype)
        if watch is not None:
            watch(buffer, index * values.dtype.itemsize, lanes)
        buffer.data.view(values.dtype)[index] = values
        if buffer.initialised is not None:
            written = buffer.initialised.view(_unsigned(values.dtype))
            written[index] = np.iinfo(written.dtype).max

    def _near(self, address: int) -> str:
        """Where ``address`` lies, in words."""
        for buffer in self._freed:
            if buffer.address <= address < max(buffer.end, buffer.address + 1):
                return f"it was freed: {buffer}"
        if not self._buffers:
            return "nothing is allocated"
        nearest = min(self._buffers, key=lambda b: max(b.address - address, address - b.end, 0))
        if address < nearest.address:
            return f"{nearest.address - address:,} bytes before the start of {nearest}"
        if address >= nearest.end:
            return f"{address - nearest.end:,} bytes after the end of {nearest}"
        return f"byte {address - nearest.address:,} of {nearest}"


def _padded(nbytes: int) -> int:
    return -(-nbytes // 16) * 16


def _unsigned(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def _index(buffer: Buffer, addresses: Addresses, dtype: np.dtype) -> NDArray[np.int64]:
    shift = np.uint64(dtype.itemsize.bit_length() - 1)
    return ((addresses - np.uint64(buffer.address)) >> shift).view(np.int64)
