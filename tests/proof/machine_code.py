"""``python -m tests.proof.machine_code``: writes what NVIDIA's assembler makes of our programs into a page of the docs.

Each program's PTX is assembled by nvJitLink for several architectures: registers and memory of a thread, in the
assembler's own words; and for the newest but one, the instructions that its disassembler shows. The page has a
section for each tool kit, and two cannot share an environment: this writes the section of the installed one.
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
from gpuspark.columns.types import parse
from gpuspark.compiler.build import baseline
from gpuspark.config import Config
from gpuspark.devices import nvjitlink
from gpuspark.devices.nvjitlink import Resources
from gpuspark.disk_cache import DiskCache
from gpuspark.execution.array_runner import PlacedArray
from gpuspark.execution.scalar import ScalarFunction
from tests.support.bodies import CASES
from tests.support.kernel_samples import array_programs

PAGE = Path(__file__).parents[2] / "docs" / "machine-code.md"
ARCHITECTURES = ("70", "80", "90", "120")
SHOWN = "90"
TOOLS = {
    "12": ("numba", "numba-cuda", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink-cu12", "nvidia-cuda-nvdisasm"),
    "13": ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvdisasm"),
}
"""By the major version of CUDA: what compiles, assembles and disassembles."""
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9_.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One program. ``resources`` by architecture, of those that the tool kit has; ``instructions`` of :data:`SHOWN`,
    by their first word."""

    name: str
    types: tuple[str, ...]
    resources: dict[str, Resources]
    instructions: Counter[str]
    loads: Counter[str]
    """Loads from and stores to global memory, by their widths in bits."""

    def line(self) -> str:
        registers = " | ".join(
            str(self.resources[arch].registers) if arch in self.resources else "-" for arch in ARCHITECTURES
        )
        spilled = max(taken.spilled for taken in self.resources.values())
        stack = max(taken.stack for taken in self.resources.values())
        moved = ", ".join(f"{count} {word}" for word, count in sorted(self.loads.items()))
        doubles = self.instructions["DFMA"] + self.instructions["DMUL"] + self.instructions["DADD"]
        total = sum(self.instructions.values()) - self.instructions["NOP"]
        cells = [self.name, ", ".join(self.types), registers, spilled, stack, total, doubles, moved]
        return f"| {' | '.join(map(str, cells))} |"


def programs() -> Iterator[tuple[str, ScalarFunction, tuple[str, ...]]]:
    """Every element-wise kernel, and every body of the tests, each for the first types that it is tried on."""
    for name, kernel in kernels.CATALOGUE.items():
        if not isinstance(kernel, kernels.Kernel):
            continue
        names = tuple(kernel.signature.parameters)
        yield f"kernel {name}", kernel.scalar_function(names), ("double",) * len(names)
    seen: set[str] = set()
    for case in CASES:
        name = case.f.__name__
        if name not in seen:
            seen.add(name)
            yield name, case.f.scalar_function(tuple(case.f.signature.parameters)[: len(case.types)]), case.types


def names() -> list[str]:
    """Of all programs, in the page's order."""
    return [name for name, _, _ in programs()] + [name for name, _, _ in array_programs()]


def rows() -> list[Row]:
    scalar = [
        _row(name, types, function.program([parse(t) for t in types], Config(device="cuda"), "cuda").code)
        for name, function, types in programs()
    ]
    arrays = [
        _row(name, tuple(map(str, kinds)), PlacedArray(name, function, kinds).program("cuda").code)
        for name, function, kinds in array_programs()
    ]
    return scalar + arrays


def _row(name: str, types: tuple[str, ...], ptx: bytes) -> Row:
    resources = {arch: nvjitlink.resources(ptx, arch) for arch in architectures()}
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
    result = _INSTRUCTION.findall(done.stdout)
    assert result, done.stderr
    return result


@cache
def _disassembler() -> str:
    (program,) = [file for file in files("nvidia-cuda-nvdisasm") or () if file.name == "nvdisasm"]
    return str(program.locate())


def tool_kit() -> str:
    """The major version of the installed CUDA tool kit."""
    return version("cuda-bindings").partition(".")[0]


def architectures() -> tuple[str, ...]:
    """Those of :data:`ARCHITECTURES` that the installed tool kit still has: CUDA 13 dropped sm_70."""
    major, minor = baseline()
    return tuple(arch for arch in ARCHITECTURES if int(arch) >= major * 10 + minor)


def made_with() -> str:
    return ", ".join(f"{name} {version(name)}" for name in TOOLS[tool_kit()])


def section(lines: list[str]) -> str:
    """What the page says of the installed tool kit."""
    heads = " | ".join(f"sm_{arch}" for arch in ARCHITECTURES)
    return f"""
Made with: {made_with()}

| program | columns | {heads} | spilled | stack | instructions | double | memory |
|---|---|{"---|" * len(ARCHITECTURES)}---|---|---|---|---|
{chr(10).join(lines)}

"""


def committed(name: str) -> str:
    """The page's section between ``<!-- name -->`` and ``<!-- /name -->``."""
    return PAGE.read_text().partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->\n")[0]


def write(name: str, content: str) -> None:
    before, start, rest = PAGE.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    assert start, f"{PAGE.name} has no beginning of a section {name}"
    assert end, f"{PAGE.name} has no end of a section {name}"
    PAGE.write_text(before + start + content + end + after)


if __name__ == "__main__":
    write(f"CUDA {tool_kit()}", section([row.line() for row in rows()]))
