"""Runs every launch of this process in the emulator, whatever its program. ``STUB_RUNNER`` names this module when whole
test files and Spark's workers are rehearsed.

A driver loads machine code, which the emulator cannot run. So this module searches the programs that this process
knows for the one whose PTX nvJitLink assembles into exactly that machine code.
"""

from __future__ import annotations

import functools
import os

from gpuspark.compiler import programs
from gpuspark.devices import cuda, nvjitlink
from gpuspark.devices.protocol import Program
from gpuspark.disk_cache import default_cache
from stub_driver.control import Stub
from stub_driver.sample import SAMPLE


def _candidates(entry: str) -> list[Program]:
    """Returns the programs of this process that have the entry."""
    known = [SAMPLE, *programs._programs.values()]
    return [
        program
        for program in known
        if isinstance(program, Program) and program.target == "ptx" and program.entry == entry
    ]


@functools.lru_cache(256)
def find(entry: str, image: bytes) -> Program:
    """Returns the program that ``image`` was assembled from. Raises ``LookupError`` where this process knows none."""
    (arch,) = {gpu.arch for gpu in cuda.detect().gpus}
    for program in _candidates(entry):
        cubin = nvjitlink.assemble(program.code, arch, default_cache())
        if cubin.startswith(image):  # the stub omits what follows the section headers
            return program
    raise LookupError(f"no program of this process is the {len(image):,} bytes that were loaded")


if os.environ.get("STUB_RUNNER") == __name__:  # pytest imports this module too, to look for doctests
    Stub().run_launches(find)
