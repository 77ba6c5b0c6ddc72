"""Whether this process's local time is UTC at every moment, past and future, as compiled comparisons of timestamps
need it: Python gives a body a ``timestamp`` as the naive local time."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

_UTC_NAMES = {"UTC", "UCT", "Universal", "Zulu", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich"}
"""Zones that are UTC by definition. Others, such as Africa/Abidjan and Europe/London, are at UTC at times only."""
_POSIX_RULES = {"UTC0", "GMT0", "UTC+0", "UTC-0", "<UTC>0", "<GMT>0"}
_SYSTEM_ZONE = Path("/etc/localtime")


def local_time_is_utc(system_zone: Path = _SYSTEM_ZONE) -> bool:
    """Whether the local time has been, and will be, UTC without exception. ``system_zone`` is the file of the zone
    that the C library takes where ``TZ`` is not set; without that file it takes UTC."""
    if time.timezone != 0 or time.daylight:
        return False
    zone = os.environ.get("TZ")
    if zone is None:
        return not system_zone.exists() or _file_is_utc(system_zone.read_bytes())
    zone = zone.removeprefix(":")
    return zone == "" or zone in _POSIX_RULES or zone.removeprefix("Etc/") in _UTC_NAMES


def _file_is_utc(content: bytes) -> bool:
    """Whether a file in the TZif format (RFC 9636) has one kind of time, which is UTC, and no leap seconds."""
    header = struct.Struct(">4sc15x6L")  # magic, version, then counts: of UT marks, standard marks, leaps, transitions,
    if len(content) < header.size:  # kinds of time, letters of their names
        return False
    magic, version, *counts = header.unpack_from(content)
    start = 0
    if version >= b"2":  # the same again, with moments of 64 bits, is what counts; a rule for the future ends the file
        marks, standards, leaps, transitions, kinds, letters = counts
        start = header.size + transitions * 5 + kinds * 6 + letters + leaps * 8 + standards + marks
        if len(content) < start + header.size:
            return False
        magic, _, *counts = header.unpack_from(content, start)
        if content.rstrip(b"\n").rpartition(b"\n")[2].decode("ascii", "replace") not in _POSIX_RULES:
            return False
    _, _, leaps, transitions, kinds, _ = counts
    if magic != b"TZif" or (leaps, transitions, kinds) != (0, 0, 1):
        return False
    seconds, daylight = struct.unpack_from(">l?", content, start + header.size)
    return bool(seconds == 0 and not daylight)
