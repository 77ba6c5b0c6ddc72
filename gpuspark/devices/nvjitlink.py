"""Assembles PTX into machine code for one architecture, with nvJitLink of the toolkit that generated the PTX.

A driver loads PTX only up to the version it knows, and current compilers generate newer versions than most clusters
accept. Machine code (a *cubin*) has no such limit within a CUDA major version. So CUDA loads cubins, which are kept in
the disk cache. Where nvJitLink fails, the driver's PTX compiler is the last resort, with the version header lowered
(:func:`lowered`).
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass

from gpuspark.disk_cache import DiskCache
from gpuspark.errors import DeviceUnavailable, loading

_MINIMUM_VERSION = {
    "70": "6.0", "72": "6.1", "75": "6.3", "80": "7.0", "86": "7.1", "87": "7.4", "88": "9.0", "89": "7.8",
    "90": "7.8", "100": "8.6", "101": "8.6", "103": "8.8", "110": "9.0", "120": "8.7", "121": "8.8",
}  # fmt: skip
"""The first PTX version that supports an architecture, from the PTX ISA's table of target directives."""


def assemble(ptx: bytes, arch: str, cache: DiskCache) -> bytes:
    """Returns the cubin of ``ptx`` for the compute capability ``arch``, such as ``"80"``, cached in ``cache``.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` with nvJitLink's message where nvJitLink is not installed, does
    not know the architecture or rejects the text.
    """
    key = _cache_key(ptx, arch)
    cubin = cache.get(key)
    if cubin is None:
        cubin = _link(ptx, arch)
        cache.put(key, cubin)
    return cubin


@functools.cache
def version() -> str:
    """Returns the versions of nvJitLink and of cuda-bindings, in words."""
    with loading(_not_installed):
        from cuda import bindings
        from cuda.bindings import nvjitlink

        major, minor = nvjitlink.version()
    return f"nvJitLink {major}.{minor}, cuda-bindings {bindings.__version__}"


def _not_installed(why: str) -> DeviceUnavailable:
    return DeviceUnavailable(f"nvJitLink is not installed ({why}). Install it with: pip install gpuspark[cuda12]")


def lowered(ptx: bytes) -> bytes:
    """Returns ``ptx`` with its version lowered to the first one that supports its target architecture.

    >>> lowered(b".version 8.8\\n.target sm_75\\n")
    b'.version 6.3\\n.target sm_75\\n'
    """
    target = re.search(rb"^\s*\.target\s+sm_(\d+)", ptx, re.MULTILINE)
    minimum = _MINIMUM_VERSION.get(target[1].decode()) if target else None
    if minimum is None:
        return ptx
    return re.sub(rb"^(\s*\.version\s+)[\d.]+", rb"\g<1>" + minimum.encode(), ptx, count=1, flags=re.MULTILINE)


def _cache_key(ptx: bytes, arch: str) -> str:
    """Returns the cache key. PTX text names its compiler (libNVVM) and toolkit, so its hash covers them."""
    text = hashlib.sha256(ptx).hexdigest()
    return hashlib.sha256(f"cubin {text} sm_{arch} {version()}".encode()).hexdigest()


@dataclass(frozen=True)
class Resources:
    """What one thread of a program uses on an architecture, in bytes except for the number of registers."""

    registers: int
    stack: int
    spilled: int
    """Registers spilled to local memory: bytes stored and loaded."""
    shared: int
    """Shared memory of one block."""


def resources(ptx: bytes, arch: str) -> Resources:
    """Returns the resources of the program in ``ptx``, which has one entry, on the compute capability ``arch``.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` as :func:`assemble` does.

    Source: the output of ``ptxas --verbose``, which nvJitLink repeats.
    """
    _, log = _linked(ptx, arch, "-verbose")
    frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    used = re.search(r"[Uu]sed (\d+) registers", log)
    if frame is None or used is None:
        raise DeviceUnavailable(f"{version()} says nothing of registers: {log.strip()!r}")
    stack, stores, loads = map(int, frame.groups())
    shared = re.search(r"(\d+) bytes smem", log)
    return Resources(int(used[1]), stack, stores + loads, int(shared[1]) if shared else 0)


def _link(ptx: bytes, arch: str) -> bytes:
    """Returns the machine code of ``ptx``."""
    return _linked(ptx, arch)[0]


def _linked(ptx: bytes, arch: str, *options: str) -> tuple[bytes, str]:
    """Returns the machine code, and nvJitLink's log."""
    version()  # raises where nvJitLink does not start
    from cuda.bindings import nvjitlink

    linker = 0
    try:
        flags = [f"-arch=sm_{arch}", *options]
        linker = nvjitlink.create(len(flags), flags)
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), "program")
        nvjitlink.complete(linker)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, cubin)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
        return bytes(cubin), log.rstrip(b"\0").decode(errors="replace")
    except nvjitlink.nvJitLinkError as error:
        raise DeviceUnavailable(f"{version()} for sm_{arch}: {error}. {_error_log(linker)}".rstrip()) from error
    finally:
        if linker:
            nvjitlink.destroy(linker)


def _error_log(linker: int) -> str:
    """Returns nvJitLink's error log."""
    from cuda.bindings import nvjitlink

    if not linker:
        return ""
    text = bytearray(nvjitlink.get_error_log_size(linker))
    nvjitlink.get_error_log(linker, text)
    return text.rstrip(b"\0").decode(errors="replace").strip()
