"""`make device-suite`, rehearsed: the script that will meet a GPU runs here on the stand-in for the driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stub_driver import build, version

from tests.proof import device_suite
from tests.proof.device_suite import MOST_SECONDS, NO_GPU, SECTIONS, Section, chosen
from tests.test_environment import NOT_ON_A_GPU_NODE

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "device-suite"


def play(log: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), "--log", str(log), *arguments]
    return subprocess.run(
        command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "settings", "reason"),
    [
        (["--rehearse"], {"STUB_FAIL": "cuInit:1:100"}, "No GPU here: the driver finds no GPU"),
        (["the CUDA module"], {}, "No GPU here: the driver is a stand-in"),
    ],
)
def test_without_a_gpu_nothing_is_run(tmp_path: Path, arguments, settings, reason) -> None:
    """A stand-in that lies on the library path is not taken for a GPU."""
    build(tmp_path)
    place = {"LD_LIBRARY_PATH": str(tmp_path), "STUB_VERSION": version()}
    done = play(tmp_path / "log", *arguments, **place, **settings)
    assert done.returncode == 1
    assert reason in done.stdout
    assert "environment.yml" in done.stdout
    assert "===" not in (tmp_path / "log").read_text()


def test_a_section_that_fails_or_hangs_stops_no_other(tmp_path: Path, capsys) -> None:
    """What a section started ends with it."""
    child = tmp_path / "child"
    start = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(child)!r}, 'w').write(str(p.pid))"
    sections = [
        Section("bad", ("-c", "raise SystemExit(3)"), 60),
        Section("slow", ("-c", f"{start}; p.wait()"), 2),
        Section("good", ("-c", "print('here I am')"), 60),
    ]
    assert device_suite.run(sections, tmp_path / "log", rehearsed=True) == 1
    said = capsys.readouterr().out
    assert "bad: exit code 3" in said
    assert "slow: ended after its 2 s" in said
    assert "passed" in said.split("slow:")[1]
    assert "here I am" in (tmp_path / "log").read_text()
    assert "3 sections, 2 failed" in said
    state = Path(f"/proc/{child.read_text()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_what_is_left_of_the_time_is_shared(tmp_path: Path, capsys) -> None:
    sections = [Section("late", ("-c", "print('too late')"), 60)]
    assert device_suite.run(sections, tmp_path / "log", rehearsed=True, most_seconds=0) == 1
    assert "late: ended after its 0 s" in capsys.readouterr().out
    assert "too late\n" not in (tmp_path / "log").read_text()
    assert sum(section.seconds for section in SECTIONS if not section.own_time) <= MOST_SECONDS
    assert [section.name for section in SECTIONS if section.own_time] == [SECTIONS[-1].name]


def test_sections_are_chosen_by_name() -> None:
    assert [section.name for section in chosen(["the benchmark"])] == ["the benchmark"]
    with pytest.raises(SystemExit, match=r"no sections: the bench\. There are: the CUDA module, "):
        chosen(["the bench"])
    assert len(chosen([])) == len(SECTIONS)


@pytest.mark.slow
def test_a_gpu_node_has_all_that_the_tests_import() -> None:
    """The marked ones are found by importing every file of tests, where the linters and coverage are not."""
    missing = [name.replace("-", "_") for name in NOT_ON_A_GPU_NODE]
    code = f"import sys; sys.modules.update(dict.fromkeys({missing!r})); import pytest; "
    code += "sys.exit(pytest.main(['--collect-only', '-q', '-m', 'device', 'tests']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "tests/test_udf.py::test_results_equal_pysparks[cuda]" in done.stdout
    assert "connect" not in done.stdout


def test_every_marked_test_is_in_a_section() -> None:
    """Those of files that have a section of their own, and the rest in the behaviour suite."""
    behaviour = next(section for section in SECTIONS if section.name == "the behaviour suite")
    left_out = {word.removeprefix("--ignore=") for word in behaviour.arguments if word.startswith("--ignore=")}
    elsewhere = {word for section in SECTIONS if section is not behaviour for word in section.arguments}
    assert left_out
    assert left_out <= elsewhere
    assert [name for name in left_out if not (ROOT / name).is_file()] == []


@pytest.mark.long
def test_the_whole_suite_rehearsed(tmp_path: Path) -> None:
    """Every section but those of RAPIDS: device tests, Spark's workers and the benchmark, all on ``cuda``."""
    log = tmp_path / "log"
    done = play(log, "--rehearse")
    text = log.read_text()
    assert done.returncode == 0, text
    assert done.stdout.splitlines()[-1] == f"The log is {log}."
    said = {line.split(":")[0].split("  ")[-1]: line for line in done.stdout.splitlines() if " s  " in line}
    assert {name: line.split()[0] for name, line in said.items()} == {
        section.name: "passed" for section in SECTIONS if section.rehearsal is not None
    }
    tests = {name: int(line.split(" tests passed")[0].split()[-1]) for name, line in said.items() if "tests" in line}
    assert tests["the CUDA module"] == 8
    assert tests["the behaviour suite"] > 70
    assert tests["generated batches"] > 10
    benchmark, _, core_suite = text.partition("=== the benchmark")[2].partition("=== the core suite")
    assert "report.html" in benchmark
    assert "report.html" in core_suite
    for section in chosen([]):
        if section.rehearsal is None:
            assert f"not rehearsed        {section.name}: " in text


@pytest.mark.slow
def test_a_rehearsal_says_that_no_gpu_was_there_and_what_was(tmp_path: Path) -> None:
    done = play(tmp_path / "log", "--rehearse", "the CUDA module")
    lines = (tmp_path / "log").read_text().splitlines()
    assert (done.returncode, lines[0], lines[-1]) == (0, NO_GPU, NO_GPU)
    verdicts = [line for line in lines if line.startswith("passed ")]
    assert len(verdicts) == 2
    assert all(line.endswith("(on the stand-in)") for line in verdicts)
    assert "This is no nvidia-smi: a rehearsal put it here." in lines
    assert f"driver supports CUDA {version()[:2]}.9" in lines
    assert any(line.startswith("GPU 0: Stub 0, sm_80, 1,073,741,824 bytes, aabbcc00-") for line in lines)
    assert any(line.startswith("commit ") for line in lines)
    assert any(line.startswith("numba-cuda 0.") for line in lines)


@pytest.mark.slow
def test_tests_that_fail_end_it_with_one(tmp_path: Path) -> None:
    done = play(tmp_path / "log", "--rehearse", "the CUDA module", STUB_FAIL="cuMemcpyDtoH:1:700")
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert " failed, exit code 1 (on the stand-in)" in done.stdout
    assert "1 sections, 1 failed" in done.stdout
