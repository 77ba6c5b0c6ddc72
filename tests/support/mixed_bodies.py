"""Scalar functions that a compiler may get wrong without an error: Python's numbers meet NumPy's, integers meet floats,
and the order of reading and setting names matters."""

from __future__ import annotations

import math

import numpy as np

from tests.support.body_cases import case

LIMIT = np.float64(1.5)
COUNTS = np.array([3, -4, 2**62], dtype=np.int64)
HALVES = np.array([0.5, -0.0, math.nan])
MISSING = math.nan
CHOICES = (1.0, MISSING, 7)
square_root = math.sqrt


# --- NumPy's booleans and scalars


@case("double", "double", "float")
def not_nan(x):
    return x if ~np.isnan(x) else -1.0


@case("boolean", "double double", "float double")
def numpy_logic(a, b):
    return ~(a > LIMIT) | (np.isinf(a) ^ np.isfinite(b)) & (b <= LIMIT)


@case("double", "double double", "double bigint")
def numpy_booleans_added(a, b):
    return (np.isfinite(a) + (b > LIMIT)) * np.isfinite(a) + 2


@case("bigint", "double bigint", "double boolean")
def numpy_boolean_and_whole(a, b):
    return np.isfinite(a) + (b | 0) - np.isnan(a) * 3


@case("boolean", "double double")
def python_or_numpy_boolean(a, b):
    flag = np.isnan(a) if b > 0 else a > 1.0
    return flag or not flag & (b > LIMIT)


@case("double", "double tinyint", "float tinyint")
def numpy_rounding(a, n):
    return round(np.fabs(a), 3) + round(HALVES[0] * n, 1)


@case("double", "double double")
def numpy_quotients(a, b):
    return np.sqrt(a) / b + LIMIT % a - HALVES[0] // b


@case("double", "double bigint", "double tinyint")
def numpy_powers(a, n):
    return np.fabs(a) ** n if n < 3 else LIMIT**a


@case("bigint", "double tinyint")
def whole_numbers_of_numpy(x, i):
    return math.floor(COUNTS[i % 3]) + round(np.sqrt(x)) + int(np.isnan(x)) + COUNTS[0].real


@case("bigint", "bigint tinyint", "int tinyint")
def items_of_whole_arrays(a, i):
    return COUNTS[i % 3] * a + COUNTS[2] // a - COUNTS[0] % (a + 1)


@case("double", "double tinyint")
def items_of_real_arrays(a, i):
    return -HALVES[i % 3] * a if a > HALVES[0] else HALVES[i % 3]


@case("double", "double double")
def python_or_numpy_number(a, b):
    v = 0.0
    if a > 0:
        v = np.log(a)
    return v * b + max(v, b)


# --- integers and floats under one name


@case("bigint", "bigint boolean", "int boolean")
def sign_or_half(cents, refund):
    sign = 1
    if refund:
        sign = -0.5
    return cents * sign


@case("double", "bigint double", "int float")
def literal_or_float(k, x):
    return k * (2 if x > 0 else 0.5) + (k - (7 if x < 1 else x))


@case("double", "double double")
def negated_zero(a, b):
    t = 0
    if a > b:
        t = a
    return -t


@case("double", "double bigint", "float int")
def running_total(x, n):
    total = 0
    for i in range(n % 6):
        total += x if i % 2 else 2.0
    return total // 3 + total % 7


@case("double", "double double")
def least_of_literal_and_float(a, b):
    return max(0, min(a, 100)) - min(0, b) * max(1, -2, b)


@case("double", "double double", "double bigint")
def quotient_of_either(a, b):
    part = 3 if a > 0 else a
    return b / part - part // 2


@case("double", "double bigint", nulls="pass")
def or_one(a, b):
    return (a or 1) * (b or 2)


@case("bigint", "bigint double", "int float")
def default_or_float(n, x, factor=1):
    if x > 0:
        factor = 0.25
    return n * factor + n // (len(CHOICES) if x > 1 else 0.5)


# --- the order of reading and setting


@case("double", "double", "bigint")
def reads_before_it_sets(x):
    if x > 1:
        y = x * 2
    if x > 2:
        return y + 1
    return x if x > 0 else y


@case("bigint", "bigint", "tinyint")
def set_in_a_loop(n):
    for i in range(n % 4):
        last = i * n
    return last


@case("double", "double double", "bigint double")
def walrus_at_the_head(a, b):
    if (c := a * 2) > b:
        return c
    elif (d := c - b) < 0 and d != -1.0:
        return d
    return (e := d + 1) * e


@case("boolean", "double double", "bigint double")
def chained(a, b):
    return 0 <= a < b != 2.5


@case("double", "double", "bigint")
def imported(x):
    import math as m
    from math import floor as whole

    return m.sqrt(whole(x)) + m.pi


@case("double", "double double", "bigint bigint")
def handled(a, b):
    try:
        quotient = a / b
        root = math.sqrt(quotient)
    except ZeroDivisionError:
        return -1.0
    except ValueError:
        root = -2.0
    else:
        root += 1
    return root


# --- membership, and functions under other names


@case("boolean", "double double", "double bigint")
def member(a, b):
    return a in (a, b) or b not in (1, 2.0, a)


@case("boolean", "double")
def sentinel(x):
    v = MISSING if x < 0 else x
    return v in CHOICES


def twice(f, x):
    return f(f(x))


@case("double", "double")
def function_as_an_argument(x):
    return twice(square_root, x) + twice(abs, x)


@case("double", "double double")
def unpacked(a, b):
    low, middle, high = a, b, 1.0
    low, high = high, low
    return low - high * middle


# --- what does not compile on some path, strings as options, lists that are only read

FACTORS = [0.5, 2.0, 4.0]
METHODS = ["plain", "careful"]


@case("double", "double double", "bigint double")
def leaves_a_branch_to_python(a, b):
    if a > 5:
        parts = sorted([a, b])
        return parts[0]
    return a * 2 if b < 5 else float(str(b))


@case("double", "double", "bigint")
def inner_function_on_a_path(x):
    if x < -1:

        def root(y):
            return y / 2

        half = root(x)
    else:
        half = x * 0.5
    return half + 1


def by_method(x, method=None, scale=1.0):
    if method is None:
        method = "plain"
    if method == "plain" or (method == "careful" and x > 1e300):
        return x
    elif method in METHODS:
        return x * scale
    return scale


@case("double", "double")
def options(x):
    mode = "careful"
    if x > 0:
        return by_method(x, method=mode, scale=0.5) - by_method(x, "else")
    mode = None
    return by_method(x, "plain") + by_method(x, mode, 1.5) if mode is None else mode


@case("double", "double tinyint")
def list_of_factors(x, n):
    total = x * FACTORS[n % 3]
    for factor in FACTORS:
        total = total + factor
    return total.real + total.imag - [1.0, 2.5][n & 1] * max([x, 1.5])


STEPS = [4, 2.5, 2, -0.0]


@case("bigint", "bigint tinyint", "int tinyint")
def list_of_whole_numbers_and_floats(n, i):
    return n * STEPS[i % 4]


@case("double", "double", "bigint")
def cube_roots(x):
    return math.cbrt(x) + round(np.cbrt(x), 1)


@case("boolean", "double double", "bigint double")
def close_enough(a, b):
    return math.isclose(a, b) or math.isclose(a, b * 2, rel_tol=0.25, abs_tol=abs(b) / 4)


@case("double", "double boolean", "bigint boolean")
def by_its_type(x, flag):
    if isinstance(x, (list, tuple)):
        return sum(x)
    return (2.0 if isinstance(x, float) else 3.0) + (isinstance(flag, bool) and isinstance(flag, int))


@case("boolean", "double bigint", nulls="pass")
def none_among(a, b):
    return None in (a, b, 1.0) and None not in [b, 2]


@case("bigint", "bigint double", "int float")
def unpacked_literals(n, x):
    if x > 0:
        low, high = 0.3, 2
    else:
        low, high = 1, 0.5
    return n * high - n * low


@case("double", "bigint double", "int float")
def array_item_over_literal_or_float(i, x):
    return HALVES[i % 3] // (1 if x > 2 else x)


@case("double", "double", "float", "int")
def none_but_infinite(a):
    if math.isinf(a):
        return -1.0
    return a * 2 if np.isfinite(a) else 0.0


@case("boolean", "double double")
def element_that_may_raise(a, b):
    return a in (1.0, math.trunc(b)) or a not in (0.0, 3.0 / b)


# --- numbers within limits


@case("double", "double double", "float float")
def within_limits(a, b):
    if a > 3.0:
        a = 3.0
    if b < -1.5:
        b = -1.5
    c = 0.0 if a < 0.0 else a
    d = -1.0 if b < -1.0 else b
    return min(a * b, 2.5) - max(b, -0.5) * c * d


@case("double", "double double", "float float")
def numpy_limits(a, b):
    return np.minimum(np.maximum(a, -1.5), 7.0) * np.minimum(2.5, b)


@case("bigint", "double double", "float float")
def whole_within_limits(a, b):
    low, high = min(1000.0, max(-1000.0, a)), min(2.5, max(-0.5, b))
    return (int(low) + math.floor(high)) * math.ceil(low) - int(high) * round(low)
