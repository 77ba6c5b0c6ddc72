"""Python's quotients, remainders and powers as Spark expressions.

Spark divides by zero to null or an error, and truncates integer quotients.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import replace

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.numbers import (
    ZERO,
    any_numbers,
    as_float,
    as_integer,
    folded,
    is_zero,
    mul,
    operands,
    undecided_of,
)
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import Path, all_integers, error_text
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, choose, differ, negation
from gpuspark.compiler.catalyst.values import EXACT, LEAST, NAN, Operand, Value, corners, of_constant, real, whole


@lowers("truediv")
def truediv(path: Path, a: Value, b: Value) -> Operand:
    a, b = path.as_number(a), path.as_number(b)
    pair = any_numbers(path, a, b)
    if pair and all(value.within(-EXACT, EXACT) for value in pair):
        return _any_quotient(path, *pair)
    if "large" in (a.kind, b.kind):  # the quotient of integers that are exact as floats is that of the floats
        a, b = path.settled(a), path.settled(b)
        of_integers = "float" not in (a.kind, b.kind)
    else:
        a, b = operands(path, a, b, "truediv")
        of_integers = a.kind == "integer"
    inexact = [value for value in (a, b) if value.kind == "integer" and not value.within(-EXACT, EXACT)]
    if of_integers and inexact:
        raise Refused("/ of integers that may not be exact as floats")
    one = 1 if of_integers else 1.0
    path.check(is_zero(b), error_text(lambda: one / (one - one)))
    constant = folded(operator.truediv, a, b)
    if constant is not None:
        return constant
    a, b = as_float(path, a), as_float(path, b)
    nan = a.nan or b.nan or (a.may_be_infinite and b.may_be_infinite)
    if b.constant or not (b.may_be_zero or b.may_be_infinite or a.may_be_infinite):
        quotients = corners(a, b, operator.truediv)
        return real(_divided(a, b), min(quotients), max(quotients), nan=nan)
    return real(_divided(a, b), nan=nan)


def _any_quotient(path: Path, a: Value, b: Value) -> Operand:
    """Returns the quotient of numbers of any type that are exact as floats. It is the same for integers as for floats,
    but for the text of the error."""
    numerator, divisor = as_float(path, a), as_float(path, b)
    if b.kind != "number":
        divisor = replace(divisor, low=float(b.low), high=float(b.high), nan=False)
    of_integers, of_floats = error_text(lambda: 1 / (1 - 1)), error_text(lambda: 1.0 / (1.0 - 1.0))
    if divisor.may_be_zero:
        text = choose(all_integers(undecided_of(a, b)), of_integers, of_floats)
        path.check(is_zero(divisor), text)
    return real(_divided(numerator, divisor))


def _divided(a: Value, b: Value) -> Tree:
    """Returns a quotient whose divisor is not zero where Spark uses the result. Spark may compute it elsewhere too, so
    it must not raise there."""
    return call("/" if b.constant else "try_divide", a.tree, b.tree)


@lowers("floordiv")
def floordiv(path: Path, a: Value, b: Value) -> Operand:
    a, b = operands(path, a, b, "floordiv")
    if a.kind == "integer":
        path.check(is_zero(b), error_text(lambda: 1 // (1 - 1)))
        return folded(operator.floordiv, a, b) or _whole_quotient(a, b)
    path.check(is_zero(b), error_text(lambda: 1.0 // (1.0 - 1.0)))
    constant = folded(operator.floordiv, a, b)
    if constant is not None:
        return constant
    rest = _remainder(a, b)
    other_sign = differ(call("<", b.tree, ZERO), call("<", rest, ZERO))
    adjust = both(negation(call("=", rest, ZERO)), other_sign)
    quotient = call("try_divide", call("-", a.tree, rest), b.tree)
    quotient = choose(adjust, call("-", quotient, trees.real(1.0)), quotient)
    nearest = call("rint", quotient)  # half to even, while CPython rounds half down
    is_half = call("=", call("-", nearest, quotient), trees.real(0.5))
    nearest = choose(is_half, call("-", nearest, trees.real(1.0)), nearest)
    zero = _zero_like(call("try_divide", a.tree, b.tree))
    return real(choose(call("=", quotient, ZERO), zero, nearest))


def _zero_like(tree: Tree) -> Tree:
    """Returns a zero with the sign of a float. Spark's optimizer takes the literals 0.0 and -0.0 for equal."""
    return call("*", call("signum", tree), ZERO)


def _whole_quotient(a: Value, b: Value) -> Value:
    """Returns Python's ``a // b``, which rounds down; Spark's ``div`` truncates."""
    may_be_least = a.low == LEAST or a.guarded
    if may_be_least and (b.guarded or b.low <= -1 <= b.high):
        raise Refused("// of integers whose result may need more than 64 bits")
    most = max(abs(a.low), abs(a.high))
    divided = call("div", a.tree, _nonzero(b))
    if a.low >= 0 and b.low >= 0:
        return whole(divided, 0, int(a.high))
    rest = call("-", a.tree, call("*", divided, b.tree))
    down = both(differ(rest, trees.whole(0)), differ(call("<", rest, trees.whole(0)), _negative(b)))
    return whole(call("-", divided, call("bigint", down)), int(-most), int(most))


def _nonzero(b: Value) -> Tree:
    """Returns a divisor that is null where it is zero, so that Spark raises nothing of its own."""
    return call("nullif", b.tree, trees.whole(0)) if b.may_be_zero or b.guarded else b.tree


def _negative(b: Value) -> Tree:
    if b.low >= 0:
        return trees.FALSE
    return trees.TRUE if b.high < 0 else call("<", b.tree, trees.whole(0))


@lowers("mod")
def mod(path: Path, a: Value, b: Value) -> Operand:
    a, b = operands(path, a, b, "mod")
    if a.kind == "integer":
        path.check(is_zero(b), error_text(lambda: 1 % (1 - 1)))
        return folded(operator.mod, a, b) or _whole_rest(a, b)
    path.check(is_zero(b), error_text(lambda: 1.0 % (1.0 - 1.0)))
    constant = folded(operator.mod, a, b)
    if constant is not None:
        return constant
    rest = _remainder(a, b)
    negative = call("<", b.tree, ZERO)
    zero = _zero_like(b.tree) if b.low < 0 else ZERO
    moved = choose(differ(negative, call("<", rest, ZERO)), call("+", rest, b.tree), rest)
    low = 0.0 if b.low >= 0 else b.low
    high = 0.0 if b.high <= 0 else b.high
    tree = choose(call("=", rest, ZERO), zero, choose(call("isnan", rest), NAN.tree, moved))
    return real(tree, low, high, nan=a.nan or b.nan or a.may_be_infinite)


def _remainder(a: Value, b: Value) -> Tree:
    """Returns C's ``fmod``, which Java's ``%`` is."""
    return call("%" if b.constant else "try_mod", a.tree, b.tree)


def _whole_rest(a: Value, b: Value) -> Value:
    """Returns Python's ``a % b``, which has the sign of ``b``; Spark's has that of ``a``."""
    low = 0 if b.low >= 0 else int(b.low) + 1
    high = 0 if b.high <= 0 else int(b.high) - 1
    rest = call("try_mod" if b.may_be_zero or b.guarded else "%", a.tree, b.tree)
    if a.low >= 0 and b.low >= 0:
        return whole(rest, low, min(high, int(a.high)))
    differs = differ(call("<", rest, trees.whole(0)), _negative(b))
    moved = both(differ(rest, trees.whole(0)), differs)
    return whole(choose(moved, call("+", rest, b.tree), rest), low, high)


_MOST_FACTORS = 8


_LARGEST_FOLDED = 64
"""The largest exponent of a constant that is computed beforehand: larger powers of integers are refused, and long."""


@lowers("pow")
def power(path: Path, a: Value, b: Value) -> Operand:
    a, b = path.as_number(a), path.as_number(b)
    b = path.settled(b)
    if b.constant is None:
        raise Refused("** with an exponent that depends on the row")
    constant = folded(operator.pow, a, b) if abs(b.constant) <= _LARGEST_FOLDED else None
    if constant is not None:
        return constant
    if a.kind == "number" and b.kind != "float":
        a = path.settled(a)
    if a.kind != "float" and b.kind == "integer":
        return _product(path, as_integer(a), int(b.constant))
    a = as_float(path, a)
    exponent = float(b.constant)
    if not math.isfinite(exponent):
        raise Refused(f"** with the exponent {exponent}")
    if exponent != int(exponent) and not a.low >= 0:
        raise Refused("** of a float that may be negative, with an exponent that is not whole: Python's is complex")
    if exponent < 0:
        path.check(is_zero(a), error_text(lambda: (1.0 - 1.0) ** exponent))
    tree = call("power", a.tree, trees.real(exponent))
    if not a.within(-1, 1) or exponent < 0:
        infinite = call("=", call("abs", tree), trees.real(math.inf))
        path.check(both(infinite, call("<", call("abs", a.tree), trees.real(math.inf))), _TOO_LARGE)
    even = exponent % 2 == 0
    return real(tree, 0.0 if even or a.low >= 0 else -math.inf, nan=a.nan)


_TOO_LARGE = error_text(lambda: 1e300**2.0)


def _product(path: Path, a: Value, exponent: int) -> Operand:
    """Returns the power of an integer as a product. Python's is a float for a negative exponent."""
    if not 0 <= exponent <= _MOST_FACTORS:
        raise Refused(f"** of an integer with the exponent {exponent}")
    if exponent == 0:
        return of_constant(1)
    return functools.reduce(lambda product, factor: mul(path, product, factor), [a] * exponent)
