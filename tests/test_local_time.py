"""``local_time_is_utc`` for every time zone, against Python's own local times over two centuries."""

from __future__ import annotations

import datetime
import os
import time
import zoneinfo
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.columns.local_time import local_time_is_utc
from gpuspark.config import Config
from gpuspark.spark.session import configured

UTC = datetime.UTC
ZONES = sorted(zoneinfo.available_timezones())


@pytest.fixture(autouse=True)
def restored_time_zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    _set(before)


def _set(zone: str | None) -> None:
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


def _always_at_utc() -> bool:
    """Returns whether Python's local time is UTC on one day of every fortnight from 1880 to 2080."""
    fortnight, first = 14 * 86400, int(datetime.datetime(1880, 1, 1, tzinfo=UTC).timestamp())
    return all(time.localtime(first + n * fortnight).tm_gmtoff == 0 for n in range(5200))


@pytest.mark.parametrize("zone", ["UTC", ":UTC", "Etc/UTC", "GMT", "Etc/Greenwich", "UTC0", "Zulu", "", "GMT+0"])
def test_zones_that_are_utc_by_definition(zone: str) -> None:
    _set(zone)
    assert local_time_is_utc()
    assert _always_at_utc()


@pytest.mark.parametrize(
    "zone", ["Africa/Sao_Tome", "Africa/Abidjan", "Europe/London", "Europe/Lisbon", "UTC+1", "UTC0BST", "Asia/Tokyo"]
)
def test_zones_that_equal_utc_only_at_times(zone: str) -> None:
    _set(zone)
    assert not local_time_is_utc()
    assert not _always_at_utc()


def test_every_zone_taken_for_utc_is_always_utc() -> None:
    for zone in ZONES:
        _set(zone)
        if local_time_is_utc():
            assert _always_at_utc(), zone


@pytest.mark.parametrize("zone", ["UTC", "GMT", "Africa/Sao_Tome", "Africa/Abidjan", "Europe/London", "Iceland", None])
def test_without_tz_the_system_zone_file_decides(zone: str | None, tmp_path: Path) -> None:
    """The zone's file replaces ``/etc/localtime``."""
    file = tmp_path / "localtime"
    if zone is not None:
        file.write_bytes(_zone_file(zone))
    _set("UTC0")
    del os.environ["TZ"]  # the time module still reports UTC, as in a zone that equals UTC today
    assert local_time_is_utc(file) == (zone in ("UTC", "GMT", None))


def _zone_file(zone: str) -> bytes:
    for root in zoneinfo.TZPATH:
        if Path(root, zone).exists():
            return Path(root, zone).read_bytes()
    return resources.files("tzdata").joinpath("zoneinfo", zone).read_bytes()


@pytest.mark.parametrize("content", [b"", b"UTC", b"TZif2" + bytes(39), b"TZif" + bytes(46)])
def test_an_invalid_zone_file_is_not_utc(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "localtime"
    file.write_bytes(content)
    _set("UTC0")
    del os.environ["TZ"]
    assert not local_time_is_utc(file)


def test_timestamps_in_a_zone_that_was_not_always_utc_are_compared_as_python_does() -> None:
    _set("Africa/Sao_Tome")  # an hour ahead during 2018

    def between(a, b):
        return (b - a).total_seconds()

    moments = [datetime.datetime(2018, 12, 31, 12, tzinfo=UTC), datetime.datetime(2019, 1, 2, 12, tzinfo=UTC)]
    columns = [pa.array([moment], pa.timestamp("us", "UTC")) for moment in moments]
    naive = [moment.astimezone().replace(tzinfo=None) for moment in moments]
    seconds = gs.udf(between, "double")
    assert "Africa/Sao_Tome, which is not always UTC" in str(seconds.explain(["timestamp", "timestamp"]))
    for device in ("python", "cpu", "emulated"):
        with configured(Config(device=device, fallback="silent")):
            assert seconds(*columns).to_pylist() == [between(*naive)]
