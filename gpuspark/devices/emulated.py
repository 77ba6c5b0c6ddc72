"""The emulated device, which executes the PTX that CUDA would load, in memory on the host.

It shows that programs are correct without a GPU, and finds faults that a GPU would not report. See :mod:`.emulator`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, cast

from gpuspark.devices.emulator.interpreter import launch
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.emulator.program import Program as LoadedProgram
from gpuspark.devices.kept import Kept
from gpuspark.devices.permits import permit
from gpuspark.devices.protocol import Bytes, Handle, Memory, Pointer, Program, Target

THREADS_PER_BLOCK = 256


class EmulatedDevice:
    """A :class:`~gpuspark.devices.protocol.Device` with ``capacity`` bytes of memory.

    Errors: :class:`~gpuspark.errors.OutOfMemory` where an allocation does not fit,
    :class:`~gpuspark.errors.DeviceFault` where a program does what a GPU would not allow (an access
    outside a buffer, misaligned, to memory that was freed or never written, or to read-only memory).
    """

    name: Literal["cpu", "cuda", "emulated"] = "emulated"
    target: Target = "ptx"

    def __init__(self, capacity: int, *, check_uninitialised: bool = True) -> None:
        self._memory = AddressSpace(capacity, check_uninitialised=check_uninitialised)
        self._programs: dict[str, LoadedProgram] = {}
        self._kept = Kept(self.copy_in, self.free)

    def turn(self, most: int) -> AbstractContextManager[float]:
        """Holds one of ``most`` permits, as on a GPU."""
        return permit(self.name, most)

    def copy_in(self, host: Bytes) -> Handle:
        """Returns read-only device memory that holds a copy of ``host``."""
        return Handle(self._memory.put(host, "an input"))

    def allocate(self, nbytes: int) -> Handle:
        """Returns device memory that must be written before it is read."""
        return Handle(self._memory.allocate(nbytes, "an output"))

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        """Runs ``program`` over ``count`` rows, one thread for each, and returns when it is done."""
        if program.target != self.target:
            raise ValueError(f"The emulated device runs PTX, not code for {program.target!r}.")
        words = [_word(argument) for argument in arguments]
        grid, block = (-(-count // THREADS_PER_BLOCK), 1, 1), (THREADS_PER_BLOCK, 1, 1)
        launch(self._loaded(program), program.entry, grid, block, [*words, count])

    def synchronize(self) -> None:
        """Returns at once: work is done when :meth:`launch` returns."""

    def copy_out(self, handle: Handle) -> Bytes:
        """Returns a copy of the memory's contents; bytes that nothing has written are arbitrary."""
        buffer = _buffer(handle)
        return buffer.data[: buffer.nbytes].copy()

    def free(self, handle: Handle) -> None:
        """Frees device memory. Raises ``ValueError`` if it was freed before."""
        self._memory.free(_buffer(handle))

    def keep(self, digest: str, host: Bytes) -> Handle:
        """Returns device memory that holds ``host`` until this process ends, or :meth:`forget` is called."""
        return self._kept.keep(digest, host)

    def forget(self) -> None:
        """Frees everything that :meth:`keep` returned."""
        self._kept.forget()

    def memory(self) -> Memory:
        """Returns what is free, and the capacity."""
        return Memory(free=self._memory.capacity - self._memory.used, total=self._memory.capacity)

    def _loaded(self, program: Program) -> LoadedProgram:
        """Returns ``program``, parsed at its first launch."""
        if program.key not in self._programs:
            self._programs[program.key] = LoadedProgram(parse(program.code.decode()), self._memory)
        return self._programs[program.key]


def _buffer(handle: Handle) -> Buffer:
    return cast(Buffer, handle)


def _word(argument: Pointer | int) -> int:
    """Returns the value of a parameter: an integer, or the address of device memory."""
    if isinstance(argument, int):
        return argument
    return _buffer(argument.handle).address
