"""Files that are not capsules, or are broken or of another version, are refused with the reason."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gpuspark import cli
from gpuspark.errors import CapsuleError
from gpuspark.execution.capsule import read, write
from tests.test_capsule import sealed


@given(st.data())
def test_a_file_that_was_cut_or_changed_is_refused_or_unchanged(tmp_path: Path, data) -> None:
    path = tmp_path / "whole.capsule"
    if not path.exists():
        write(sealed(), path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    changed = tmp_path / "changed.capsule"
    if data.draw(st.booleans()):
        changed.write_bytes(content[:place])
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        changed.write_bytes(content)
    try:
        result = read(changed)
    except CapsuleError:
        return
    assert result == read(path)  # the changed bit had no meaning, such as one of a date


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\0" * 1000], ids=repr)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.capsule"
    path.write_bytes(content)
    with pytest.raises(CapsuleError, match=re.escape(str(path))):
        read(path)


def test_a_file_that_is_not_there_ends_with_two(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["replay", str(tmp_path / "none.capsule")])
    assert done.exit_code == 2
    assert "No such file" in done.stderr


def rewritten(tmp_path: Path, change: Callable[[dict], object], name: str = "manifest.json") -> Path:
    """Writes a capsule with a changed manifest in the entry ``name``; returns its path."""
    whole, path = tmp_path / "whole.capsule", tmp_path / "changed.capsule"
    write(sealed(), whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w") as new:
        manifest = json.loads(archive.read("manifest.json"))
        change(manifest)
        new.writestr(name, json.dumps(manifest))
        for other in ("batch.arrow", "function.pickle"):
            new.writestr(other, archive.read(other))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), r"has format 2, written by gpuspark .* which reads format 1"),
        (lambda m: m.update(format="1"), "has no format"),
        (lambda m: m.pop("source"), "its manifest differs in source"),
        (lambda m: m.update(more=1), "its manifest differs in more"),
        (lambda m: m.update(rows=["1"]), "its manifest's rows cannot be read"),
        (lambda m: m.update(flags={"a": 1}), "its manifest's flags cannot be read"),
        (lambda m: m.update(offsets=[True, False]), "its manifest's offsets cannot be read"),
        (lambda m: m.update(offsets=[0]), "does not describe each column"),
        (lambda m: m.update(rows=[1]), "contradicts itself"),
        (lambda m: m.update(columns=["b", "a"]), "contradicts itself"),
        (lambda m: m.update(types=["double", "int64"]), "contradicts itself"),
        (lambda m: m.update(flags={"spark.gpuspark.newer": "1"}), "configuration keys that are unknown here"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_impossible_manifest_is_refused(tmp_path: Path, change, message: str) -> None:
    path = rewritten(tmp_path, change)
    with pytest.raises(CapsuleError, match=message):
        read(path)
    assert CliRunner().invoke(cli.app, ["replay", str(path), "--yes"]).exit_code == 2


def test_other_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CapsuleError, match=r"is not a capsule: it contains \.\./manifest\.json"):
        read(rewritten(tmp_path, lambda m: None, "../manifest.json"))
