"""Builders for floating-point instructions: rounding, ``.ftz``, ``.sat`` and the approximate instructions."""

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
    """Returns the builder of add, sub, mul, div, sqrt or fma, which round to nearest by default."""

    def build(instruction: Instruction) -> Operation:
        modifiers, dtype = instruction.modifiers, type_of(instruction)
        rounding = cast(arithmetic.Rounding, next((m for m in modifiers if m in _ROUNDINGS), "rn"))
        if dtype.itemsize == 2 and (rounding != "rn" or name == "fma"):
            raise TypeError("half precision")
        if rounding == "rn" and name != "fma":
            evaluate: Evaluate = _NUMPY[name]
        elif dtype == F64:
            evaluate = arithmetic.fma if rounding == "rn" else partial(arithmetic.rounded, name, rounding)
        else:
            evaluate = partial(arithmetic.rounded32, name, rounding)
        return simple(instruction, with_modifiers(instruction, evaluate))

    return build


_ROUNDINGS = ("rn", "rz", "rm", "rp")
_NUMPY: dict[str, Evaluate] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
}


def with_modifiers(instruction: Instruction, evaluate: Evaluate) -> Evaluate:
    """Returns ``evaluate`` with the instruction's ``.ftz`` and ``.sat`` applied."""
    ftz = "ftz" in instruction.modifiers and type_of(instruction) == F32
    saturate = "sat" in instruction.modifiers
    if not ftz and not saturate:
        return evaluate

    def modified(*values: Values) -> Values:
        result = flushed(evaluate(*map(flushed, values))) if ftz else evaluate(*values)
        return saturated(result) if saturate else result

    return modified


def reciprocal(instruction: Instruction) -> Operation:
    """Builds ``rcp``: a division of 1 unless it is approximate."""
    if "approx" in instruction.modifiers:
        return approximate(instruction)
    division = floating("div")(instruction)
    one: Typed = (Immediate(0x3FF0000000000000, 64), division.sources[0][1])
    return Operation(division.results, (one, *division.sources), division.evaluate)


def approximate(instruction: Instruction) -> Operation:
    """Builds an instruction of :mod:`.approximations`."""
    if type_of(instruction) == F64:
        doubles = {"rcp": approximations.reciprocal, "rsqrt": approximations.reciprocal_square_root}
        return simple(instruction, doubles[instruction.name])
    return simple(instruction, with_modifiers(instruction, approximations.SINGLE[instruction.name]))


def square_root(instruction: Instruction) -> Operation:
    """Builds ``sqrt``."""
    return (approximate if "approx" in instruction.modifiers else floating("sqrt"))(instruction)


def _minimum(a: Values, b: Values) -> Values:
    """Returns the smaller value; -0 is smaller than +0, and NaN is returned only where both are NaN."""
    result = np.fmin(a, b)
    return np.where((a == 0) & (b == 0) & np.signbit(a), a, result)


def _maximum(a: Values, b: Values) -> Values:
    """Returns the larger value; +0 is larger than -0, and NaN is returned only where both are NaN."""
    result = np.fmax(a, b)
    return np.where((a == 0) & (b == 0) & ~np.signbit(a), a, result)


def extreme(instruction: Instruction) -> Operation:
    """Builds ``min`` and ``max``."""
    is_minimum = instruction.name == "min"
    if type_of(instruction).kind != "f":
        return simple(instruction, np.minimum if is_minimum else np.maximum)
    choose = _minimum if is_minimum else _maximum

    def with_nan(a: Values, b: Values) -> Values:
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), choose(a, b))

    evaluate = with_nan if "NaN" in instruction.modifiers else choose
    return simple(instruction, with_modifiers(instruction, evaluate))


def absolute(instruction: Instruction) -> Operation:
    """Builds ``abs``."""
    return simple(instruction, with_modifiers(instruction, np.abs))


def negated(instruction: Instruction) -> Operation:
    """Builds ``neg``."""
    return simple(instruction, with_modifiers(instruction, np.negative))


PROPERTIES: dict[str, Evaluate] = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda a: ~np.isnan(a),
    "notanumber": np.isnan,
    "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
    "subnormal": lambda a: (np.abs(a) < np.finfo(a.dtype).tiny) & (a != 0),
}
"""The properties that ``testp`` tests, by their PTX names."""


def test_property(instruction: Instruction) -> Operation:
    """Builds ``testp``."""
    return returning(PRED, simple(instruction, PROPERTIES[instruction.modifiers[0]]))
