"""The few verbs a compiled device must have. What cannot be tested here must be small, so everything
above these verbs is the same for ``cpu``, ``emulated`` and ``cuda``.

A *program* is compiled code with one entry. Its parameters are 64-bit words: addresses of device
memory (given as handles) and whole numbers; it computes ``count`` rows. The emulated device and CUDA
are given the same PTX text. Handles are opaque: nothing above this module sees an address, so a
device may one day live in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType, Protocol

import numpy as np
from numpy.typing import NDArray

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
    """An argument: ``handle``, read from ``offset`` bytes after its start."""

    handle: Handle
    offset: int = 0


class Device(Protocol):
    """A compiled device. Errors: :class:`~gpuspark.errors.OutOfMemory` where there is no room,
    :class:`~gpuspark.errors.DeviceLost` where the device is gone for this process."""

    name: Literal["cpu", "cuda", "emulated"]
    target: Target

    @property
    def identity(self) -> str:
        """Which one it is on this node: permits are counted by it."""

    def trim(self) -> None:
        """Gives back to the hardware what is held and unused; called when a permit is returned."""

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

    def memory(self) -> Memory:
        """What is free now, and the capacity."""

    def facts(self) -> dict[str, Any]:
        """What reports say of the device: name, capability, versions."""
