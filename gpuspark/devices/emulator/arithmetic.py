"""Correctly rounded floating-point arithmetic that NumPy lacks: fma and directed rounding.

NumPy adds, multiplies, divides and takes square roots to the nearest double, ties to even. *Error-free
transformations* build on these: two_sum and two_product return a result and its exact error. An fma is the sum of
three doubles (product, its error, addend), and rounding an intermediate sum *to odd* makes the last rounding correct
[S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE
Trans. Computers 57(4), 2008]. This holds while no intermediate result overflows or underflows; other elements are
scaled, or computed as exact fractions, one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Rounding = Literal["rn", "rz", "rm", "rp"]
"""To nearest (ties to even), toward zero, toward minus infinity, toward plus infinity."""

_SPLITTER = 2.0**27 + 1
_SMALLEST_PRODUCT = 2.0**-960  # the error of a smaller product may not be a double
_LARGEST_FACTOR = 2.0**990  # a larger factor cannot be split
_LARGEST_TERM = 2.0**1020  # larger terms may overflow when added


def two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    """Returns ``a + b`` rounded, and the exact error [Knuth]."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _split(a: F64) -> tuple[F64, F64]:
    """Returns two doubles of 26 bits whose sum is ``a`` [Veltkamp]."""
    scaled = a * _SPLITTER
    high = scaled - (scaled - a)
    return high, a - high


def two_product(a: F64, b: F64) -> tuple[F64, F64]:
    """Returns ``a * b`` rounded, and the exact error [Dekker]."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    error = a_high * b_high
    error -= product
    error += a_high * b_low
    error += a_low * b_high
    error += a_low * b_low
    return product, error


def sum_to_odd(a: F64, b: F64) -> F64:
    """Returns ``a + b``; where that is not a double, the neighbour whose last bit is one."""
    total, error = two_sum(a, b)
    bits = total.view(np.int64)
    inexact = (error != 0).view(np.int8).astype(np.int64)
    rounded_away = (bits ^ error.view(np.int64)) >> 63 & inexact
    odd: NDArray[np.int64] = (bits - rounded_away) | inexact
    return odd.view(np.float64)


# ---- fma


def fma(a: F64, b: F64, c: F64) -> F64:
    """Returns ``a * b + c``, rounded once to the nearest double."""
    product = a * b
    size = np.abs(product)
    if (
        size.min() > _SMALLEST_PRODUCT
        and size.max() < _LARGEST_TERM
        and np.abs(c).max() < _LARGEST_TERM
        and np.abs(a).max() < _LARGEST_FACTOR
        and np.abs(b).max() < _LARGEST_FACTOR
    ):
        return _fma_within_range(a, b, c)
    return _fma_any(*np.broadcast_arrays(a, b, c))


def _fma_within_range(a: F64, b: F64, c: F64) -> F64:
    """Returns the fma of values for which no intermediate result overflows or underflows."""
    high, rest = _product_plus(a, b, c)
    return high + rest


def _product_plus(a: F64, b: F64, c: F64) -> tuple[F64, F64]:
    """Returns two doubles whose rounded sum is ``a * b + c`` rounded; the second is rounded to odd."""
    product, product_error = two_product(a, b)
    low, low_error = two_sum(c, product_error)
    high, high_error = two_sum(product, low)
    return high, sum_to_odd(high_error, low_error)


def _fma_any(a: F64, b: F64, c: F64) -> F64:
    """Returns the fma of any values: zeros, infinities, NaN and the ends of the range."""
    product = a * b
    factors_finite = np.isfinite(a) & np.isfinite(b)
    result = np.where(factors_finite & np.isinf(c), c, product + c)  # correct for zeros, infinities and NaN
    size = np.abs(product)
    ordinary = factors_finite & np.isfinite(c) & (a != 0) & (b != 0)
    within = ordinary & (size > _SMALLEST_PRODUCT) & (size < _LARGEST_TERM) & (np.abs(c) < _LARGEST_TERM)
    within &= (np.abs(a) < _LARGEST_FACTOR) & (np.abs(b) < _LARGEST_FACTOR)
    result[within] = _fma_within_range(a[within], b[within], c[within])
    rest = ordinary & ~within
    if rest.any():
        result[rest] = _fma_scaled(a[rest], b[rest], c[rest])
    return result


def _fma_scaled(a: F64, b: F64, c: F64) -> F64:
    """Returns the fma of finite values (only ``c`` may be zero), computed with factors between 1/2 and 1."""
    (a_part, a_power), (b_part, b_power), (c_part, c_power) = np.frexp(a), np.frexp(b), np.frexp(c)
    power = a_power + b_power
    distance = np.where(c == 0, 0, c_power - power)
    addend = np.ldexp(c_part, np.clip(distance, -250, 120))  # beyond, only its sign matters
    high, rest = _product_plus(a_part, b_part, addend)
    result = np.where(distance > 120, c, np.ldexp(high + rest, power))
    # A subnormal has fewer bits: a sum rounded to odd rounds to it correctly if at least two bits are dropped.
    small = (np.abs(result) < 2.0**-1022) & (distance <= 120)
    result[small] = np.ldexp(sum_to_odd(high, rest), power)[small]
    for i in np.flatnonzero((np.abs(result) >= 2.0**-1023) & (np.abs(result) <= 2.0**-1022)):
        result[i] = float(Fraction(a[i]) * Fraction(b[i]) + Fraction(c[i]))
    return result


def fma32(a: F32, b: F32, c: F32) -> F32:
    """Returns ``a * b + c``, rounded once to the nearest float: the product is exact as a double."""
    return _fma32_to_odd(a, b, c).astype(np.float32)


def _fma32_to_odd(a: F32, b: F32, c: F32) -> F64:
    """Returns ``a * b + c`` as a double rounded to odd."""
    product = a.astype(np.float64) * b.astype(np.float64)
    return _sum_to_odd_or_special(product, c.astype(np.float64))


def _sum_to_odd_or_special(a: F64, b: F64) -> F64:
    """Returns ``a + b`` rounded to odd, or the zero, infinity or NaN that it is."""
    total = a + b
    special = ~np.isfinite(total) | (total == 0)
    return np.where(special, total, sum_to_odd(a, b))


# ---- directed rounding


def toward(nearest: Floats, error_sign: NDArray[Any], rounding: Rounding) -> Floats:
    """Returns the result in the direction of ``rounding``, from the one that was rounded to nearest.

    ``error_sign`` is the sign of (exact result - ``nearest``): zero where ``nearest`` is exact.
    """
    down = error_sign < 0
    up = error_sign > 0
    if rounding == "rz":
        down, up = down & (nearest > 0), up & (nearest < 0)
    elif rounding == "rm":
        up = np.zeros_like(up)
    elif rounding == "rp":
        down = np.zeros_like(down)
    infinity = nearest.dtype.type(np.inf)
    moved = np.where(down, np.nextafter(nearest, -infinity), nearest)
    return np.where(up, np.nextafter(nearest, infinity), moved)


_EXACT: dict[str, Callable[..., Fraction]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "fma": lambda a, b, c: a * b + c,
}
_NEAREST: dict[str, Callable[..., F64]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
    "fma": fma,
}


def rounded(operation: str, rounding: Rounding, *values: F64) -> F64:
    """Returns ``add``, ``sub``, ``mul``, ``div``, ``sqrt`` or ``fma`` of doubles, rounded as ``rounding`` says.

    Directed rounding compares the nearest double with the exact fraction, element by element: it is correct, and slow
    (compilers use it for little but conversions).
    """
    nearest = _NEAREST[operation](*values)
    if rounding == "rn":
        return nearest
    columns = np.broadcast_arrays(nearest, *values)
    signs = np.array([_error_sign(operation, *map(float, row)) for row in zip(*columns, strict=True)])
    result = toward(columns[0], signs, rounding)
    if operation in ("add", "sub", "fma") and rounding == "rm":
        result = _negative_zero_when_cancelled(operation, result, values)
    return result


def _error_sign(operation: str, nearest: float, *values: float) -> int:
    """Returns the sign of (exact result - ``nearest``)."""
    if not all(map(math.isfinite, values)) or math.isnan(nearest) or (operation == "div" and values[1] == 0):
        return 0
    if operation == "sqrt":
        return _sign(Fraction(values[0]) - Fraction(nearest) ** 2)
    exact = _EXACT[operation](*map(Fraction, values))
    if math.isinf(nearest):
        return -1 if nearest > 0 else 1
    return _sign(exact - Fraction(nearest))


def _sign(number: Fraction) -> int:
    return (number > 0) - (number < 0)


def _negative_zero_when_cancelled(operation: str, result: Floats, values: tuple[F64, ...]) -> Floats:
    """Returns ``result`` rounded down: ``x - x`` becomes -0, the sum of two positive zeros stays +0."""
    last = -values[-1] if operation == "sub" else values[-1]
    first = values[0] * values[1] if operation == "fma" else values[0]
    both_positive = ~np.signbit(first) & ~np.signbit(last)
    return np.where((result == 0) & ~both_positive, result.dtype.type(-0.0), result)


def rounded32(operation: str, rounding: Rounding, *values: F32) -> F32:
    """Returns the operation of floats, rounded as ``rounding`` says: the double is precise enough to round again."""
    if rounding == "rn":
        return fma32(*values) if operation == "fma" else _NEAREST[operation](*values)  # type: ignore[return-value]
    wide = [v.astype(np.float64) for v in values]
    if operation == "fma":
        exact = _fma32_to_odd(*values)
    elif operation in ("add", "sub"):
        exact = _sum_to_odd_or_special(wide[0], wide[1] if operation == "add" else -wide[1])
    else:
        exact = _NEAREST[operation](*wide)
    result = narrowed(exact, np.dtype(np.float32), rounding)
    if operation in ("add", "sub", "fma") and rounding == "rm":
        return _negative_zero_when_cancelled(operation, result, tuple(wide))
    return result


def narrowed(values: Floats, dtype: np.dtype, rounding: Rounding) -> Floats:
    """Returns ``values`` in a narrower floating-point type, rounded as ``rounding`` says."""
    nearest = values.astype(dtype)
    if rounding == "rn":
        return nearest
    back = nearest.astype(values.dtype)
    error = (values > back).astype(np.int8) - (values < back).astype(np.int8)
    return toward(nearest, error, rounding)
