"""Items of sequences, time differences, types, ``None``, and what a result becomes in a column of the declared type."""

from __future__ import annotations

from collections.abc import Callable

from gpuspark.columns.types import ColumnType
from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.comparisons import truth
from gpuspark.compiler.catalyst.operations.numbers import as_float, as_integer, to_bigint
from gpuspark.compiler.catalyst.operations.registry import lowers
from gpuspark.compiler.catalyst.paths import ColumnKind, Path, error_text, items_of
from gpuspark.compiler.catalyst.trees import Refused, Tree, call, either
from gpuspark.compiler.catalyst.values import (
    EXACT,
    NONE,
    Items,
    Operand,
    Value,
    merge,
    of_constant,
    real,
    whole,
)


@lowers("non_null")
def non_null(_path: Path, a: Operand) -> Operand:
    if a == NONE:
        raise Refused("None, where a value is needed")
    return a


@lowers("read_if_set")
def read_if_set(_path: Path, a: Operand, is_set: Value) -> Operand:
    if is_set.constant is not True:
        raise Refused("a name that may be read before it is set")
    return a


@lowers("item")
def item(path: Path, a: Operand, index: Value) -> Operand:
    sequence = items_of(a)
    index = path.as_whole(index)
    index = as_integer(index) if index.kind == "large" else index
    if index.kind != "integer":
        raise Refused(f"a {index.kind} as an index")
    count = len(sequence.items)
    if index.constant is not None and -count <= index.constant < count:
        constant: Operand = sequence.items[index.constant]
        return constant
    outside = either(call("<", index.tree, trees.whole(-count)), call(">=", index.tree, trees.whole(count)))
    if index.within(-count, count - 1):
        outside = trees.FALSE
    elif sequence.python_type not in (tuple, list):
        raise Refused("an index that may be outside of an array")
    empty = sequence.python_type(())
    path.check(outside, error_text(lambda: empty[0]) if outside != trees.FALSE else outside)
    result: Operand = sequence.items[-1]
    for position in range(count - 2, -1, -1):
        here = call("=", index.tree, trees.whole(position))
        if index.low < 0:
            here = either(here, call("=", index.tree, trees.whole(position - count)))
        result = merge(here, sequence.items[position], result)
    return result


# --- time differences, which are held in days


def _difference(a: Value) -> Value:
    if a.kind != "interval":
        raise Refused(f"an attribute of time differences of a {a.kind}")
    return a


@lowers("days")
def days(_path: Path, a: Value) -> Operand:
    return whole(_difference(a).tree, int(a.low), int(a.high))


@lowers("seconds", "microseconds")
def below_a_day(_path: Path, a: Value) -> Operand:
    _difference(a)
    return of_constant(0)


@lowers("total_seconds")
def total_seconds(_path: Path, a: Value) -> Operand:
    seconds = call("*", call("double", _difference(a).tree), trees.real(86400.0))
    return real(seconds, a.low * 86400.0, a.high * 86400.0, nan=False)


# --- the parts of dates


def _of_date(name: str, function: str, low: int, high: int, plus: int = 0) -> None:
    """Lowers a part of a date to Spark's ``function`` of it, ``plus`` a number."""

    @lowers(name)
    def lower(path: Path, a: Value) -> Operand:
        a = path.as_kind(a, "date")
        if a.kind != "date":
            raise Refused(f".{name} of what is no date")
        part = call("bigint", call(function, a.tree))
        return whole(call("+", part, trees.whole(plus)) if plus else part, low, high)


_of_date("year", "year", 1, 9999)
_of_date("month", "month", 1, 12)
_of_date("day", "day", 1, 31)
_of_date("weekday", "weekday", 0, 6)
_of_date("isoweekday", "weekday", 1, 7, plus=1)
_of_date("toordinal", "unix_date", 1, 3_652_059, plus=719_163)


# --- isinstance


def _instance(name: str, kinds: tuple[str, ...]) -> None:
    @lowers(f"instance_of_{name}")
    def lower(path: Path, a: Value) -> Operand:
        a = path.settled(a)
        if a.kind not in ("float", "integer", "large", "boolean"):
            raise Refused(f"isinstance of a {a.kind}")
        return of_constant(a.kind in kinds)


_instance("float", ("float",))
_instance("int", ("integer", "large", "boolean"))
_instance("bool", ("boolean",))
_instance("other", ())


# --- results


def result_column(declared: ColumnType) -> Callable[[Path, Value], Operand]:
    """Returns the operation that makes of a result what a column of the declared type holds.

    ``gpuspark.columns.values`` does the same in Python.
    """

    def convert(path: Path, a: Value | Items) -> Operand:
        if isinstance(a, Items):
            raise Refused("a tuple as the result")
        if a == NONE:
            return NONE
        a = path.as_kind(a, _KINDS.get(declared.kind, path.decisions.default))
        if declared.kind in ("boolean", "integer", "float"):
            a = path.as_number(a)  # such a column holds nothing else
        match declared.kind:
            case "boolean" if a.kind in ("number", "float", "integer", "large", "boolean"):
                return _in_booleans(path, a, declared)
            case "float" if a.kind == "number" and declared.bits == 64 and a.derived:
                return as_float(path, a)  # an integer of these bounds is exact
            case "float":
                return _in_floats(path, path.settled(a), declared)
            case "integer":
                return _in_integers(path, path.settled(a), declared)
            case "date" if a.kind == "date":
                return a
            case "interval" if a.kind == "interval":
                return Value("interval", call("make_dt_interval", call("int", a.tree)))
            case "other" if declared.name == "string" and a.kind == "string":
                return a
        raise Refused(f"a {a.kind} as the result, which is {declared}")

    return convert


_KINDS: dict[str, ColumnKind] = {
    "date": "date",
    "float": "number",
    "integer": "number",
    "boolean": "number",
    "other": "string",
}
"""What a column must hold that is returned as it is."""

_BEYOND_64_BITS = 2.0**63


def _in_booleans(path: Path, a: Value, declared: ColumnType) -> Operand:
    """Returns whether a number is not zero. Python refuses integers of more than 64 bits."""
    if a.kind == "large" and not a.within(-(2**63), 2**63 - 1):
        below = call("<", a.tree, trees.real(-_BEYOND_64_BITS))
        outside = either(below, call(">=", a.tree, trees.real(_BEYOND_64_BITS)))
        _refuse_result(path, outside, call("string", a.tree), "int", declared)
    return truth(path, a)


def _in_floats(path: Path, a: Value, declared: ColumnType) -> Value:
    """Returns a number as a float of the declared width. Python refuses integers that are not exact as one."""
    exact = 2**24 if declared.bits == 32 else EXACT
    if a.kind == "integer" and not a.within(-exact, exact):
        outside = either(call("<", a.tree, trees.whole(-exact)), call(">", a.tree, trees.whole(exact)))
        _refuse_result(path, outside, call("string", a.tree), "int", declared)
    if a.kind == "large" and not a.within(-exact, exact):
        outside = call(">", call("abs", a.tree), trees.real(float(exact)))
        _refuse_result(path, outside, call("string", a.tree), "int", declared)
    if a.kind not in ("float", "integer", "large", "boolean"):
        raise Refused(f"a {a.kind} as the result, which is {declared}")
    tree = as_float(path, a).tree
    return real(call("float", tree) if declared.bits == 32 else tree)


def _in_integers(path: Path, a: Value, declared: ColumnType) -> Value:
    """Returns a number as an integer of the declared width, truncated. Python refuses what does not fit."""
    low, high = -(1 << declared.bits - 1), (1 << declared.bits - 1) - 1
    if a.kind in ("float", "large"):
        return _truncated(path, a, declared, low, high)
    if a.kind != "integer":
        raise Refused(f"a {a.kind} as the result, which is {declared}")
    a = as_integer(a)
    if not a.within(low, high):
        outside = either(call("<", a.tree, trees.whole(low)), call(">", a.tree, trees.whole(high)))
        _refuse_result(path, outside, call("string", a.tree), "int", declared)
    return Value("integer", _narrowed(a.tree, declared), low, high)


def _truncated(path: Path, a: Value, declared: ColumnType, low: int, high: int) -> Value:
    if a.nan:
        _refuse_result(path, call("isnan", a.tree), trees.text("nan"), "float", declared)
    under, over = float(low) - (1.0 if declared.bits < 64 else 0.0), float(high + 1)
    below = call("<=" if declared.bits < 64 else "<", a.tree, trees.real(under))
    outside = either(below, call(">=", a.tree, trees.real(over)))
    if not (a.low > under and a.high < over):
        number = call("replace", call("string", a.tree), trees.text("Infinity"), trees.text("inf"))
        _refuse_result(path, outside, number, "int" if a.kind == "large" else "float", declared)
    return Value("integer", _narrowed(to_bigint(a), declared), low, high)


def _narrowed(tree: Tree, declared: ColumnType) -> Tree:
    """Returns an integer of 64 bits as one of the declared width."""
    return tree if declared.bits == 64 else call(declared.name, tree)


def _refuse_result(path: Path, condition: Tree, value: Tree, python_type: str, declared: ColumnType) -> None:
    """Notes the error that Python's conversion raises where ``condition`` holds, with the value and its type.

    Raises :class:`Refused` where the value may be a NumPy scalar, of which the error names other types.
    """
    if path.decisions.uses_numpy:
        raise Refused(f"a result that may be a NumPy scalar which {declared} cannot hold")
    advice = "Declare another type, or convert the value in the body."
    rest = f" ({python_type}), which a column of {declared} cannot hold. {advice}"
    path.check(condition, call("concat", trees.text("ResultError: the body returned "), value, trees.text(rest)))
