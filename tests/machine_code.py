"""``python -m tests.machine_code``: writes ``docs/machine-code.md``, what NVIDIA's assembler makes of our programs.

Each program's PTX is assembled by nvJitLink for several architectures: registers and memory of a thread, in the
assembler's own words; and for the newest but one, the instructions that its disassembler shows.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import files, version
from pathlib import Path

from gpuspark import kernels
from gpuspark.config import Config
from gpuspark.devices import nvjitlink
from gpuspark.devices.nvjitlink import Resources
from gpuspark.disk_cache import DiskCache
from gpuspark.scalar import ScalarFunction
from gpuspark.types import parse
from tests.bodies import CASES

PAGE = Path(__file__).parents[1] / "docs" / "machine-code.md"
ARCHITECTURES = ("70", "80", "90", "120")
SHOWN = "90"
TOOLS = ("numba", "numba-cuda", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvdisasm")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One program. ``resources`` by architecture; ``instructions`` of :data:`SHOWN`, by their first word."""

    name: str
    types: tuple[str, ...]
    resources: dict[str, Resources]
    instructions: Counter[str]
    loads: Counter[str]
    """Loads from and stores to global memory, by their widths in bits."""

    def line(self) -> str:
        registers = " | ".join(str(self.resources[arch].registers) for arch in ARCHITECTURES)
        spilled = max(taken.spilled for taken in self.resources.values())
        stack = max(taken.stack for taken in self.resources.values())
        moved = ", ".join(f"{count} {word}" for word, count in sorted(self.loads.items()))
        doubles = self.instructions["DFMA"] + self.instructions["DMUL"] + self.instructions["DADD"]
        total = sum(self.instructions.values()) - self.instructions["NOP"]
        cells = [self.name, ", ".join(self.types), registers, spilled, stack, total, doubles, moved]
        return f"| {' | '.join(map(str, cells))} |"


def programs() -> Iterator[tuple[str, ScalarFunction, tuple[str, ...]]]:
    """Every kernel, and every body of the tests, each for the first types that it is tried on."""
    for name, kernel in kernels.CATALOGUE.items():
        names = tuple(kernel.signature.parameters)
        yield f"kernel {name}", kernel.scalar_function(names), ("double",) * len(names)
    seen: set[str] = set()
    for case in CASES:
        name = case.f.__name__
        if name not in seen:
            seen.add(name)
            yield name, case.f.scalar_function(tuple(case.f.signature.parameters)[: len(case.types)]), case.types


def rows() -> list[Row]:
    return [_row(name, function, types) for name, function, types in programs()]


def _row(name: str, function: ScalarFunction, types: tuple[str, ...]) -> Row:
    ptx = function.program([parse(t) for t in types], Config(device="cuda"), "cuda").code
    resources = {arch: nvjitlink.resources(ptx, arch) for arch in ARCHITECTURES}
    words = [word.split(".") for word in _disassembled(nvjitlink.assemble(ptx, SHOWN, DiskCache(None)))]
    moved = Counter(f"{parts[0]}.{_width(parts)}" for parts in words if parts[0] in ("LDG", "STG"))
    return Row(name, types, resources, Counter(parts[0] for parts in words), moved)


def _width(parts: list[str]) -> int:
    """In bits: an access without a width is of 32."""
    sizes = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}
    return next((sizes[part] for part in parts if part in sizes), 32)


def _disassembled(cubin: bytes) -> list[str]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([_disassembler(), "-c", file.name], capture_output=True, text=True, check=False)
    found = _INSTRUCTION.findall(done.stdout)
    assert found, done.stderr
    return found


@cache
def _disassembler() -> str:
    (program,) = [file for file in files("nvidia-cuda-nvdisasm") or () if file.name == "nvdisasm"]
    return str(program.locate())


def made_with() -> str:
    return ", ".join(f"{name} {version(name)}" for name in TOOLS)


def page(lines: list[str]) -> str:
    heads = " | ".join(f"sm_{arch}" for arch in ARCHITECTURES)
    return f"""# Machine code

What NVIDIA's assembler, nvJitLink, makes of our programs' PTX: the registers of a thread by architecture; the most
bytes that any of these architectures spills for want of registers, and puts on the stack; for sm_{SHOWN}, the
instructions, those of double-precision arithmetic among them, and the accesses to global memory by their width in
bits. No GPU is needed for this, and none was used. `python -m tests.machine_code` writes this page; a test makes
the table again and compares, and whatever the tools' versions demands that nothing is spilled.

Made with: {made_with()}

| program | columns | {heads} | spilled | stack | instructions | double | memory |
|---|---|{"---|" * len(ARCHITECTURES)}---|---|---|---|---|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    PAGE.write_text(page([row.line() for row in rows()]))
