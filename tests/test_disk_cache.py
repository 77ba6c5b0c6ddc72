"""The private cache on disk: what it stores, what it ignores, and that it never raises an error."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuspark import disk_cache
from gpuspark.disk_cache import DiskCache

KEY = hashlib.sha256(b"a program").hexdigest()
NOBODY = 65534
ENTRY_OVERHEAD = 49
"""Bytes of an entry besides its payload: a magic number of 17 bytes and a SHA-256 digest of 32."""


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    folder = tmp_path / "programs"
    folder.mkdir(mode=0o700)
    return DiskCache(folder)


def entry_of(cache: DiskCache, key: str = KEY) -> Path:
    assert cache.folder is not None
    return cache.folder / key


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def run_python(code: str, **environment: str) -> str:
    """Returns what ``code`` prints in a new process whose environment is only ``environment``."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": os.getcwd(), **environment},
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ``path`` belong to another user; without root rights, pretends to be another user instead."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)


# --- keeping -------------------------------------------------------------------------------------


def test_an_unknown_key_is_none(cache: DiskCache) -> None:
    assert cache.get(KEY) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=1000))
def test_get_returns_what_was_put(cache: DiskCache, payload: bytes) -> None:
    cache.put(KEY, payload)
    assert cache.get(KEY) == payload


def test_put_replaces(cache: DiskCache) -> None:
    cache.put(KEY, b"old")
    cache.put(KEY, b"new")
    assert cache.get(KEY) == b"new"


def test_another_process_reads_it(cache: DiskCache) -> None:
    cache.put(KEY, b"shared")
    code = f"""
from pathlib import Path
from gpuspark.disk_cache import DiskCache
print(DiskCache(Path({str(cache.folder)!r})).get({KEY!r}))"""
    assert run_python(code) == "b'shared'"


def test_entries_are_private_and_nothing_else_is_left(cache: DiskCache) -> None:
    cache.put(KEY, b"code")
    assert os.listdir(cache.folder) == [KEY]
    assert entry_of(cache).stat().st_mode & 0o777 == 0o600


def test_no_folder_keeps_nothing() -> None:
    cache = DiskCache(None)
    cache.put(KEY, b"code")
    assert cache.get(KEY) is None


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", "ABCDEF0123456789", "0" * 15, "0" * 129, KEY + "\n"])
def test_a_key_is_a_digest(cache: DiskCache, bad: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal digest"):
        cache.put(bad, b"")
    with pytest.raises(ValueError, match="hexadecimal digest"):
        cache.get(bad)


# --- ignoring ------------------------------------------------------------------------------------


def test_any_flipped_byte_is_noticed_and_rebuilt(cache: DiskCache) -> None:
    cache.put(KEY, b"machine code")
    whole = entry_of(cache).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        entry_of(cache).write_bytes(damaged)
        assert cache.get(KEY) is None, position
    cache.put(KEY, b"machine code")
    assert cache.get(KEY) == b"machine code"


def test_any_truncation_is_noticed(cache: DiskCache) -> None:
    cache.put(KEY, b"machine code")
    whole = entry_of(cache).read_bytes()
    for length in range(len(whole)):
        entry_of(cache).write_bytes(whole[:length])
        assert cache.get(KEY) is None, length
    entry_of(cache).write_bytes(whole + b"\0")
    assert cache.get(KEY) is None


def test_an_entry_under_another_key_is_ignored(cache: DiskCache) -> None:
    cache.put(KEY, b"of this key")
    entry_of(cache).rename(entry_of(cache, key(1)))
    assert cache.get(key(1)) is None


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_an_entry_that_others_may_write_is_ignored(cache: DiskCache, mode: int) -> None:
    cache.put(KEY, b"code")
    entry_of(cache).chmod(mode)
    assert cache.get(KEY) is None


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_ignored(cache: DiskCache, mode: int) -> None:
    assert cache.folder is not None
    cache.put(KEY, b"code")
    cache.folder.chmod(mode)
    assert cache.get(KEY) is None
    cache.put(key(1), b"code")
    assert os.listdir(cache.folder) == [KEY]


def test_a_symbolic_link_is_ignored(cache: DiskCache, tmp_path: Path) -> None:
    cache.put(KEY, b"code")
    entry_of(cache).rename(tmp_path / "elsewhere")
    entry_of(cache).symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None

    (tmp_path / "link").symlink_to(tmp_path / "programs")
    linked = DiskCache(tmp_path / "link")
    linked.put(key(1), b"code")
    assert linked.get(key(1)) is None


def test_an_entry_of_another_user_is_ignored(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(KEY, b"code")
    with monkeypatch.context() as patch:
        give_away(entry_of(cache), patch)
        assert cache.get(KEY) is None
    cache.put(KEY, b"ours again")
    assert cache.get(KEY) == b"ours again"


def test_a_folder_of_another_user_is_ignored(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.folder is not None
    cache.put(KEY, b"code")
    give_away(cache.folder, monkeypatch)
    assert cache.get(KEY) is None
    cache.put(key(1), b"code")
    assert os.listdir(cache.folder) == [KEY]


def test_a_folder_that_vanished_is_no_error(cache: DiskCache) -> None:
    assert cache.folder is not None
    cache.folder.rmdir()
    cache.put(KEY, b"code")
    assert cache.get(KEY) is None


def test_a_full_disk_is_no_error(cache: DiskCache) -> None:
    code = f"""
import resource, signal
from pathlib import Path
from gpuspark.disk_cache import DiskCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
cache = DiskCache(Path({str(cache.folder)!r}))
cache.put({KEY!r}, bytes(5000))
print(cache.get({KEY!r}), __import__("os").listdir({str(cache.folder)!r}))"""
    assert run_python(code) == "None []"


# --- the bound -----------------------------------------------------------------------------------


def test_the_least_recently_used_entry_is_removed_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit=3 * (100 + ENTRY_OVERHEAD))
    tmp_path.chmod(0o700)
    for number in range(3):
        cache.put(key(number), bytes(100))
    assert cache.get(key(0)) == bytes(100)
    cache.put(key(3), bytes(100))
    assert sorted(os.listdir(tmp_path)) == sorted(key(n) for n in (0, 2, 3))


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    cache = DiskCache(tmp_path, limit=10_000)
    for number in range(40):
        cache.put(key(number), bytes(997))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 10_000
        assert cache.get(key(number)) == bytes(997)


def test_what_exceeds_the_limit_is_not_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    cache = DiskCache(tmp_path, limit=100)
    cache.put(KEY, bytes(50))
    cache.put(key(1), bytes(100))
    assert os.listdir(tmp_path) == [KEY]


def test_files_of_processes_that_died_are_removed(cache: DiskCache) -> None:
    assert cache.folder is not None
    old, young = cache.folder / f".{KEY}.0a", cache.folder / f".{KEY}.0b"
    old.write_bytes(b"half an ent")
    young.write_bytes(b"half an ent")
    os.utime(old, (1, 1))
    cache.put(KEY, b"code")
    assert sorted(os.listdir(cache.folder)) == sorted([KEY, young.name])


def test_two_processes_may_share_a_cache(tmp_path: Path) -> None:
    """Both write and read the same few keys under a limit that keeps removing them: every entry that is
    read is complete and belongs to its key."""
    tmp_path.chmod(0o700)
    code = f"""
import sys
import tempfile
from pathlib import Path
from gpuspark.disk_cache import DiskCache
cache = DiskCache(Path({str(tmp_path)!r}), limit=20_000)
hits = 0
for turn in range(300):
    for number in range(4):
        key = f"{{number:064x}}"
        cache.put(key, bytes([number]) * (4000 + 100 * number))
        got = cache.get(key)
        assert got is None or got == bytes([number]) * (4000 + 100 * number)
        hits += got is not None
print(hits > 0)"""
    environment = {"PYTHONPATH": os.getcwd()}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["True", "True"]
    assert all(not name.startswith(".") for name in os.listdir(tmp_path))


# --- choosing the folder -------------------------------------------------------------------------

CACHE_FOLDER = """
from gpuspark.disk_cache import default_cache
cache = default_cache()
cache.put("0" * 64, b"code")
print(cache.folder, cache.get("0" * 64))"""


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "a" / "b"))
    cache = disk_cache.default_cache()
    assert cache.folder == tmp_path / "a" / "b" / "programs"
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert cache.folder.parent.stat().st_mode & 0o777 == 0o700
    assert disk_cache.describe() == str(tmp_path / "a" / "b")


def test_a_chosen_folder_that_cannot_be_used_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path))
    assert disk_cache.default_cache().folder is None
    assert disk_cache.describe() == f"none: {tmp_path} may be written by others (chmod go-w)"

    monkeypatch.setenv("GPUSPARK_CACHE_DIR", "relative")
    assert disk_cache.private_folder("programs") is None
    assert disk_cache.describe() == "none: relative is not an absolute path"


def test_the_home_folder(tmp_path: Path) -> None:
    assert run_python(CACHE_FOLDER, HOME=str(tmp_path)) == f"{tmp_path}/.cache/gpuspark/programs b'code'"
    assert run_python(CACHE_FOLDER, XDG_CACHE_HOME=str(tmp_path)) == f"{tmp_path}/gpuspark/programs b'code'"


@pytest.mark.parametrize("home", ["/proc", "/nonexistent", "relative"])
def test_a_missing_or_unwritable_home_falls_back_to_the_temporary_folder(home: str, tmp_path: Path) -> None:
    expected = f"{tmp_path}/gpuspark-{os.geteuid()}/programs b'code'"
    assert run_python(CACHE_FOLDER, HOME=home, TMPDIR=str(tmp_path)) == expected


def test_a_user_who_may_not_write_the_home_folder() -> None:
    become_ordinary = f"""
import os, gpuspark.disk_cache
if os.geteuid() == 0:
    os.setuid({NOBODY})
"""
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as open_to_all:
        os.chmod(open_to_all, 0o1777)
        output = run_python(become_ordinary + CACHE_FOLDER, HOME="/", TMPDIR=open_to_all)
    assert output == f"{open_to_all}/gpuspark-{user}/programs b'code'"


def test_no_folder_at_all_is_no_error() -> None:
    no_temporary_folder = """
import tempfile
def gettempdir():
    raise FileNotFoundError("No usable temporary directory found")
tempfile.gettempdir = gettempdir
"""
    assert run_python(no_temporary_folder + CACHE_FOLDER, HOME="/proc") == "None None"


def test_a_temporary_folder_made_by_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for user in (os.geteuid(), NOBODY):
        planted = tmp_path / f"gpuspark-{user}"
        planted.mkdir()
    give_away(tmp_path / f"gpuspark-{os.geteuid()}", monkeypatch)
    assert disk_cache.default_cache().folder is None
    assert "belongs to another user" in disk_cache.describe()
