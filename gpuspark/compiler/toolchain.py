"""Starts the compilers in this process, and says which processor they compile for.

The compilers are third-party packages around native libraries, and can fail to start in many ways: a package or
library is missing, two versions do not fit, there is too little memory. Each failure becomes a
:class:`CannotCompile` with the reason, which is not kept on disk, and so a fallback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from gpuspark.compiler.source import CannotCompile
from gpuspark.devices.protocol import Target
from gpuspark.errors import loading

MEMORY_LIMIT = "spark.executor.pyspark.memory"
Part = Literal["llvmlite", "cpu", "ptx"]
NEEDED_BYTES: dict[Part, int] = {"llvmlite": 350 << 20, "cpu": 450 << 20, "ptx": 900 << 20}
"""The address space that must be free before each part is started. Measured: llvmlite, which loads machine code, takes
155 MB, Numba with a first program for the CPU 180 MB more, NVIDIA's compiler with everything that it needs 640 MB. LLVM
ends the process or hangs if memory runs out, so at least half as much again is required."""
MORE_BYTES = 200 << 20
"""The same for each later program, which takes a few megabytes."""

_started: dict[Part, str] = {}
"""The parts that were started in this process: an empty string, or the reason why the part does not start."""


def start(target: Target) -> None:
    """Starts the compiler for ``target`` with its libraries, once per process.

    Raises :class:`CannotCompile` with what failed and what to do.
    """
    _require_memory(target)
    if target not in _started:
        try:
            _start(target)
        except CannotCompile as refusal:
            _started[target] = str(refusal)
        else:
            _started[target] = ""
    if _started[target]:
        raise not_lasting(_started[target])


def problem(target: Target) -> str | None:
    """Returns why programs for ``target`` cannot be compiled in this process; ``None`` if they can."""
    try:
        start(target)
    except CannotCompile as refusal:
        return str(refusal)
    return None


def processor() -> tuple[str, str]:
    """Returns LLVM's name and features of the processor that machine code is generated for.

    It is this machine's, or what ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` say, as for Numba itself.

    Raises :class:`CannotCompile` if llvmlite does not start.
    """
    _require_memory("llvmlite")
    with _starting("llvmlite, which loads machine code,", "pip install gpuspark"):
        from llvmlite import binding

        name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
        if features is None:
            features = binding.get_host_cpu_features().flatten() if name is None else ""
        _started["llvmlite"] = ""
        return name or binding.get_host_cpu_name(), features


def _require_memory(part: Part) -> None:
    """Raises :class:`CannotCompile` if the limit on this process's address space leaves too little for ``part``."""
    needed = MORE_BYTES if part in _started else NEEDED_BYTES[part]
    limit = _address_space()
    if limit is None:
        return
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    if limit - taken < needed:
        raise not_lasting(
            f"this process may use {limit:,} bytes of address space and has {taken:,} in use, and a compiler needs "
            f"{needed:,} more. Raise {MEMORY_LIMIT}, which sets the limit, or unset it"
        )


def _address_space() -> int | None:
    """Returns the bytes that this process may map; ``None`` if there is no limit, and on systems without
    ``/proc/self/statm``."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _start(target: Target) -> None:
    """Imports the compiler for ``target`` and loads its native libraries."""
    with _starting("Numba, the compiler,", "pip install gpuspark"):
        import llvmlite.binding  # noqa: F401
        import numba.extending  # noqa: F401
        from numba.core.registry import cpu_target

        cpu_target.target_context.refresh()  # imports the rest of Numba, as the first compilation does
    if target == "cpu":
        return
    with _starting("NVIDIA's compiler", "pip install 'gpuspark[cuda12]'"):
        from numba.cuda import jit, libdevice  # noqa: F401
        from numba.cuda.compiler import compile_cuda, kernel_fixup  # noqa: F401
        from numba.cuda.cudadrv import nvrtc, nvvm
        from numba.cuda.descriptor import cuda_target
        from numba.cuda.dispatcher import get_current_device  # noqa: F401
        from numba.cuda.extending import intrinsic, overload  # noqa: F401

        cuda_target.target_context.refresh()
        nvvm.NVVM()
        nvvm.LibDevice()
        nvrtc.get_lowest_supported_cc()


@contextmanager
def _starting(what: str, command: str) -> Iterator[None]:
    """Context manager that translates any error of an import into :class:`CannotCompile`, with advice."""
    limit = _address_space()
    advice = f"Reinstall it with: {command}" if limit is None else f"Raise or unset {MEMORY_LIMIT}"
    with loading(lambda why: not_lasting(f"{what} does not start ({why}). {advice}")):
        yield


def not_lasting(reason: str) -> CannotCompile:
    """Returns a refusal that holds for this process only, and is not kept on disk."""
    refusal = CannotCompile(reason)
    refusal.lasting = False
    return refusal
