"""The global memory of an emulated device: a flat 64-bit address space.

Its addresses are not addresses of this process, and none is used twice. Between two allocations lies an unused gap.
So an access just outside a buffer is found, and so is one to a buffer that was freed.
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
Observer = Callable[["Buffer", NDArray[np.int64], NDArray[np.intp] | None], None]
"""``observe(buffer, offsets, threads)`` is called for each access, with the byte offsets in the buffer and the
positions of the threads that make it (``None``: all)."""

FIRST_ADDRESS = 0x10_0000_0000
ALIGNMENT = 256
GUARD = 4096
"""The least number of unused bytes between two allocations."""
POISON = 0xA5
"""The value of each byte that was never written."""
_FREED_REMEMBERED = 16
"""The number of freed buffers that error messages can name."""


@dataclass(eq=False)
class Buffer:
    """One allocation. ``data`` is padded to a multiple of 16 bytes; ``nbytes`` is the requested size."""

    address: int
    nbytes: int
    name: str
    data: NDArray[np.uint8]
    initialised: NDArray[np.uint8] | None
    """255 for each byte that was written; ``None`` if all were."""
    writable: bool

    @property
    def end(self) -> int:
        """The first address after the buffer."""
        return self.address + self.nbytes

    def describe(self, offset: int) -> str:
        """Returns the location of a byte, in words."""
        return f"byte {offset:,} of {self}"

    def __str__(self) -> str:
        return f"{self.name} of {self.nbytes:,} bytes at {self.address:#x}"


class AddressSpace:
    """Allocations, and loads and stores by address for many threads at once.

    At most ``capacity`` bytes can be allocated. With ``check_uninitialised``, loading bytes that were never written
    raises :class:`~.faults.AccessFault`.

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
        self._next_address = FIRST_ADDRESS
        self._starts: list[int] = []
        self._buffers: list[Buffer] = []
        self._freed: deque[Buffer] = deque(maxlen=_FREED_REMEMBERED)

    # ---- allocations

    def allocate(self, nbytes: int, name: str = "a buffer") -> Buffer:
        """Returns uninitialised memory. Raises :class:`~gpuspark.errors.OutOfMemory` where it does not fit."""
        if nbytes > self.capacity - self.used:
            raise OutOfMemory(
                f"The emulated device has no room for {nbytes:,} bytes: {self.capacity - self.used:,} of its "
                f"{self.capacity:,} bytes are free. Use smaller batches (spark.gpuspark.batch.targetBytes) "
                "or a larger device (spark.gpuspark.emulated.memoryBytes)."
            )
        self.used += nbytes
        initialised = np.zeros(_padded(nbytes), np.uint8) if self._check_uninitialised else None
        return self._add(nbytes, name, np.full(_padded(nbytes), POISON, np.uint8), initialised, writable=True)

    def put(self, host: NDArray[np.uint8], name: str = "a read-only buffer") -> Buffer:
        """Returns read-only memory that holds a copy of ``host``."""
        buffer = self.allocate(host.nbytes, name)
        buffer.data[: host.nbytes] = host
        buffer.initialised = None
        buffer.writable = False
        return buffer

    def place_variable(self, nbytes: int, name: str, initial: bytes, *, writable: bool) -> Buffer:
        """Returns the memory of a module's variable, which does not count against the capacity."""
        data = np.zeros(_padded(nbytes), np.uint8)
        data[: len(initial)] = np.frombuffer(initial, np.uint8)
        return self._add(nbytes, name, data, None, writable=writable)

    def free(self, buffer: Buffer) -> None:
        """Frees an allocation. Raises ``ValueError`` if it was freed before."""
        number = bisect_right(self._starts, buffer.address) - 1
        if number < 0 or self._buffers[number] is not buffer:
            raise ValueError(f"{buffer} is not an allocation of this device, or was freed before.")
        del self._starts[number], self._buffers[number]
        self.used -= buffer.nbytes
        self._freed.append(buffer)
        buffer.data = np.empty(0, np.uint8)

    def _add(
        self,
        nbytes: int,
        name: str,
        data: NDArray[np.uint8],
        initialised: NDArray[np.uint8] | None,
        *,
        writable: bool,
    ) -> Buffer:
        """Makes a buffer at the next free address."""
        buffer = Buffer(self._next_address, nbytes, name, data, initialised, writable)
        self._next_address += -(-(nbytes + GUARD) // ALIGNMENT) * ALIGNMENT
        self._starts.append(buffer.address)
        self._buffers.append(buffer)
        return buffer

    # ---- access

    def load(self, addresses: Addresses, dtype: np.dtype, observe: Observer | None = None) -> NDArray[np.generic]:
        """Returns the values at ``addresses``, one for each thread."""
        buffer = self._common_buffer(addresses, dtype.itemsize)
        if buffer is not None:
            return self._gather(buffer, addresses, dtype, observe)
        values = np.empty(addresses.shape, dtype)
        for buffer, threads in self._by_buffer(addresses, dtype.itemsize):
            values[threads] = self._gather(buffer, addresses[threads], dtype, observe, threads)
        return values

    def store(self, addresses: Addresses, values: NDArray[np.generic], observe: Observer | None = None) -> None:
        """Writes ``values`` to ``addresses``. Where addresses are equal, the last thread wins."""
        buffer = self._common_buffer(addresses, values.dtype.itemsize)
        if buffer is not None:
            self._scatter(buffer, addresses, values, observe)
            return
        values = np.broadcast_to(values, addresses.shape)
        for buffer, threads in self._by_buffer(addresses, values.dtype.itemsize):
            self._scatter(buffer, addresses[threads], values[threads], observe, threads)

    def _common_buffer(self, addresses: Addresses, size: int) -> Buffer | None:
        """Returns the buffer that all accesses lie in, or ``None`` if there are several or none.

        Raises :class:`~.faults.AccessFault` for a misaligned access."""
        if (addresses & np.uint64(size - 1)).any():
            thread = int(np.flatnonzero(addresses & np.uint64(size - 1))[0])
            raise AccessFault(thread, f"misaligned access of {size} bytes at {int(addresses[thread]):#x}", "alignment")
        low, high = int(addresses.min()), int(addresses.max())
        number = bisect_right(self._starts, low) - 1
        if number >= 0 and high + size <= self._buffers[number].end:
            return self._buffers[number]
        return None

    def _by_buffer(self, addresses: Addresses, size: int) -> list[tuple[Buffer, NDArray[np.intp]]]:
        """Returns each accessed buffer with the positions of the threads that access it.

        Raises :class:`~.faults.AccessFault` for an access outside of all buffers."""
        starts = np.array(self._starts, np.uint64)
        ends = np.array([b.end for b in self._buffers], np.uint64)
        numbers = np.searchsorted(starts, addresses, side="right") - 1
        outside = numbers < 0
        if len(ends):
            outside |= addresses > ends[numbers] - np.uint64(size)
        if outside.any():
            thread = int(np.flatnonzero(outside)[0])
            address = int(addresses[thread])
            raise AccessFault(
                thread, f"no memory for {size} bytes at {address:#x}: {self._describe_address(address)}", "bounds"
            )
        return [(self._buffers[n], np.flatnonzero(numbers == n)) for n in np.unique(numbers).tolist()]

    def _gather(
        self,
        buffer: Buffer,
        addresses: Addresses,
        dtype: np.dtype,
        observe: Observer | None,
        threads: NDArray[np.intp] | None = None,
    ) -> NDArray[np.generic]:
        """Returns the values at ``addresses``, which all lie in ``buffer``."""
        index = _index(buffer, addresses, dtype)
        if buffer.initialised is not None:
            written = buffer.initialised.view(_unsigned(dtype))[index]
            complete = written == np.iinfo(written.dtype).max
            if not complete.all():
                thread = int(np.flatnonzero(~complete)[0])
                address = int(addresses[thread])
                location = self._describe_address(address)
                raise AccessFault(
                    thread if threads is None else int(threads[thread]),
                    f"reads {dtype.itemsize} bytes at {address:#x} that nothing has written: {location}",
                    "uninitialised reads",
                )
        if observe is not None:
            observe(buffer, index * dtype.itemsize, threads)
        return buffer.data.view(dtype)[index]

    def _scatter(
        self,
        buffer: Buffer,
        addresses: Addresses,
        values: NDArray[np.generic],
        observe: Observer | None,
        threads: NDArray[np.intp] | None = None,
    ) -> None:
        """Writes ``values`` to ``addresses``, which all lie in ``buffer``."""
        if not buffer.writable:
            thread = 0 if threads is None else int(threads[0])
            address = int(addresses[0])
            problem = f"writes to read-only memory at {address:#x}: {self._describe_address(address)}"
            raise AccessFault(thread, problem, "read-only memory")
        index = _index(buffer, addresses, values.dtype)
        if observe is not None:
            observe(buffer, index * values.dtype.itemsize, threads)
        buffer.data.view(values.dtype)[index] = values
        if buffer.initialised is not None:
            written = buffer.initialised.view(_unsigned(values.dtype))
            written[index] = np.iinfo(written.dtype).max

    def _describe_address(self, address: int) -> str:
        """Returns the position of ``address`` relative to the nearest buffer, in words."""
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
    """Returns ``nbytes`` rounded up to a multiple of 16."""
    return -(-nbytes // 16) * 16


def _unsigned(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def _index(buffer: Buffer, addresses: Addresses, dtype: np.dtype) -> NDArray[np.int64]:
    """Returns the positions of ``addresses`` in the buffer, counted in elements of ``dtype``."""
    shift = np.uint64(dtype.itemsize.bit_length() - 1)
    return ((addresses - np.uint64(buffer.address)) >> shift).view(np.int64)
