"""``math``, NumPy's functions of one number, and ``int``, ``float`` and ``round``, as Spark expressions.

Spark's functions are Java's, which differ from the C library's by a few units in the last place. Where Java or Spark
gives null or another special value, the expression gives Python's; where ``math`` raises, the row raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.numbers import as_float, as_integer, is_zero, not_nan
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import Path, error_text
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, choose, either, negation
from gpuspark.compiler.catalyst.values import NAN, Operand, Value, boolean, of_constant, real

_INFINITY = trees.real(math.inf)
_ZERO = trees.real(0.0)
_FOLDED: dict[str, Callable[[float], Any]] = {
    name: getattr(math, name)
    for name in (
        "sqrt exp expm1 log log10 log2 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh cbrt fabs "
        "degrees radians"
    ).split()
}
_SPARK = {"log": "ln"}
"""Spark's names of functions, where they are not ``math``'s."""
_RANGES = {
    "sqrt": (0.0, math.inf), "exp": (0.0, math.inf), "expm1": (-1.0, math.inf), "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0), "asin": (-1.6, 1.6), "acos": (0.0, 3.2), "atan": (-1.6, 1.6), "tanh": (-1.0, 1.0),
    "cosh": (1.0, math.inf), "acosh": (0.0, math.inf), "fabs": (0.0, math.inf),
}  # fmt: skip
_FINITE = ("sin", "cos", "tan")
"""The functions that have no value for an infinite number."""
_LARGEST = {"exp": 709.782712893384, "expm1": 709.782712893384}
"""The largest number whose result is a float, in every library."""
_LARGE = ("sinh", "cosh")
"""Other functions whose result may be too large."""
_DOMAINS = {
    "sqrt": (0.0, math.inf), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "acosh": (1.0, math.inf),
}  # fmt: skip
"""The numbers that a function takes, both ends among them."""
_OPEN_DOMAINS = {
    "log": (0.0, math.inf), "log2": (0.0, math.inf), "log10": (0.0, math.inf), "log1p": (-1.0, math.inf),
    "atanh": (-1.0, 1.0),
}  # fmt: skip
"""The numbers that a function takes, without the ends, if these are finite."""


def _outside(name: str, x: Value) -> tuple[Tree, float]:
    """Returns where ``x`` is a number that ``math``'s function does not take, and an example of one."""
    if name in _FINITE:
        return (call("=", call("abs", x.tree), _INFINITY) if x.may_be_infinite else trees.FALSE), math.inf
    is_open = name in _OPEN_DOMAINS
    if not is_open and name not in _DOMAINS:
        return trees.FALSE, 0.0
    low, high = (_OPEN_DOMAINS if is_open else _DOMAINS)[name]
    below = trees.FALSE if x.low > low or (x.low == low and not is_open) else _less(x.tree, low, is_open)
    above = trees.FALSE
    if high < math.inf and not (x.high < high or (x.high == high and not is_open)):
        relation = ">=" if is_open else ">"
        above = both(call(relation, x.tree, trees.real(high)), not_nan(x))
    return either(below, above), low if is_open else low - 1.0


def _less(tree: Tree, low: float, or_equal: bool) -> Tree:
    return call("<=" if or_equal else "<", tree, trees.real(low))


def _constant(function: Callable[..., Any], *values: Value) -> Operand | None:
    """Returns the result for constants, computed by Python; ``None`` if one is not constant, or Python raises."""
    if any(value.constant is None for value in values):
        return None
    try:
        return of_constant(function(*(value.constant for value in values)))
    except (ArithmeticError, ValueError):
        return None


def _function(name: str, *, raises: bool, operation: str) -> None:
    """Registers a function of one number. ``raises``: whether it is ``math``'s, which raises."""
    python = _FOLDED[name]

    @lowers(operation)
    def lower(path: Path, a: Value) -> Operand:
        a = path.as_number(a)
        a = a if raises else _not_boolean(path, a)
        x = as_float(path, a)
        outside, example = _outside(name, x)
        if raises:
            path.check(outside, error_text(lambda: python(example)) if outside != trees.FALSE else outside)
            x = path.known(x)  # type: ignore[assignment]
        result = (_constant(python, x) if raises else None) or _plain(name, x)
        assert isinstance(result, Value)
        if raises:
            if name in _LARGEST and not x.high <= _LARGEST[name]:
                too_large = both(call(">", x.tree, trees.real(_LARGEST[name])), call("<", x.tree, _INFINITY))
                path.check(too_large, error_text(lambda: python(1e6)))
            if name in _LARGE and result.may_be_infinite and result.constant is None:
                size = result.tree if result.low > -math.inf else call("abs", result.tree)
                infinite = both(call("=", size, _INFINITY), call("<", call("abs", x.tree), _INFINITY))
                path.check(infinite, error_text(lambda: python(1e6)))
            return result
        return _of_numpy(name, result, outside, x)


def _plain(name: str, x: Value) -> Value:
    """Returns a function of a number in its domain."""
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    nan = x.nan
    match name:
        case "degrees":
            tree = call("*", x.tree, trees.real(180.0 / math.pi))
        case "radians":
            tree = call("*", x.tree, trees.real(math.pi / 180.0))
        case "fabs":
            tree = call("abs", x.tree)
            low, high = (0.0 if x.may_be_zero else min(abs(x.low), abs(x.high))), max(abs(x.low), abs(x.high))
        case "tanh" | "atan" | "cbrt" | "sin" | "cos" | "tan" | "sinh" | "asinh":
            tree = call(name, x.tree)
        case _:
            tree = call(_SPARK.get(name, name), x.tree)
    if name in ("degrees", "radians") and not x.may_be_infinite:
        factor = 180.0 / math.pi if name == "degrees" else math.pi / 180.0
        low, high = x.low * factor, x.high * factor
    elif name in ("sqrt", "exp") and not x.may_be_infinite and x.high < 700:
        high = _FOLDED[name](x.high)
    if name in ("sqrt", "acosh") and x.high < math.inf:
        high = _FOLDED[name](x.high)
    return real(tree, low, high, nan=nan)


def _of_numpy(name: str, result: Value, outside: Tree, x: Value) -> Value:
    """Returns the result of a NumPy function, which is NaN or infinite where ``math`` raises."""
    if outside == trees.FALSE:
        return result
    tree = choose(outside, NAN.tree, result.tree)
    if name in _OPEN_DOMAINS:
        low, high = _OPEN_DOMAINS[name]
        tree = choose(call("=", x.tree, trees.real(low)), trees.real(-math.inf), tree)
        if high < math.inf:
            tree = choose(call("=", x.tree, trees.real(high)), _INFINITY, tree)
    return real(tree, result.low if name not in _OPEN_DOMAINS else -math.inf, result.high)


for _name in _FOLDED:
    if _name not in ("asinh", "acosh", "atanh"):  # Java has none, and Spark's formulas lose digits
        _function(_name, raises=True, operation=f"math_{_name}")
for _numpy, _name in {
    **{name: name for name in "sqrt exp expm1 log log10 log2 log1p sin cos tan sinh cosh tanh fabs cbrt".split()},
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "degrees": "degrees", "radians": "radians",
    "deg2rad": "radians", "rad2deg": "degrees",
}.items():  # fmt: skip
    _function(_name, raises=False, operation=f"np_{_numpy}")


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
        size = choose(is_negative(x.tree), trees.real(math.pi), _ZERO)
        signed = _signed(call("=", call("string", y.tree), trees.text("-0.0")), size)
        angle = choose(both(is_zero(y), not_nan(x)), signed, angle)
    return real(angle, -3.2, 3.2, nan=y.nan or x.nan)


def _signed(negative: Tree, size: Tree) -> Tree:
    """Returns a size with a sign. Spark's optimizer takes the literals 0.0 and -0.0 for equal."""
    return call("*", choose(negative, trees.real(-1.0), trees.real(1.0)), size)


def is_negative(tree: Tree) -> Tree:
    """Returns whether a float is less than zero, or is a negative zero."""
    negative_zero = both(call("=", tree, _ZERO), call("=", call("string", tree), trees.text("-0.0")))
    return either(call("<", tree, _ZERO), negative_zero)


@lowers("math_hypot")
def hypot(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    return real(call("hypot", x.tree, y.tree), 0.0, nan=x.nan or y.nan)


@lowers("np_hypot")
def numpy_hypot(path: Path, a: Value, b: Value) -> Operand:
    x, y = (as_float(path, _not_boolean(path, value)) for value in (a, b))
    return real(call("hypot", x.tree, y.tree), 0.0, nan=x.nan or y.nan)


@lowers("math_copysign")
def copysign(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    if y.nan:
        raise Refused("math.copysign with the sign of what may be NaN")
    size = call("abs", x.tree)
    most = max(abs(x.low), abs(x.high))
    negative = is_negative(y.tree) if y.may_be_zero else (trees.TRUE if y.high < 0 else call("<", y.tree, _ZERO))
    if y.low > 0:
        negative = trees.FALSE
    return real(_signed(negative, size), -most, most, nan=x.nan)


@lowers("math_fmod")
def fmod(path: Path, a: Value, b: Value) -> Operand:
    x, y = as_float(path, path.as_number(a)), as_float(path, path.as_number(b))
    infinite = call("=", call("abs", x.tree), _INFINITY) if x.may_be_infinite else trees.FALSE
    invalid = either(both(is_zero(y), not_nan(x)), both(infinite, not_nan(y)))
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
        return boolean(tree(real(a.tree, a.low, a.high, nan=a.nan or a.kind == "number")))


def _is_infinite(x: Value) -> Tree:
    return call("=", call("abs", x.tree), _INFINITY) if x.may_be_infinite else trees.FALSE


_predicate("isnan", lambda x: negation(not_nan(x)), False)
_predicate("isinf", _is_infinite, False)
_predicate("isfinite", lambda x: call("<", call("abs", x.tree), _INFINITY), True)


# --- between floats and integers


def _to_whole(rounded: Callable[[Tree], Tree], python: Callable[[float], int], *operations: str) -> None:
    """Registers a conversion of a float to an integer, ``rounded`` to a float that is whole. Python's has no bounds."""

    @lowers(*operations)
    def lower(path: Path, a: Value) -> Operand:
        a = path.settled(path.as_number(a))
        if a.kind == "large":
            return a
        if a.kind != "float":
            return as_integer(a)
        folded = _constant(python, a)
        if folded is not None:
            return folded
        if a.nan:
            path.check(call("isnan", a.tree), error_text(lambda: python(math.nan)))
        if a.may_be_infinite:
            path.check(_is_infinite(a), error_text(lambda: python(math.inf)))
            return Value("large", call("+", rounded(a.tree), _ZERO))  # -0.0 + 0.0 is 0.0
        return Value("large", call("+", rounded(a.tree), _ZERO), math.floor(a.low), math.ceil(a.high))


def _truncated(x: Tree) -> Tree:
    return call("-", x, call("%", x, trees.real(1.0)))


def _stepped(relation: str, step: float) -> Callable[[Tree], Tree]:
    """Returns the rounding that moves a truncated number by ``step`` where it stands in ``relation`` to the number."""

    def rounded(x: Tree) -> Tree:
        truncated = _truncated(x)
        return choose(call(relation, truncated, x), call("+", truncated, trees.real(step)), truncated)

    return rounded


_to_whole(_truncated, int, "int", "math_trunc")
_to_whole(_stepped(">", -1.0), math.floor, "math_floor")
_to_whole(_stepped("<", 1.0), math.ceil, "math_ceil")
_to_whole(lambda x: call("rint", x), round, "round")


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
    return real(choose(call("=", a.tree, _ZERO), _ZERO, call("signum", a.tree)), -1.0, 1.0, nan=a.nan)
