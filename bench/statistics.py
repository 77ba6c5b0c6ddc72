"""Medians, their intervals, and when one path may be called faster than another.

Paths run in turn, so the times of one round form pairs, and whatever slows the machine for a while cancels out of
their ratio. The interval of a median is the percentile bootstrap interval (B. Efron and R. J. Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13). The confidence is 99 %, because with the few rounds of a benchmark the
percentile interval covers less than its nominal share: with 7 rounds it is the whole range of the ratios, and two equal
paths leave that range on one side of 1 in 2 of 128 cases.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
RESAMPLES = 4_000
MIN_ROUNDS = 6
"""Fewer rounds decide nothing: by chance, all their ratios lie on one side of 1 more than once in 20 times."""


@dataclass(frozen=True)
class Interval:
    """A median and the interval around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{format_number(self.median)} [{format_number(self.low)}, {format_number(self.high)}]"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def format_number(value: float) -> str:
    """Returns ``value`` with three significant digits, or as a whole number from 1,000 on.

    >>> format_number(0.012345), format_number(1566.4)
    ('0.0123', '1,566')
    """
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def interval(samples: Sequence[float]) -> Interval:
    """Returns the median of ``samples`` and its bootstrap interval. The resampling is seeded: equal samples give equal
    intervals.

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
    """The ratio of two paths' times, and the number of rounds it comes from."""

    ratio: Interval
    rounds: int

    @property
    def verdict(self) -> str:
        """``faster``, ``slower`` or ``undecided``: the first path, compared with the second."""
        if self.rounds < MIN_ROUNDS or 1.0 in self.ratio:
            return "undecided"
        return "slower" if self.ratio.low > 1 else "faster"


def compare(seconds: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Returns ``seconds`` / ``baseline``, paired by round, for two paths that ran in turn.

    >>> compare([1.0] * 7, [2.0] * 7).verdict
    'faster'
    """
    if len(seconds) != len(baseline):
        raise ValueError(f"{len(seconds)} and {len(baseline)} rounds: paths that run in turn have the same number")
    return Comparison(interval([a / b for a, b in zip(seconds, baseline, strict=True)]), len(seconds))


def is_noisy(first: Sequence[float], second: Sequence[float]) -> bool:
    """Returns whether one path, measured twice in every round, differs from itself: then the run proves nothing."""
    return compare(first, second).verdict != "undecided"


def stands_out(comparison: Comparison, noise: Comparison) -> bool:
    """Returns whether the difference between two paths exceeds ``noise``, that between two measurements of one path."""
    noise_floor = min(noise.ratio.low, 1 / noise.ratio.high)
    exceeds = comparison.ratio.high < noise_floor or comparison.ratio.low > 1 / noise_floor
    return comparison.verdict != "undecided" and exceeds
