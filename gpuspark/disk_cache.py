"""A private on-disk cache of compiled programs, shared by all processes of one user.

* The folder belongs to its user alone (mode 0700). A folder or entry that another user owns, or that
  group or others may write, is ignored: cached programs are executed.
* The cache never raises an error. Without a usable folder, every ``get`` returns ``None`` and every
  ``put`` does nothing.
* Entries are written atomically (to a temporary file that is then renamed), so processes need no lock.
  Each entry carries a checksum of its key and bytes; a damaged, truncated, renamed or outdated entry is
  ignored, and the next ``put`` replaces it.
* The size is bounded: the least recently used entries are removed first.

The folder is ``$GPUSPARK_CACHE_DIR`` if that is set (then no other is tried); else ``gpuspark`` in the
user's cache folder; else ``gpuspark-<user id>`` in the temporary folder.
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
"""Age from which a temporary file is taken to be left over from a process that died."""


class DiskCache:
    """A cache in ``folder``, or one that stores nothing if ``folder`` is ``None``.

    Keys are lower-case hexadecimal digests (16 to 128 digits) of everything that determines the value.
    The cache holds at most ``limit`` bytes; a larger value is not stored.

    >>> cache = DiskCache(None)
    >>> cache.put("00" * 32, b"code")
    >>> cache.get("00" * 32) is None
    True
    """

    def __init__(self, folder: Path | None, limit: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit = limit

    def get(self, key: str) -> bytes | None:
        """Returns the bytes last stored under ``key``, or ``None`` if there is no valid entry."""
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
        """Stores ``payload`` under ``key``, replacing an earlier value. Does nothing if it cannot be written."""
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
        """Yields a descriptor of the folder after checking that it is private; nobody can swap it afterwards."""
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
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > self.limit or _problem(status):
                return b""
            return file.read()

    def _make_room(self, folder: int) -> None:
        """Removes the least recently used entries until the rest fits, and left-over temporary files."""
        entries: list[tuple[int, int, str]] = []
        with os.scandir(folder) as files:
            for file in files:
                with suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    if _KEY.fullmatch(file.name):
                        entries.append((status.st_mtime_ns, status.st_size, file.name))
                    elif file.name.startswith(".") and status.st_mtime < time.time() - _ABANDONED_SECONDS:
                        os.unlink(file.name, dir_fd=folder)
        total = sum(size for _, size, _ in entries)
        for _, size, name in sorted(entries):
            if total <= self.limit:
                return
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            total -= size


def default_cache() -> DiskCache:
    """Returns this user's cache of compiled programs."""
    return DiskCache(private_folder("programs"))


def private_folder(name: str) -> Path | None:
    """Returns the folder ``name`` inside gpuspark's private cache folder, created if needed; or ``None``."""
    base, _ = _choose_folder()
    if base is None:
        return None
    folder = base / name
    return None if _make_private(folder) else folder


def describe() -> str:
    """Describes where compiled programs are stored, or every reason why they are not."""
    base, problems = _choose_folder()
    return str(base) if base else "none: " + "; ".join(problems)


def _choose_folder() -> tuple[Path | None, list[str]]:
    """Returns the first usable folder, and what is wrong with the candidates before it."""
    problems: list[str] = []
    if sys.platform == "win32":
        return None, ["this system has no file owners and modes to rely on"]
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
    """Creates ``folder`` if it is missing; returns what is wrong with it, or ``None``."""
    if not folder.is_absolute():
        return "is not an absolute path"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        return f"cannot be created: {error.strerror}"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "cannot be written"
    return _problem(status)


def _problem(status: os.stat_result) -> str | None:
    """Returns why a file or folder with this status is not private, or ``None`` if it is."""
    if status.st_uid != os.geteuid():
        return f"belongs to another user ({status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
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
    temporary = f".{key}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(entry)
        os.replace(temporary, key, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _mark_used(folder: int, key: str) -> None:
    """Sets an entry's modification time, which stands for its last use: many disks do not record access times.

    Does nothing on a read-only disk.
    """
    now = time.time_ns()
    with suppress(OSError):
        os.utime(key, ns=(now, now), dir_fd=folder, follow_symlinks=False)
