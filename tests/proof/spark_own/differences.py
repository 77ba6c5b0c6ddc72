"""The tests known to differ, each with its reason, read from ``differences.toml`` and held against what ran."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.proof.spark_own.outcomes import Differing

FILE = Path(__file__).parent / "differences.toml"


@dataclass(frozen=True)
class Difference:
    """Tests that differ for one reason. ``decision`` names a section of docs/differences.md: it is on purpose;
    ``open`` says what is to be mended. ``tests`` are patterns of ``Class.test``."""

    tests: tuple[str, ...]
    ways: tuple[str, ...]
    why: str
    decision: str = ""
    open: bool = False

    def __post_init__(self) -> None:
        assert bool(self.decision) != self.open, f"{self.tests}: either a decision or open"

    def covers(self, name: str, way: str) -> bool:
        return way in self.ways and any(fnmatch(name, pattern) for pattern in self.tests)


def read(text: str | None = None) -> list[Difference]:
    """The known differences, of the committed file by default."""
    entries: list[dict[str, Any]] = tomllib.loads(FILE.read_text() if text is None else text).get("difference", [])
    return [Difference(tuple(e.pop("tests")), tuple(e.pop("ways", ("cpu", "cuda"))), **e) for e in entries]


def unlisted(known: Iterable[Difference], differing: Iterable[Differing]) -> list[Differing]:
    """The tests that differ and that nothing lists."""
    known = list(known)
    return [test for test in differing if not any(each.covers(test.name, test.way) for each in known)]


def outdated(known: Iterable[Difference], differing: Iterable[Differing], ran: Iterable[tuple[str, str]]) -> list[str]:
    """The listed tests that pass now, of those that ran (``Class.test`` and the way)."""
    failing = {(test.name, test.way) for test in differing}
    known, passing = list(known), [each for each in ran if each not in failing]
    return [f"{name} on {way}" for name, way in passing if any(each.covers(name, way) for each in known)]


def superfluous(known: Iterable[Difference], names: Iterable[str]) -> list[str]:
    """The patterns that none of Spark's tests, all of them given by name, has."""
    names = list(names)
    return [p for each in known for p in each.tests if not any(fnmatch(name, p) for name in names)]
