"""Capsules: they are read back as written, readable by their owner only, and run nothing before the user agrees."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import platform
import pty
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import gpuspark as gs
from gpuspark import cli
from gpuspark.columns import types
from gpuspark.columns.values import same
from gpuspark.config import Config
from gpuspark.errors import CapsuleError, DeviceFault, VerificationError
from gpuspark.execution import capsule as capsules
from gpuspark.execution import findings
from gpuspark.execution.capsule import Capsule, function_of, placed, read, save, seal, write
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.runner import Runner
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.tools.replay import describe, warnings
from tests.support.strategies import tables
from tests.test_cli import gpuspark

ROOT = Path(__file__).parents[1]
KINDS = ("boolean", "tinyint", "int", "bigint", "float", "double", "date", "timestamp_ntz")


@gs.udf("double")
def total(a, b):
    return a + b  # a remark that a reader wants to see


FUNCTION = total.scalar_function(["a", "b"])


def sealed(columns: list[pa.Array] | None = None, error: Exception | None = None, **given) -> Capsule:
    """Returns a capsule of two columns; by default of ten rows of doubles."""
    columns = columns or [pa.array([float(n) for n in range(10)]), pa.array([None] * 2 + [1.0] * 8)]
    flags = Config(device="cpu", verify_fraction=1.0, target_bytes=4096)
    details = {"device": "cpu", "config": flags, "first_row": 30, **given}
    return seal(error or VerificationError("total gave 1.0"), FUNCTION, columns, **details)


def identical(one: pa.Array, other: pa.Array) -> bool:
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return one.type == other.type and all(same(a, b) for a, b in pairs)


# Written and read


@given(st.data())
def test_any_batch_comes_back_with_its_slices(tmp_path: Path, data) -> None:
    chosen = data.draw(st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)))
    table = data.draw(tables(("a", "b"), chosen))
    columns = [column.chunk(0) for column in table.columns]
    path = save(sealed(columns, first_row=7), tmp_path)
    result = read(path)
    assert result.manifest.types == [str(column.type) for column in columns]
    assert result.manifest.nulls == [column.null_count for column in columns]
    assert result.manifest.rows == list(range(7, 7 + len(columns[0])))
    for ours, theirs in zip(placed(result), columns, strict=True):
        assert identical(ours, theirs)
        assert ours.null_count == theirs.null_count
        assert ours.offset == (theirs.offset if len(theirs) else 0)


@pytest.mark.parametrize("offset", [0, 1, 7, 64, 127, 128, 1001])
def test_a_column_keeps_its_offset_within_a_word(tmp_path: Path, offset: int) -> None:
    column = pa.array([n % 3 == 0 for n in range(1100)]).slice(offset, 20)
    result = placed(read(save(sealed([column, column]), tmp_path)))
    assert [c.to_pylist() for c in result] == [column.to_pylist()] * 2
    assert {c.offset % 64 for c in result} == {offset % 64}
    assert all(c.offset <= 128 for c in result)


def test_strings_and_structs_are_kept_too(tmp_path: Path) -> None:
    columns = [pa.array(["a", None, "ü"]), pa.array([{"x": 1, "y": [2.0]}, None, {"x": None, "y": []}])]
    batch = read(save(sealed(columns), tmp_path)).batch
    assert [column.to_pylist() for column in batch.columns] == [column.to_pylist() for column in columns]


def test_the_manifest_describes_the_failure(tmp_path: Path) -> None:
    path = save(sealed(), tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["batch.arrow", "function.pickle", "manifest.json"]
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["format"] == 1
    assert (manifest["kind"], manifest["error"]) == ("mismatch", "VerificationError: total gave 1.0")
    assert (manifest["function"], manifest["result"], manifest["device"]) == ("total", "double", "cpu")
    assert manifest["columns"] == ["a", "b"]
    assert manifest["nulls"] == [0, 2]
    assert "return a + b  # a remark" in manifest["source"]
    assert "_gs_op_add" in manifest["portable"]
    assert manifest["flags"]["spark.gpuspark.batch.targetBytes"] == "4096"
    assert manifest["versions"]["python"] == platform.python_version()
    assert {"gpuspark", "numba", "numba-cuda", "pyarrow", "pyspark"} <= set(manifest["versions"])


@pytest.mark.parametrize(
    ("error", "kind"),
    [(VerificationError("x"), "mismatch"), (DeviceFault("x"), "fault"), (ZeroDivisionError("x"), "error")],
)
def test_each_kind_of_failure_has_its_name(error, kind) -> None:
    assert sealed(error=error).manifest.kind == kind


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = save(sealed(), tmp_path / "new" / "folder")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = save(sealed(), tmp_path)
    content = path.read_bytes()
    with pytest.raises(FileExistsError):
        write(sealed(), path)
    assert path.read_bytes() == content


def test_some_rows_of_a_capsule_make_a_capsule(tmp_path: Path) -> None:
    write(sealed().take([1, 9]), tmp_path / "less.capsule")
    result = read(tmp_path / "less.capsule")
    assert result.manifest.rows == [31, 39]
    assert result.manifest.nulls == [0, 1]
    assert result.batch.to_pydict() == {"a": [1.0, 9.0], "b": [None, 1.0]}


# Written by a worker


def kept(folder: Path, monkeypatch, count: int = 1, function: ScalarFunction = FUNCTION) -> list[str]:
    """Returns the notes of ``count`` failures, one after the other."""
    monkeypatch.setattr(findings, "_number", iter(range(1, count + 1)))
    config = Config(device="cpu", capsule_folder=str(folder))
    column = pa.array([1.0])
    runner = Runner(function, [types.parse("double")] * 2, config)
    notes = []
    for _ in range(count):
        error = VerificationError("x")
        findings.report(error, function, [column, column], runner.plan.device, config, 0)
        notes += error.__notes__
    return notes


def test_the_error_names_the_capsule_and_the_command(tmp_path: Path, monkeypatch) -> None:
    [note] = kept(tmp_path, monkeypatch)
    [path] = tmp_path.glob("*.capsule")
    assert note == f"gpuspark: the batch is kept in {path}; run it without Spark: gpuspark replay {path}"
    assert read(path).manifest.rows == [0]


def test_a_folder_that_cannot_be_written_hides_no_error(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    [note] = kept(tmp_path / "file", monkeypatch)
    assert "no capsule could be written: FileExistsError" in note


def test_a_function_that_cannot_be_pickled_hides_no_error(tmp_path: Path, monkeypatch) -> None:
    lock = threading.Lock()
    locked = gs.udf("double")(lambda a, b: a + b if lock else a).scalar_function(["a", "b"])
    [note] = kept(tmp_path, monkeypatch, function=locked)
    assert "no capsule could be written: TypeError: cannot pickle" in note
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_fails_everywhere_does_not_fill_the_disk(tmp_path: Path, monkeypatch) -> None:
    notes = kept(tmp_path, monkeypatch, findings.MOST + 3)
    assert len(list(tmp_path.iterdir())) == findings.MOST
    assert "no capsule was written: this worker has written 16 already" in notes[-1]


def test_functions_of_other_modules_are_pickled_by_value(tmp_path: Path, monkeypatch) -> None:
    module = tmp_path / "only_on_the_cluster.py"
    module.write_text("rate = 3\ndef helper(a):\n    return a * rate\ndef body(a):\n    return helper(a)\n")
    monkeypatch.syspath_prepend(tmp_path)
    loaded = importlib.import_module("only_on_the_cluster")
    function = gs.udf(loaded.body, "double").scalar_function(["a"])
    whole = seal(ValueError("x"), function, [pa.array([2.0])], device="cpu", config=Config(), first_row=0)
    path = save(whole, tmp_path)
    module.unlink()
    monkeypatch.delitem(sys.modules, "only_on_the_cluster")
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("only_on_the_cluster")
    assert interpret(function_of(read(path)), [pa.array([2.0])]).to_pylist() == [6.0]


# Nothing in it runs before the user agrees


class Touch:
    """An object that creates a file when it is unpickled, as an attacker's capsule could."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trap,)


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A capsule whose pickle creates a file, and the path of that file."""
    trap, path = tmp_path / "it-ran", tmp_path / "hostile.capsule"
    write(replace(sealed(), function=pickle.dumps(Touch(trap))), path)
    return path, trap


def at_a_terminal(answer: str, *arguments: str) -> tuple[int, str]:
    """Runs the command in a terminal and types ``answer``; returns exit code and output."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    command = [sys.executable, "-c", "from gpuspark.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, stdin=theirs, capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    os.close(ours)
    os.close(theirs)
    return done.returncode, done.stdout + done.stderr


def test_reading_and_showing_run_nothing(hostile) -> None:
    path, trap = hostile
    assert "return a + b" in describe(read(path))
    for arguments in (["--show"], ["--show", "--json"], ["--show", "--yes"]):
        assert CliRunner().invoke(cli.app, ["replay", str(path), *arguments]).exit_code == 0
    assert not trap.exists()


def test_without_a_terminal_it_asks_for_yes_and_runs_nothing(hostile) -> None:
    path, trap = hostile
    done = gpuspark("replay", str(path))
    assert done.returncode == 2
    assert "Nothing was run" in done.stderr
    assert "--yes" in done.stderr
    assert not trap.exists()


def test_answering_no_runs_nothing(hostile) -> None:
    path, trap = hostile
    code, output = at_a_terminal("n\n", "replay", str(path))
    assert code == 2
    assert (
        output.index("return a + b")
        < output.index("Run it? This runs code from the file")
        < output.index("Nothing was")
    )
    assert not trap.exists()


def test_pressing_return_runs_nothing(hostile) -> None:
    path, trap = hostile
    assert at_a_terminal("\n", "replay", str(path))[0] == 2
    assert not trap.exists()


def test_the_hostile_pickle_works_and_other_objects_than_functions_are_refused(hostile) -> None:
    path, trap = hostile
    code, output = at_a_terminal("y\n", "replay", str(path))
    assert code == 2
    assert "Do not trust this file" in output
    assert trap.exists()


def test_control_characters_are_escaped() -> None:
    evil = replace(sealed().manifest, source="x\x1b[2J\x1b[8m", function="f\nfailed     on cuda", error="a\rb")
    description = describe(replace(sealed(), manifest=evil))
    assert not re.search(r"[^\n -~]", description)
    assert "\nfailed     on cuda" not in description
    assert r"\x1b[2J" in description


# Loading its function


def test_bytecode_of_another_python_is_not_loaded(hostile) -> None:
    path, trap = hostile
    result = read(path)
    strange = replace(result.manifest, versions={**result.manifest.versions, "python": "2.7.18"})
    with pytest.raises(CapsuleError, match=r"bytecode of Python 2\.7\.18"):
        function_of(replace(result, manifest=strange))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (b"", "cannot be loaded: EOFError"),
        (b"cnowhere\nbody\n.", "needs a module that is missing here: No module named 'nowhere'.*PYTHONPATH"),
        (b"cgpuspark.execution.scalar\nNothing\n.", "cannot be loaded: AttributeError"),
        (pickle.dumps(FUNCTION.columns), "not the one of its manifest"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_reported(function: bytes, told: str) -> None:
    with pytest.raises(CapsuleError, match=told):
        function_of(replace(sealed(), function=function))


def test_a_function_of_other_columns_is_refused() -> None:
    other = total.scalar_function(["b", "a"])
    with pytest.raises(CapsuleError, match="not the one of its manifest"):
        function_of(replace(sealed(), function=capsules._pickled(other)))


def test_differences_from_the_task_are_warned_of() -> None:
    result = sealed()
    assert warnings(result) == []
    there = {**result.manifest.versions, "numba": "0.1", "cudf": "3"}
    strange = replace(result, manifest=replace(result.manifest, versions=there, time_zone="Mars"))
    told = warnings(strange)
    assert [line for line in told if line.startswith("numba was 0.1 and is ")]
    assert "cudf was 3 and is not installed here" in told
    assert [line for line in told if line.startswith("the time zone was Mars")]
    assert describe(strange).count("\nwarning ") == len(told)
