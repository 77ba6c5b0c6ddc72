"""Controls the stub from a scene, and runs its launches in the emulator."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpuspark.devices.emulator.interpreter import launch
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.emulator.program import Program as LoadedProgram
from gpuspark.devices.emulator.syntax import Module
from gpuspark.devices.protocol import Program
from gpuspark.errors import DeviceFault

ILLEGAL_ADDRESS = 700
LAUNCH_FAILED = 719
EMULATED_BYTES = 1 << 30

_Runner = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)),
    ctypes.c_int,
)
_callbacks: list[object] = []
"""The callbacks that the stub may call: it holds no reference to them."""


class Stub:
    """The stub in this process. Its constructor loads the library without calling the driver.

    ``geometries`` holds the (grid size, block size, device) of each launch; ``failures`` the faults of launches.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.stub_launched.restype = ctypes.c_void_p
        self._library.stub_allocation.restype = ctypes.c_size_t
        self._library.stub_allocation.argtypes = [
            ctypes.c_uint64,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_uint64),
        ]
        self.geometries: list[tuple[int, int, int]] = []
        self.failures: list[DeviceFault] = []

    def fail(self, name: str, code: int, every: int = 1) -> None:
        """Makes each ``every``-th call of ``name`` (``*``: of any function) return ``code`` from now on."""
        self._library.stub_fail(name.encode(), ctypes.c_long(every), code)

    def heal(self) -> None:
        """Ends :meth:`fail`. A broken context stays broken."""
        self.fail("", 0, every=0)

    def live(self, device: int = 0) -> int:
        """Returns the number of allocations of ``device`` that were not freed."""
        return int(self._library.stub_live(device))

    def misuses(self) -> int:
        """Returns the number of calls that a real driver would have let corrupt memory."""
        return int(self._library.stub_misuses())

    def run_launches_of(self, program: Program) -> None:
        """Makes launches run the PTX of ``program``."""
        self.run_launches(lambda _entry, _image: program)

    def run_launches(self, find: Callable[[str, bytes], Program]) -> None:
        """Makes each launch run the PTX of ``find(entry, image)``, where ``image`` is the code that was loaded.

        The launch fails where ``find`` raises ``LookupError``."""

        def run(name: bytes, grid: int, block: int, words: Any, device: int) -> int:
            self.geometries.append((grid, block, device))
            entry = name.decode()
            try:
                module = _parsed(find(entry, self._image()).code)
                values = [words[n][0] for n in range(len(module.functions[entry].parameters))]
                self._emulate(module, entry, grid, block, values, device)
            except LookupError as unknown:
                print(f"stub driver: {entry} cannot be run: {unknown!r}", file=sys.stderr)
                return LAUNCH_FAILED
            except DeviceFault as fault:
                self.failures.append(fault)
                return ILLEGAL_ADDRESS
            return 0

        callback = _Runner(run)
        _callbacks.append(callback)
        self._library.stub_set_runner(callback)

    def _image(self) -> bytes:
        """Returns the code that was loaded for the current launch."""
        size = ctypes.c_size_t()
        return ctypes.string_at(self._library.stub_launched(ctypes.byref(size)), size.value)

    def _emulate(self, module: Module, entry: str, grid: int, block: int, words: list[int], device: int) -> None:
        """Runs the launch on copies of the allocations that ``words`` point into, and copies them back."""
        space = AddressSpace(EMULATED_BYTES, check_uninitialised=False)
        copies: dict[int, tuple[Buffer, np.ndarray[tuple[int], np.dtype[np.uint8]]]] = {}
        translated = list(words)
        for number, word in enumerate(words):
            start = ctypes.c_uint64()
            size = self._library.stub_allocation(word, device, ctypes.byref(start))
            if size:
                if start.value not in copies:
                    memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(start.value))
                    buffer = space.allocate(size)
                    buffer.data[:size] = memory
                    copies[start.value] = buffer, memory
                translated[number] = copies[start.value][0].address + word - start.value
        launch(LoadedProgram(module, space), entry, (grid, 1, 1), (block, 1, 1), translated)
        for buffer, memory in copies.values():
            memory[:] = buffer.data[: memory.size]


@functools.lru_cache(256)
def _parsed(ptx: bytes) -> Module:
    return parse(ptx.decode())


def calls() -> list[str]:
    """Returns the driver calls of this process so far, from the stub's log, oldest first."""
    log = Path(os.environ["STUB_LOG"])
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith(f"{os.getpid()} ")]
