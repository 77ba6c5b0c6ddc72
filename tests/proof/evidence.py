"""``python -m tests.proof.evidence``: what is proven without a GPU, layer by layer, as a table.

Each layer is a set of tests (docs/evidence.md says what it rests on). The table counts those that passed, by
what they are about: each kernel of the catalogue, and everything else. Layers that are not built yet say so.
Below it stands every line of the CUDA device that none of them executed (``tests/proof/uncovered.py``).
Ends with exit code 1 where a test failed, or a layer that is built ran none.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from gpuspark.devices.discover import discover
from gpuspark.kernels import CATALOGUE
from tests.proof.uncovered import Measurement
from tests.support.kernel_samples import SAMPLES

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Layer:
    """``tests`` are pytest's arguments; none where the layer is not built. ``measured``: whether they are what
    executes the CUDA device."""

    name: str
    tests: tuple[str, ...]
    measured: bool = False


LAYERS = (
    Layer("0   a real GPU", ("-m", "device", "tests")),
    Layer("1   PTX executed by the emulator", (
        "tests/test_emulated.py", "tests/test_emulator_arithmetic.py", "tests/test_emulator_compiled.py",
        "tests/test_emulator_cuda_c.py", "tests/test_emulator_faults.py", "tests/test_emulator_instructions.py",
        "tests/test_emulator_instructions_of_conversion.py", "tests/test_emulator_instructions_of_floats.py",
        "tests/test_emulator_instructions_of_integers.py", "tests/test_emulator_memory.py",
        "tests/test_emulator_programs.py", "tests/test_emulator_seeded.py", "tests/test_properties.py", "tests/kernels",
    )),
    Layer("2   the same programs through LLVM, on this processor", ("tests/test_host_ir.py", "tests/test_programs.py")),
    Layer("3   machine code for four architectures", ("tests/test_machine_code.py",), measured=True),
    Layer("4   contracts with the RAPIDS wheels, by the record", ("tests/test_contracts.py", "tests/test_rapids.py")),
    Layer("4b  the CUDA module on a stub driver", (
        "tests/test_cuda.py", "tests/test_cuda_suite.py", "tests/test_device_suite.py", "tests/test_discover.py",
        "tests/test_permits.py",
    ), measured=True),
    Layer("4c  a strict stand-in for cuDF", ("tests/test_cudf_standin.py",)),
    Layer("5   one suite, every device", ("tests/test_rowwise.py", "tests/test_udf.py", "tests/test_map_in_arrow.py")),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a layer's tests gave."""

    names: list[str]
    failed: int
    seconds: float

    def about(self, operation: str) -> int:
        word = re.compile(rf"(?<![a-z]){operation}(?![a-z])")
        return sum(word.search(name) is not None for name in self.names)


def run(layer: Layer, measurement: Measurement | None = None) -> Found:
    """Runs the layer's tests, and shows pytest's own words where some fail. Those that need a GPU run where the
    driver finds one."""
    start = time.perf_counter()
    if "device" in layer.tests and not discover().cuda.present:
        return Found([], 0, 0.0)
    pytest = measurement.command if measurement and layer.measured else [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        marks = () if "-m" in layer.tests else ("-m", "not device and not connect")  # so the long ones run too
        command = [*pytest, "-n", "2", "--dist", "loadfile", *marks, "-q", f"--junit-xml={report}", *layer.tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        cases = [case for case in ET.parse(report).iter("testcase") if case.find("skipped") is None]
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    if failed:
        print(done.stdout)
    return Found([f"{case.get('classname')} {case.get('name')}" for case in cases], failed, time.perf_counter() - start)


def table(actual: list[tuple[Layer, Found | None]]) -> str:
    """Counts of tests: for each layer, and for each operation that they name."""
    operations = list(dict.fromkeys([*CATALOGUE, *SAMPLES]))
    rows = [("", *(layer.name.split()[0] for layer, _ in actual))]
    rows += [(name, *(str(result.about(name)) if result else "-" for _, result in actual)) for name in operations]
    others = [len(r.names) - sum(map(r.about, operations)) if r else 0 for _, r in actual]
    rows.append(("others", *map(str, others)))
    rows.append(("failed", *(str(result.failed) if result else "not built" for _, result in actual)))
    rows.append(("seconds", *(f"{result.seconds:.0f}" if result else "-" for _, result in actual)))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(f"layer {layer.name}" for layer, _ in actual), "", *lines])


def main() -> int:
    actual: list[tuple[Layer, Found | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        measurement = Measurement(Path(folder))
        for layer in LAYERS:
            print(f"{layer.name} ...", file=sys.stderr, flush=True)
            actual.append((layer, run(layer, measurement) if layer.tests else None))
        uncovered = measurement.report() if any(layer.measured for layer in LAYERS) else ""
    print(table(actual))
    device, others = actual[0][1], [result for _, result in actual[1:] if result is not None]
    ran = len(device.names) if device else 0
    print(f"{ran} device tests run{'' if ran else ': none of this run is verified on a device'}")
    print(uncovered)
    return 1 if any(result.failed or not result.names for result in others) or (device and device.failed) else 0


if __name__ == "__main__":
    sys.exit(main())
