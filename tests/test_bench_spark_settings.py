"""Spark's own settings: each is in force where it is measured, results stay the same, and the page has the records."""

from __future__ import annotations

import shutil
import subprocess
import sys
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from gpuspark.bench import spark_settings
from gpuspark.bench.run import WrongResults, settings
from gpuspark.bench.spark_settings import (
    ARROW,
    BUFFER,
    FROM_THE_START,
    PIPELINED,
    READER_ROWS,
    RUNNING,
    UNIX_SOCKET,
    WORKER,
    Hook,
    NotInForce,
    Rounds,
    Session,
    Setting,
    hooks,
    sessions,
    under,
    worker_environment,
)
from gpuspark.bench.spark_settings_page import AGAIN, DEFAULT, PAGE, RECORD, load, ratio, ratios, written
from tests.support.own_spark import quick_environment

ROWS, FILES = 40_000, 8
ROW_BYTES = 24
COLUMN_FUNCTION, BATCH_FUNCTION = "gs.udf", "gs.apply_in_segments"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Any]:
    """The records of a small run in a Spark of its own, by group, setting and hook."""
    folder = tmp_path_factory.mktemp("settings")
    shutil.copy(PAGE, folder / "page.md")
    command = [
        sys.executable, "-m", "gpuspark.bench.spark_settings", "--rows", str(ROWS), "--rounds", "1",
        "--master", "local[2]", "--record", folder / "records.jsonl", "--text", folder / "page.md",
        "--hook", COLUMN_FUNCTION, "--hook", BATCH_FUNCTION,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=quick_environment(), check=False)
    assert done.returncode == 0, done.stderr
    found = load(folder / "records.jsonl")
    assert (folder / "page.md").read_text() == written(PAGE.read_text(), found)
    return {(record["group"], record["setting"], record["hook"]): record for record in found}


def of_running(records: dict[tuple[str, str, str], Any], hook: str) -> dict[str, int]:
    """Returns how many batches Spark made for ``hook`` under each setting that a running session takes."""
    chosen = {key: record for key, record in records.items() if key[0] == "running" and key[2] == hook}
    return {setting: record["batches"] for (_, setting, _), record in chosen.items()}


@pytest.mark.slow
def test_every_hook_is_timed_under_every_setting(records) -> None:
    pairs = [(each.group, label) for each in sessions() for label in each.taken]
    assert set(records) == {(*pair, hook) for pair in pairs for hook in (COLUMN_FUNCTION, BATCH_FUNCTION)}
    assert {(len(record["seconds"]), record["rows"]) for record in records.values()} == {(1, ROWS)}


@pytest.mark.slow
def test_workers_show_the_settings_that_they_are_told(records) -> None:
    told = {
        f"{BUFFER}=1048576": {"SPARK_BUFFER_SIZE": "1048576"},
        f"{PIPELINED}=true": {"SPARK_PIPELINED_UDF": "1"},
        f"{UNIX_SOCKET}=true": {"PYTHON_UNIX_DOMAIN_ENABLED": "True"},
    }
    assert set(told) <= {setting for _, setting, _ in records}
    for (_, setting, _), record in records.items():
        assert record["worker"] == {**WORKER, **told.get(setting, {})}


@pytest.mark.slow
def test_column_functions_get_the_batches_of_the_parquet_reader(records) -> None:
    found = of_running(records, COLUMN_FUNCTION)
    lengths = {setting: 65_536 if setting == f"{READER_ROWS}=65536" else 4_096 for setting in found}
    assert found == {setting: FILES * ceil(ROWS / FILES / length) for setting, length in lengths.items()}


@pytest.mark.slow
def test_batch_functions_get_arrow_batches(records) -> None:
    found = of_running(records, BATCH_FUNCTION)
    assert found.pop(f"{ARROW}.maxBytesPerBatch=64k") >= ROWS * ROW_BYTES / 2**16
    for setting, batches in found.items():
        fewest = ROWS / (100_000 if setting == f"{ARROW}.maxRecordsPerBatch=100000" else 10_000)
        assert fewest <= batches <= fewest + 4, setting  # the last batch of each of up to four partitions is shorter


def test_arrow_functions_have_the_buffer_of_pandas_functions(spark) -> None:
    """And not that of ``spark.sql.execution.python.udf.buffer.size``, which is for functions over pickled rows."""
    with settings(spark, {"spark.sql.execution.python.udf.buffer.size": "1048576"}):
        assert worker_environment(spark)["SPARK_BUFFER_SIZE"] == "65536"
    with settings(spark, {BUFFER: "1048576"}):
        assert worker_environment(spark)["SPARK_BUFFER_SIZE"] == "1048576"


def test_settings_are_grouped_as_spark_takes_them(spark) -> None:
    assert all(spark.conf.isModifiable(key) for setting in RUNNING for key in setting.keys)
    assert not any(spark.conf.isModifiable(key) for setting in FROM_THE_START for key in setting.keys)


def test_queries_run_under_their_setting_alone(spark) -> None:
    found: list[str] = []

    def run() -> None:
        found.append(str(spark.conf.get(READER_ROWS)))

    under(spark, Setting({READER_ROWS: "16384"}), run, run)
    assert (found, spark.conf.get(READER_ROWS)) == (["16384", "16384"], "4096")


@pytest.fixture
def rounds(spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Rounds of one hook in the tests' own session, which is not stopped."""
    spark.conf.set("spark.gpuspark.device", "cpu")
    monkeypatch.setattr(spark_settings, "session", lambda master, options: spark)
    monkeypatch.setattr(type(spark), "stop", lambda self: None)
    result = Rounds(100, "local[2]", tmp_path)
    result.hooks = {"gs.udf": result.hooks["gs.udf"]}
    return result


def test_a_setting_that_is_not_in_force_ends_the_run(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Session("from the start", FROM_THE_START[0], {PIPELINED: Setting()})  # the tests' Spark does not have it
    monkeypatch.setattr(spark_settings, "sessions", lambda: [without])
    with pytest.raises(NotInForce, match=rf"{PIPELINED}: .*'SPARK_PIPELINED_UDF': '', .* not "):
        rounds.look()


def test_other_results_end_the_run(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    doubling = Setting({"spark.test.doubled": "true"})
    both = Session("running", Setting(), {DEFAULT: Setting(), doubling.name: doubling})
    monkeypatch.setattr(spark_settings, "sessions", lambda: [both])
    hook = rounds.hooks["gs.udf"]

    def path(frame):
        doubled = frame.sparkSession.conf.get("spark.test.doubled", None)
        return hook.path(frame.withColumn("s", frame.s * 2) if doubled else frame)

    rounds.hooks = {"gs.udf": Hook(hook.case, path)}
    with pytest.raises(WrongResults, match=r"spark\.test\.doubled=true: gs\.udf differs from Spark as it is"):
        rounds.look()


def test_a_verdict_takes_more_than_the_control_differs() -> None:
    same = [1.0] * 8
    assert ratio([0.8] * 8, same, same).endswith(" faster")
    assert ratio([1.2] * 8, same, same).endswith(" slower")
    assert ratio([0.8] * 8, same, [0.7] * 8).endswith(" undecided")
    assert ratio([0.8, 1.1] * 4, same, same).endswith(" undecided")


def test_the_page_has_the_committed_records() -> None:
    committed, text = load(RECORD), PAGE.read_text()
    assert {record["hook"] for record in committed} == set(hooks())
    assert {record["setting"] for record in committed} == {label for each in sessions() for label in each.taken}
    assert text == written(text, committed)
    assert [f"<!-- {name} -->" in text for name in ("measured", "running", "batches", "start")] == [True] * 4


@pytest.mark.parametrize(("group", "compared"), [("running", RUNNING), ("from the start", FROM_THE_START)])
def test_the_tables_have_a_row_for_each_setting(group: str, compared: tuple[Setting, ...]) -> None:
    rows = ratios(load(RECORD), group).splitlines()[2:]
    named = [row.split(" | ")[0].strip("| `") for row in rows]
    assert named == [DEFAULT, *(setting.name for setting in compared), AGAIN]
