"""What the records of a run say, and no more: no winner where intervals overlap, no word of a GPU that did not run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import FEWEST, Comparison, Interval, compare, interval, is_noisy, stands_out

OURS = "gpuspark"


@dataclass(frozen=True)
class PathResult:
    """One path of one case. ``seconds``: of all elements, round by round; multiplied where the path was capped."""

    name: str
    seconds: tuple[float, ...]
    given: int
    elements: int
    record: Mapping[str, Any]

    @cached_property
    def time(self) -> Interval:
        return interval(self.seconds)

    @property
    def rate(self) -> float:
        """Elements a second."""
        return self.elements / self.time.median

    @property
    def device(self) -> str:
        """Where the rows were computed, as the ledger says; ``-`` for paths that gpuspark has no part in."""
        devices: Mapping[str, int] = self.record.get("devices", {})
        return ", ".join(sorted(name for name, rows in devices.items() if rows)) or "-"

    @property
    def remainder(self) -> float | None:
        """The share of the tasks' time that is in none of our phases: Spark's own, and the transport to Python."""
        phases, spark = self.record.get("phases") or {}, self.record.get("spark") or {}
        return 1 - sum(phases.values()) / spark["run"] if phases and spark.get("run") else None


@dataclass(frozen=True)
class CaseResult:
    """One case of one run."""

    name: str
    paths: dict[str, PathResult]
    facts: Mapping[str, Any]
    """A record of the case: what all of its paths share."""

    @cached_property
    def noisy(self) -> bool:
        """Whether the transport floor differed from itself."""
        once, again = self.paths[FLOOR], self.paths[FLOOR_AGAIN]
        return len(once.seconds) >= FEWEST and is_noisy(once.seconds, again.seconds)

    def against(self, path: str, other: str) -> Comparison:
        """How many times as long ``path`` takes as ``other``."""
        return compare(self.paths[path].seconds, self.paths[other].seconds)

    def aims(self) -> Iterator[str]:
        """Each aim of the case, and whether this run reached it, if it was of the case's full size."""
        whole = self.facts["elements"] >= self.facts["of"]
        for path, than, times, missed in self.facts["aims"]:
            if path in self.paths and than in self.paths:
                faster = self.against(than, path).ratio
                word = "reached" if faster.median >= times else "MISSED"
                judged = word if whole else "not judged on a part of the case"
                judged += f": {missed}" if missed and judged == "MISSED" else ""
                yield f"{path} is {faster} times as fast as {than}; aim {times:g}: {judged}"

    def verdict(self) -> str:
        """The fastest path, if that may be said. Never of a GPU, unless a GPU ran."""
        if self.noisy:
            return "the machine was too noisy to compare paths: the transport floor differed from itself"
        shown = {name: path for name, path in self.paths.items() if name not in (FLOOR, FLOOR_AGAIN)}
        if len(self.paths[FLOOR].seconds) < FEWEST:
            return f"no verdict from fewer than {FEWEST} rounds"
        first, *others = sorted(shown.values(), key=lambda path: path.time.median)
        if first.device not in ("-", "cpu", "cuda"):
            return f"{first.name} ran on {first.device}: its time says nothing of a GPU, or of compiled code"
        noise = self.against(FLOOR, FLOOR_AGAIN)
        close = [other.name for other in others if not stands_out(self.against(first.name, other.name), noise)]
        if close:
            return f"undecided between {first.name} and {', '.join(close)}"
        return f"{first.name} is the fastest" if others else f"{first.name} stands alone"


def load(file: Path) -> list[CaseResult]:
    """The cases of a file of records; of one that ran more than once the last run."""
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        runs.setdefault(record["case"], {}).setdefault(record["run"], []).append(record)
    return [_case(name, list(by_run.values())[-1]) for name, by_run in runs.items()]


def _case(name: str, records: Sequence[Mapping[str, Any]]) -> CaseResult:
    paths = {}
    for record in records:
        times = record["elements"] / record["given"]
        seconds = tuple(taken * times for taken in record["seconds"])
        paths[record["path"]] = PathResult(record["path"], seconds, record["given"], record["elements"], record)
    return CaseResult(name, paths, records[0])


def differ(before: Sequence[CaseResult], after: Sequence[CaseResult]) -> Iterator[tuple[str, str, Interval, str]]:
    """Case, path, how many times as long it takes now, and the verdict: times are taken against the transport floor
    of their own round, so that a faster machine is not taken for faster code."""
    old = {case.name: case for case in before}
    for case in after:
        for name, path in case.paths.items():
            then = old[case.name].paths.get(name) if case.name in old else None
            if then is None or name in (FLOOR, FLOOR_AGAIN):
                continue
            now, was = _in_floors(case, path), _in_floors(old[case.name], then)
            rounds = min(len(now), len(was))
            ratio = _ratio(now, was)
            decided = rounds >= FEWEST and 1.0 not in ratio and not (case.noisy or old[case.name].noisy)
            yield case.name, name, ratio, ("slower" if ratio.low > 1 else "faster") if decided else "undecided"


def _in_floors(case: CaseResult, path: PathResult) -> list[float]:
    return [taken / floor for taken, floor in zip(path.seconds, case.paths[FLOOR].seconds, strict=True)]


def _ratio(now: Sequence[float], was: Sequence[float]) -> Interval:
    """Of two medians that were not taken in turn: every round of one against every round of the other, so that the
    interval is that of the medians' quotient."""
    one, other = interval(now), interval(was)
    return Interval(one.median / other.median, one.low / other.high, one.high / other.low)
