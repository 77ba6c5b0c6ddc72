"""A private store of small binary entries on disk: compiled programs survive the process that made them.

Its law:

* The folder belongs to its user alone (mode 0700). A folder or entry that another user owns, or that
  group or world may write, is ignored: what is read from here is executed.
* A cache is never a reason to fail. Where no folder can be had, every ``get`` answers ``None`` and
  every ``put`` does nothing.
* Entries appear whole or not at all (written aside, then renamed), so processes need no lock. Each
  carries a checksum over its key and bytes; a damaged, truncated, renamed or outdated one is ignored,
  and the next ``put`` replaces it.
* The size is bounded: the entries that were not used for the longest time go first.

The folder is ``$GPUSPARK_CACHE_DIR`` where that is set (and only that); else ``gpuspark`` in the
user's cache folder; else ``gpuspark-<user id>`` in the temporary folder; else there is none.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "GPUSPARK_CACHE_DIR"
LIMIT_BYTES = 256 << 20

_MAGIC = b"gpuspark entry 1\n"
_HEADER_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_KEY = re.compile(r"[0-9a-f]{16,128}")
_ABANDONED_SECONDS = 3600
"""A file that was written aside and is older than this was left by a process that died."""


class DiskCache:
    """A store in ``folder``; with ``None`` one that keeps nothing.

    Keys are lower-case hexadecimal digests (16 to 128 digits) of everything that decided the value.
    The store holds at most ``limit`` bytes; a larger value is not kept.

    >>> cache = DiskCache(None)
    >>> cache.put("00" * 32, b"code")
    >>> cache.get("00" * 32) is None
    True
    """

    def __init__(self, folder: Path | None, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit = limit

    def get(self, key: str) -> bytes | None:
        """The bytes last put under ``key``, or ``None`` where there is no sound entry."""
        _check_key(key)
        try:
            with self._open_folder() as folder:
                entry = self._read(folder, key)
                payload = _unseal(key, entry)
                if payload is not None:
                    _mark_used(folder, key)
                return payload
        except OSError:
            return None

    def put(self, key: str, payload: bytes) -> None:
        """Keeps ``payload`` under ``key``, in place of what was there. Does nothing where it cannot."""
        _check_key(key)
        entry = _seal(key, payload)
        if len(entry) > self.limit:
            return
        with suppress(OSError), self._open_folder() as folder:
            _write(folder, key, entry)
            _mark_used(folder, key)
            self._make_room(folder)

    @contextmanager
    def _open_folder(self) -> Iterator[int]:
        """The folder as a descriptor, found private: nobody can swap it between check and use."""
        if self.folder is None:
            raise FileNotFoundError("there is no cache folder")
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            problem = _problem(os.fstat(descriptor))
            if problem:
                raise PermissionError(f"{self.folder} {problem}")
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self, folder: int, key: str) -> bytes:
        descriptor = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > self.limit or _problem(facts):
                return b""
            return file.read()

    def _make_room(self, folder: int) -> None:
        """Removes the entries that were used longest ago until the rest fits, and abandoned files."""
        entries: list[tuple[int, int, str]] = []
        with os.scandir(folder) as found:
            for file in found:
                with suppress(FileNotFoundError):
                    facts = file.stat(follow_symlinks=False)
                    if _KEY.fullmatch(file.name):
                        entries.append((facts.st_mtime_ns, facts.st_size, file.name))
                    elif file.name.startswith(".") and facts.st_mtime < time.time() - _ABANDONED_SECONDS:
                        os.unlink(file.name, dir_fd=folder)
        total = sum(size for _, size, _ in entries)
        for _, size, name in sorted(entries):
            if total <= self.limit:
                return
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            total -= size


def default_cache() -> DiskCache:
    """The store of compiled programs of this user."""
    return DiskCache(private_folder("programs"))


def private_folder(name: str) -> Path | None:
    """The folder ``name`` inside gpuspark's private cache folder, made if need be; or ``None``."""
    base, _ = _choose()
    if base is None:
        return None
    folder = base / name
    return None if _make_private(folder) else folder


def describe() -> str:
    """Where compiled programs are kept, or every reason why they are not: for people to read."""
    base, problems = _choose()
    return str(base) if base else "none: " + "; ".join(problems)


def _choose() -> tuple[Path | None, list[str]]:
    """The first folder that can be had, and what is wrong with those before it."""
    problems: list[str] = []
    if sys.platform == "win32":
        return None, ["this system has no owners and modes of files to rely on"]
    for candidate in _candidates():
        problem = _make_private(candidate)
        if problem is None:
            return candidate, problems
        problems.append(f"{candidate} {problem}")
    return None, problems or [f"no folder to write to; set {VARIABLE}"]


def _candidates() -> Iterator[Path]:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        yield Path(chosen)
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = Path(os.path.expanduser("~"))
    if caches.is_absolute():
        yield caches / "gpuspark"
    elif home.is_absolute() and home.is_dir():
        yield home / ".cache" / "gpuspark"
    with suppress(FileNotFoundError):
        yield Path(tempfile.gettempdir()) / f"gpuspark-{os.geteuid()}"


def _make_private(folder: Path) -> str | None:
    """Makes ``folder`` unless it is there; answers what is wrong with it, or ``None``."""
    if not folder.is_absolute():
        return "is not an absolute path"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        return f"cannot be made: {error.strerror}"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "cannot be written"
    return _problem(facts)


def _problem(facts: os.stat_result) -> str | None:
    if facts.st_uid != os.geteuid():
        return f"belongs to another user ({facts.st_uid})"
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "may be written by others (chmod go-w)"
    return None


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"A cache key is a hexadecimal digest of 16 to 128 digits, not {key!r}.")


def _seal(key: str, payload: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(key.encode() + b"\0" + payload).digest() + payload


def _unseal(key: str, entry: bytes) -> bytes | None:
    payload = entry[_HEADER_BYTES:]
    return payload if entry == _seal(key, payload) else None


def _write(folder: int, key: str, entry: bytes) -> None:
    aside = f".{key}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(aside, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(entry)
        os.replace(aside, key, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(aside, dir_fd=folder)
        raise


def _mark_used(folder: int, key: str) -> None:
    """The time of last use is the time of modification: many disks do not keep the time of access.
    On a disk that cannot be written it stays as it is."""
    now = time.time_ns()
    with suppress(OSError):
        os.utime(key, ns=(now, now), dir_fd=folder, follow_symlinks=False)
