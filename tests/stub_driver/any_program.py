"""What ``STUB_RUNNER`` names in a rehearsal of whole test files and of Spark's workers: every launch of this process
runs on our emulator, whichever program it is of.

A driver is given machine code, which the emulator cannot run. So the program is looked for among those that this
process knows: the one whose PTX nvJitLink turns into just that machine code.
"""

from __future__ import annotations

import functools
import os

from gpuspark.compiler import programs
from gpuspark.devices import cuda, nvjitlink
from gpuspark.devices.protocol import Program
from gpuspark.disk_cache import default_cache
from stub_driver.control import Stub
from stub_driver.scenes import SAMPLE


def _candidates(entry: str) -> list[Program]:
    known = [SAMPLE, *programs._programs.values()]
    return [one for one in known if isinstance(one, Program) and one.target == "ptx" and one.entry == entry]


@functools.lru_cache(256)
def find(entry: str, image: bytes) -> Program:
    """The program that ``image`` was made of. Raises ``LookupError`` where this process knows none."""
    (arch,) = {gpu.arch for gpu in cuda.detect().gpus}
    for program in _candidates(entry):
        cubin = nvjitlink.assemble(program.code, arch, default_cache())
        if cubin.startswith(image):  # the stub leaves off what follows the section headers
            return program
    raise LookupError(f"no program of this process is the {len(image):,} bytes that were loaded")


if os.environ.get("STUB_RUNNER") == __name__:  # pytest imports it too, to look for examples
    Stub().run_launches(find)
