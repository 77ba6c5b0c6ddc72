"""What is known on one path through a body: its names, the conditions that hold, and the errors that come first."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, negation
from gpuspark.compiler.catalyst.values import EXACT, NONE, Choice, Items, Operand, Value, boolean, merge, real

ColumnKind = Literal["number", "narrow", "float", "integer", "bigint", "boolean", "string", "date"]
"""What a parameter's column holds. ``number`` is any number or boolean, which the body only uses as a float; ``narrow``
is the same without ``bigint``: then sums and differences are exact as floats, whatever the numbers are."""
SPARK_TYPES: dict[ColumnKind, tuple[str, ...]] = {
    "float": ("double", "float"),
    "integer": ("int", "smallint", "tinyint"),
    "bigint": ("bigint",),
    "boolean": ("boolean",),
    "narrow": ("double", "float", "int", "smallint", "tinyint", "boolean"),
    "number": ("double", "float", "int", "smallint", "tinyint", "bigint", "boolean"),
    "string": ("string",),
    "date": ("date",),
}
"""Spark's names of the types that a column of each kind may have."""
_MOST_STEPS = 3000
"""Operations that one body may take, with its loops unrolled."""


class Undecided(Exception):
    """Raised where the body must know which numbers a parameter holds, after it was used as any number."""

    def __init__(self, parameter: str, options: Sequence[ColumnKind]) -> None:
        self.parameter, self.options = parameter, options


OPTIONS: tuple[ColumnKind, ...] = ("float", "integer", "bigint")
"""What a column of numbers may hold, where the body must know which they are."""
WHOLE_OPTIONS: tuple[ColumnKind, ...] = ("integer", "bigint", "boolean")
"""The same where the body needs an integer."""


@dataclass
class Decisions:
    """The kinds of the parameters' columns: those that are given, and those that the body made necessary."""

    kinds: dict[str, ColumnKind]
    default: ColumnKind = "number"
    """The kind of a column of which the body says nothing."""
    usual: ColumnKind | None = None
    """What a parameter is taken for of which the body must know which numbers it holds."""
    split: dict[str, tuple[ColumnKind, ...]] = field(default_factory=dict)
    """These parameters, in the order of the decisions: what each was taken for, and what else it may be."""
    pinned: set[str] = field(default_factory=set)
    """The parameters of which the body itself shows that they are numbers: anything else would raise."""
    compared: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of parameters that the body orders: if one is a number, so is the other."""
    uses_numpy: bool = False
    """Whether the body calls functions of NumPy's or captures NumPy's values, so that its own may be NumPy scalars."""
    steps: int = 0

    def numbers(self) -> set[str]:
        """Returns the parameters that the body shows to be numbers."""
        numbers, before = set(self.pinned), -1
        while before != len(numbers):
            before = len(numbers)
            numbers |= {name for pair in self.compared if numbers & set(pair) for name in pair}
        return numbers

    def step(self) -> None:
        """Counts one operation. Raises :class:`Refused` when there are too many."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Refused(f"more than {_MOST_STEPS:,} operations, with loops written out")


Error = tuple[Tree, Tree]
"""A condition, and the text of the error that Python raises where it holds."""


@dataclass
class Path:
    """The state of one function's body at one point of one path."""

    decisions: Decisions
    names: dict[str, Operand] = field(default_factory=dict)
    truths: Mapping[Tree, bool] = field(default_factory=dict)
    """The conditions that are known here."""
    bounds: Mapping[Tree, tuple[float, float, bool]] = field(default_factory=dict)
    """Narrower bounds of numbers, as conditions set them, and whether a float may still be NaN."""
    errors: list[Error] = field(default_factory=list)
    """The errors that this path raises before it goes on, in their order."""

    def fork(self) -> Path:
        """Returns a copy for one side of a branch, which has raised nothing yet."""
        return replace(self, names=dict(self.names), errors=[])

    def assume(self, condition: Tree, holds: bool) -> None:
        """Notes that ``condition`` is true here, or false."""
        if condition.form == "literal":
            return
        self.truths = {**self.truths, condition: holds}
        match condition.name:
            case "not":
                self.assume(condition.arguments[0], not holds)
            case "and" if holds:
                for part in condition.arguments:
                    self.assume(part, True)
            case "or" if not holds:
                for part in condition.arguments:
                    self.assume(part, False)
            case "<" | "<=" | ">" | ">=" | "=":
                left, right = condition.arguments
                self._narrow(condition.name, left, right, holds)

    def _narrow(self, relation: str, left: Tree, right: Tree, holds: bool) -> None:
        """Narrows the bounds of a number that is compared with a literal. Bounds of floats are not open: they stay
        right if they include too much."""
        if left.form == "literal":
            left, right = right, left
            relation = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(relation, relation)
        limit = _number(right)
        if limit is None or left.form == "literal":
            return
        if not holds:
            relation = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "?"}[relation]
        step = 1 if right.name.endswith("L") else 0  # no float lies closer to a float than the float itself
        low, high = {
            "<": (-math.inf, limit - step), "<=": (-math.inf, limit), ">": (limit + step, math.inf),
            ">=": (limit, math.inf), "=": (limit, limit), "?": (-math.inf, math.inf),
        }[relation]  # fmt: skip
        before = self.bounds.get(left, (-math.inf, math.inf, True))
        nan = before[2] and relation not in ("<", "<=", "=")  # to Spark, NaN is the greatest number
        self.bounds = {**self.bounds, left: (max(before[0], low), min(before[1], high), nan)}

    @overload
    def known(self, operand: Value) -> Value: ...
    @overload
    def known(self, operand: Operand) -> Operand: ...
    def known(self, operand: Operand) -> Operand:
        """Returns an operand with what is known of it here: the side of a choice, a column's kind, narrower bounds."""
        while isinstance(operand, Choice) and operand.condition in self.truths:
            operand = operand.then if self.truths[operand.condition] else operand.otherwise
        if not isinstance(operand, Value):
            return operand
        if operand.kind in ("any", "number") and not operand.derived and operand.parameter in self.decisions.kinds:
            operand = column_of(operand.parameter, self.decisions.kinds[operand.parameter])
        if operand.tree in self.bounds and operand.constant is None and operand.kind != "number":
            low, high, nan = self.bounds[operand.tree]
            low, high, nan = max(operand.low, low), min(operand.high, high), operand.nan and nan
            operand = replace(operand, low=low, high=high, nan=nan, guarded=True)
        if isinstance(operand, Value) and operand.nan and self.truths.get(call("isnan", operand.tree)) is False:
            operand = replace(operand, nan=False)
        return operand

    def as_kind(self, value: Value, kind: ColumnKind) -> Value:
        """Returns a column of which nothing was known as one of ``kind``; any other value unchanged."""
        if value.kind != "any":
            return value
        self.decisions.kinds[value.parameter] = kind
        return column_of(value.parameter, kind)

    def as_number(self, value: Value) -> Value:
        """Returns a value of which nothing is known as a number, and notes that the body makes it one."""
        value = self.as_kind(value, "number")
        self.decisions.pinned.update(value.parameters)
        return value

    def settled(self, value: Value, options: tuple[ColumnKind, ...] = OPTIONS) -> Value:
        """Returns a value whose kind is decided: a column that may be any number is taken for one of ``options``.

        Raises :class:`Undecided` for what was computed from such columns.
        """
        value = self.as_kind(value, self.decisions.default)
        if value.kind != "number":
            return value
        if value.derived:
            raise Undecided(value.parameter, options)
        usual = self.decisions.usual
        kind = usual if usual in options else options[0]
        self.decisions.split[value.parameter] = (kind, *(option for option in options if option != kind))
        self.decisions.kinds[value.parameter] = kind
        return column_of(value.parameter, kind)

    def narrowed(self, value: Value) -> Value:
        """Returns a number of any type without those of 64 bits, so that it is exact as a float."""
        if value.kind == "number" and not value.derived and value.low < -EXACT:
            self.decisions.kinds[value.parameter] = "narrow"
            self.decisions.split[value.parameter] = ("narrow", "bigint")
            return column_of(value.parameter, "narrow")
        return value

    def as_whole(self, value: Value) -> Value:
        """Returns a value where the body needs an integer."""
        return self.settled(self.as_number(value), WHOLE_OPTIONS)

    def check(self, condition: Tree, error: Tree) -> None:
        """Notes that Python raises ``error`` where ``condition`` holds. From here on it does not hold."""
        if condition == trees.FALSE or self.truths.get(condition) is False:
            return
        self.errors.append((condition, error))
        self.assume(condition, False)

    @contextmanager
    def under(self, condition: Tree, holds: bool) -> Iterator[Path]:
        """Context manager that yields a path on which ``condition`` holds, or not, and adds its errors to this one."""
        side = self.fork()
        side.assume(condition, holds)
        yield side
        self.errors += guarded(condition if holds else negation(condition), side.errors)

    def apply(self, operation: Callable[..., Operand], *operands: Operand) -> Operand:
        """Returns ``operation`` of values, lowered for each side of a choice among them."""
        values = [self.known(operand) for operand in operands]
        for position, value in enumerate(values):
            if isinstance(value, Choice):
                sides = []
                for side, holds in ((value.then, True), (value.otherwise, False)):
                    with self.under(value.condition, holds) as path:
                        chosen = [*values[:position], side, *values[position + 1 :]]
                        sides.append(path.apply(operation, *chosen))
                return merge(value.condition, *sides)
        self.decisions.step()
        return operation(self, *values)


def guarded(condition: Tree, errors: list[Error]) -> list[Error]:
    """Returns errors that are raised only where ``condition`` holds."""
    return [(both(condition, raised), error) for raised, error in errors]


def column_of(parameter: str, kind: ColumnKind) -> Value:
    """Returns the value of a parameter whose column is of ``kind``.

    Spark analyses the expressions of all types before it drops those that do not fit. So each tree is one that can be
    analysed for numbers of any type, and for strings and booleans whatever the column holds.
    """
    column = trees.column(parameter)
    match kind:
        case "number" | "narrow":
            bits = 63 if kind == "number" else 31
            return Value("number", call("double", column), -(2**bits), 2**bits - 1, parameters=(parameter,))
        case "float":
            return replace(real(call("double", column)), parameters=(parameter,))
        case "integer":
            return Value("integer", call("bigint", column), -(2**31), 2**31 - 1, parameters=(parameter,))
        case "bigint":
            return Value("integer", call("bigint", column), -(2**63), 2**63 - 1, parameters=(parameter,))
        case "boolean":
            flag = call("=", call("string", column), trees.text("true"))  # a cast that Spark allows of every type
            return replace(boolean(flag), parameters=(parameter,))
        case "string":
            return Value("string", call("string", column), parameters=(parameter,))
        case "date":
            return Value("date", column, parameters=(parameter,))


def parameter_value(parameter: str, kind: ColumnKind | None, nullable: bool) -> Operand:
    """Returns what a parameter is at the start: a column, or ``None`` where the column is null and the body sees
    nulls."""
    column = column_of(parameter, kind) if kind else Value("any", trees.column(parameter), parameters=(parameter,))
    if not nullable:
        return column
    from gpuspark.compiler.catalyst.values import Choice

    return Choice(call("isnull", trees.column(parameter)), NONE, column)


def items_of(operand: Operand) -> Items:
    """Returns a tuple or array. Raises :class:`Refused` for anything else."""
    if not isinstance(operand, Items):
        raise Refused("a sequence that is not a tuple or an array of the same length for all rows")
    return operand


def _number(tree: Tree) -> float | None:
    """Returns the number that a literal stands for; ``None`` for other trees."""
    if tree.form != "literal" or not re.fullmatch(r"-?[\d.e+-]+[DL]", tree.name):
        return None
    return int(tree.name[:-1]) if tree.name.endswith("L") else float(tree.name[:-1])


def all_integers(parameters: Sequence[str]) -> Tree:
    """Returns whether all of these parameters' columns hold integers or booleans, which Spark knows beforehand."""
    names = [name for kind in WHOLE_OPTIONS for name in SPARK_TYPES[kind]]
    return have_types(dict.fromkeys(parameters, names))


def have_types(types: Mapping[str, Sequence[str]]) -> Tree:
    """Returns whether the column of each parameter is of one of these Spark types, which Spark knows beforehand."""
    condition = trees.TRUE
    for parameter, names in types.items():
        of_one = call("in", call("typeof", trees.column(parameter)), *map(trees.text, names))
        condition = both(condition, of_one)
    return condition


def error_text(raising: Callable[[], Any]) -> Tree:
    """Returns the type and text of the error that ``raising`` raises in this Python, as tracebacks show them."""
    try:
        raising()
    except (ArithmeticError, LookupError, ValueError) as error:
        return trees.text(f"{type(error).__name__}: {error}")
    raise AssertionError("this Python raises no error there")
