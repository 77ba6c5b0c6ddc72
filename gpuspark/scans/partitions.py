"""The folders of a partitioned table: ``root/year=2013/origin=JFK/part-0.parquet``."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from gpuspark.errors import CallError

NULL = "__HIVE_DEFAULT_PARTITION__"
_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_PATTERN = re.compile(r"[*?\[{]")


def path_of(address: str) -> str:
    """Returns the path of a file that Spark names by a URI, in which some characters are escaped.

    Raises :class:`~gpuspark.errors.CallError` for files that are not in a local file system.
    """
    parts = urlsplit(address)
    if parts.scheme != "file":
        raise CallError(f"scans read local files, not {address}. Use gs.map_in_arrow(spark.read...) there.")
    return unquote(parts.path)


def without_scheme(path: str) -> str:
    """Returns a path as users write it for Spark, in which no characters are escaped, without ``file:`` before it.

    Raises :class:`~gpuspark.errors.CallError` for paths that are not in a local file system.
    """
    scheme, colon, rest = path.partition(":")
    if not colon or "/" in scheme:
        return path
    if scheme != "file":
        raise CallError(
            f"scans read local files, not {scheme}: (in {path!r}). Use gs.map_in_arrow(spark.read...) there."
        )
    return rest if rest[:2] != "//" else rest[2:]


def check_path(path: str) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a path that is a pattern, or is not in a local file system."""
    if not isinstance(path, str) or not path:
        raise CallError(f"path={path!r} is not the path of a parquet file or of a folder of such files")
    if _PATTERN.search(path):
        raise CallError(f"scans take one file or folder, not a pattern such as {path!r}: give the folder, and filters")
    without_scheme(path)


def absolute(path: str, working_folder: str) -> str:
    """Returns the absolute path that the user named by ``path``. ``working_folder``: Spark's, to which relative paths
    refer."""
    return os.path.normpath(os.path.join(working_folder, without_scheme(path)))


def partition_values(root: str, file: str) -> dict[str, str | None]:
    """Returns the values that the folders between ``root`` and ``file`` tell, as text; ``None`` for null.

    Raises :class:`~gpuspark.errors.CallError` if only some of the folders are named ``column=value``.
    """
    folders = os.path.relpath(os.path.dirname(file), root).split("/")
    if folders == ["."]:
        return {}
    pairs = [folder.partition("=") for folder in folders]
    if not any(sign for _, sign, _ in pairs):
        return {}
    if not all(sign for _, sign, _ in pairs):
        raise CallError(f"scans need folders named column=value all the way, or none: {file}, in {root}, has both")
    return {_unescaped(name): None if value == NULL else _unescaped(value) for name, _, value in pairs}


def _unescaped(text: str) -> str:
    """Returns text of a folder's name in which Spark wrote some characters as ``%3A``: each stands for one character,
    not for a byte of UTF-8."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
