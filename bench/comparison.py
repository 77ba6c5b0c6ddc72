"""Compares two runs, such as those before and after a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.results import CaseResult, PathResult
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import MIN_ROUNDS, Interval, interval


@dataclass(frozen=True)
class Change:
    """How the time of one path of one case changed between two runs."""

    case: str
    path: str
    ratio: Interval
    """The new time / the old time, each relative to the transport floor of its own round."""
    verdict: str
    """``faster``, ``slower`` or ``undecided``."""

    def __str__(self) -> str:
        ratio = f"{self.ratio} times as long as before, relative to the transport floor"
        return f"{self.case}: {self.path} takes {ratio}: {self.verdict}"


def changes(before: Sequence[CaseResult], after: Sequence[CaseResult]) -> Iterator[Change]:
    """Yields the change of every path that both runs measured.

    Times are divided by the transport floor of their own round, so that a faster machine does not look like faster
    code.
    """
    old_cases = {case.name: case for case in before}
    for case in after:
        old_case = old_cases.get(case.name)
        if old_case is None:
            continue
        for name, path in case.paths.items():
            if name in old_case.paths and name not in (FLOOR, FLOOR_AGAIN):
                yield _change(old_case, old_case.paths[name], case, path)


def _change(old_case: CaseResult, old_path: PathResult, case: CaseResult, path: PathResult) -> Change:
    new, old = _relative_to_floor(case, path), _relative_to_floor(old_case, old_path)
    ratio = _unpaired_ratio(new, old)
    noisy = case.noisy or old_case.noisy
    if min(len(new), len(old)) < MIN_ROUNDS or 1.0 in ratio or noisy:
        return Change(case.name, path.name, ratio, "undecided")
    return Change(case.name, path.name, ratio, "slower" if ratio.low > 1 else "faster")


def _relative_to_floor(case: CaseResult, path: PathResult) -> list[float]:
    return [elapsed / floor for elapsed, floor in zip(path.seconds, case.paths[FLOOR].seconds, strict=True)]


def _unpaired_ratio(new: Sequence[float], old: Sequence[float]) -> Interval:
    """Returns the ratio of two medians whose rounds are not pairs: its interval combines both medians' intervals."""
    numerator, denominator = interval(new), interval(old)
    return Interval(
        median=numerator.median / denominator.median,
        low=numerator.low / denominator.high,
        high=numerator.high / denominator.low,
    )
