"""``exp`` and ``log`` for the CPU, in a form that LLVM can vectorise.

A loop that calls the C library's functions runs row by row. These functions have no branch and no table, so that
whole bodies become vector code and run several times as fast. They are within one unit in the last place of the exact
value (``tests/test_elementary.py``), like the C library's, but may be rounded the other way. CUDA programs use
NVIDIA's libdevice instead.

Sources: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980 (reduction by a multiple
of log 2 in two parts); P. T. P. Tang, Table-driven implementation of the logarithm function in IEEE
floating-point arithmetic, ACM TOMS 16 (4), 1990, and the polynomial of Sun Microsystems' fdlibm, 1993.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types

from gpuspark.compiler.operations.registry import convert_bits, primitive

bits_of = convert_bits("bits_of", types.float64, types.int64, ir.IntType(64))
float_of_bits = convert_bits("float_of_bits", types.int64, types.float64, ir.DoubleType())

ROUND = 6755399441055744.0
"""1.5 * 2**52: added to a small float, it leaves the nearest whole number in the low bits of the sum."""
ROUND_BITS = 0x4338000000000000
"""The bits of ``ROUND``."""
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""Their sum is log 2. The first ends in 21 zero bits, so that its product with an exponent is exact."""
_PER_LOG2 = 1.4426950408889634
"""1 / log 2."""
BIAS, FRACTION = 1023, 52
"""The exponent bias of a double, and the number of bits of its fraction."""
SMALLEST_NORMAL = 2.0**-1022
ROOT_OF_HALF = 0x3FE6A09E667F3BCD
"""The bits of the square root of 1/2."""
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = (1 / math.factorial(n) for n in range(2, 14))
L1, L2, L3, L4, L5, L6, L7 = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip


def _exp(x):
    """Returns ``2**n * exp(r)`` for ``x = n * log 2 + r``, with a Taylor polynomial for ``exp(r)``."""
    y = 710.0 if x > 710.0 else x  # beyond, and below -746, the result is infinite or zero
    y = -746.0 if y < -746.0 else y  # written so that NaN stays NaN
    shifted = y * _PER_LOG2 + ROUND
    n = shifted - ROUND
    r = (y - n * _LOG2_HIGH) - n * _LOG2_LOW
    r2 = r * r
    r4 = r2 * r2
    low = (E2 + E3 * r) + (E4 + E5 * r) * r2
    middle = (E6 + E7 * r) + (E8 + E9 * r) * r2
    high = (E10 + E11 * r) + (E12 + E13 * r) * r2
    power = 1.0 + (r + r2 * (low + middle * r4 + high * (r4 * r4)))
    whole = bits_of(shifted) - ROUND_BITS
    half = whole >> 1  # two factors, since neither 2.0**1024 nor 2.0**-1074 is a normal float
    return power * float_of_bits((half + BIAS) << FRACTION) * float_of_bits((whole - half + BIAS) << FRACTION)


def _log(x):
    """Returns ``k * log 2 + log(1 + f)`` for ``x = 2**k * (1 + f)``, with fdlibm's polynomial for ``log(1 + f)``."""
    tiny = x < SMALLEST_NORMAL
    bits = bits_of(x * 2.0**54 if tiny else x)
    exponent = (bits - ROOT_OF_HALF) >> FRACTION
    f = float_of_bits(bits - (exponent << FRACTION)) - 1.0  # 1 + f lies between the square roots of 1/2 and 2
    k = float_of_bits(exponent + ROUND_BITS) - ROUND - (54.0 if tiny else 0.0)
    s = f / (2.0 + f)
    s2 = s * s
    s4 = s2 * s2
    series = s4 * (L2 + s4 * (L4 + s4 * L6)) + s2 * (L1 + s4 * (L3 + s4 * (L5 + s4 * L7)))
    half = 0.5 * f * f
    y = k * _LOG2_HIGH - ((half - (s * (half + series) + k * _LOG2_LOW)) - f)
    y = x if x == math.inf else y
    y = -math.inf if x == 0.0 else y
    return y if x >= 0.0 else math.nan


exp = primitive("exp", lambda x: _exp)
log = primitive("log", lambda x: _log)
