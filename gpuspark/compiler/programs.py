"""Programs, and refusals: from this process's memory, from the cache on disk, or from the compiler.

Numba is imported only where a program is not in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpuspark.compiler.requests import ArrayRequest, Request
from gpuspark.compiler.source import CannotCompile
from gpuspark.compiler.toolchain import MEMORY_LIMIT, not_lasting, processor, start
from gpuspark.devices.protocol import Program, Target
from gpuspark.disk_cache import default_cache

_TOOLS: dict[Target, tuple[str, ...]] = {
    "cpu": ("numba", "llvmlite", "numpy"),
    "ptx": (
        "numba", "llvmlite", "numpy", "numba-cuda", "cuda-bindings",
        "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvrtc-cu12",  # CUDA 12
        "nvidia-nvvm", "nvidia-cuda-nvrtc",  # CUDA 13
    ),
}  # fmt: skip
"""The distributions whose versions decide the code. CUDA's are those of the compiler, and of NVRTC, which says what
the oldest architecture is; one tool kit's are installed, or conda's packages, which Python's metadata does not know."""


def program_key(request: Request | ArrayRequest, target: Target) -> str:
    """A digest of what is to be compiled, the types, the target, the tools' versions and our own code."""
    return hashlib.sha256(repr((request.parts(), target, _tools(target), _own_code())).encode()).hexdigest()


_known: dict[str, Program | CannotCompile] = {}


def compile_program(request: Request | ArrayRequest, target: Target) -> Program:
    """The program for ``request``: from this process's memory, the cache on disk, or the compiler.

    Raises :class:`CannotCompile` with the reason; a refusal is remembered like a program.
    """
    key = program_key(request, target)
    found = _known.get(key)
    if found is None:
        kept = default_cache().get(key)
        found = _known[key] = _unpack(kept, target, key) if kept else _build(request, target, key)
    if isinstance(found, CannotCompile):
        raise found
    return found


def _build(request: Request | ArrayRequest, target: Target, key: str) -> Program | CannotCompile:
    try:
        start(target)
        from gpuspark.compiler import build

        if isinstance(request, Request):
            entry, code = build.build(request, target)
        else:
            entry, code = build.build_arrays(request, target)
    except MemoryError:
        return not_lasting(f"the compiler ran out of memory. Raise or unset {MEMORY_LIMIT}")
    except CannotCompile as refusal:
        if not refusal.lasting:
            return refusal
        entry, code = "", str(refusal).encode()
    payload = entry.encode() + b"\0" + code
    default_cache().put(key, payload)
    return _unpack(payload, target, key)


def _unpack(payload: bytes, target: Target, key: str) -> Program | CannotCompile:
    entry, _, code = payload.partition(b"\0")
    if not entry:
        return CannotCompile(code.decode())
    return Program(target, code, entry.decode(), key)


@cache
def _tools(target: Target) -> str:
    words = [str(sys.implementation.cache_tag), *(f"{name} {_version(name)}" for name in _TOOLS[target])]
    if target == "ptx":
        words += sorted(file.stem for file in Path(sys.prefix, "conda-meta").glob("cuda-nv*.json"))
    if target == "cpu":
        words += processor()
    return " ".join(words)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "-"


@cache
def _own_code() -> str:
    """A digest of this package, so that a newer gpuspark never runs an older one's programs."""
    digest = hashlib.sha256()
    for folder in ("gpuspark.compiler", "gpuspark.compiler.operations"):
        for file in sorted(importlib.resources.files(folder).iterdir(), key=lambda f: f.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()
