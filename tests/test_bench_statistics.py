"""The benchmark's statistics on synthetic times: no false alarms, no planted slow-down missed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gpuspark.bench.statistics import FEWEST, compare, interval, is_noisy, stands_out

ROUNDS = 7


def times(seed: int, factor: float = 1.0, spread: float = 0.01) -> list[float]:
    """A path of about a second, on a machine whose rounds differ by ``spread``."""
    return list(factor * np.random.default_rng(seed).lognormal(0, spread, ROUNDS))


@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_equal_paths_are_seldom_told_apart(spread: float) -> None:
    """At most 5 false alarms in 100: the bound of the median's interval at 7 rounds is 2 / 128."""
    alarms = [compare(times(n, spread=spread), times(1000 + n, spread=spread)).verdict for n in range(100)]
    assert sum(word != "undecided" for word in alarms) <= 5


def test_a_slow_down_of_five_percent_is_found() -> None:
    found = [compare(times(n, 1.05), times(1000 + n)).verdict for n in range(100)]
    assert found.count("slower") >= 90
    assert found.count("faster") == 0


def test_what_the_machine_does_to_both_paths_cancels_out() -> None:
    """A machine that becomes three times as slow half way through, and a path of 1.05 times the other."""
    drift = np.array([1, 1, 1, 3, 3, 3, 3])
    assert compare(list(drift * times(1, 1.05)), list(drift * times(2))).verdict == "slower"


def test_few_rounds_decide_nothing() -> None:
    assert compare([1.0] * (FEWEST - 1), [9.0] * (FEWEST - 1)).verdict == "undecided"
    with pytest.raises(ValueError, match="7 and 6 rounds"):
        compare(times(1), times(2)[1:])


def test_the_interval_is_scipys() -> None:
    samples = times(5, spread=0.3)
    options = {"confidence_level": 0.99, "method": "percentile", "n_resamples": 4000}
    theirs = stats.bootstrap((samples,), np.median, rng=np.random.default_rng(3), **options).confidence_interval
    ours = interval(samples)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.05)
    assert ours.median == np.median(samples)


def test_a_restless_machine_is_called_noisy() -> None:
    assert not is_noisy(times(1), times(2))
    assert is_noisy(times(1), times(2, 1.2))


def test_a_difference_must_be_larger_than_that_of_a_path_from_itself() -> None:
    faster = compare(times(3), times(4, 1.3))
    assert stands_out(faster, compare(times(1), times(2)))
    assert not stands_out(faster, compare(times(1, spread=0.6), times(2, spread=0.6)))
    assert not stands_out(compare(times(1), times(2)), compare(times(5), times(6)))
