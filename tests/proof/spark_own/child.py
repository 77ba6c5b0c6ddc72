"""Runs tests of Spark's, one way, in this process: ``python -m tests.proof.spark_own.child``.

Arguments: the way (``pyspark``, or the device of gpuspark), the file for the outcomes, and the modules, each with a
pattern for ``Class.test`` behind a colon if wanted. Each outcome is one line of JSON, written when the test ends.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import unittest
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from tests.proof.spark_own.cases import LEFT_OUT, MASTER, PLAIN
from tests.proof.spark_own.loading import Finder, unpack


class Outcomes(unittest.TestResult):
    """Writes what became of each test to ``file``."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self.file = file
        self.told: set[str] = set()

    def tell(self, test: Any, outcome: str, why: str = "") -> None:
        if test.id() not in self.told:
            self.told.add(test.id())
            self.file.write(json.dumps({"test": test.id(), "outcome": outcome, "why": why}) + "\n")
            self.file.flush()

    def addSuccess(self, test: Any) -> None:  # noqa: N802  # unittest's own names
        self.tell(test, "passed")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self.tell(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self.tell(test, "passed")

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        self.tell(test, "failed", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    addFailure = addError  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.addError(test, err)


def main(way: str, out: str, *asked: str) -> None:
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder, Path(out).open("w") as file:
        unpack(Path(folder))
        sys.meta_path.insert(0, Finder(Path(folder), ours=way != PLAIN))
        from pyspark import SparkContext
        from pyspark.testing.utils import ReusedPySparkTestCase

        SparkContext._ensure_initialized()  # else the first test's settings become those of Java's process, and of all
        ReusedPySparkTestCase.master = classmethod(lambda _: MASTER)  # type: ignore[method-assign, assignment]
        suite = unittest.TestSuite()
        for tests_of in asked:
            module, _, wanted = tests_of.partition(":")
            for case in own_cases(importlib.import_module(module)):
                tests = unittest.defaultTestLoader.loadTestsFromTestCase(case)
                suite.addTests(test for test in tests if runs(short(test.id()), wanted or "*"))
        suite.run(Outcomes(file))


def own_cases(module: ModuleType) -> list[type[unittest.TestCase]]:
    """The test classes that the module defines, and not those that it imports."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    return [c for c in classes if issubclass(c, unittest.TestCase) and c.__module__ == module.__name__]


def runs(test: str, wanted: str) -> bool:
    return fnmatch(test, wanted) and not fnmatch(test, LEFT_OUT)


def short(test: str) -> str:
    """``Class.test``."""
    return ".".join(test.split(".")[-2:])


if __name__ == "__main__":
    main(*sys.argv[1:])
