"""Lines that no test executes are found: whichever process ran the others, and however it ended."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.proof.uncovered import FILES, ROOT, TESTS, Measurement

SUBJECT = """
def once(where):
    if where == "here":
        return "run by the test"
    if where == "fork":
        return "run by a child that was forked and ended at once"
    if where == "process":
        return "run by another interpreter"
    return "run by nobody"
"""
TEST = """
import os, subprocess, sys
from subject import once

def test_here():
    assert once("here")

def test_fork():
    child = os.fork()
    if not child:
        once("fork")
        os._exit(0)
    os.waitpid(child, 0)

def test_process():
    subprocess.run([sys.executable, "-c", "import subject; subject.once('process')"], check=True)
"""


@pytest.mark.parametrize(
    ("left_out", "missed"),
    [((), ["run by nobody"]), (("-k", "not fork"), ["run by a child that was", "run by nobody"])],
)
def test_only_what_no_process_ran_is_listed(tmp_path: Path, left_out, missed) -> None:
    (tmp_path / "subject.py").write_text(SUBJECT)
    (tmp_path / "test_subject.py").write_text(TEST)
    measurement = Measurement(tmp_path, ["subject.py"], tmp_path)
    command = [*measurement.command, "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), "test_subject.py", *left_out]
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE)
    head, *lines = measurement.report().splitlines()
    assert head == f"{len(missed)} of 8 lines of the CUDA device were executed by no test:"
    for line, words in zip(lines, missed, strict=True):
        assert line.startswith("  subject.py:")
        assert f'return "{words}' in line


def test_the_measured_files_and_tests_exist() -> None:
    assert [name for name in (*FILES, *TESTS) if not (ROOT / name).is_file()] == []
    assert "gpuspark/devices/cuda.py" in FILES
