"""The CPU: programs are machine code over host memory, and nothing is copied.

Machine code is loaded by llvmlite alone: a worker whose program is in the cache never imports Numba, which would take
a good part of a second.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, cast

import numpy as np

from gpuspark.devices.protocol import Bytes, Handle, Memory, Pointer, Program, Target


class CpuDevice:
    """A :class:`~gpuspark.devices.protocol.Device` over host memory. A handle is a NumPy array of bytes."""

    name: Literal["cpu", "cuda", "emulated"] = "cpu"
    target: Target = "cpu"

    def __init__(self) -> None:
        self._loaded: dict[str, Callable[..., int]] = {}

    def turn(self, most: int) -> AbstractContextManager[float]:  # noqa: ARG002
        """Returns a context that never waits: Spark assigns the CPU's cores to tasks."""
        return nullcontext(0.0)

    def copy_in(self, host: Bytes) -> Handle:
        """Returns ``host`` itself."""
        return Handle(host)

    def allocate(self, nbytes: int) -> Handle:
        """Returns uninitialised host memory."""
        return Handle(np.empty(nbytes, np.uint8))

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        """Runs ``program`` over ``count`` rows, and returns when it is done."""
        function = self._loaded.get(program.key)
        if function is None:
            function = self._loaded[program.key] = load(program, len(arguments) + 1)
        words = [_address(a) if isinstance(a, Pointer) else a for a in arguments]
        result, exception = ctypes.c_void_p(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(exception), *words, count)
        if status:
            raise RuntimeError(
                f"the program {program.entry} ended with an error that machine code cannot tell (status {status}): see "
                "it with spark.gpuspark.device=python"
            )

    def synchronize(self) -> None:
        """Returns at once: work is done when :meth:`launch` returns."""

    def copy_out(self, handle: Handle) -> Bytes:
        """Returns the array itself."""
        return cast(Bytes, handle)

    def free(self, handle: Handle) -> None:
        """Does nothing: memory is freed with the last reference to its handle."""

    def keep(self, digest: str, host: Bytes) -> Handle:  # noqa: ARG002
        """Returns ``host`` itself."""
        return Handle(host)

    def forget(self) -> None:
        """Does nothing: the device holds no arrays."""

    def memory(self) -> Memory:
        """Returns the host's free and total memory."""
        import os

        page = os.sysconf("SC_PAGE_SIZE")
        return Memory(os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page)


def _address(pointer: Pointer) -> int:
    # Several times faster than .ctypes.data, which matters for small batches.
    address: int = cast(Bytes, pointer.handle).__array_interface__["data"][0]
    return address


def load(program: Program, words: int) -> Callable[..., int]:
    """Returns the entry of an object file as a callable of ``words`` 64-bit words.

    They follow the two pointers of Numba's calling convention: to the result (programs return none), and to an
    exception (programs raise none). Each program gets its own execution engine, which lives as long as the callable:
    two programs may contain different functions of the same name.
    """
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(reloc="pic")
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(program.code))
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * words)
    function = prototype(engine.get_function_address(program.entry))
    function.engine = engine  # type: ignore[attr-defined]
    return cast(Callable[..., int], function)
