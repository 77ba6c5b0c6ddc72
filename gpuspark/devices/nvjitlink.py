"""PTX text into machine code for one architecture, by the nvJitLink of the tool kit that wrote the PTX.

A driver loads PTX only up to the version it knows, and today's compilers write newer ones than most
clusters accept. Machine code has no such limit within a CUDA major version, so CUDA is given machine
code (a *cubin*), kept in the disk cache. Where nvJitLink cannot make it, the driver's own compiler is
the last resort, with the version header lowered (:func:`lowered`).
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
"""The first PTX version that knows an architecture, from the PTX ISA's table of target directives."""


def assemble(ptx: bytes, arch: str, cache: DiskCache) -> bytes:
    """The cubin of ``ptx`` for the compute capability ``arch``, such as ``"80"``; from ``cache`` if there.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` with nvJitLink's own words where nvJitLink is not
    installed, does not know the architecture or does not accept the text.
    """
    key = _cache_key(ptx, arch)
    cubin = cache.get(key)
    if cubin is None:
        cubin = _link(ptx, arch)
        cache.put(key, cubin)
    return cubin


@functools.cache
def version() -> str:
    """The versions of nvJitLink and of the package that calls it."""
    with loading(_not_installed):
        from cuda import bindings
        from cuda.bindings import nvjitlink

        major, minor = nvjitlink.version()
    return f"nvJitLink {major}.{minor}, cuda-bindings {bindings.__version__}"


def _not_installed(why: str) -> DeviceUnavailable:
    return DeviceUnavailable(f"nvJitLink is not installed ({why}). Install it with: pip install gpuspark[cuda12]")


def lowered(ptx: bytes) -> bytes:
    """``ptx`` with its version lowered to the first one that knows its target architecture.

    >>> lowered(b".version 8.8\\n.target sm_75\\n")
    b'.version 6.3\\n.target sm_75\\n'
    """
    target = re.search(rb"^\s*\.target\s+sm_(\d+)", ptx, re.MULTILINE)
    minimum = _MINIMUM_VERSION.get(target[1].decode()) if target else None
    if minimum is None:
        return ptx
    return re.sub(rb"^(\s*\.version\s+)[\d.]+", rb"\g<1>" + minimum.encode(), ptx, count=1, flags=re.MULTILINE)


def _cache_key(ptx: bytes, arch: str) -> str:
    """The text names the compiler (libNVVM) and tool kit that wrote it, so its hash covers them."""
    text = hashlib.sha256(ptx).hexdigest()
    return hashlib.sha256(f"cubin {text} sm_{arch} {version()}".encode()).hexdigest()


@dataclass(frozen=True)
class Resources:
    """What one thread of a program takes on an architecture; ``shared`` is a block's. Bytes, but for registers."""

    registers: int
    stack: int
    spilled: int
    """Stored to and loaded from local memory for want of registers."""
    shared: int


def resources(ptx: bytes, arch: str) -> Resources:
    """What the program in ``ptx``, which has one entry, takes on the compute capability ``arch``.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` as :func:`assemble` does.

    Source: the words of ``ptxas --verbose``, which nvJitLink repeats.
    """
    _, told = _linked(ptx, arch, "-verbose")
    frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", told)
    used = re.search(r"[Uu]sed (\d+) registers", told)
    if frame is None or used is None:
        raise DeviceUnavailable(f"{version()} says nothing of registers: {told.strip()!r}")
    stack, stores, loads = map(int, frame.groups())
    shared = re.search(r"(\d+) bytes smem", told)
    return Resources(int(used[1]), stack, stores + loads, int(shared[1]) if shared else 0)


def _link(ptx: bytes, arch: str) -> bytes:
    return _linked(ptx, arch)[0]


def _linked(ptx: bytes, arch: str, *options: str) -> tuple[bytes, str]:
    """The machine code, and what nvJitLink said while making it."""
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
        told = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, told)
        return bytes(cubin), told.rstrip(b"\0").decode(errors="replace")
    except nvjitlink.nvJitLinkError as error:
        raise DeviceUnavailable(f"{version()} for sm_{arch}: {error}. {_log(linker)}".rstrip()) from error
    finally:
        if linker:
            nvjitlink.destroy(linker)


def _log(linker: int) -> str:
    from cuda.bindings import nvjitlink

    if not linker:
        return ""
    text = bytearray(nvjitlink.get_error_log_size(linker))
    nvjitlink.get_error_log(linker, text)
    return text.rstrip(b"\0").decode(errors="replace").strip()
