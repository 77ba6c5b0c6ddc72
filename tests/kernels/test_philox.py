"""The random numbers: Philox against its authors' published vectors, the rest against NumPy and SciPy, on every device
and equal on all, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gpuspark.execution.array_arguments import Out
from gpuspark.execution.arrays import array_function
from gpuspark.kernels.philox import exp, log, philox4x32, two_normals
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

# Counter, key and result, from the file kat_vectors of the authors' library Random123.
VECTORS = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)
WORDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6)
EXTREMES = [0, 1, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1]


@array_function
def words(i, counter, key, out):
    a, b, c, d = philox4x32(
        counter[4 * i], counter[4 * i + 1], counter[4 * i + 2], counter[4 * i + 3], key[2 * i], key[2 * i + 1]
    )
    out[4 * i] = a
    out[4 * i + 1] = b
    out[4 * i + 2] = c
    out[4 * i + 3] = d


@array_function
def normals(i, radius, angle, x, y):
    x[i], y[i] = two_normals(radius[i], angle[i])


@array_function
def elementary(i, x, logarithm, power):
    logarithm[i] = log(x[i])
    power[i] = exp(100.0 * x[i] - 50.0)


def run_normals(radius: Any, angle: Any) -> Any:
    given = np.array(radius, np.uint64), np.array(angle, np.uint64)
    return normals(len(radius), *given, Out("float64", len(radius)), Out("float64", len(radius)))


@pytest.mark.parametrize("device", DEVICES)
def test_philox_gives_the_published_numbers(device: str) -> None:
    counter, key, expected = (
        np.array([[int(word, 16) for word in vector[n].split()] for vector in VECTORS], np.uint64) for n in range(3)
    )
    with on_device(device):
        result = words(len(expected), counter, key, Out("uint64", expected.size))
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(radius=WORDS, angle=st.sampled_from(EXTREMES) | st.integers(0, 2**32 - 1))
def test_normal_numbers_are_box_and_mullers(device: str, radius: list[int], angle: int) -> None:
    radius = [*radius, *EXTREMES]
    angles = [(angle + n) % 2**32 for n in range(len(radius) - len(EXTREMES))] + EXTREMES
    with on_device(device):
        x, y = run_normals(radius, angles)
    r = np.sqrt(-2 * np.log((np.array(radius) + 0.5) / 2**32))
    turn = 2 * np.pi * (np.array(angles) + 0.5) / 2**32
    np.testing.assert_allclose(x, r * np.cos(turn), rtol=0, atol=1e-14)
    np.testing.assert_allclose(y, r * np.sin(turn), rtol=0, atol=1e-14)
    with on_device("python"):
        again = run_normals(radius, angles)
    assert [x.tobytes(), y.tobytes()] == [part.tobytes() for part in again]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(x=st.lists(st.floats(2**-33, 1, exclude_max=True), min_size=1, max_size=6))
def test_logarithms_and_powers(device: str, x: list[float]) -> None:
    values = np.array(x)
    with on_device(device):
        logarithm, power = elementary(len(x), values, Out("float64", len(x)), Out("float64", len(x)))
    np.testing.assert_array_max_ulp(logarithm, np.log(values), 2)
    np.testing.assert_array_max_ulp(power, np.exp(100.0 * values - 50.0), 3)


def test_powers_beyond_the_range_and_nan() -> None:
    assert [exp(x) for x in (-1e308, -708.0, 709.0, 1e308)] == pytest.approx(
        [np.exp(-708.0), np.exp(-708.0), np.exp(709.0), np.exp(709.0)], rel=1e-13
    )
    assert np.isnan(exp(np.float64("nan")))


def test_a_million_are_normal() -> None:
    """Against SciPy's distribution; and no two of a row of counters, or of two keys, go together."""
    rows = 250_000
    counter = np.zeros((rows, 4), np.uint64)
    counter[:, 0] = np.arange(rows)
    with on_device("cpu"):
        first, other = (
            words(rows, counter, np.full((rows, 2), key, np.uint64), Out("uint64", 4 * rows)).reshape(rows, 4)
            for key in (0, 1)
        )
        drawn = np.stack(
            [*run_normals(first[:, 0], first[:, 1]), *run_normals(first[:, 2], first[:, 3]), *run_normals(*other.T[:2])]
        )
    assert stats.kstest(drawn[:4].ravel(), "norm").pvalue > 0.01
    correlations = [*np.corrcoef(drawn)[np.triu_indices(6, 1)], np.corrcoef(drawn[0, 1:], drawn[0, :-1])[0, 1]]
    assert np.abs(correlations).max() < 4 / rows**0.5
