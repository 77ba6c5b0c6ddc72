"""What became of each test, each way: run, kept under ``artifacts/spark-tests/``, and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.proof.spark_own.cases import submit_arguments
from tests.support.spark_classes import java_options

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "artifacts" / "spark-tests"


@dataclass(frozen=True)
class Outcome:
    """What became of one test: ``passed``, ``failed`` or ``skipped``, and why it did not pass."""

    test: str
    outcome: str
    why: str = ""

    @property
    def name(self) -> str:
        """``Class.test``."""
        return ".".join(self.test.split(".")[-2:])

    @property
    def module(self) -> str:
        return self.test.rsplit(".", 2)[0]

    @property
    def reason(self) -> str:
        """The last line of what was raised that is an error's, for people to read."""
        lines = [line.strip() for line in self.why.splitlines() if line.strip()]
        errors = [line for line in lines if ": " in line and line.split(": ")[0].rsplit(".", 1)[-1][-5:] in _ENDINGS]
        return (errors or lines or [""])[-1]


_ENDINGS = ("Error", "ption")


def run(way: str, tests: str) -> list[Outcome]:
    """Runs ``module``, or the tests of a ``module:pattern`` of ``Class.test``, in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder, "outcomes"), Path(folder, "log")
        environment = {
            "SPARK_SUBMIT_OPTS": java_options(),
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": submit_arguments(way),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", "tests.proof.spark_own.child", way, str(file), tests]
        with log.open("w") as written:
            done = subprocess.run(command, env=environment, cwd=folder, stdout=written, stderr=written, check=False)
        if done.returncode:
            raise RuntimeError(f"the tests ended with {done.returncode}:\n{log.read_text()[-5000:]}")
        ran = [Outcome(**json.loads(line)) for line in file.read_text().splitlines()]
    return [outcome for outcome in ran if " " not in outcome.test]  # else a class that could not be set up


def keep(way: str, outcomes: list[Outcome]) -> None:
    """Puts outcomes in the place of earlier ones of the same modules."""
    ran = {outcome.module for outcome in outcomes}
    others = [outcome for outcome in kept(way) if outcome.module not in ran]
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{way}.json").write_text(json.dumps([vars(outcome) for outcome in (*others, *outcomes)], indent=1))


def kept(way: str) -> list[Outcome]:
    file = KEPT / f"{way}.json"
    return [Outcome(**each) for each in json.loads(file.read_text())] if file.exists() else []


@dataclass(frozen=True)
class Differing:
    """A test that passes plainly and does not on ``way``."""

    name: str
    way: str
    reason: str


def differing(plain: list[Outcome], way: str, outcomes: list[Outcome]) -> list[Differing]:
    """The tests that pass plainly and, in the same modules on ``way``, fail or are not reached."""
    ours, modules = {outcome.test: outcome for outcome in outcomes}, {outcome.module for outcome in outcomes}
    passed = [each for each in plain if each.outcome == "passed" and each.module in modules]
    on_way = [ours.get(each.test, Outcome(each.test, "failed", "It did not run.")) for each in passed]
    return [Differing(each.name, way, each.reason) for each in on_way if each.outcome != "passed"]
