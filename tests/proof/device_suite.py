"""``make device-suite``: the proof on a real GPU, in one command and one log.

Runs, one after the other, the tests marked ``device``, the contracts with the installed RAPIDS, and the benchmark on
``cuda``, in twenty minutes; then the core suite of the benchmark, which has forty of its own. Each section has a time
limit, and a section that fails stops no other. The log, which the README quotes,
holds the device, the driver, every version, the commit, and a line for each section; it ends with exit code 0 where
all passed, and 1 otherwise. It needs no network. Where the driver finds no GPU nothing is run.

``--rehearse`` runs the same on the stand-in for the driver (``tests/stub_driver``), whose launches our emulator runs:
fewer rows, no RAPIDS. Its log has another name, and says throughout that no GPU was there.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 20 * 60
NO_GPU = "REHEARSAL on a stand-in for the driver: no GPU ran any of this. Nothing of it may be quoted as if one had."
STAND_IN = """#!/bin/sh
echo 'This is no nvidia-smi: a rehearsal put it here.'
"""


@dataclass(frozen=True)
class Section:
    """What ``python`` is given, and the seconds that it may take. ``rehearsal``: further arguments where there is no
    GPU; ``None`` where the stand-in cannot carry it, for the reason ``unrehearsed``."""

    name: str
    arguments: tuple[str, ...]
    seconds: int
    rehearsal: tuple[str, ...] | None = ()
    unrehearsed: str = ""
    own_time: bool = False
    """Whether its time is beside that of the others together."""


def device_tests(*more: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-m", "device", "--durations=10", *more)


MODULE = "tests/test_cuda.py"
GENERATED = "tests/test_properties.py"
NEED_RAPIDS = ("tests/test_rapids.py", "tests/test_map_in_arrow.py", "tests/test_series_cudf.py")
CONTRACTS = "tests/test_contracts.py"
OTHERS = tuple(f"--ignore={name}" for name in (MODULE, GENERATED, *NEED_RAPIDS))
"""The behaviour suite is every other test that is marked: none can be forgotten."""

LONG_TEXTS = "any_length or longer_texts or binomial"
"""What takes the emulator minutes; it runs these kernels in other tests."""

BENCH = ("-m", "gpuspark", "bench", "--device", "cuda")

RAPIDS_ARE_MISSING = "RAPIDS calls the CUDA runtime, which does not start on the stand-in"

SECTIONS = (
    Section("the CUDA module", device_tests(MODULE), 120),
    Section("the behaviour suite", device_tests("tests", *OTHERS), 420, ("-k", f"not (test_ledger or {LONG_TEXTS})")),
    Section("generated batches", device_tests(GENERATED), 180, ("-k", "haversine or arithmetic or logic or any_null")),
    Section("RAPIDS and batch bodies", device_tests(*NEED_RAPIDS), 180, None, RAPIDS_ARE_MISSING),
    Section("contracts with RAPIDS", ("-m", "pytest", CONTRACTS), 60),
    Section(
        "the benchmark",
        (*BENCH, "--case", "scalar_heavy", "--rounds", "3", "--out", "artifacts/device-bench"),
        240,
        ("--suite", "smoke", "--path", "gpuspark", "--rounds", "1"),
    ),
    Section(
        "the core suite",
        (*BENCH, "--suite", "core", "--out", "artifacts/device-core"),
        2400,
        ("--suite", "smoke", "--case", "haversine", "--path", "gpuspark", "--rounds", "1"),
        own_time=True,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a section; ``told``: its tests, or why it ended."""

    section: str
    passed: bool
    seconds: float
    told: str

    def line(self, *, rehearsed: bool) -> str:
        verdict = "passed" if self.passed else "FAILED"
        told = f"{self.told} (on the stand-in)" if rehearsed else self.told
        return f"{verdict}  {self.seconds:6.1f} s  {self.section}: {told}"


@dataclass
class Suite:
    """One run: where it is logged, with what environment, and until when."""

    log: TextIO
    rehearsed: bool
    environment: dict[str, str]
    folder: Path
    """Where the benchmark leaves its files in a rehearsal, and pytest its reports."""
    deadline: float
    outcomes: list[Outcome] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Into the log and to whoever waits."""
        self.log.write(f"{text}\n")
        self.log.flush()
        print(text, flush=True)

    def run(self, section: Section) -> None:
        """One section, its output in the log; ended, with all that it started, when its time is up."""
        arguments = [*section.arguments]
        if self.rehearsed:
            if section.rehearsal is None:
                self.say(f"not rehearsed        {section.name}: {section.unrehearsed}")
                return
            arguments += section.rehearsal
        tests = "pytest" in arguments
        report = self.folder / f"{len(self.outcomes)}.xml"
        if tests:
            arguments += [f"--junit-xml={report}", "-p", "no:cacheprovider"]
        start = time.monotonic()
        limit = section.seconds if section.own_time else max(0.0, min(section.seconds, self.deadline - start))
        self.log.write(f"\n=== {section.name}: python {' '.join(arguments)}\n")
        self.log.flush()
        code = self._wait([sys.executable, *arguments], limit)
        told = [_counted(report)] if tests else []
        told += [f"ended after its {limit:.0f} s"] if code is None else [f"exit code {code}"] if code else []
        passed = code == 0
        self.outcomes.append(Outcome(section.name, passed, time.monotonic() - start, ", ".join(told) or "done"))
        self.say(self.outcomes[-1].line(rehearsed=self.rehearsed))

    def _wait(self, command: Sequence[str], limit: float) -> int | None:
        """The exit code, or ``None`` where the time was up."""
        if not limit:
            return None
        place = self.folder if self.rehearsed and "pytest" not in command else ROOT
        process = subprocess.Popen(
            command, cwd=place, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever the section left running: Spark's Java and its workers are in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _counted(report: Path) -> str:
    """What pytest's report says of its tests."""
    if not report.exists():
        return "pytest wrote no report"
    cases = list(ET.parse(report).iter("testcase"))
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    return f"{len(cases) - failed} tests passed, {failed} failed"


# --- what is here


def facts(rehearsed: bool) -> str:
    """In a process of its own: the driver and the GPUs, in the driver's own words. Raises ``SystemExit`` with the
    reason where there is none, and where a stand-in pretends to be one."""
    from gpuspark.devices import cuda
    from gpuspark.errors import DeviceError

    try:
        device = cuda.select()
        detected, memory = cuda.detect(), device.memory()
    except DeviceError as missing:
        raise SystemExit(str(missing)) from None
    stand_in = hasattr(ctypes.CDLL("libcuda.so.1"), "stub_launched")
    if stand_in is not rehearsed:
        raise SystemExit(f"the driver is {'a stand-in' if stand_in else 'a real one'}: this is no rehearsal on it")
    lines = ["driver supports CUDA {}.{}".format(*detected.driver)]
    lines += [f"GPU {g.ordinal}: {g.name}, sm_{g.arch}, {g.memory:,} bytes, {g.uuid}" for g in detected.gpus]
    lines.append(f"GPU 0 has {memory.free:,} of {memory.total:,} bytes free")
    kernel = Path("/proc/driver/nvidia/version")
    if kernel.exists() and not rehearsed:
        lines += kernel.read_text().splitlines()
    return "\n".join(lines)


def ask(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """A command's exit code and words. One that is not there is no error."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{command[0]}: {error}"
    return done.returncode, done.stdout.strip()


def describe(suite: Suite) -> bool:
    """Writes what this machine is; whether there is a GPU to go on with."""
    here = ["--rehearse"] if suite.rehearsed else []
    code, told = ask([sys.executable, "-m", "tests.proof.device_suite", "--facts", *here], suite.environment)
    if code:
        suite.say(f"No GPU here: {told}\nRun this on a GPU node, in the environment of environment.yml.")
        return False
    suite.say(told)
    for command in (["git", "log", "-1", "--format=commit %H of %cI"], ["git", "status", "--short"], ["nvidia-smi"]):
        suite.say(f"$ {' '.join(command)}\n{ask(command, suite.environment)[1]}")
    info = [sys.executable, "-c", "import gpuspark; print(gpuspark.info())"]
    suite.log.write(ask(info, suite.environment)[1] + "\n")
    suite.log.write(f"python {platform.python_version()} on {platform.platform()}\n")
    suite.log.writelines(f"{name} {version}\n" for name, version in sorted(_versions().items()))
    return True


def _versions() -> dict[str, str]:
    return {one.metadata["Name"].lower(): one.version for one in distributions() if one.metadata["Name"]}


# --- the rehearsal


def stand_in(folder: Path) -> dict[str, str]:
    """Puts a driver and an nvidia-smi that are none into ``folder``; the settings that lead to them."""
    sys.path.insert(0, str(ROOT / "tests"))
    from stub_driver import build, version

    build(folder)
    program = folder / "nvidia-smi"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")])),
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "STUB_VERSION": version(),
        "STUB_RUNNER": "stub_driver.any_program",
        "GPUSPARK_EXAMPLES": "1",
    }


def environment(rehearsal: dict[str, str]) -> dict[str, str]:
    """Spark's workers run this interpreter, and find the tests' modules."""
    paths = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")])),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    return os.environ | paths | rehearsal


def chosen(names: Sequence[str]) -> list[Section]:
    unknown = set(names) - {section.name for section in SECTIONS}
    if unknown:
        raise SystemExit(f"no sections: {', '.join(unknown)}. There are: {', '.join(s.name for s in SECTIONS)}")
    return [section for section in SECTIONS if not names or section.name in names]


def run(sections: Sequence[Section], log: Path, *, rehearsed: bool, most_seconds: float = MOST_SECONDS) -> int:
    """Everything, into ``log``; the exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpuspark-device-suite-") as name, log.open("w") as file:
        folder = Path(name)
        settings = stand_in(folder) if rehearsed else {}
        suite = Suite(file, rehearsed, environment(settings), folder, start + most_seconds)
        if rehearsed:
            suite.say(NO_GPU)
        suite.say(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        if not describe(suite):
            return 1
        for section in sections:
            suite.run(section)
        failed = sum(not outcome.passed for outcome in suite.outcomes)
        file.write("\n" + "\n".join(outcome.line(rehearsed=rehearsed) for outcome in suite.outcomes) + "\n")
        suite.say(f"{len(suite.outcomes)} sections, {failed} failed, {time.monotonic() - start:.0f} s")
        if rehearsed:
            suite.say(NO_GPU)
    print(f"The log is {log}.")
    return 1 if failed or not suite.outcomes else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog=".ci/device-suite", description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help="only these: " + ", ".join(s.name for s in SECTIONS))
    parser.add_argument("--rehearse", action="store_true", help="on the stand-in for the driver")
    parser.add_argument("--log", type=Path, help="default: artifacts/device-suite.log")
    parser.add_argument("--facts", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.facts:
        print(facts(given.rehearse))
        return 0
    name = "device-suite-rehearsal.log" if given.rehearse else "device-suite.log"
    return run(chosen(given.sections), given.log or ROOT / "artifacts" / name, rehearsed=given.rehearse)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
