"""Programs and refusals: from this process's memory, from the cache on disk, or from the compiler.

Numba is imported only for a program that is not in the cache.
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
"""The distributions whose versions affect the generated code. CUDA's are those of the compiler and of NVRTC, which
names the oldest architecture. Usually one CUDA version is installed; conda's packages of it are no distributions and
are looked up separately."""


def program_key(request: Request | ArrayRequest, target: Target) -> str:
    """Returns a digest of the function, the types, the target, the tools' versions and this package's code."""
    return hashlib.sha256(repr((request.parts(), target, _tools(target), _own_code())).encode()).hexdigest()


_programs: dict[str, Program | CannotCompile] = {}
"""The programs and refusals of this process, by key."""


def compile_program(request: Request | ArrayRequest, target: Target) -> Program:
    """Returns the program for ``request``, from this process's memory, the cache on disk or the compiler.

    Raises :class:`CannotCompile` with the reason; a refusal is kept like a program.
    """
    key = program_key(request, target)
    program = _programs.get(key)
    if program is None:
        payload = default_cache().get(key)
        program = _programs[key] = _unpack(payload, target, key) if payload else _build(request, target, key)
    if isinstance(program, CannotCompile):
        raise program
    return program


def _build(request: Request | ArrayRequest, target: Target, key: str) -> Program | CannotCompile:
    """Compiles a program, or returns the refusal, and keeps the result on disk unless it may differ tomorrow."""
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
    """Returns the program in a cache entry: the entry point's name, a zero byte and the code. A refusal has no name."""
    entry, _, code = payload.partition(b"\0")
    if not entry:
        return CannotCompile(code.decode())
    return Program(target, code, entry.decode(), key)


@cache
def _tools(target: Target) -> str:
    """Returns the Python version, the tools' versions and, for the CPU, the processor that code is generated for."""
    versions = [str(sys.implementation.cache_tag), *(f"{name} {_version(name)}" for name in _TOOLS[target])]
    if target == "ptx":
        versions += sorted(file.stem for file in Path(sys.prefix, "conda-meta").glob("cuda-nv*.json"))
    if target == "cpu":
        versions += processor()
    return " ".join(versions)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "-"


@cache
def _own_code() -> str:
    """Returns a digest of this package's source, so that a newer gpuspark never runs an older one's programs."""
    digest = hashlib.sha256()
    for folder in ("gpuspark.compiler", "gpuspark.compiler.operations"):
        for file in sorted(importlib.resources.files(folder).iterdir(), key=lambda f: f.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()
