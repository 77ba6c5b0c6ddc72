"""Random numbers as a function of a counter and a key. Without a state, every device, batch and thread draws the same.

The generator is Philox4x32-10. Box and Muller's transform makes normal numbers of its words, in arithmetic that gives
the same bits on all devices: ``+ - * /``, square roots and shifts, no mathematics library.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011. Logarithm:
Sun's fdlibm. These are plain functions, to be called by array functions.
"""

from __future__ import annotations

import math

import numpy as np

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TO_BITS = 1.44269504088896338700
_SHIFT = 6755399441055744.0
"""1.5 * 2^52: added to a number, it leaves the nearest whole number in the last bits of the sum."""
_EXPONENT, _BIAS = np.int64(52), np.int64(1023)
_TO_ROOT = np.int64(0x00095F6200000000)
"""Added to the bits of a double, it increments the exponent where the mantissa is above the square root of 2."""
_UNIT = np.int64(0x3FF0000000000000)
_UNIFORM = 2.0**-32
_SHIFT_BITS = np.float64(_SHIFT).view(np.int64)
_WORD_BITS, _WORD_SHIFT = np.uint64(0x4330000000000000), 4503599627370496.0
"""The bits of 2^52, and 2^52: with a word as its last bits it is 2^52 plus the word. A conversion without a
conversion instruction, which not all processors have for vectors."""


def uniform(word):
    """Returns a number between 0 and 1, without either, for a random word: the middle of the word's interval."""
    return (np.uint64(word | _WORD_BITS).view(np.float64) - _WORD_SHIFT + 0.5) * _UNIFORM


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Returns four random words of 32 bits for a counter of four words and a key of two; all are uint64 below 2^32."""
    for _ in range(10):
        first = _M0 * c0
        second = _M1 * c2
        c0 = (second >> _HALF) ^ c1 ^ k0
        c1 = second & _LOW
        c2 = (first >> _HALF) ^ c3 ^ k1
        c3 = first & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


def two_normals(radius, angle):
    """Returns two independent numbers of the standard normal distribution for two random words. Since words have 32
    bits, the largest is 6.66 in size, and there are 2^64 pairs."""
    r = math.sqrt(-2.0 * log(uniform(radius)))
    turns = 4.0 * uniform(angle)  # quarters of a circle; a is the angle from the nearest axis
    shifted = np.float64(turns + _SHIFT)
    quarter = shifted.view(np.int64)
    a = (turns - (shifted - _SHIFT)) * 1.5707963267948966
    q = a * a
    sine = a * (1.0 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 + q * (
        -1.0 / 39916800 + q * (1.0 / 6227020800 + q * (-1.0 / 1307674368000))))))))  # fmt: skip
    cosine = 1.0 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800 + q * (
        1.0 / 479001600 + q * (-1.0 / 87178291200 + q / 20922789888000)))))))  # fmt: skip
    odd = (quarter & np.int64(1)) != 0
    x = sine if odd else cosine
    y = cosine if odd else sine
    x = -x if ((quarter + np.int64(1)) & np.int64(2)) != 0 else x
    y = -y if (quarter & np.int64(2)) != 0 else y
    return r * x, r * y


def log(x):
    """Returns the natural logarithm of a positive, normal double, within one unit in the last place."""
    bits = np.float64(x).view(np.int64)
    up = np.int64((bits + _TO_ROOT) >> _EXPONENT) - _BIAS
    k = np.int64(up + _SHIFT_BITS).view(np.float64) - _SHIFT
    f = np.int64(bits - (up << _EXPONENT)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    rest = z * (6.666666666666735130e-01 + z * (3.999999999940941908e-01 + z * (2.857142874366239149e-01 + z * (
        2.222219843214978396e-01 + z * (1.818357216161805012e-01 + z * (1.531383769920937332e-01 + z
        * 1.479819860511658591e-01))))))  # fmt: skip
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + rest) + k * _LN2_LOW)) - f)


def exp(x):
    """Returns e to the power of x, within two units in the last place; x is clipped to -708 and 709."""
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    shifted = np.float64(x * _TO_BITS + _SHIFT)
    k = shifted - _SHIFT
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * (1.0 / 720 + r * (
        1.0 / 5040 + r * (1.0 / 40320 + r * (1.0 / 362880 + r * (1.0 / 3628800 + r * (1.0 / 39916800 + r * (
        1.0 / 479001600 + r / 6227020800))))))))))))  # fmt: skip
    return p * np.int64((shifted.view(np.int64) << _EXPONENT) + _UNIT).view(np.float64)
