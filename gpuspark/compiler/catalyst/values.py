"""What a body computes with while it is lowered: values that are known as Spark expressions.

A :class:`Value` has one Python type on every path. Where a name is one type on one path and another on the next,
``None`` among them, it is a :class:`Choice`; operations are then lowered for each side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.trees import Refused, Tree

Kind = Literal["any", "number", "float", "integer", "large", "boolean", "string", "date", "interval", "none"]
"""``any`` and ``number`` are columns whose type nothing has decided yet, or computed from such. A ``large`` value is an
integer that was a float: it is still held as one, which it equals, and may need more than 64 bits. An ``interval`` is
held as a number of days."""
EXACT = 2**53
"""Up to this, every integer equals its float."""
LEAST, MOST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Value:
    """A value of one Python type, with its bounds."""

    kind: Kind
    tree: Tree
    low: float = -math.inf
    """The least that a number may be."""
    high: float = math.inf
    """The greatest that a number may be."""
    nan: bool = False
    """Whether a float may be NaN."""
    guarded: bool = False
    """Whether the bounds hold only where some condition does. Spark may compute the value elsewhere too."""
    constant: Any = None
    """The value, where it is the same for all rows and not ``None``."""
    parameters: tuple[str, ...] = ()
    """The parameter whose column this is; those whose columns are numbers if it is one."""
    derived: bool = False
    """Whether a ``number`` was computed from columns. Then its bounds are those of integers, and floats have none."""

    @property
    def parameter(self) -> str:
        """The first of the parameters; empty if there are none."""
        return self.parameters[0] if self.parameters else ""

    @property
    def may_be_infinite(self) -> bool:
        """Whether a float may be infinite."""
        return self.low == -math.inf or self.high == math.inf

    @property
    def may_be_zero(self) -> bool:
        """Whether a number may be zero."""
        return self.low <= 0 <= self.high

    def within(self, low: float, high: float) -> bool:
        """Returns whether a number lies between these bounds, whatever the row."""
        return low <= self.low and self.high <= high and not self.nan


@dataclass(frozen=True)
class Choice:
    """One of two values of different types, as a condition decides."""

    condition: Tree
    then: Any
    otherwise: Any


@dataclass(frozen=True)
class Items:
    """A tuple, list or array, whose number of items is known."""

    items: tuple[Any, ...]
    python_type: type = tuple

    def is_like(self, other: Items) -> bool:
        """Returns whether another sequence is of this type and length."""
        return self.python_type is other.python_type and len(self.items) == len(other.items)


Operand = Value | Choice | Items
NONE = Value("none", trees.NULL)
NAN = Value("float", trees.real(math.nan), nan=True)


def real(tree: Tree, low: float = -math.inf, high: float = math.inf, *, nan: bool = True) -> Value:
    """Returns a float."""
    return Value("float", tree, low, high, nan)


def whole(tree: Tree, low: int, high: int) -> Value:
    """Returns an integer. Raises :class:`Refused` if it may need more than 64 bits."""
    if low < LEAST or high > MOST:
        raise Refused("an integer that may need more than 64 bits")
    return Value("integer", tree, low, high)


def boolean(tree: Tree) -> Value:
    """Returns a boolean, which is a constant if ``tree`` is a literal."""
    constant = {trees.TRUE: True, trees.FALSE: False}.get(tree)
    return Value("boolean", tree, 0, 1, constant=constant)


def of_constant(value: Any) -> Operand:
    """Returns a value that is the same for all rows. Raises :class:`Refused` for one that has no Spark literal."""
    if isinstance(value, np.ndarray):
        if value.ndim != 1:
            raise Refused("an array of two dimensions")
        return Items(tuple(map(of_constant, value)), np.ndarray)
    if isinstance(value, tuple | list):
        return Items(tuple(map(of_constant, value)), type(value))
    plain = value.item() if isinstance(value, np.generic) else value
    match plain:
        case None:
            return NONE
        case bool():
            return boolean(trees.boolean(plain))
        case int() if not LEAST <= plain <= MOST:
            raise Refused("an integer that needs more than 64 bits")
        case int():
            return Value("integer", trees.whole(plain), plain, plain, constant=plain)
        case float():
            if plain == 0.0 and math.copysign(1.0, plain) < 0.0:
                raise Refused("the constant -0.0, which Spark's optimizer takes for 0.0")
            bounds = (-math.inf, math.inf) if math.isnan(plain) else (plain, plain)
            return Value("float", trees.real(plain), *bounds, nan=math.isnan(plain), constant=plain)
        case str():
            return Value("string", trees.text(plain), constant=plain)
    raise Refused(f"a {type(value).__name__}")


def number_of(value: bool | float) -> Value:
    """Returns a number or boolean that is the same for all rows. Raises :class:`Refused` for -0.0."""
    number = of_constant(value)
    assert isinstance(number, Value)
    return number


def merge(condition: Tree, then: Operand, otherwise: Operand) -> Operand:
    """Returns the value that is ``then`` where ``condition`` is true, and ``otherwise`` elsewhere."""
    if then == otherwise or condition == trees.TRUE:
        return then
    if condition == trees.FALSE:
        return otherwise
    if isinstance(then, Value) and isinstance(otherwise, Value) and then.kind == otherwise.kind:
        if then.kind in ("any", "number"):
            return Choice(condition, then, otherwise)
        tree = trees.choose(condition, then.tree, otherwise.tree)
        if then.kind == "boolean":
            return boolean(tree)
        low, high = min(then.low, otherwise.low), max(then.high, otherwise.high)
        guarded = then.guarded or otherwise.guarded
        return Value(then.kind, tree, low, high, then.nan or otherwise.nan, guarded)
    if isinstance(then, Items) and isinstance(otherwise, Items) and then.is_like(otherwise):
        pairs = zip(then.items, otherwise.items, strict=True)
        return replace(then, items=tuple(merge(condition, *pair) for pair in pairs))
    return Choice(condition, then, otherwise)


def corners(a: Value, b: Value, combine: Callable[[float, float], float]) -> Sequence[float]:
    """Returns ``combine`` of the bounds of two values, in all four pairs; infinities, where one pair has no result."""
    results = [combine(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return [-math.inf, math.inf] if any(map(math.isnan, results)) else results
