"""Python's arithmetic and comparisons on booleans, integers and floats.

Integers have 64 bits here and are unbounded in Python; floats are IEEE doubles in both.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from gpuspark.compiler.operations import datetimes
from gpuspark.compiler.operations.exact import power as exact_power
from gpuspark.compiler.operations.registry import (
    MARKED,
    chooser,
    is_boolean,
    is_float,
    is_integer,
    is_number,
    operation,
    primitive,
    wrap_add,
    wrap_mul,
    wrap_sub,
)

_MIN = -(2**63)
_EXACT = 2**53
"""Below this, every integer equals its float. From here on, two integers may have the same float."""
_WIDE = 9.2e18
"""If the float product is below this, the exact product is below 2**63 in spite of rounding."""

fmod = primitive("fmod", lambda x, y: lambda x, y: np.fmod(x, y))
floor = primitive("floor", lambda x: lambda x: np.floor(x))


@operation
def add(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):

        def whole(a, b, row):
            x, y = np.int64(a), np.int64(b)
            total = wrap_add(x, y)
            if checked and ((x ^ total) & (y ^ total)) < 0:
                row[0][0] = MARKED
            return total

        return whole
    if is_number(a) and is_number(b):
        return lambda a, b, row: np.float64(a) + np.float64(b)
    return datetimes.add(a, b)


@operation
def sub(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):

        def whole(a, b, row):
            x, y = np.int64(a), np.int64(b)
            difference = wrap_sub(x, y)
            if checked and ((x ^ y) & (x ^ difference)) < 0:
                row[0][0] = MARKED
            return difference

        return whole
    if is_number(a) and is_number(b):
        return lambda a, b, row: np.float64(a) - np.float64(b)
    return datetimes.sub(a, b)


@operation
def mul(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):

        def whole(a, b, row):
            x, y = np.int64(a), np.int64(b)
            if checked and abs(np.float64(x) * np.float64(y)) > _WIDE:
                row[0][0] = MARKED
            return wrap_mul(x, y)

        return whole
    if is_number(a) and is_number(b):
        return lambda a, b, row: np.float64(a) * np.float64(b)
    return None


@operation
def truediv(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if not (is_number(a) and is_number(b)):
        return None
    both_whole = is_integer(a) and is_integer(b)

    def divide(a, b, row):
        x, y = np.float64(a), np.float64(b)
        if checked and (y == 0.0 or (both_whole and (abs(x) >= _EXACT or abs(y) >= _EXACT))):
            row[0][0] = MARKED
            return 1.0
        return x / y

    return divide


@operation
def floordiv(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):

        def whole(a, b, row):
            x, y = np.int64(a), np.int64(b)
            if y == 0:
                if checked:
                    row[0][0] = MARKED
                return np.int64(0)
            if y == -1:
                if checked and x == _MIN:
                    row[0][0] = MARKED
                return wrap_sub(np.int64(0), x)
            return x // y

        return whole
    if is_number(a) and is_number(b):

        def real(a, b, row):
            x, y = np.float64(a), np.float64(b)
            if y == 0.0:
                if checked:
                    row[0][0] = MARKED
                    return 1.0
                return x / y
            rest = fmod(x, y)
            quotient = (x - rest) / y
            if rest != 0.0 and (y < 0.0) != (rest < 0.0):
                quotient -= 1.0
            if quotient == 0.0:
                return math.copysign(0.0, x / y)
            whole = floor(quotient)
            if quotient - whole > 0.5:
                return whole + 1.0
            return whole

        return real
    return None


@operation
def mod(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):

        def whole(a, b, row):
            x, y = np.int64(a), np.int64(b)
            if y == 0:
                if checked:
                    row[0][0] = MARKED
                return np.int64(0)
            if y == -1:
                return np.int64(0)
            return x % y

        return whole
    if is_number(a) and is_number(b):

        def real(a, b, row):
            x, y = np.float64(a), np.float64(b)
            if y == 0.0:
                if checked:
                    row[0][0] = MARKED
                return math.nan
            rest = fmod(x, y)
            if rest == 0.0:
                return math.copysign(0.0, y)
            if (y < 0.0) != (rest < 0.0):
                rest += y
            return rest

        return real
    return None


@operation
def pow(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b):
        return _whole_power(checked)
    if is_number(a) and is_number(b):

        def real(a, b, row):
            x, y = np.float64(a), np.float64(b)
            if checked:
                if x < 0.0 and y != floor(y) and abs(y) < _WIDE:
                    row[0][0] = MARKED  # a complex number in Python
                    return 1.0
                if x == 0.0 and y < 0.0:
                    row[0][0] = MARKED
                    return 1.0
            power = exact_power(x, y)
            if checked and math.isinf(power) and math.isfinite(x) and math.isfinite(y):
                row[0][0] = MARKED
            return power

        return real
    return None


def _whole_power(checked: bool) -> Any:
    """Returns the power of two integers, by squaring. A negative exponent, a float in Python, marks the row."""

    def whole(a, b, row):
        base, exponent = np.int64(a), np.int64(b)
        if exponent < 0:
            if checked:
                row[0][0] = MARKED
            return np.int64(0)
        power = np.int64(1)
        size = 1.0  # |power|, as a float
        span = abs(np.float64(base))
        while exponent > 0:
            if exponent & 1:
                power = wrap_mul(power, base)
                size *= span
            exponent >>= 1
            if exponent > 0:
                base = wrap_mul(base, base)
                span *= span
        if checked and not size < _WIDE:
            row[0][0] = MARKED
        return power

    return whole


@operation
def neg(checked: bool, a: Any, row: Any) -> Any:
    if is_integer(a):

        def whole(a, row):
            x = np.int64(a)
            if checked and x == _MIN:
                row[0][0] = MARKED
            return wrap_sub(np.int64(0), x)

        return whole
    if is_float(a):
        return lambda a, row: -np.float64(a)
    return datetimes.neg(a)


@operation
def abs_(checked: bool, a: Any, row: Any) -> Any:
    if is_integer(a):

        def whole(a, row):
            x = np.int64(a)
            if checked and x == _MIN:
                row[0][0] = MARKED
            return wrap_sub(np.int64(0), x) if x < 0 else x

        return whole
    return (lambda a, row: math.fabs(np.float64(a))) if is_float(a) else None


@operation
def pos(checked: bool, a: Any, row: Any) -> Any:
    if is_integer(a):
        return lambda a, row: np.int64(a)
    return (lambda a, row: np.float64(a)) if is_float(a) else None


@operation
def min_(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``min(a, b)``: the first unless the second is less, so the order matters for NaN and -0.0."""
    if is_integer(a) and is_integer(b) and is_boolean(a) == is_boolean(b):
        return lambda a, b, row: b if b < a else a
    if is_float(a) and is_float(b):
        return lambda a, b, row: b if b < a else a
    return None


@operation
def max_(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_integer(a) and is_integer(b) and is_boolean(a) == is_boolean(b):
        return lambda a, b, row: b if b > a else a
    if is_float(a) and is_float(b):
        return lambda a, b, row: b if b > a else a
    return None


def _comparison(name: str, relation: Any) -> None:
    """Registers a comparison. Python compares an integer with a float exactly, so large integers mark the row."""

    def choose(checked: bool, a: Any, b: Any, row: Any) -> Any:
        if is_integer(a) and is_integer(b):
            return lambda a, b, row: relation(np.int64(a), np.int64(b))
        if is_float(a) and is_float(b):
            return lambda a, b, row: relation(np.float64(a), np.float64(b))
        if is_number(a) and is_number(b):
            first_is_whole = is_integer(a)

            def mixed(a, b, row):
                if checked and abs(np.float64(a if first_is_whole else b)) >= _EXACT:
                    row[0][0] = MARKED
                return relation(np.float64(a), np.float64(b))

            return mixed
        return datetimes.compare(relation, a, b)

    choose.__name__ = name
    operation(choose)


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _comparison(_name, getattr(operator, _name))


@operation
def is_element(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """Whether ``a`` is the element ``b`` of a container.

    Python first asks whether they are the same object, so a NaN may be an element, though it equals nothing: two NaNs
    mark the row, in both modes.
    """
    if is_float(a) and is_float(b):

        def real(a, b, row):
            if a != a and b != b:
                row[0][0] = MARKED
            return a == b

        return real
    return chooser("eq")(checked, a, b, row)


@operation
def real(checked: bool, a: Any, row: Any) -> Any:
    """``x.real``: ``x`` itself; for a boolean, an integer."""
    if is_boolean(a):
        return lambda a, row: np.int64(a)
    return (lambda a, row: a) if is_number(a) else None


@operation
def imag(checked: bool, a: Any, row: Any) -> Any:
    """``x.imag``: zero of the number's own type."""
    if is_integer(a):
        return lambda a, row: np.int64(0)
    return (lambda a, row: 0.0) if is_float(a) else None
