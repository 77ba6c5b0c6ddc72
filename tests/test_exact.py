"""``log2``, ``log10``, ``pow`` and ``gamma``: exact where the exact result is a float, and close to it elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.accounting.work import Work
from gpuspark.columns.types import parse
from gpuspark.columns.values import same
from gpuspark.config import Config
from gpuspark.execution.runner import Runner
from tests.support.devices import CUDA

COMPILED = pytest.mark.parametrize("device", ["cpu", "emulated", CUDA])
OURS = pytest.mark.parametrize("device", ["emulated", CUDA])
"""The devices that run the functions of ``exact.py``; the CPU runs the C library's."""
LARGEST_ERROR = 1.0
"""The largest error of ours, in units in the last place, where the exact result is not a float."""


def log2(x):
    return math.log2(x)


def log10(x):
    return math.log10(x)


def numpys_log2(x):
    return np.log2(x)


def numpys_log10(x):
    return np.log10(x)


def gamma(x):
    return math.gamma(x)


def power(x, y):
    return x**y


def maths_pow(x, y):
    return math.pow(x, y)


def cut(x):
    return int(math.log2(x)) + 2_000 * int(math.log2(x * 0.5) + 2_000)


def squared(x):
    return int(x**2)


def based(x, base):
    return math.log(x, base)


def on(device: str, body: Callable[..., Any], *columns: Sequence[float], returns: str = "double") -> list[Any]:
    config = Config.from_mapping({"spark.gpuspark.device": device, "spark.gpuspark.fallback": "raise"})
    names = ["x", "y"][: len(columns)] if body is not based else ["x", "base"]
    runner = Runner(gs.udf(body, returns).scalar_function(names), [parse("double")] * len(columns), config)
    results: list[Any] = runner.run([pa.array(column, pa.float64()) for column in columns], Work()).to_pylist()
    assert runner.plan.device == device
    return results


@COMPILED
@pytest.mark.parametrize("body", [log2, numpys_log2])
def test_the_logarithm_of_each_power_of_two_is_whole(device: str, body: Any) -> None:
    exponents = range(-1074, 1024)
    assert on(device, body, [math.ldexp(1.0, n) for n in exponents]) == list(map(float, exponents))


@COMPILED
@pytest.mark.parametrize("body", [log10, numpys_log10])
def test_the_logarithm_of_each_power_of_ten_is_whole(device: str, body: Any) -> None:
    exponents = range(23)
    assert on(device, body, [float(10**n) for n in exponents]) == list(map(float, exponents))


@COMPILED
def test_what_bodies_cut_to_whole_numbers_is_pythons(device: str) -> None:
    powers = [math.ldexp(1.0, n) for n in range(-900, 900, 7)]
    assert on(device, cut, powers, returns="bigint") == [cut(x) for x in powers]
    assert on(device, squared, list(map(float, range(3000))), returns="bigint") == [n * n for n in range(3000)]


@COMPILED
@pytest.mark.parametrize("body", [power, maths_pow])
@given(
    pairs=st.lists(
        st.tuples(st.integers(-(2**53), 2**53), st.integers(0, 60)).filter(
            lambda pair: (abs(pair[0]) ** pair[1]).bit_length() <= 53
        )
        | st.tuples(st.integers(-40, 40), st.integers(0, 12)),
        min_size=1,
        max_size=50,
    )
)
def test_whole_powers_that_a_float_holds_are_exact(device: str, body: Any, pairs: list[tuple[int, int]]) -> None:
    held = [(base, n) for base, n in pairs if abs(base**n) <= 2**53] or [(19, 2)]
    results = on(device, body, [float(base) for base, _ in held], [float(n) for _, n in held])
    assert results == [float(base**n) for base, n in held]


@COMPILED
def test_powers_of_two_and_roots_of_squares_are_exact(device: str) -> None:
    exponents = list(map(float, range(-1074, 1024)))
    assert on(device, power, [2.0] * len(exponents), exponents) == [math.ldexp(1.0, int(n)) for n in exponents]
    roots = list(map(float, range(1, 3000)))
    assert on(device, power, [n * n for n in roots], [0.5] * len(roots)) == roots


@COMPILED
def test_gamma_of_whole_numbers_is_pythons(device: str) -> None:
    numbers = list(map(float, range(1, 24)))
    assert on(device, gamma, numbers) == [float(math.factorial(n)) for n in range(23)]


def test_a_logarithm_to_a_base_is_pythons_to_the_last_bit_on_the_cpu() -> None:
    pairs = [(float(base**n), float(base)) for base in (2, 3, 5, 7, 10) for n in range(1, 19)]
    results = on("cpu", based, *zip(*pairs, strict=True))
    assert results == [math.log(x, base) for x, base in pairs]


def distance(result: float, true: Any) -> float:
    """Returns the error of a float, in units in the last place of the float nearest to the exact value."""
    return float(abs(mpmath.mpf(result) - true) / math.ulp(float(true)))


@OURS
@given(numbers=st.lists(st.floats(5e-324, 1.7e308), min_size=1, max_size=30))
def test_logarithms_are_within_a_unit_of_the_exact_value(device: str, numbers: list[float]) -> None:
    near_one = [1 + math.ldexp(sign, -n) for n in range(1, 53, 7) for sign in (-1.0, 1.0)]
    numbers = [x for x in [*numbers, *near_one] if x != 1.0]
    with mpmath.workdps(40):
        for x, of_two, of_ten in zip(numbers, on(device, log2, numbers), on(device, log10, numbers), strict=True):
            assert distance(of_two, mpmath.log(mpmath.mpf(x), 2)) < LARGEST_ERROR, x
            assert distance(of_ten, mpmath.log(mpmath.mpf(x), 10)) < LARGEST_ERROR, x


@OURS
@given(pairs=st.lists(st.tuples(st.floats(-1022, 1023), st.floats(5e-324, 1.7e308)), min_size=1, max_size=30))
def test_powers_are_within_a_unit_of_the_exact_value(device: str, pairs: list[tuple[float, float]]) -> None:
    """``pairs``: the binary logarithm of the result, and the base."""
    cases = [(x, result / math.log2(x)) for result, x in pairs if x != 1.0]
    cases = [(x, y) for x, y in cases if math.isfinite(y) and 1e-300 < x**y < 1e300] or [(3.0, 0.7)]
    results = on(device, power, [x for x, _ in cases], [y for _, y in cases])
    with mpmath.workdps(60):
        for (x, y), z in zip(cases, results, strict=True):
            assert distance(z, mpmath.mpf(x) ** mpmath.mpf(y)) < LARGEST_ERROR, (x, y)


EDGES = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 2.0**-1022, 1.79e308, 0.5, -2.0, 3.0]


@COMPILED
def test_the_edges_are_numpys(device: str) -> None:
    with np.errstate(all="ignore"):
        expected = [[float(function(x)) for x in EDGES] for function in (np.log2, np.log10)]
    for body, numbers in zip((numpys_log2, numpys_log10), expected, strict=True):
        assert all(map(lambda a, b: same(a, b, 1), on(device, body, EDGES), numbers))


@COMPILED
def test_the_edges_of_pow_are_pythons(device: str) -> None:
    pairs = []
    for x in EDGES:
        for y in EDGES:
            try:
                pairs.append((x, y, math.pow(x, y)))
            except (ValueError, OverflowError):
                continue  # such a row raises on each device: tests/test_properties.py
    results = on(device, maths_pow, [x for x, _, _ in pairs], [y for _, y, _ in pairs])
    assert [pair for pair, z in zip(pairs, results, strict=True) if not same(z, pair[2], 1)] == []
