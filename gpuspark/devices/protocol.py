"""The few verbs a compiled device must have. What cannot be tested here must be small, so everything
above these verbs is the same for ``cpu``, ``emulated`` and ``cuda``.

A *program* is compiled code with one entry. Its parameters are 64-bit words: addresses of device
memory (given as handles) and whole numbers; it computes ``count`` rows. The emulated device and CUDA
are given the same PTX text. Handles are opaque: nothing above this module sees an address, so a
device may one day live in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NewType, Protocol

import numpy as np
from numpy.typing import NDArray

DeviceName = Literal["cuda", "emulated", "cpu", "python"]
"""The devices of a plan. ``python`` is plain Python, and has no :class:`Device`."""
Target = Literal["cpu", "ptx"]
Handle = NewType("Handle", object)
"""Device memory, as its device knows it."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Program:
    """Compiled code. ``code`` is an object file of the host (``cpu``) or PTX text (``ptx``)."""

    target: Target
    code: bytes
    entry: str
    key: str
    """A hash of everything that decided the code: the name under which it is cached and remembered."""


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
    """A compiled device. Errors: :class:`~gpuspark.errors.OutOfMemory` where there is no room,
    :class:`~gpuspark.errors.DeviceLost` where the device is gone for this process."""

    name: Literal["cpu", "cuda", "emulated"]
    target: Target

    def turn(self, most: int) -> AbstractContextManager[float]:
        """A context in which this process may use the device, as one of at most ``most`` on this node; gives the
        seconds that it waited. At its end the hardware gets back what is held and unused."""

    def copy_in(self, host: Bytes) -> Handle:
        """Device memory that holds ``host``. Read-only; the CPU views ``host`` itself."""

    def allocate(self, nbytes: int) -> Handle:
        """Uninitialised device memory."""

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        """Runs ``program`` over ``count`` rows; it may return before the work is done.

        The words given to the entry are ``arguments`` followed by ``count``."""

    def synchronize(self) -> None:
        """Returns when all launched work is done; errors of that work are raised here."""

    def copy_out(self, handle: Handle) -> Bytes:
        """The contents of ``handle`` in host memory that is the caller's own."""

    def free(self, handle: Handle) -> None:
        """Gives device memory back. A handle is freed once."""

    def keep(self, digest: str, host: Bytes) -> Handle:
        """Device memory that holds ``host`` for as long as this process lives: copied in at the first call with
        ``digest``, and the same handle at every later one. It must not be freed."""

    def forget(self) -> None:
        """Frees everything that :meth:`keep` has kept."""

    def memory(self) -> Memory:
        """What is free now, and the capacity."""
