"""``math``, NumPy's functions of one number, and ``int``, ``float`` and ``round``, as Spark expressions.

Spark's functions are Java's, which differ from the C library's by a few units in the last place. Where Java or Spark
gives null or another special value, the expression gives Python's; where ``math`` raises, the row raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.numbers import (
    ZERO,
    as_float,
    as_integer,
    folded,
    is_zero,
    not_nan,
    to_bigint,
)
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import Path, error_text
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, choose, either, negation
from gpuspark.compiler.catalyst.values import EXACT, NAN, Operand, Value, boolean, of_constant, real

_INFINITY = trees.real(math.inf)
_NAMES = (
    "sqrt exp expm1 log log10 log2 log1p sin cos tan asin acos atan sinh cosh tanh cbrt fabs degrees radians"
).split()
"""The functions of one number with an equal in Java, named as in ``math``."""
_NUMPY = {
    **{name: name for name in _NAMES if name not in ("asin", "acos", "atan")},
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "deg2rad": "radians", "rad2deg": "degrees",
}  # fmt: skip
"""The same functions of NumPy's."""
_SPARK = {"log": "ln", "fabs": "abs"}
"""Spark's names of functions, where they are not ``math``'s."""
_FACTORS = {"degrees": 180.0 / math.pi, "radians": math.pi / 180.0}
"""The functions that are products, as in Python; Spark's are products of other factors."""
_RANGES = {
    "sqrt": (0.0, math.inf), "exp": (0.0, math.inf), "expm1": (-1.0, math.inf), "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0), "asin": (-1.6, 1.6), "acos": (0.0, 3.2), "atan": (-1.6, 1.6), "tanh": (-1.0, 1.0),
    "cosh": (1.0, math.inf), "fabs": (0.0, math.inf),
}  # fmt: skip
"""The least and the greatest result."""
_FINITE = ("sin", "cos", "tan")
"""The functions that have no value for an infinite number."""
_LARGEST = {"exp": 709.782712893384, "expm1": 709.782712893384}
"""The largest number whose result is a float, in every library."""
_LARGE = ("sinh", "cosh")
"""Other functions whose result may be too large."""
_DOMAINS = {"sqrt": (0.0, math.inf), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0)}
"""The least and the greatest number that a function takes."""
_LOGARITHMS = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}
"""The functions that take the numbers above this one, at which their limit is minus infinity."""


def _outside(name: str, x: Value) -> tuple[Tree, float]:
    """Returns where ``x`` is a number that ``math``'s function does not take, and an example of one."""
    if name in _FINITE:
        return _is_infinite(x), math.inf
    if name in _LOGARITHMS:
        limit = _LOGARITHMS[name]
        return (trees.FALSE if x.low > limit else call("<=", x.tree, trees.real(limit))), limit
    low, high = _DOMAINS.get(name, (-math.inf, math.inf))
    below = trees.FALSE if x.low >= low else call("<", x.tree, trees.real(low))
    above = trees.FALSE if x.high <= high else both(call(">", x.tree, trees.real(high)), not_nan(x))
    return either(below, above), low - 1.0


def _of_math(name: str) -> None:
    """Registers a function of ``math``'s, which raises for numbers that it does not take, and for too large results."""
    python = getattr(math, name)

    @lowers(f"math_{name}")
    def lower(path: Path, a: Value) -> Operand:
        x = as_float(path, path.as_number(a))
        outside, example = _outside(name, x)
        if outside != trees.FALSE:
            path.check(outside, error_text(lambda: python(example)))
            x = path.known(x)
        constant = folded(python, x)
        if constant is not None:
            return constant
        result = _plain(name, x)
        too_large = trees.FALSE
        if name in _LARGEST and not x.high <= _LARGEST[name]:
            too_large = call(">", x.tree, trees.real(_LARGEST[name]))
        elif name in _LARGE:
            too_large = _is_infinite(result)
        path.check(both(too_large, _is_finite(x)), _TOO_LARGE)
        return result


def _of_numpy(name: str, numpy_name: str) -> None:
    """Registers a function of NumPy's, which is NaN or infinite where ``math``'s raises."""

    @lowers(f"np_{numpy_name}")
    def lower(path: Path, a: Value) -> Operand:
        x = as_float(path, _not_boolean(path, a))
        result = _plain(name, x)
        outside, _ = _outside(name, x)
        if outside == trees.FALSE:
            return result
        tree = choose(outside, NAN.tree, result.tree)
        if name not in _LOGARITHMS:
            return real(tree, result.low, result.high)
        at_limit = call("=", x.tree, trees.real(_LOGARITHMS[name]))
        return real(choose(at_limit, trees.real(-math.inf), tree))


def _plain(name: str, x: Value) -> Value:
    """Returns a function of a number that it takes."""
    if name in _FACTORS:
        factor = _FACTORS[name]
        return real(call("*", x.tree, trees.real(factor)), x.low * factor, x.high * factor, nan=x.nan)
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if name == "fabs":
        low, high = (0.0 if x.may_be_zero else min(abs(x.low), abs(x.high))), max(abs(x.low), abs(x.high))
    elif name == "sqrt" and 0.0 <= x.high < math.inf:
        high = math.sqrt(x.high)
    elif name == "exp" and x.high < 700.0:
        high = math.exp(x.high) * (1.0 + 1e-15)  # Java's may be greater by its last bit
    return real(call(_SPARK.get(name, name), x.tree), low, high, nan=x.nan)


def _is_infinite(x: Value) -> Tree:
    return call("=", call("abs", x.tree), _INFINITY) if x.may_be_infinite else trees.FALSE


def _is_finite(x: Value) -> Tree:
    return call("<", call("abs", x.tree), _INFINITY) if x.may_be_infinite or x.nan else trees.TRUE


_TOO_LARGE = error_text(lambda: math.exp(1e6))

for _name in _NAMES:
    _of_math(_name)
for _numpy_name, _name in _NUMPY.items():
    _of_numpy(_name, _numpy_name)


@lowers("np_arctan2")
def arctan2(path: Path, a: Value, b: Value) -> Operand:
    return atan2(path, _not_boolean(path, a), _not_boolean(path, b))


def _not_boolean(path: Path, a: Value) -> Value:
    """Returns a number whose kind is decided, where a boolean means something else."""
    a = path.settled(path.as_number(a))
    if a.kind == "boolean":
        raise Refused("a NumPy function of a boolean, which computes in half precision")
    return a


@lowers("math_atan2")
def atan2(path: Path, a: Value, b: Value) -> Operand:
    """Spark's function ignores the sign of a zero."""
    y, x = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    angle = call("atan2", y.tree, x.tree)
    if y.may_be_zero:
        size = choose(_is_negative(x.tree), trees.real(math.pi), ZERO)
        signed = _signed(call("=", call("string", y.tree), trees.text("-0.0")), size)
        angle = choose(both(is_zero(y), not_nan(x)), signed, angle)
    return real(angle, -3.2, 3.2, nan=y.nan or x.nan)


def _signed(negative: Tree, size: Tree) -> Tree:
    """Returns a size with a sign. Spark's optimizer takes the literals 0.0 and -0.0 for equal."""
    return call("*", choose(negative, trees.real(-1.0), trees.real(1.0)), size)


def _is_negative(tree: Tree) -> Tree:
    """Returns whether a float is less than zero, or is a negative zero."""
    negative_zero = both(call("=", tree, ZERO), call("=", call("string", tree), trees.text("-0.0")))
    return either(call("<", tree, ZERO), negative_zero)


@lowers("math_hypot")
def hypot(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    return real(call("hypot", x.tree, y.tree), 0.0, nan=x.nan or y.nan)


@lowers("np_hypot")
def numpy_hypot(path: Path, a: Value, b: Value) -> Operand:
    x, y = (as_float(path, _not_boolean(path, value)) for value in (a, b))
    return real(call("hypot", x.tree, y.tree), 0.0, nan=x.nan or y.nan)


def _not_both_zero(path: Path, a: Value, b: Value) -> tuple[Value, Value]:
    """Returns the numbers of a NumPy extreme as floats. Of integers it makes an integer; of 0.0 and -0.0 its choice
    depends on the machine."""
    a, b = _not_boolean(path, a), _not_boolean(path, b)
    if "float" not in (a.kind, b.kind):
        raise Refused("a NumPy extreme of integers")
    if a.may_be_zero and b.may_be_zero:
        raise Refused("of 0.0 and -0.0, NumPy's choice depends on the machine")
    return as_float(path, a), as_float(path, b)


@lowers("np_maximum")
def maximum(path: Path, a: Value, b: Value) -> Operand:
    """NumPy's extremes are NaN if one of the numbers is; Spark's take NaN for the greatest."""
    x, y = _not_both_zero(path, a, b)
    return real(call("greatest", x.tree, y.tree), max(x.low, y.low), max(x.high, y.high), nan=x.nan or y.nan)


@lowers("np_minimum")
def minimum(path: Path, a: Value, b: Value) -> Operand:
    x, y = _not_both_zero(path, a, b)
    greatest = call("greatest", call("negative", x.tree), call("negative", y.tree))
    return real(call("negative", greatest), min(x.low, y.low), min(x.high, y.high), nan=x.nan or y.nan)


@lowers("math_copysign")
def copysign(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    if y.nan:
        raise Refused("math.copysign with the sign of what may be NaN")
    size = call("abs", x.tree)
    most = max(abs(x.low), abs(x.high))
    negative = _is_negative(y.tree) if y.may_be_zero else (trees.TRUE if y.high < 0 else call("<", y.tree, ZERO))
    if y.low > 0:
        negative = trees.FALSE
    return real(_signed(negative, size), -most, most, nan=x.nan)


@lowers("math_fmod")
def fmod(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    invalid = either(both(is_zero(y), not_nan(x)), both(_is_infinite(x), not_nan(y)))
    path.check(invalid, error_text(lambda: math.fmod(1.0, 0.0)))
    rest = call("%" if y.constant else "try_mod", x.tree, y.tree)
    nan = x.nan or y.nan
    return real(choose(call("isnull", rest), NAN.tree, rest) if y.may_be_zero else rest, nan=nan)


def _predicate(name: str, tree: Callable[[Value], Tree], of_whole: bool) -> None:
    @lowers(f"math_{name}", f"np_{name}")
    def lower(path: Path, a: Value) -> Operand:
        a = path.as_number(a)
        if a.kind in ("integer", "boolean"):
            return of_constant(of_whole)
        return boolean(tree(as_float(path, a)))


_predicate("isnan", lambda x: negation(not_nan(x)), False)
_predicate("isinf", _is_infinite, False)
_predicate("isfinite", _is_finite, True)


# --- between floats and integers


def _to_whole(rounded: Callable[[Value], Tree], python: Callable[[float], int], *operations: str) -> None:
    """Registers a conversion of a float to an integer, ``rounded`` to a float that is whole. Python's has no bounds."""

    @lowers(*operations)
    def lower(path: Path, a: Value) -> Operand:
        a = path.settled(path.as_number(a))
        if a.kind == "large":
            return a
        if a.kind != "float":
            return as_integer(a)
        constant = folded(python, a)
        if constant is not None:
            return constant
        if a.nan:
            path.check(call("isnan", a.tree), error_text(lambda: python(math.nan)))
        if a.may_be_infinite:
            path.check(_is_infinite(a), error_text(lambda: python(math.inf)))
            return Value("large", rounded(a))
        return Value("large", rounded(a), math.floor(a.low), math.ceil(a.high))


def _truncated(x: Value) -> Tree:
    if x.within(-EXACT, EXACT):
        return call("double", to_bigint(x))
    return _without_sign_of_zero(call("-", x.tree, call("%", x.tree, trees.real(1.0))))


def _without_sign_of_zero(tree: Tree) -> Tree:
    """Returns a float, or 0.0 where it is -0.0."""
    return call("+", tree, ZERO)


def _through_bigint(function: str) -> Callable[[Value], Tree]:
    """Returns the rounding by a function whose results are ``bigint``, and which may raise for larger floats. These are
    whole as they are."""

    def rounded(x: Value) -> Tree:
        small = call("<=", call("abs", x.tree), trees.real(float(EXACT)))
        if x.within(-EXACT, EXACT):
            return call("double", call(function, choose(small, x.tree, trees.NULL)))
        return choose(small, call("double", call(function, x.tree)), x.tree)

    return rounded


_to_whole(_truncated, int, "int", "math_trunc")
_to_whole(_through_bigint("floor"), math.floor, "math_floor")
_to_whole(_through_bigint("ceil"), math.ceil, "math_ceil")
_to_whole(lambda x: _without_sign_of_zero(call("rint", x.tree)), round, "round")


@lowers("float")
def to_float(path: Path, a: Value) -> Operand:
    return as_float(path, path.as_number(a))


@lowers("np_absolute")
def numpy_absolute(path: Path, a: Value) -> Operand:
    a = path.settled(path.as_number(a))
    if a.kind != "float":
        raise Refused("np.absolute of an integer or boolean")
    return _plain("fabs", a)


@lowers("np_sign")
def sign(path: Path, a: Value) -> Operand:
    a = path.settled(path.as_number(a))
    if a.kind != "float":
        raise Refused("np.sign of an integer or boolean")
    return real(choose(call("=", a.tree, ZERO), ZERO, call("signum", a.tree)), -1.0, 1.0, nan=a.nan)
