"""Tells whether this process's local time is always UTC.

A body gets a ``timestamp`` as naive local time, so compiled programs may compare timestamps only if local time is UTC
at every moment, past and future.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

_UTC_NAMES = {"UTC", "UCT", "Universal", "Zulu", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich"}
"""Zones that are UTC by definition. Others, such as Africa/Abidjan and Europe/London, equal UTC only at times."""
_POSIX_RULES = {"UTC0", "GMT0", "UTC+0", "UTC-0", "<UTC>0", "<GMT>0"}
_SYSTEM_ZONE = Path("/etc/localtime")


def local_time_is_utc(system_zone: Path = _SYSTEM_ZONE) -> bool:
    """Returns whether the local time has always been UTC and will always be.

    ``system_zone`` is the time zone file that the C library uses if ``TZ`` is not set; it uses UTC if that file is
    missing.
    """
    if time.timezone != 0 or time.daylight:
        return False
    zone = os.environ.get("TZ")
    if zone is None:
        return not system_zone.exists() or _file_is_utc(system_zone.read_bytes())
    zone = zone.removeprefix(":")
    return zone == "" or zone in _POSIX_RULES or zone.removeprefix("Etc/") in _UTC_NAMES


def _file_is_utc(content: bytes) -> bool:
    """Returns whether a TZif file (RFC 9636) has UTC as its only local time type, and no leap seconds."""
    # magic, version, and the counts of UT/local indicators, standard/wall indicators, leap seconds, transitions,
    # local time types and characters of their abbreviations
    header = struct.Struct(">4sc15x6L")
    if len(content) < header.size:
        return False
    magic, version, *counts = header.unpack_from(content)
    start = 0
    if version >= b"2":  # a second header with 64-bit times follows, and a rule for the future ends the file
        ut_indicators, standard_indicators, leaps, transitions, types, characters = counts
        start = header.size + transitions * 5 + types * 6 + characters + leaps * 8 + standard_indicators + ut_indicators
        if len(content) < start + header.size:
            return False
        magic, _, *counts = header.unpack_from(content, start)
        if content.rstrip(b"\n").rpartition(b"\n")[2].decode("ascii", "replace") not in _POSIX_RULES:
            return False
    _, _, leaps, transitions, types, _ = counts
    if magic != b"TZif" or (leaps, transitions, types) != (0, 0, 1):
        return False
    seconds, daylight = struct.unpack_from(">l?", content, start + header.size)
    return bool(seconds == 0 and not daylight)
