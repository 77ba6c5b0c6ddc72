"""Python's sums, differences and products as Spark expressions, and the numbers that operations take.

Integers are ``bigint``, and are refused where 64 bits may not suffice; floats are ``double``. Spark calls NaN equal to
itself and the greatest number, and raises other errors than Python, or none: each expression gives Python's answer
instead, with ``spark.sql.ansi.enabled`` on and off.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import OPTIONS, ColumnKind, Path, Undecided
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, choose, negation
from gpuspark.compiler.catalyst.values import (
    EXACT,
    LEAST,
    MOST,
    Operand,
    Value,
    corners,
    number_of,
    of_constant,
    real,
    whole,
)
from gpuspark.compiler.vocabulary import as_written

_WHOLE = ("number", "integer", "boolean")
ALL_NUMBERS = ("number", "float", "integer", "large", "boolean")
ZERO = trees.real(0.0)
_NEVER_RAISES = {"+": "try_add", "-": "try_subtract", "*": "try_multiply"}
"""Spark's functions that are null where their operators may raise."""


def is_zero(value: Value) -> Tree:
    """Returns whether a number is zero."""
    if not value.may_be_zero:
        return trees.FALSE
    return call("=", value.tree, ZERO if value.kind in ("float", "large") else trees.whole(0))


def is_nan(value: Value) -> Tree:
    """Returns whether a float is NaN."""
    return call("isnan", value.tree) if value.nan else trees.FALSE


def not_nan(value: Value) -> Tree:
    """Returns whether a float is a number."""
    return negation(is_nan(value))


def as_float(path: Path, value: Value) -> Value:
    """Returns Python's ``float(value)`` of a number. The column of a parameter becomes one whatever numbers it
    holds."""
    value = path.as_kind(value, "number")
    match value.kind:
        case "float":
            return value
        case "large":
            return real(value.tree, value.low, value.high, nan=False)
        case "number":
            return real(value.tree)
        case "integer" | "boolean":
            if value.constant is not None:
                return number_of(float(value.constant))
            column = value.tree.arguments[0] if value.tree.arguments else value.tree
            tree = column if value.tree.name == "bigint" and column.form == "column" else value.tree
            return real(call("double", tree), float(value.low), float(value.high), nan=False)
    raise Refused(f"a {value.kind} where a number is needed")


def to_bigint(value: Value) -> Tree:
    """Returns a float as a ``bigint``, truncated. It is null for a float that is none, for which Spark may raise."""
    if value.kind == "large" and value.tree.name == "double":
        return value.tree.arguments[0]
    above, below = call(">=", value.tree, trees.real(-(2.0**63))), call("<", value.tree, trees.real(2.0**63))
    return call("bigint", choose(both(above, below), value.tree, trees.NULL))


def as_integer(value: Value) -> Value:
    """Returns a boolean as an integer, and an integer unchanged."""
    if value.kind == "boolean":
        if value.constant is not None:
            return number_of(int(value.constant))
        return whole(call("bigint", value.tree), 0, 1)
    if value.kind == "large":
        if not value.within(-(2.0**62), 2.0**62):
            raise Refused("an integer that was a float of any size: bound it first")
        return whole(to_bigint(value), int(value.low), int(value.high))
    if value.kind != "integer":
        raise Refused(f"a {value.kind} where an integer is needed")
    return value


def operands(path: Path, a: Value, b: Value, operation: str) -> tuple[Value, Value]:
    """Returns the operands of an arithmetic operator: both floats, or both integers."""
    a, b = path.as_number(a), path.as_number(b)
    if a.kind not in ALL_NUMBERS or b.kind not in ALL_NUMBERS:
        raise Refused(f"{as_written(operation)} of a {a.kind} and a {b.kind}")
    if a.kind == "number" and b.kind != "float":
        a, b = path.settled(a), path.known(b)
    if b.kind == "number" and a.kind != "float":
        b = path.settled(b)
    if "float" in (a.kind, b.kind):
        return as_float(path, a), as_float(path, b)
    return as_integer(a), as_integer(b)


def any_numbers(path: Path, a: Value, b: Value) -> tuple[Value, Value] | None:
    """Returns the operands of ``+`` or ``-`` as numbers of any type that are exact as floats; ``None`` if none of them
    is such a number, or one is a float."""
    pair = [path.as_number(value) for value in (a, b)]
    if not any(value.kind == "number" for value in pair) or any(value.kind not in _WHOLE for value in pair):
        return None
    first, second = (path.narrowed(value) for value in pair)
    return first, second


def undecided_of(a: Value, b: Value) -> tuple[str, ...]:
    """Returns the parameters on whose types the type of an operation's result depends."""
    return tuple(name for value in (a, b) if value.kind == "number" for name in value.parameters)


def _any_number(path: Path, name: str, a: Value, b: Value, low: float, high: float) -> Value:
    """Returns an operation of numbers of any type, computed as floats. It is exact for integers of these bounds."""
    if low < -EXACT or high > EXACT:
        raise Undecided(undecided_of(a, b)[0], OPTIONS)
    floats = (as_float(path, value).tree for value in (a, b))
    return Value("number", call(name, *floats), low, high, parameters=undecided_of(a, b), derived=True)


def settled_pair(path: Path, a: Value, b: Value) -> tuple[Value, Value]:
    """Returns two numbers whose kinds are decided, and equal if both are of one column."""
    a, b = path.settled(a), path.settled(b)
    return path.known(a), path.known(b)


def folded(function: Callable[..., Any], *values: Value) -> Value | None:
    """Returns the result for constants, computed by Python; ``None`` if one is not constant, or Python raises."""
    if any(value.constant is None for value in values):
        return None
    try:
        return number_of(function(*(value.constant for value in values)))
    except (ArithmeticError, ValueError):
        return None


def alike_or_numbers(path: Path, a: Value, b: Value) -> tuple[Value, Value]:
    """Returns the operands of ``+``, ``-`` and comparisons. A column whose type is not known is what the other
    operand is."""
    kinds: tuple[ColumnKind, ...] = ("string", "date")
    for kind in kinds:
        if kind in (a.kind, b.kind):
            a, b = path.as_kind(a, kind), path.as_kind(b, kind)
    return path.as_kind(a, path.decisions.default), path.as_kind(b, path.decisions.default)


@lowers("add")
def add(path: Path, a: Value, b: Value) -> Operand:
    a, b = alike_or_numbers(path, a, b)
    if a.kind == b.kind == "string":
        return Value("string", call("concat", a.tree, b.tree))
    if a.kind == b.kind == "interval":
        return Value("interval", call("+", a.tree, b.tree), a.low + b.low, a.high + b.high)
    pair = any_numbers(path, a, b)
    if pair:
        return _any_number(path, "+", *pair, pair[0].low + pair[1].low, pair[0].high + pair[1].high)
    a, b = operands(path, a, b, "add")
    if a.kind == "integer":
        return folded(operator.add, a, b) or _whole("+", a, b, a.low + b.low, a.high + b.high)
    nan = a.nan or b.nan or (a.high == math.inf and b.low == -math.inf) or (a.low == -math.inf and b.high == math.inf)
    return folded(operator.add, a, b) or _real("+", a, b, _sum(a.low, b.low), _sum(a.high, b.high), nan)


@lowers("sub")
def sub(path: Path, a: Value, b: Value) -> Operand:
    a, b = alike_or_numbers(path, a, b)
    if a.kind == b.kind == "date":
        days = call("bigint", call("datediff", a.tree, b.tree))
        return Value("interval", days, -3_652_058, 3_652_058)  # from year 1 to year 9999
    if a.kind == b.kind == "interval":
        return Value("interval", call("-", a.tree, b.tree), a.low - b.high, a.high - b.low)
    pair = any_numbers(path, a, b)
    if pair:
        return _any_number(path, "-", *pair, pair[0].low - pair[1].high, pair[0].high - pair[1].low)
    a, b = operands(path, a, b, "sub")
    if a.kind == "integer":
        return folded(operator.sub, a, b) or _whole("-", a, b, a.low - b.high, a.high - b.low)
    nan = a.nan or b.nan or (a.high == b.high == math.inf) or (a.low == b.low == -math.inf)
    return folded(operator.sub, a, b) or _real("-", a, b, _sum(a.low, -b.high), _sum(a.high, -b.low), nan)


def _sum(x: float, y: float) -> float:
    """Returns a bound of a sum: of opposite infinities, the result is NaN and has none."""
    total = x + y
    return (math.inf if x > 0 else -math.inf) if math.isnan(total) else total


@lowers("mul")
def mul(path: Path, a: Value, b: Value) -> Value:
    factor = a if b.kind in ("any", "number") else b
    if type(factor.constant) is int and factor.constant > 0:  # a negative one makes -0.0 of zero
        pair = any_numbers(path, a, b)
        if pair:
            products = corners(*pair, operator.mul)
            return _any_number(path, "*", *pair, min(products), max(products))
    a, b = operands(path, a, b, "mul")
    products = corners(a, b, operator.mul)
    if a.kind == "integer":
        return folded(operator.mul, a, b) or _whole("*", a, b, min(products), max(products))
    unbounded = a.may_be_infinite or b.may_be_infinite
    low, high = (-math.inf, math.inf) if unbounded else (min(products), max(products))
    if a.tree == b.tree:
        low = 0.0
    nan = a.nan or b.nan or (a.may_be_zero and b.may_be_infinite) or (b.may_be_zero and a.may_be_infinite)
    if a.tree == b.tree:
        nan = a.nan
    return folded(operator.mul, a, b) or _real("*", a, b, low, high, nan)


def _whole(name: str, a: Value, b: Value, low: float, high: float) -> Value:
    if low < LEAST or high > MOST:
        raise Refused(f"{name} of integers whose result may need more than 64 bits")
    guarded = a.guarded or b.guarded
    function = _NEVER_RAISES[name] if guarded else name
    return replace(whole(call(function, a.tree, b.tree), int(low), int(high)), guarded=guarded)


def _real(name: str, a: Value, b: Value, low: float, high: float, nan: bool) -> Value:
    return real(call(name, a.tree, b.tree), low, high, nan=nan)


@lowers("neg")
def neg(path: Path, a: Value) -> Operand:
    if a.kind == "interval":
        return Value("interval", call("negative", a.tree), -a.high, -a.low)
    a = path.settled(path.as_number(a))
    if a.constant is not None:
        return of_constant(-a.constant)
    if a.kind == "float":
        return real(call("negative", a.tree), -a.high, -a.low, nan=a.nan)
    if a.kind == "large":
        return Value("large", call("-", trees.real(0.0), a.tree), -a.high, -a.low)  # -0 is 0
    a = as_integer(a)
    if a.low == LEAST:
        raise Refused("- of an integer whose result may need more than 64 bits")
    opposite = call("try_subtract", trees.whole(0), a.tree) if a.guarded else call("negative", a.tree)
    return replace(whole(opposite, int(-a.high), int(-a.low)), guarded=a.guarded)


@lowers("abs")
def absolute(path: Path, a: Value) -> Operand:
    a = path.as_number(a)
    if a.kind == "number":
        a = path.narrowed(a)
        return replace(a, tree=call("abs", a.tree), low=0, high=max(abs(a.low), abs(a.high)), derived=True)
    least = 0 if a.may_be_zero else min(abs(a.low), abs(a.high))
    most = max(abs(a.low), abs(a.high))
    if a.kind in ("float", "large"):
        return Value(a.kind, call("abs", a.tree), least, most, a.nan)
    a = as_integer(a)
    if a.low == LEAST:
        raise Refused("abs of an integer whose result may need more than 64 bits")
    size = call("abs", a.tree)
    if a.guarded:  # Spark's abs raises for the least integer
        size = choose(call("<", a.tree, trees.whole(0)), call("try_subtract", trees.whole(0), a.tree), a.tree)
    return replace(whole(size, int(least), int(most)), guarded=a.guarded)


@lowers("pos", "real")
def pos(path: Path, a: Value) -> Operand:
    a = path.settled(path.as_number(a))
    return a if a.kind in ("float", "large") else as_integer(a)


@lowers("imag")
def imag(path: Path, a: Value) -> Operand:
    return of_constant(0.0 if path.settled(path.as_number(a)).kind == "float" else 0)
