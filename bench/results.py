"""Results read from the records of a run: no winner where intervals overlap, and none on a GPU that did not run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import MIN_ROUNDS, Comparison, Interval, compare, interval, is_noisy, stands_out

OURS = "gpuspark"
"""The path that calls gpuspark's column function."""


@dataclass(frozen=True)
class PathResult:
    """The measurements of one path of one case."""

    name: str
    seconds: tuple[float, ...]
    """Seconds for all elements, by round; scaled up if the path was measured on fewer."""
    measured_elements: int
    elements: int
    record: Mapping[str, Any]

    @cached_property
    def time(self) -> Interval:
        """The median of the seconds and its interval."""
        return interval(self.seconds)

    @property
    def rate(self) -> float:
        """Elements per second."""
        return self.elements / self.time.median

    @property
    def device(self) -> str:
        """The devices that computed the rows, from the ledger; ``-`` for paths without gpuspark."""
        devices: Mapping[str, int] = self.record.get("devices", {})
        return ", ".join(sorted(name for name, rows in devices.items() if rows)) or "-"

    @property
    def outside_share(self) -> float | None:
        """The share of the tasks' time in none of gpuspark's phases: Spark's own work and the transport to Python."""
        phases, spark = self.record.get("phases") or {}, self.record.get("spark") or {}
        return 1 - sum(phases.values()) / spark["run"] if phases and spark.get("run") else None


@dataclass(frozen=True)
class CaseResult:
    """The results of one case in one run."""

    name: str
    paths: dict[str, PathResult]
    facts: Mapping[str, Any]
    """One record of the case, for the fields that all of its paths share."""

    @cached_property
    def noisy(self) -> bool:
        """Whether the two measurements of the transport floor differ."""
        first, second = self.paths[FLOOR], self.paths[FLOOR_AGAIN]
        return len(first.seconds) >= MIN_ROUNDS and is_noisy(first.seconds, second.seconds)

    def compare(self, path: str, baseline: str) -> Comparison:
        """Returns the time of ``path`` / the time of ``baseline``."""
        return compare(self.paths[path].seconds, self.paths[baseline].seconds)

    def aims(self) -> Iterator[str]:
        """Yields each aim of the case and whether it was reached; a part of the case is not judged."""
        complete = self.facts["elements"] >= self.facts["of"]
        for path, rival, factor, cause in self.facts["aims"]:
            if path in self.paths and rival in self.paths:
                speedup = self.compare(rival, path).ratio
                outcome = "reached" if speedup.median >= factor else f"MISSED{f': {cause}' if cause else ''}"
                outcome = outcome if complete else "not judged on a part of the case"
                yield f"{path} is {speedup} times as fast as {rival}; aim {factor:g}: {outcome}"

    def verdict(self) -> str:
        """Returns which path is the fastest, or why no path can be called that."""
        if self.noisy:
            return "the machine was too noisy to compare paths: the two measurements of the transport floor differ"
        if len(self.paths[FLOOR].seconds) < MIN_ROUNDS:
            return f"no verdict from fewer than {MIN_ROUNDS} rounds"
        compared = [path for name, path in self.paths.items() if name not in (FLOOR, FLOOR_AGAIN)]
        fastest, *others = sorted(compared, key=lambda path: path.time.median)
        if fastest.device not in ("-", "cpu", "cuda"):
            return f"{fastest.name} ran on {fastest.device}: its time says nothing about a GPU or compiled code"
        noise = self.compare(FLOOR, FLOOR_AGAIN)
        close = [other.name for other in others if not stands_out(self.compare(fastest.name, other.name), noise)]
        if close:
            return f"undecided between {fastest.name} and {', '.join(close)}"
        return f"{fastest.name} is the fastest" if others else f"only {fastest.name} was measured"


def load(file: Path) -> list[CaseResult]:
    """Returns the cases of a file of records; for a case that ran more than once, its last run."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        runs.setdefault(record["case"], {}).setdefault(record["run"], []).append(record)
    return [_case(name, list(by_run.values())[-1]) for name, by_run in runs.items()]


def _case(name: str, records: Sequence[Mapping[str, Any]]) -> CaseResult:
    paths = {}
    for record in records:
        scale = record["elements"] / record["given"]
        seconds = tuple(elapsed * scale for elapsed in record["seconds"])
        paths[record["path"]] = PathResult(record["path"], seconds, record["given"], record["elements"], record)
    return CaseResult(name, paths, records[0])
