"""Medians, intervals, and when one path may be called faster than another.

Paths run in turn, so round by round their times are pairs, and what the machine does to both cancels out of their
ratio. The interval of a median is the bootstrap's (B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13: percentiles of the medians of resamples). At 99 %, since for the few rounds of a benchmark the
percentile interval covers less than it says: with 7 rounds it is the whole range of the ratios, which two equal paths
leave on one side of 1 in 2 of 128 cases.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
RESAMPLES = 4_000
FEWEST = 6
"""Rounds below this say nothing: their ratios lie on one side of 1 by chance more than once in 20 times."""


@dataclass(frozen=True)
class Interval:
    """A median with the interval that holds it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.median)} [{short(self.low)}, {short(self.high)}]"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def short(value: float) -> str:
    """Three digits, and all that stand before the point.

    >>> short(0.012345), short(1566.4)
    ('0.0123', '1,566')
    """
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def interval(samples: Sequence[float]) -> Interval:
    """The median of ``samples`` with its bootstrap interval. The same samples give the same interval.

    >>> print(interval([1.0, 1.1, 0.9, 1.0, 1.2, 0.95, 1.05]))
    1 [0.9, 1.2]
    """
    values = np.asarray(samples, float)
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    medians = np.median(values[draws], axis=1)
    low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(statistics.median(samples), float(low), float(high))


@dataclass(frozen=True)
class Comparison:
    """How many times as long one path takes as another, and what may be said of it."""

    ratio: Interval
    rounds: int

    @property
    def verdict(self) -> str:
        """``faster``, ``slower``, or ``undecided``: the first path, against the second."""
        if self.rounds < FEWEST or 1.0 in self.ratio:
            return "undecided"
        return "slower" if self.ratio.low > 1 else "faster"


def compare(one: Sequence[float], other: Sequence[float]) -> Comparison:
    """``one`` over ``other``: seconds of two paths that ran in turn, round by round.

    >>> compare([1.0] * 7, [2.0] * 7).verdict
    'faster'
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} rounds: paths that ran in turn have as many")
    return Comparison(interval([a / b for a, b in zip(one, other, strict=True)]), len(one))


def is_noisy(once: Sequence[float], again: Sequence[float]) -> bool:
    """Whether the machine was too restless to trust a run: one path, measured twice in every round, differed from
    itself."""
    return compare(once, again).verdict != "undecided"


def stands_out(found: Comparison, noise: Comparison) -> bool:
    """Whether a difference is larger than that of a path from itself, ``noise``, in the same rounds."""
    same = min(noise.ratio.low, 1 / noise.ratio.high)
    return found.verdict != "undecided" and (found.ratio.high < same or found.ratio.low > 1 / same)
