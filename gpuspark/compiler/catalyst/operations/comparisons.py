"""Comparisons, extremes, truth and bit operators of Python as Spark expressions.

Spark calls NaN equal to itself and the greatest number, and skips nulls in ``least`` and ``greatest``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.numbers import (
    ALL_NUMBERS,
    ZERO,
    alike_or_numbers,
    as_float,
    as_integer,
    folded,
    not_nan,
    settled_pair,
)
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import Path
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, differ, either, negation
from gpuspark.compiler.catalyst.values import (
    EXACT,
    LEAST,
    MOST,
    Operand,
    Value,
    boolean,
    merge,
    real,
    whole,
)


@lowers("min")
def least(path: Path, a: Value, b: Value) -> Operand:
    a, b = _alike(path, a, b)
    if a.kind == b.kind == "float" and not a.nan and a.constant is None:
        lesser: Operand = real(call("least", a.tree, b.tree), nan=False)
    else:
        lesser = merge(compare(path, "<", b, a).tree, b, a)
    return _bounded(lesser, a, b, min(a.low, b.low), min(a.high, b.high))


@lowers("max")
def greatest(path: Path, a: Value, b: Value) -> Operand:
    a, b = _alike(path, a, b)
    if a.kind == b.kind == "float" and not b.nan:
        larger: Operand = real(call("greatest", a.tree, b.tree), nan=a.nan)
    else:
        larger = merge(compare(path, ">", b, a).tree, b, a)
    return _bounded(larger, a, b, max(a.low, b.low), max(a.high, b.high))


def _note_ordered(path: Path, a: Value, b: Value) -> None:
    """Notes that the body orders two values. Python orders numbers with nothing but numbers."""
    if a.parameters and b.parameters:
        path.decisions.compared.append((a.parameter, b.parameter))
    for one, other in ((a, b), (b, a)):
        if other.kind in ALL_NUMBERS and (other.derived or not other.parameters):
            path.as_number(one)


def _alike(path: Path, a: Value, b: Value) -> tuple[Value, Value]:
    """Returns the operands of ``min`` and ``max``, decided."""
    _note_ordered(path, a, b)
    a, b = alike_or_numbers(path, a, b)
    return settled_pair(path, a, b)


def _bounded(result: Operand, a: Value, b: Value, low: float, high: float) -> Operand:
    """Returns the result of ``min`` or ``max`` with its bounds, and the parameters that it was computed from. A NaN in
    the first place stays, and one in the second is passed over."""
    if not isinstance(result, Value) or result.constant is not None or a.kind not in ("float", "integer"):
        return result
    if b.nan:
        low, high = min(low, a.low), max(high, a.high)
    return Value(result.kind, result.tree, low, high, a.nan, parameters=(*a.parameters, *b.parameters))


# --- comparisons


def compare(path: Path, relation: str, a: Value, b: Value) -> Value:
    """Returns an ordering of two numbers, strings, dates or time differences."""
    a, b = alike_or_numbers(path, a, b)
    if a.kind == b.kind and a.kind in ("string", "date", "interval"):
        return boolean(call(relation, a.tree, b.tree))
    if not (a.kind in ALL_NUMBERS and b.kind in ALL_NUMBERS):
        raise Refused(f"{relation} of a {a.kind} and a {b.kind}")
    a, b = _comparable(path, a, b)
    if a.constant is not None and b.constant is not None:
        answers = {"<": a.constant < b.constant, "<=": a.constant <= b.constant, ">": a.constant > b.constant,
                   ">=": a.constant >= b.constant, "=": a.constant == b.constant}  # fmt: skip
        return boolean(trees.boolean(answers[relation]))
    greater = a if relation in (">", ">=", "=") else b
    return boolean(both(call(relation, a.tree, b.tree), not_nan(greater)))


def _comparable(path: Path, a: Value, b: Value) -> tuple[Value, Value]:
    """Returns two numbers as floats or as integers, whichever compares them exactly."""
    has_small_constant = any(value.constant is not None and value.within(1 - EXACT, EXACT - 1) for value in (a, b))
    if has_small_constant and {a.kind, b.kind} & {"float", "number", "large"}:
        return as_float(path, a), as_float(path, b)  # no other number is the same float as such a constant
    a, b = settled_pair(path, a, b)
    inexact = [value for value in (a, b) if value.kind == "integer" and not value.within(-EXACT, EXACT)]
    held_as_floats = [value for value in (a, b) if value.kind in ("float", "large")]
    if not held_as_floats:
        return as_integer(a), as_integer(b)
    if inexact and all(value.kind == "large" for value in held_as_floats):
        return as_integer(a), as_integer(b)
    if inexact:
        raise Refused("a comparison of a float with an integer that may not be exact as one")
    return as_float(path, a), as_float(path, b)


def _ordering(name: str, relation: str) -> None:
    @lowers(name)
    def lower(path: Path, a: Value, b: Value) -> Operand:
        _note_ordered(path, a, b)
        return compare(path, relation, a, b)


for _name, _relation in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    _ordering(_name, _relation)


@lowers("eq")
def equal(path: Path, a: Value, b: Value) -> Operand:
    a, b = alike_or_numbers(path, a, b)
    numbers = a.kind in ALL_NUMBERS, b.kind in ALL_NUMBERS
    if a.kind != b.kind and not all(numbers):
        if "date" in (a.kind, b.kind):
            raise Refused(f"== of a {a.kind} and a {b.kind}")
        return boolean(trees.FALSE)
    return compare(path, "=", a, b)


@lowers("ne")
def unequal(path: Path, a: Value, b: Value) -> Operand:
    result = equal(path, a, b)
    assert isinstance(result, Value)
    return boolean(negation(result.tree))


@lowers("is_element")
def is_element(path: Path, a: Value, b: Value) -> Operand:
    """Whether ``a`` is the element ``b`` of a container. Python first asks whether they are one object, so a NaN may be
    an element."""
    a, b = alike_or_numbers(path, a, b)
    if a.nan and b.nan:
        raise Refused("in, where both the number and an element may be NaN")
    return equal(path, a, b)


@lowers("truth")
def truth(path: Path, a: Value) -> Operand:
    if a.kind == "any" and path.decisions.default == "number":
        path.decisions.split[a.parameter] = ("number", "boolean")  # the latter needs no sign that it is a number
    a = path.as_kind(a, path.decisions.default)
    if a.constant is not None:
        return boolean(trees.boolean(bool(a.constant)))
    match a.kind:
        case "boolean":
            return a
        case "none":
            return boolean(trees.FALSE)
        case "number" | "float" | "large":
            return boolean(differ(a.tree, ZERO))
        case "integer" | "interval":
            return boolean(differ(a.tree, trees.whole(0)))
        case "string":
            return boolean(differ(a.tree, trees.text("")))
    raise Refused(f"the truth of a {a.kind}")


@lowers("not")
def logical_not(_path: Path, a: Value) -> Operand:
    return boolean(negation(a.tree))


# --- bits


def _bits(name: str, function: str, python: Callable[[int, int], int]) -> None:
    @lowers(name)
    def lower(path: Path, a: Value, b: Value) -> Operand:
        a, b = path.as_whole(a), path.as_whole(b)
        if a.kind == b.kind == "boolean":
            logical = {"&": both, "|": either}.get(function)
            return boolean(logical(a.tree, b.tree) if logical else differ(a.tree, b.tree))
        a, b = as_integer(a), as_integer(b)
        most = max(abs(a.low), abs(a.high), abs(b.low), abs(b.high))
        bits = int(most).bit_length()
        low, high = (0, 2**bits - 1) if a.low >= 0 and b.low >= 0 else (-(2**bits), 2**bits - 1)
        return folded(python, a, b) or whole(call(function, a.tree, b.tree), max(low, LEAST), min(high, MOST))


_bits("and", "&", operator.and_)
_bits("or", "|", operator.or_)
_bits("xor", "^", operator.xor)


@lowers("invert")
def invert(path: Path, a: Value) -> Operand:
    a = as_integer(path.as_whole(a))
    return whole(call("~", a.tree), int(~int(a.high)), int(~int(a.low)))


@lowers("rshift")
def rshift(path: Path, a: Value, b: Value) -> Operand:
    a, b = as_integer(path.as_whole(a)), as_integer(path.as_whole(b))
    if b.constant is None or not b.constant >= 0:
        raise Refused(">> by a number of places that depends on the row")
    places = min(int(b.constant), 63)
    return whole(call("shiftright", a.tree, _small(places)), int(a.low) >> places, int(a.high) >> places)


@lowers("lshift")
def lshift(path: Path, a: Value, b: Value) -> Operand:
    a, b = as_integer(path.as_whole(a)), as_integer(path.as_whole(b))
    if b.constant is None or not 0 <= b.constant <= 63:
        raise Refused("<< by a number of places that depends on the row")
    places = int(b.constant)
    low, high = int(a.low) << places, int(a.high) << places
    if low < LEAST or high > MOST:
        raise Refused("<< of an integer whose result may need more than 64 bits")
    return whole(call("shiftleft", a.tree, _small(places)), low, high)


def _small(number: int) -> Tree:
    """Returns a literal of Spark's type ``int``."""
    return Tree(str(number), form="literal")
