"""The benchmark's statistics on synthetic times: few false alarms, and no planted slow-down is missed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gpuspark.bench.statistics import MIN_ROUNDS, compare, interval, is_noisy, stands_out

ROUNDS = 7


def times(seed: int, factor: float = 1.0, spread: float = 0.01) -> list[float]:
    """Returns the seconds of a path of about ``factor`` seconds, whose rounds differ by ``spread``."""
    return list(factor * np.random.default_rng(seed).lognormal(0, spread, ROUNDS))


@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_equal_paths_seldom_differ(spread: float) -> None:
    """At most 5 false alarms in 100: the bound of the median's interval at 7 rounds is 2 / 128."""
    alarms = [compare(times(n, spread=spread), times(1000 + n, spread=spread)).verdict for n in range(100)]
    assert sum(word != "undecided" for word in alarms) <= 5


def test_a_slow_down_of_five_percent_is_found() -> None:
    verdicts = [compare(times(n, 1.05), times(1000 + n)).verdict for n in range(100)]
    assert verdicts.count("slower") >= 90
    assert verdicts.count("faster") == 0


def test_a_slower_machine_cancels_out() -> None:
    """The machine becomes three times as slow half way through; one path takes 1.05 times as long as the other."""
    drift = np.array([1, 1, 1, 3, 3, 3, 3])
    assert compare(list(drift * times(1, 1.05)), list(drift * times(2))).verdict == "slower"


def test_few_rounds_decide_nothing() -> None:
    assert compare([1.0] * (MIN_ROUNDS - 1), [9.0] * (MIN_ROUNDS - 1)).verdict == "undecided"
    with pytest.raises(ValueError, match="7 and 6 rounds"):
        compare(times(1), times(2)[1:])


def test_the_interval_is_scipys() -> None:
    samples = times(5, spread=0.3)
    options = {"confidence_level": 0.99, "method": "percentile", "n_resamples": 4000}
    theirs = stats.bootstrap((samples,), np.median, rng=np.random.default_rng(3), **options).confidence_interval
    ours = interval(samples)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)
    assert ours.median == np.median(samples)


def test_a_noisy_machine_is_detected() -> None:
    assert not is_noisy(times(1), times(2))
    assert is_noisy(times(1), times(2, 1.2))


def test_a_difference_must_exceed_the_noise() -> None:
    faster = compare(times(3), times(4, 1.3))
    assert stands_out(faster, compare(times(1), times(2)))
    assert not stands_out(faster, compare(times(1, spread=0.6), times(2, spread=0.6)))
    assert not stands_out(compare(times(1), times(2)), compare(times(5), times(6)))
