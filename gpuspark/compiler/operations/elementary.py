"""``exp`` and ``log`` for the CPU, in arithmetic that LLVM can do for several rows at a time.

The C library's functions are calls, and a loop with a call in it runs row by row. These have no branch and
no table: with them whole bodies become vector code, which makes them several times as fast. They are within
one unit in the last place of the exact value (``tests/test_elementary.py``), as the C library's are, but
not always on the same side of it. CUDA programs use NVIDIA's libdevice instead.

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
"""1.5 * 2**52: added to a small float, it leaves the nearest whole number in the last bits of the sum."""
ROUND_BITS = 0x4338000000000000
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""Their sum is log 2; the first has 21 zero bits at its end, so that its product with an exponent is exact."""
_PER_LOG2 = 1.4426950408889634
BIAS, FRACTION = 1023, 52
SMALLEST_NORMAL = 2.0**-1022
ROOT_OF_HALF = 0x3FE6A09E667F3BCD
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = (1 / math.factorial(n) for n in range(2, 14))
L1, L2, L3, L4, L5, L6, L7 = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip


def _exp(x):
    y = 710.0 if x > 710.0 else x  # beyond, and below -746, the result is infinite or zero
    y = -746.0 if y < -746.0 else y  # in this order NaN stays
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
    half = whole >> 1  # in two steps, since 2.0**1024 and 2.0**-1074 have no bits of their own
    return power * float_of_bits((half + BIAS) << FRACTION) * float_of_bits((whole - half + BIAS) << FRACTION)


def _log(x):
    tiny = x < SMALLEST_NORMAL
    bits = bits_of(x * 2.0**54 if tiny else x)
    exponent = (bits - ROOT_OF_HALF) >> FRACTION
    f = float_of_bits(bits - (exponent << FRACTION)) - 1.0  # 1 + f lies between the roots of 1/2 and of 2
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
