"""``log2``, ``log10``, ``pow`` and ``gamma`` for CUDA, exact wherever the exact result is a float.

Bodies truncate such results: ``int(math.log2(8))`` is 3, but would be 2 if the logarithm were one unit in the last
place too small. The C library, which Python and CPU programs use, is exact there; NVIDIA's libdevice is not, so CUDA
programs use the functions of this file. Elsewhere they are within one unit in the last place of the exact value
(``tests/test_exact.py``). ``gamma`` serves the CPU too, where Numba's is not exact either.

Source: Sun Microsystems' fdlibm, 1993 (``e_pow.c`` and ``e_log10.c``), and FreeBSD's ``e_log2.c``. Numbers are sums of
a high part, short enough for its products to be exact, and a low part.
"""

from __future__ import annotations

import math

import numpy as np

from gpuspark.compiler.operations.elementary import (
    BIAS,
    FRACTION,
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    ROOT_OF_HALF,
    ROUND,
    ROUND_BITS,
    SMALLEST_NORMAL,
    bits_of,
    float_of_bits,
)
from gpuspark.compiler.operations.registry import primitive

_HIGH = -(1 << 32)
"""A mask that keeps the upper half of a float's bits: 21 significant bits."""
_PER_LOG2_HIGH, _PER_LOG2_LOW = 1.44269504072144627571e00, 1.67517131648865118353e-10
_PER_LOG10_HIGH, _PER_LOG10_LOW = 4.34294481878168880939e-01, 2.50829467116452752298e-11
_LOG10_OF_2_HIGH, _LOG10_OF_2_LOW = 3.01029995663611771306e-01, 3.69423907715893078616e-13
_LARGEST_FACTORIAL = 23.0
"""The largest whole number whose ``gamma`` is exactly a float."""

# for pow: the series of log2 near 1 and near 3/2, and the series of exp
_ROOT_OF_THREE_HALVES, _ROOT_OF_THREE = 0x3988EFFFFFFFF, 0xBB67A00000000
_FRACTION_BITS = (1 << FRACTION) - 1
_LOG2_OF_THREE_HALVES_HIGH, _LOG2_OF_THREE_HALVES_LOW = 5.84962487220764160156e-01, 1.35003920212974897128e-08
_S1, _S2, _S3, _S4, _S5, _S6 = (
    5.99999999999994648725e-01,
    4.28571428578550184252e-01,
    3.33333329818377432918e-01,
    2.72728123808534006489e-01,
    2.30660745775561754067e-01,
    2.06975017800338417784e-01,
)
_SCALE, _SCALE_HIGH, _SCALE_LOW = 9.61796693925975554329e-01, 9.61796700954437255859e-01, -7.02846165095275826516e-09
"""2 / (3 log 2)."""
_P1, _P2, _P3, _P4, _P5 = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)
_LOG_OF_2, _LOG_OF_2_HIGH = 6.93147180559945286227e-01, 6.93147182464599609375e-01
_LOG_OF_2_LOW = -1.90465429995776804525e-09


def _high(x):
    """Returns the high part of ``x``."""
    return float_of_bits(bits_of(x) & _HIGH)


_high_part = primitive("high_part", lambda x: _high, lambda x: _high)


def _log_parts(x):
    """Returns ``k``, ``high`` and ``low`` with ``x = 2**k * exp(high + low)``, for a positive and finite ``x``."""
    tiny = x < SMALLEST_NORMAL
    bits = bits_of(x * 2.0**54 if tiny else x)
    exponent = (bits - ROOT_OF_HALF) >> FRACTION
    f = float_of_bits(bits - (exponent << FRACTION)) - 1.0
    k = float_of_bits(exponent + ROUND_BITS) - ROUND - (54.0 if tiny else 0.0)
    s = f / (2.0 + f)
    s2 = s * s
    s4 = s2 * s2
    series = s4 * (L2 + s4 * (L4 + s4 * L6)) + s2 * (L1 + s4 * (L3 + s4 * (L5 + s4 * L7)))
    half = 0.5 * f * f
    high = _high_part(f - half)
    low = ((f - high) - half) + s * (half + series)
    return k, high, low


_logarithm = primitive("log_parts", lambda x: _log_parts, lambda x: _log_parts)


def _log2(x):
    """Returns the logarithm to base 2."""
    k, high, low = _logarithm(x)
    product = high * _PER_LOG2_HIGH
    rest = (low + high) * _PER_LOG2_LOW + low * _PER_LOG2_HIGH
    total = k + product
    y = (rest + ((k - total) + product)) + total
    y = x if x == math.inf else y
    y = -math.inf if x == 0.0 else y
    return y if x >= 0.0 else math.nan


def _log10(x):
    """Returns the logarithm to base 10."""
    k, high, low = _logarithm(x)
    product = high * _PER_LOG10_HIGH
    large = k * _LOG10_OF_2_HIGH
    rest = k * _LOG10_OF_2_LOW + (low + high) * _PER_LOG10_LOW + low * _PER_LOG10_HIGH
    total = large + product
    y = (rest + ((large - total) + product)) + total
    y = x if x == math.inf else y
    y = -math.inf if x == 0.0 else y
    return y if x >= 0.0 else math.nan


def _log2_parts(x):
    """Returns ``high`` and ``low``, whose sum is ``log2(x)`` to about 70 bits, for a positive and finite ``x``."""
    tiny = x < SMALLEST_NORMAL
    bits = bits_of(x * 2.0**54 if tiny else x)
    fraction = bits & _FRACTION_BITS
    n = (bits >> FRACTION) - BIAS - (54 if tiny else 0)
    near_one_and_a_half = _ROOT_OF_THREE_HALVES < fraction < _ROOT_OF_THREE
    halved = fraction >= _ROOT_OF_THREE
    k = np.float64(n + (1 if halved else 0))
    m = float_of_bits(fraction | ((BIAS - (1 if halved else 0)) << FRACTION))
    centre = 1.5 if near_one_and_a_half else 1.0
    of_centre_high = _LOG2_OF_THREE_HALVES_HIGH if near_one_and_a_half else 0.0
    of_centre_low = _LOG2_OF_THREE_HALVES_LOW if near_one_and_a_half else 0.0
    u = m - centre
    v = 1.0 / (m + centre)
    s = u * v
    s_high = _high_part(s)
    t_high = _high_part(m + centre)
    t_low = m - (t_high - centre)
    s_low = v * ((u - s_high * t_high) - s_high * t_low)
    s2 = s * s
    r = s2 * s2 * (_S1 + s2 * (_S2 + s2 * (_S3 + s2 * (_S4 + s2 * (_S5 + s2 * _S6)))))
    r += s_low * (s_high + s)
    s2 = s_high * s_high
    t_high = _high_part(3.0 + s2 + r)
    t_low = r - ((t_high - 3.0) - s2)
    u = s_high * t_high
    v = s_low * t_high + t_low * s
    p_high = _high_part(u + v)
    p_low = v - (p_high - u)
    z_high = _SCALE_HIGH * p_high
    z_low = _SCALE_LOW * p_high + p_low * _SCALE + of_centre_low
    high = _high_part(((z_high + z_low) + of_centre_high) + k)
    return high, z_low - (((high - k) - of_centre_high) - z_high)


_log2_in_two = primitive("log2_in_two", lambda x: _log2_parts, lambda x: _log2_parts)
_library_pow = primitive("pow", lambda x, y: lambda x, y: math.pow(x, y))


def _pow(x, y):
    """Returns ``x**y`` as ``2**(y * log2(|x|))``, with libdevice's result for special cases and for the sign."""
    plain = _library_pow(x, y)
    if not 0.0 < math.fabs(plain) < math.inf or not math.isfinite(y):
        return plain  # a special case of the C standard
    high, low = _log2_in_two(math.fabs(x))
    y_high = _high_part(y)
    p_low = (y - y_high) * high + y * low
    p_high = y_high * high
    shifted = (p_low + p_high) + ROUND
    p_high -= shifted - ROUND
    t = _high_part(p_low + p_high)
    u = t * _LOG_OF_2_HIGH
    v = (p_low - (t - p_high)) * _LOG_OF_2 + t * _LOG_OF_2_LOW
    z = u + v
    w = v - (z - u)
    t = z * z
    r = z - t * (_P1 + t * (_P2 + t * (_P3 + t * (_P4 + t * _P5))))
    power = 1.0 - (((z * r) / (r - 2.0) - (w + z * w)) - z)
    n = bits_of(shifted) - ROUND_BITS
    half = n >> 1
    power = power * float_of_bits((half + BIAS) << FRACTION) * float_of_bits((n - half + BIAS) << FRACTION)
    return math.copysign(power, plain)


def _gamma(x):
    """Returns Python's ``gamma``: for small whole numbers an exact product."""
    if 1.0 <= x <= _LARGEST_FACTORIAL and x == math.floor(x):
        product = 1.0
        factor = 2.0
        while factor < x:
            product *= factor
            factor += 1.0
        return product
    return math.gamma(x)


library_log = primitive("log", lambda x: lambda x: math.log(x))
"""The C library's logarithm, for ``math.log(x, base)``: on the CPU the quotient is Python's to the last bit."""
log2 = primitive("log2", lambda x: lambda x: math.log2(x), lambda x: _log2)
log10 = primitive("log10", lambda x: lambda x: math.log10(x), lambda x: _log10)
power = primitive("power", lambda x, y: lambda x, y: math.pow(x, y), lambda x, y: _pow)
gamma = primitive("gamma", lambda x: _gamma, lambda x: _gamma)
