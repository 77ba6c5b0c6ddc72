"""Scalar functions that exercise the dialect, each with the column types that tests give it."""

from __future__ import annotations

import math

import numpy as np

import gpuspark as gs
from tests.support import mixed_bodies  # noqa: F401  (its bodies are among the cases)
from tests.support.body_cases import CASES, Case, case

RATE = 0.05
STEPS = (1, 10, 100)
WEIGHTS = np.array([0.25, -1.5, 3.0])
TABLE = np.arange(6, dtype=np.int64).reshape(2, 3)
MODE = "careful"


INTEGERS = ("tinyint tinyint", "smallint int", "int int", "bigint bigint", "boolean bigint")
FLOATS = ("float float", "double double", "double bigint", "int double")


@case("bigint", *INTEGERS)
def whole_arithmetic(a, b):
    return (a + b) * 3 - a // 7 + b % 5 - -a


@case("bigint", *INTEGERS)
def whole_division(a, b):
    return a // b + a % b


@case("double", *INTEGERS, *FLOATS)
def quotient(a, b):
    return a / b


@case("double", *FLOATS)
def real_arithmetic(a, b):
    return (a + b) * 1.5 - a * b + -a


@case("double", "float float", "double double")
def real_division(a, b):
    return a // b + a % b


@case("bigint", "tinyint tinyint", "bigint tinyint")
def whole_power(a, b):
    return a**b


@case("bigint", "int", "bigint")
def square(a):
    return a**2 + pow(a, 3)


@case("double", "double double", "float int")
def real_power(a, b):
    return a**b


@case("bigint", "bigint tinyint", "int tinyint")
def shifts(a, b):
    return (a << b) ^ (a >> b)


@case("bigint", *INTEGERS)
def bits(a, b):
    return (a & b) | (a ^ 255) | ~b


@case("boolean", "boolean boolean")
def logic(a, b):
    return (a & b) | (a ^ b) if a or b else not a


@case("boolean", *INTEGERS, *FLOATS, "bigint double")
def comparisons(a, b):
    return (a < b) != (a >= b) and not (a == b or a <= b <= a)


@case("boolean", "date date", "timestamp_ntz timestamp_ntz")
def moments(a, b):
    return a < b or a == b


@case("bigint", "date date", "timestamp_ntz timestamp_ntz")
def difference_in_days(a, b):
    return (a - b).days


@case("bigint", "date date", "timestamp_ntz timestamp_ntz")
def parts_of_dates(a, b):
    if a.weekday() > 4 and b.isoweekday() == 1:
        return a.toordinal() - b.year * 366
    return (a.year * 100 + a.month) * 100 + a.day


@case("bigint", "timestamp_ntz")
def parts_of_the_day(a):
    return ((a.hour * 60 + a.minute) * 60 + a.second) * 1_000_000 + a.microsecond


@case("double", "date date", "timestamp_ntz timestamp_ntz")
def difference_in_seconds(a, b):
    between = a - b
    return between.total_seconds() if between else None


@case("interval day to second", "date date", "timestamp_ntz timestamp_ntz")
def interval(a, b):
    return a - b


@case("date", "date date")
def later(a, b):
    return a if a > b else b


@case("double", "double double", "float float")
def smaller_and_larger(a, b):
    return min(a, b) - max(a, b)


@case("double", "double double")
def smaller(a, b):
    return min(a, b)


@case("double", "double double")
def larger(a, b):
    return max(a, b)


@case("bigint", "bigint bigint", "int int")
def nearest_of_three(a, b):
    return max(min(a, b, 1000), -1000, a // 2)


@case("double", "double", "float", "bigint")
def mathematics(a):
    return math.sqrt(abs(a)) + math.atan(a) + math.tanh(a) + math.fabs(a)


@case("double", "double", "float")
def may_raise(a):
    return math.sqrt(a) + math.log(a) + math.exp(a / 100)


@case("double", "double")
def trigonometry(a):
    return math.sin(a) * math.cos(a)


@case("double", "double double")
def two_argument_mathematics(a, b):
    return math.atan2(a, b) * math.copysign(1.0, b)


@case("double", "double double")
def remainder(a, b):
    return math.fmod(a, b)


@case("bigint", "double", "float", "bigint")
def to_whole(a):
    return int(a) + round(a) + math.floor(a) + math.ceil(a)


@case("boolean", "double", "float")
def whole_part_is_set(a):
    return int(a)


@case("double", "double", "float")
def two_places(a):
    return round(a, 2)


@case("double", "boolean", "bigint", "double")
def to_real(a):
    return float(a) + bool(a)


@case("double", "double double")
def numpy_scalars(a, b):
    return np.sqrt(a) + np.maximum(a, b) if np.isfinite(b) else np.sign(a)


@case("double", "double double", "bigint bigint")
def branches(a, b):
    if a > b:
        return a - b
    elif a == b:
        return None
    return 2.5 if a < 0 else 1.5


@case("bigint", "int", "bigint")
def loop(n):
    total = 0
    for i in range(n % 50):
        if i % 7 == 3:
            continue
        if total > 500:
            break
        total += i * STEPS[i % 3]
    else:
        total -= 1
    return total


@case("int", "int", "bigint")
def collatz(n):
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
        if steps >= 60:
            return None
    return steps


def discount(price, rate=RATE, years=2):
    for _ in range(years):
        price = price * (1 - rate)
    return price


def positive(x):
    if x < 0:
        raise ValueError("negative")
    return x


@case("double", "double", "float")
def calls(price):
    return discount(price) + discount(price, years=1) if price != 0 else discount(1.0, rate=0.5)


@case("double", "double", "bigint")
def raises(x):
    return positive(x) + 1


@case("bigint", "bigint")
def asserts(x):
    if x == 13:
        raise KeyError("thirteen")
    return x


@case("double", "double int", "float tinyint")
def captured(a, i):
    if MODE == "careful":
        return a * WEIGHTS[i % 3] + TABLE[1, i % 3]
    return a


@case("double", "int")
def out_of_range(i):
    return WEIGHTS[i]


@case("double", "double double", "int float", nulls="pass")
def with_default(a, b):
    if a is None:
        return b
    return a if b is None else a + b


@case("boolean", "double bigint", nulls="pass")
def either_missing(a, b):
    return a is None or b is None or a > b


@case("double", "double", nulls="pass")
def forgets_null(a):
    return a + 1


@case("bigint", "boolean bigint", "bigint int", nulls="pass")
def or_zero(a, b):
    return (b or 0) + (1 if a else 2)


@case("boolean", "date timestamp_ntz", "date boolean", nulls="pass")
def any_null(a, b):
    return a is None or b is None


@case("tinyint", "bigint", "smallint", "double")
def narrow(a):
    return a


@case("float", "double", "bigint", "boolean")
def narrow_real(a):
    return a


@case("boolean", "double", "bigint")
def truthy(a):
    return a


@case("double", "double bigint")
def tuples(a, b):
    low, high = (a, 2.0) if b in (1, 2, 3) else (0.5, a)
    return low - high


@case("bigint", "bigint bigint")
def walrus(a, b):
    return total if (total := a - b) > 0 else -total


CASES.append(Case(gs.udf("double")(lambda a, b: a * a + b), ("double", "float")))
