"""fma against the C library, directed rounding against exact fractions."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpuspark.devices.emulator import arithmetic

EDGES = [
    0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 2.0**-1022, -(2.0**-1022), 2.0**-1023,
    1.7976931348623157e308, -1.7976931348623157e308, 1e-300, 1e300, 2.0**-960, 2.0**-961, 2.0**-537, 2.0**990,
    2.0**1020, 1 + 2.0**-52, 1 - 2.0**-53, 3.0,
]  # fmt: skip
ALL_DOUBLES = st.floats(width=64)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def _libm(name: str, kind: type[ctypes.c_double] | type[ctypes.c_float]) -> Callable[..., float]:
    function = getattr(ctypes.CDLL(ctypes.util.find_library("m")), name)
    function.restype = kind
    function.argtypes = [kind] * 3
    return function  # type: ignore[no-any-return]


def _assert_same_bits(actual: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
    integer = f"i{actual.itemsize}"
    same = (actual.view(integer) == expected.view(integer)) | (np.isnan(actual) & np.isnan(expected))
    assert same.all(), f"rows {np.flatnonzero(~same)[:5]}"


def _assert_fma(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> None:
    fma = _libm("fma", ctypes.c_double)
    expected = np.array([fma(*row) for row in zip(a, b, c, strict=True)])
    _assert_same_bits(arithmetic.fma(a, b, c), expected)


def test_fma_at_the_edges() -> None:
    _assert_fma(*np.array(list(product(EDGES, EDGES, EDGES))).T.copy())


def test_fma_of_ordinary_numbers() -> None:
    _assert_fma(*np.random.default_rng(1).standard_normal((3, 100_000)))


def test_fma_of_any_bits() -> None:
    bits = np.random.default_rng(2).integers(0, 2**64, (3, 200_000), dtype=np.uint64)
    _assert_fma(*bits.view(np.float64))


def test_fma_where_the_sum_cancels() -> None:
    random = np.random.default_rng(3)
    a, b = random.standard_normal((2, 100_000))
    _assert_fma(a, b, -a * b)
    _assert_fma(a, b, np.nextafter(-a * b, 0) * 2.0 ** random.integers(-2, 3, a.size))


def test_fma_of_ties() -> None:
    random = np.random.default_rng(4)
    a, b, c = random.integers(0, 2**12, (3, 100_000)) * 2.0 ** random.integers(-30, 30, (3, 100_000))
    _assert_fma(a, b, c)


@pytest.mark.parametrize("smallest", [-1074, -1040, -1022])
def test_fma_with_subnormal_results(smallest: int) -> None:
    random = np.random.default_rng(5)
    scale = 2.0 ** random.integers(-600, -480, 100_000)
    a, b, c = random.standard_normal((3, 100_000))
    _assert_fma(a * scale, b * scale, c * 2.0**smallest)
    _assert_fma(a * 2.0**-511, b * 2.0**-511, c * 2.0**smallest)


@given(a=ALL_DOUBLES, b=ALL_DOUBLES, c=ALL_DOUBLES)
def test_fma_of_one_value(a: float, b: float, c: float) -> None:
    _assert_fma(*(np.array([value]) for value in (a, b, c)))


def test_fma_broadcasts_single_values() -> None:
    a = np.random.default_rng(6).standard_normal(1000)
    three, tiny = np.array([3.0]), np.array([1e-320])
    _assert_same_bits(arithmetic.fma(a, three, three), arithmetic.fma(a, np.full(1000, 3.0), np.full(1000, 3.0)))
    _assert_same_bits(arithmetic.fma(a, tiny, three), arithmetic.fma(a, np.full(1000, 1e-320), np.full(1000, 3.0)))


def test_fma_of_floats() -> None:
    fmaf = _libm("fmaf", ctypes.c_float)
    random = np.random.default_rng(7)
    bits = random.integers(0, 2**32, (3, 100_000), dtype=np.uint32).view(np.float32)
    edges = np.array(list(product(EDGES, EDGES, EDGES))).T.astype(np.float32)
    for a, b, c in (bits, edges, random.standard_normal((3, 100_000)).astype(np.float32)):
        expected = np.array([fmaf(*row) for row in zip(a, b, c, strict=True)], np.float32)
        _assert_same_bits(arithmetic.fma32(a, b, c), expected)


# ---- directed rounding: the result is the exact value, or the nearest float in the direction of rounding

EXACT: dict[str, Callable[..., Fraction]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "fma": lambda a, b, c: a * b + c,
}


def _assert_rounded(result: np.floating, exact: Fraction, rounding: str) -> None:
    infinity = result.dtype.type(np.inf)
    down = rounding == "rm" or (rounding == "rz" and exact > 0)
    toward, away = (-infinity, infinity) if down else (infinity, -infinity)
    beyond = np.nextafter(result, away)
    if np.isinf(result):  # only away from zero, beyond the largest number
        assert rounding != "rz"
        assert result == toward
        assert abs(exact) > Fraction(float(np.finfo(result.dtype).max))
    else:
        value = Fraction(float(result))
        assert value <= exact if down else value >= exact
        if np.isfinite(beyond):
            assert exact < Fraction(float(beyond)) if down else exact > Fraction(float(beyond))


@pytest.mark.parametrize("rounding", ["rz", "rm", "rp"])
@pytest.mark.parametrize("name", sorted(EXACT))
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_directed_rounding(name: str, rounding: arithmetic.Rounding, kind: str) -> None:
    random = np.random.default_rng(8)
    count = 3 if name == "fma" else 2
    ordinary = random.standard_normal((count, 400))
    edges = np.array(list(product([e for e in EDGES if np.isfinite(e)], repeat=count))).T
    edges = edges[:, :: max(edges.shape[1] // 600, 1)]
    values = np.hstack([ordinary, edges]).astype(kind)
    values = values[:, np.isfinite(values).all(axis=0)]
    if name == "div":
        values = values[:, values[1] != 0]
    compute = arithmetic.rounded if kind == "f8" else arithmetic.rounded32
    results = compute(name, rounding, *values)
    assert results.dtype == np.dtype(kind)
    for row, result in zip(values.T, results, strict=True):
        _assert_rounded(result, EXACT[name](*(Fraction(float(v)) for v in row)), rounding)


@pytest.mark.parametrize("rounding", ["rz", "rm", "rp"])
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_directed_square_root(rounding: arithmetic.Rounding, kind: str) -> None:
    values = np.hstack([np.random.default_rng(9).exponential(size=500), [0.0, 1.0, 4.0, 2.25]]).astype(kind)
    compute = arithmetic.rounded if kind == "f8" else arithmetic.rounded32
    for value, result in zip(values, compute("sqrt", rounding, values), strict=True):
        exact, root = Fraction(float(value)), Fraction(float(result))
        if rounding == "rp":
            assert root**2 >= exact
            assert result == 0 or Fraction(float(np.nextafter(result, result.dtype.type(0)))) ** 2 < exact
        else:
            assert root**2 <= exact < Fraction(float(np.nextafter(result, result.dtype.type(np.inf)))) ** 2


@pytest.mark.parametrize("name", ["add", "fma"])
def test_rounding_down_cancels_to_negative_zero(name: str) -> None:
    one, minus, zero = np.array([1.0]), np.array([-1.0]), np.array([0.0])
    values = (one, minus) if name == "add" else (one, one, minus)
    assert np.signbit(arithmetic.rounded(name, "rm", *values)[0])
    assert not np.signbit(arithmetic.rounded("add", "rm", zero, zero)[0])
    assert not np.signbit(arithmetic.rounded(name, "rp", *values)[0])


def test_infinities_and_nan_pass_through_directed_rounding() -> None:
    values = np.array([np.inf, -np.inf, np.nan, 1.0])
    others = np.array([1.0, 1.0, 1.0, np.inf])
    result = arithmetic.rounded("add", "rz", values, others)
    np.testing.assert_array_equal(result, [np.inf, -np.inf, np.nan, np.inf])
