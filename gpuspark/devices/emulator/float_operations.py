"""The instructions of floating-point arithmetic: roundings, ``.ftz``, ``.sat`` and the approximate ones."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np

from gpuspark.devices.emulator import approximations, arithmetic
from gpuspark.devices.emulator.conversions import flushed, saturated
from gpuspark.devices.emulator.operations import (
    F32,
    F64,
    PRED,
    Builder,
    Evaluate,
    Operation,
    Typed,
    Values,
    returning,
    simple,
    type_of,
)
from gpuspark.devices.emulator.syntax import Immediate, Instruction


def floating(name: str) -> Builder:
    """add, sub, mul, div, sqrt and fma with a rounding; without one they round to nearest."""

    def build(instruction: Instruction) -> Operation:
        modifiers, dtype = instruction.modifiers, type_of(instruction)
        rounding = cast(arithmetic.Rounding, next((m for m in modifiers if m in _ROUNDED), "rn"))
        if dtype.itemsize == 2 and (rounding != "rn" or name == "fma"):
            raise TypeError("half precision")
        if rounding == "rn" and name != "fma":
            evaluate: Evaluate = _NUMPY[name]
        elif dtype == F64:
            evaluate = arithmetic.fma if rounding == "rn" else partial(arithmetic.rounded, name, rounding)
        else:
            evaluate = partial(arithmetic.rounded32, name, rounding)
        return simple(instruction, flushing(instruction, evaluate))

    return build


_ROUNDED = ("rn", "rz", "rm", "rp")
_NUMPY: dict[str, Evaluate] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
}


def flushing(instruction: Instruction, evaluate: Evaluate) -> Evaluate:
    """``evaluate`` with ``.ftz`` and ``.sat`` as the instruction has them."""
    ftz = "ftz" in instruction.modifiers and type_of(instruction) == F32
    saturate = "sat" in instruction.modifiers
    if not ftz and not saturate:
        return evaluate

    def flushing(*values: Values) -> Values:
        result = flushed(evaluate(*map(flushed, values))) if ftz else evaluate(*values)
        return saturated(result) if saturate else result

    return flushing


def reciprocal(instruction: Instruction) -> Operation:
    if "approx" in instruction.modifiers:
        return approximate(instruction)
    made = floating("div")(instruction)
    one: Typed = (Immediate(0x3FF0000000000000, 64), made.sources[0][1])
    return Operation(made.results, (one, *made.sources), made.evaluate)


def approximate(instruction: Instruction) -> Operation:
    if type_of(instruction) == F64:
        doubles = {"rcp": approximations.reciprocal, "rsqrt": approximations.reciprocal_root}
        return simple(instruction, doubles[instruction.name])
    return simple(instruction, flushing(instruction, approximations.SINGLE[instruction.name]))


def square_root(instruction: Instruction) -> Operation:
    return (approximate if "approx" in instruction.modifiers else floating("sqrt"))(instruction)


def _least(a: Values, b: Values) -> Values:
    """-0 is less than +0; a NaN loses against a number."""
    result = np.fmin(a, b)
    return np.where((a == 0) & (b == 0) & np.signbit(a), a, result)


def _greatest(a: Values, b: Values) -> Values:
    result = np.fmax(a, b)
    return np.where((a == 0) & (b == 0) & ~np.signbit(a), a, result)


def extreme(instruction: Instruction) -> Operation:
    """min and max."""
    least = instruction.name == "min"
    if type_of(instruction).kind != "f":
        return simple(instruction, np.minimum if least else np.maximum)
    choose = _least if least else _greatest

    def with_nan(a: Values, b: Values) -> Values:
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), choose(a, b))

    evaluate = with_nan if "NaN" in instruction.modifiers else choose
    return simple(instruction, flushing(instruction, evaluate))


def absolute(instruction: Instruction) -> Operation:
    return simple(instruction, flushing(instruction, np.abs))


def negated(instruction: Instruction) -> Operation:
    return simple(instruction, flushing(instruction, np.negative))


PROPERTIES: dict[str, Evaluate] = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda a: ~np.isnan(a),
    "notanumber": np.isnan,
    "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
    "subnormal": lambda a: (np.abs(a) < np.finfo(a.dtype).tiny) & (a != 0),
}


def test_property(instruction: Instruction) -> Operation:
    return returning(PRED, simple(instruction, PROPERTIES[instruction.modifiers[0]]))
