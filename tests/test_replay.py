"""``gpuspark replay``: a batch that failed in a task fails again without Spark, on the few rows that matter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import gpuspark as gs
from gpuspark import cli
from gpuspark.config import Config
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.errors import CapsuleError, DeviceFault, VerificationError
from gpuspark.execution.capsule import Capsule, read, save, seal
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.tools import replay as replays
from gpuspark.tools.replay import DEVICES, FEW, Outcome, devices_named, replay, shrink
from tests.support import faulty

ROOT = Path(__file__).parents[1]


def sealed(function: ScalarFunction, values: list[float | None], error: Exception, **flags) -> Capsule:
    config = Config(**{"device": "cpu", **flags})
    return seal(error, function, [pa.array(values)], device=config.device, config=config, first_row=100)


def of(f: ScalarUDF) -> ScalarFunction:
    return f.scalar_function(tuple(f.signature.parameters))


def on(device: str, capsule: Capsule) -> Outcome:
    [outcome] = replay(capsule, devices_named(device))
    return outcome


def without_spark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command where there is no Java, so that Spark cannot start."""
    command = [sys.executable, "-c", "from gpuspark.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAVA_HOME": "/nowhere", "PATH": "/nowhere"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


# From a real job to a few rows


def in_a_select(frame, function):
    return frame.select(function("a"))


def in_a_batch_body(frame, function):
    def body(batches):
        for batch in batches:
            yield batch.with_column("b", function(batch["a"])).select(["b"])

    return gs.map_in_arrow(frame, body, "b double")


@gs.udf("double")
def inverse(a):
    return 1.0 / (a - 950.0)


@pytest.mark.parametrize(
    ("function", "use", "device", "kind", "told"),
    [
        (faulty.mismatch, in_a_select, "cpu", "mismatch", "differ, the first is row 401: 1802.0, in Python 1802.001"),
        (faulty.out_of_bounds, in_a_batch_body, "emulated", "fault", "DeviceFault: planted: no memory for 8 bytes"),
        (lambda: inverse, in_a_select, "cpu", "error", "ZeroDivisionError"),
    ],
    ids=["mismatch", "fault", "error"],
)
def test_a_job_fails_and_a_capsule_shows_why(spark, tmp_path: Path, function, use, device, kind, told) -> None:
    folder = tmp_path / "capsules"
    for key, value in {"device": device, "verify.fraction": "1", "capsule.folder": str(folder)}.items():
        spark.conf.set(f"spark.gpuspark.{key}", value)
    frame = spark.range(0, 1000, 1, 2).selectExpr("cast(id as double) a")
    with pytest.raises(Exception, match="gpuspark replay") as raised:
        use(frame, function()).write.format("noop").mode("overwrite").save()
    [path] = folder.glob("*")  # the other partition has no such fault
    assert f"gpuspark replay {path}" in str(raised.value)
    assert read(path).manifest.rows == list(range(500))  # of its partition
    done = without_spark("replay", str(path), "--device", device, "--yes", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["warnings"] == []
    assert (report["manifest"]["kind"], report["manifest"]["device"]) == (kind, device)
    [outcome] = report["outcomes"]
    assert outcome["trouble"] == kind
    assert told in outcome["told"]
    assert 1 <= len(outcome["rows"]) <= 10
    values = [float(row["arguments"]["a"]) for row in outcome["rows"]]
    assert all(v == 950.0 if kind == "error" else v > faulty.LIMIT for v in values)
    assert [row["number"] for row in outcome["rows"]] == [int(v) - 500 for v in values]
    assert all(row["device"] != row["python"] or kind == "error" for row in outcome["rows"])


def test_without_a_folder_no_capsule_is_written(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    spark.conf.set("spark.gpuspark.verify.fraction", "1")
    frame = spark.range(0, 1000, 1, 2).selectExpr("cast(id as double) a")
    with pytest.raises(Exception, match="VerificationError") as raised:
        frame.select(faulty.mismatch()("a")).write.format("noop").mode("overwrite").save()
    assert "gpuspark replay" not in str(raised.value)


# On each device


def test_a_fault_of_one_device_is_shown_there_only() -> None:
    values = [float(n) for n in range(1000)]
    result = replay(sealed(of(faulty.out_of_bounds()), values, DeviceFault("x"), device="emulated"))
    assert {o.device: o.trouble for o in result} == {"cpu": "", "emulated": "fault", "cuda": "", "python": ""}
    [emulated] = [o for o in result if o.device == "emulated"]
    [row] = emulated.rows
    assert float(row.arguments["a"]) > faulty.LIMIT
    assert "no memory for 8 bytes" in row.device
    assert row.python == repr(2 * float(row.arguments["a"]))


def test_a_function_that_a_device_cannot_run_is_reported_with_the_reason() -> None:
    text = gs.udf("string")(lambda a: str(a))
    outcome = on("cpu", sealed(of(text), [1.0], VerificationError("x")))
    assert "the result is string" in outcome.unusable
    assert "forbids" not in outcome.unusable


def test_a_batch_that_no_longer_fails_is_reported_so() -> None:
    assert on("cpu", sealed(of(faulty.twice), [1.0, None], VerificationError("x"))).trouble == ""
    assert on("cpu", sealed(of(inverse), [1.0, None], ZeroDivisionError("x"))).trouble == ""


def test_the_last_bits_of_libm_are_not_a_difference() -> None:
    import math

    f = gs.udf("double")(lambda a: math.sin(a) ** 3)
    assert on("emulated", sealed(of(f), [n / 7 for n in range(500)], VerificationError("x"))).trouble == ""


def test_another_error_than_pythons_is_a_difference() -> None:
    wrong = replace(of(inverse), function=lambda a: 1.0 / (a - 950.0) if a != 950.0 else int("x"))
    honest = replace(of(faulty.twice), function=lambda a: int("x") if a == 3.0 else a + a)
    assert on("cpu", sealed(wrong, [1.0, 950.0], VerificationError("x"))).trouble == ""  # both ask Python for that row
    outcome = on("cpu", sealed(honest, [float(n) for n in range(100)], VerificationError("x")))
    assert outcome.trouble == "mismatch"
    assert outcome.told.startswith("no error; in Python ValueError: invalid literal")
    assert [row.number for row in outcome.rows] == [103]


def test_a_body_that_is_not_pure_differs_from_itself_in_python() -> None:
    memory: list[float] = []

    def counting(a):
        memory.append(a)
        return a + len(memory)

    outcome = on("python", sealed(of(gs.udf(counting, "double")), [1.0, 2.0], VerificationError("x")))
    assert outcome.trouble == "mismatch"


def test_native_arithmetic_is_not_compared_with_python() -> None:
    f = gs.udf("bigint")(lambda a: a * a)
    capsule = sealed(of(f), [2**40], DeviceFault("x"), arithmetic="native")  # type: ignore[list-item]
    assert on("cpu", capsule).trouble == ""


def test_a_slice_is_replayed_as_a_slice(monkeypatch) -> None:
    offsets: list[int] = []
    run = replays.Runner.run

    def noting(self, columns, work, first_row=0):
        offsets.append(columns[0].offset)
        return run(self, columns, work, first_row)

    monkeypatch.setattr(replays.Runner, "run", noting)
    column = pa.array([float(n) for n in range(1000)]).slice(5)
    f = of(faulty.mismatch())
    error = VerificationError("x")
    replay(seal(error, f, [column], device="cpu", config=Config(), first_row=0), devices_named("cpu"))
    assert set(offsets) == {5}


def test_a_device_that_does_not_exist_is_refused() -> None:
    assert devices_named("all") == DEVICES
    with pytest.raises(CapsuleError, match="choose one of cpu, emulated, cuda, python, all"):
        devices_named("gpu")


# Shrinking


@given(st.integers(1, 200), st.data())
def test_shrinking_finds_the_rows_that_are_needed_together(rows: int, data) -> None:
    needed = data.draw(st.sets(st.integers(0, rows - 1), min_size=1, max_size=4))
    asked = []

    def shows(some) -> bool:
        asked.append(list(some))
        return needed <= set(some)

    assert shrink(range(rows), shows) == sorted(needed)
    assert len(asked) <= replays.MOST_RUNS
    assert all(some == sorted(some) for some in asked)  # rows keep their order


@given(st.integers(1, 64), st.data())
def test_the_shrunk_rows_still_fail_for_any_fault(rows: int, data) -> None:
    """For any fault, including one that depends on the length of the batch."""
    lengths = data.draw(st.sets(st.integers(1, rows)))
    kept = shrink(range(rows), lambda some: len(some) in lengths or len(some) == rows)
    assert len(kept) in lengths | {rows}
    assert len(set(kept)) == len(kept)


def test_only_a_good_guess_is_returned() -> None:
    assert shrink(range(100), lambda some: 50 in some, first=[50, 60]) == [50, 60]
    assert shrink(range(100), lambda some: 50 in some, first=[60]) == [50]


def test_shrinking_ends_after_the_most_runs(monkeypatch) -> None:
    monkeypatch.setattr(replays, "MOST_RUNS", 10)
    calls = 0

    def shows(some) -> bool:
        nonlocal calls
        calls += 1
        return len(some) > 500

    assert len(shrink(range(1000), shows)) > 500
    assert calls <= 10


def test_few_rows_are_shown_of_a_fault_that_needs_many() -> None:
    outcome = Outcome("cpu", trouble="fault", told="x", places=tuple(range(30)))
    assert "30 rows still show it" in str(outcome)
    assert "and 30 more rows, which are needed to show it" in str(outcome)


# The command


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    values = [float(n) for n in range(1000)]
    return save(sealed(of(faulty.mismatch()), values, VerificationError("x")), tmp_path)


def command(*arguments: str | Path):
    return CliRunner().invoke(cli.app, ["replay", *map(str, arguments)])


def test_the_rows_and_both_answers_are_printed(failing: Path) -> None:
    done = command(failing, "--device", "cpu", "--yes")
    assert done.exit_code == 1
    rows = re.findall(r"^  row (\d+): a=(\d+\.\d) -> (\S+), in Python (\S+)$", done.stdout, re.M)
    assert len(rows) == FEW
    assert all(
        float(a) == int(number) - 100 and float(ours) == 2 * float(a) and float(theirs) == 2 * float(a) + 1e-3
        for number, a, ours, theirs in rows
    )
    assert "def other_above_limit(a):" in done.stdout


def test_the_remaining_rows_can_be_written_to_a_capsule(failing: Path, tmp_path: Path) -> None:
    smaller = tmp_path / "smaller.capsule"
    assert command(failing, "--device", "cpu", "--yes", "--out", smaller).exit_code == 1
    assert [row - 100 > faulty.LIMIT for row in read(smaller).manifest.rows] == [True] * FEW
    assert command(smaller, "--device", "emulated", "--yes").exit_code == 1
    done = command(failing, "--yes", "--out", smaller)
    assert done.exit_code == 2
    assert "exists already" in done.stderr


def test_a_batch_that_no_longer_fails_ends_with_zero_and_writes_nothing(tmp_path: Path) -> None:
    path = save(sealed(of(faulty.twice), [1.0, 2.0], VerificationError("x")), tmp_path)
    done = command(path, "--yes", "--out", tmp_path / "smaller.capsule")
    assert done.exit_code == 0
    assert "cpu: nothing wrong" in done.stdout
    assert not (tmp_path / "smaller.capsule").exists()


def test_a_device_that_cannot_be_used_ends_with_two(tmp_path: Path) -> None:
    path = save(sealed(of(gs.udf("string")(lambda a: str(a))), [1.0], VerificationError("x")), tmp_path)
    done = command(path, "--device", "cpu", "--yes")
    assert done.exit_code == 2
    assert "cpu: cannot run the function here: not on cpu: the result is string" in done.stdout
    assert command(path, "--yes").exit_code == 2  # plain Python finds nothing, but the batch failed elsewhere
    assert command(path, "--device", "python", "--yes").exit_code == 0
    assert command(path, "--device", "gpu", "--yes").exit_code == 2


def test_standard_output_is_json_only(failing: Path) -> None:
    shown = json.loads(command(failing, "--show", "--json").stdout)
    assert shown["manifest"]["function"] == "twice"
    assert shown["outcomes"] == []
    ran = json.loads(command(failing, "--json", "--yes", "--device", "python").stdout)
    assert [(o["device"], o["trouble"]) for o in ran["outcomes"]] == [("python", "")]
