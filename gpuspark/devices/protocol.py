"""The operations that every compiled device implements: ``cpu``, ``emulated`` and ``cuda``.

Code that needs a GPU to be tested must be small, so everything above these operations is the same for all devices.

A *program* is compiled code with one entry, which computes ``count`` rows. Its parameters are 64-bit words: integers,
and addresses of device memory, which are passed as handles. The emulated device and CUDA run the same PTX text.
Handles are opaque: no module above this one sees an address, so a device could be in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NewType, Protocol

import numpy as np
from numpy.typing import NDArray

DeviceName = Literal["sql", "cuda", "emulated", "cpu", "python"]
"""The devices of a plan. ``sql``, a Spark expression, and ``python``, plain Python, have no :class:`Device`."""
Target = Literal["cpu", "ptx"]
"""What a program is compiled to."""
Handle = NewType("Handle", object)
"""A reference to device memory that only its device can interpret."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Program:
    """Compiled code. ``code`` is an object file of the host (``cpu``) or PTX text (``ptx``)."""

    target: Target
    code: bytes
    entry: str
    key: str
    """A hash of everything that determines the code, under which it is cached."""


@dataclass(frozen=True)
class Memory:
    """Device memory, in bytes."""

    free: int
    total: int


@dataclass(frozen=True)
class Pointer:
    """An argument of a program: the address of the memory that ``handle`` names."""

    handle: Handle


class Device(Protocol):
    """A device that runs compiled programs.

    Its methods raise :class:`~gpuspark.errors.OutOfMemory` where memory does not suffice, and
    :class:`~gpuspark.errors.DeviceLost` where this process can no longer use the device."""

    name: Literal["cpu", "cuda", "emulated"]
    target: Target

    def turn(self, most: int) -> AbstractContextManager[float]:
        """Returns a context in which this process may use the device, as one of at most ``most`` on this node.

        It yields the seconds that it waited. At its end, unused device memory is returned to the hardware."""

    def copy_in(self, host: Bytes) -> Handle:
        """Returns read-only device memory that holds ``host``; on the CPU, a view of ``host``."""

    def allocate(self, nbytes: int) -> Handle:
        """Returns uninitialised device memory."""

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        """Runs ``program`` over ``count`` rows. May return before the work is done.

        The entry's parameters are ``arguments``, followed by ``count``."""

    def synchronize(self) -> None:
        """Waits until all launched work is done, and raises the errors of that work."""

    def copy_out(self, handle: Handle) -> Bytes:
        """Returns the contents of ``handle`` in host memory that belongs to the caller."""

    def free(self, handle: Handle) -> None:
        """Frees device memory. A handle can be freed once."""

    def keep(self, digest: str, host: Bytes) -> Handle:
        """Returns device memory that holds ``host`` until this process ends. It must not be freed.

        ``host`` is copied in at the first call with ``digest``; later calls return the same handle."""

    def forget(self) -> None:
        """Frees everything that :meth:`keep` returned."""

    def memory(self) -> Memory:
        """Returns the free memory and the capacity."""
