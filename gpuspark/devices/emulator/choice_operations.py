"""Builders for the instructions that compare and select: ``setp``, ``set``, ``selp`` and ``slct``."""

from __future__ import annotations

import numpy as np

from gpuspark.devices.emulator.conversions import flushed
from gpuspark.devices.emulator.operations import (
    PRED,
    Evaluate,
    Operation,
    Typed,
    Values,
    operand,
    returning,
    simple,
    type_of,
)
from gpuspark.devices.emulator.syntax import DTYPES, Instruction, Pair

ORDERED: dict[str, Evaluate] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
UNORDERED = {"equ": "ne", "neu": "eq", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt"}
"""Each unordered comparison and the ordered one that it negates."""
BOOLEAN_OPERATIONS: dict[str, Evaluate] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def _ordered_not_equal(a: Values, b: Values) -> Values:
    """Returns ``a != b``, false where one is NaN."""
    return np.asarray((a < b) | (a > b))


def _comparison(name: str, floating: bool) -> Evaluate:
    """Returns the comparison ``name``. With a NaN, ordered comparisons are false and unordered ones true."""
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name in UNORDERED:
        ordered = _comparison(UNORDERED[name], floating)
        return lambda a, b: ~ordered(a, b)
    if name == "ne" and floating:
        return _ordered_not_equal
    return ORDERED[UNSIGNED.get(name, name)]


def _comparing(instruction: Instruction) -> tuple[tuple[Typed, ...], Evaluate]:
    """Returns the sources of ``setp`` or ``set``, and a function of them: the condition and its negation."""
    dtype = type_of(instruction)
    compare = _comparison(instruction.modifiers[0], dtype.kind == "f")
    if "ftz" in instruction.modifiers:
        exact = compare

        def compare(a: Values, b: Values) -> Values:
            return np.asarray(exact(flushed(a), flushed(b)))

    sources: tuple[Typed, ...] = ((operand(instruction, 1), dtype), (operand(instruction, 2), dtype))
    boolean = next((BOOLEAN_OPERATIONS[m] for m in instruction.modifiers if m in BOOLEAN_OPERATIONS), None)
    if boolean is None:
        return sources, lambda a, b: _with_negation(compare(a, b))
    combine = boolean

    def evaluate(a: Values, b: Values, c: Values) -> tuple[Values, Values]:
        condition = compare(a, b)
        return combine(condition, c), combine(~condition, c)

    return (*sources, (operand(instruction, 3), PRED)), evaluate


def _with_negation(condition: Values) -> tuple[Values, Values]:
    return condition, ~condition


def set_predicate(instruction: Instruction) -> Operation:
    """Builds ``setp``."""
    sources, evaluate = _comparing(instruction)
    first = operand(instruction, 0)
    if isinstance(first, Pair):
        return Operation(((first.first, PRED), (first.second, PRED)), sources, evaluate)
    return Operation(((first, PRED),), sources, lambda *values: evaluate(*values)[0])


def set_number(instruction: Instruction) -> Operation:
    """Builds ``set``, which gives all ones or zero, and 1.0 or 0.0 in a floating-point type."""
    sources, evaluate = _comparing(instruction)
    result = next(DTYPES[m] for m in instruction.modifiers if m in DTYPES)
    true = result.type(1.0) if result.kind == "f" else np.uint32(0xFFFFFFFF).astype(result)

    def numbers(*values: Values) -> Values:
        return np.asarray(np.where(evaluate(*values)[0], true, result.type(0)))

    return Operation(((operand(instruction, 0), result),), sources, numbers)


def select(instruction: Instruction) -> Operation:
    """Builds ``selp``."""
    dtype = type_of(instruction)
    return simple(instruction, lambda a, b, p: np.where(p, a, b), dtype, dtype, PRED)


def select_by_sign(instruction: Instruction) -> Operation:
    """Builds ``slct``."""
    types = [DTYPES[m] for m in instruction.modifiers if m in DTYPES]
    value, sign = types[0], types[1]
    return returning(value, simple(instruction, lambda a, b, c: np.where(c >= 0, a, b), value, value, sign))
