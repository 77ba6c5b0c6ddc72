"""Builders for integer instructions: carries, halves of products, shifts and bit fields."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpuspark.devices.emulator import integers
from gpuspark.devices.emulator.operations import (
    PRED,
    U32,
    Evaluate,
    Operation,
    Values,
    operand,
    returning,
    simple,
    type_of,
)
from gpuspark.devices.emulator.syntax import CARRY, Immediate, Instruction


def add(instruction: Instruction) -> Operation:
    """Builds ``add`` and ``addc``."""
    if "sat" in instruction.modifiers:
        return simple(instruction, integers.saturating_add)
    return _carrying(instruction, integers.add_with_carry, np.add)


def subtract(instruction: Instruction) -> Operation:
    """Builds ``sub`` and ``subc``."""
    if "sat" in instruction.modifiers:
        return simple(instruction, lambda a, b: integers.saturating_add(a, -b.astype(np.int64)))
    return _carrying(instruction, integers.subtract_with_borrow, np.subtract)


def _carrying(instruction: Instruction, with_carry: Evaluate, without: Evaluate) -> Operation:
    """Builds add, sub or mad: ``.cc`` writes the carry flag, the forms ``addc``, ``subc`` and ``madc`` read it."""
    reads, writes = instruction.name in ("addc", "subc", "madc"), "cc" in instruction.modifiers
    plain = simple(instruction, without)
    if not reads and not writes:
        return plain
    sources = (*plain.sources, (CARRY, PRED)) if reads else plain.sources
    results = (*plain.results, (CARRY, PRED)) if writes else plain.results
    return Operation(results, sources, with_carry if writes else lambda *values: with_carry(*values)[0])


def _product(instruction: Instruction) -> Evaluate:
    """Returns the multiplication for ``.lo``, ``.hi`` or ``.wide``."""
    if "wide" in instruction.modifiers:
        return integers.multiply_wide
    return integers.multiply_high if "hi" in instruction.modifiers else np.multiply


def multiply(instruction: Instruction) -> Operation:
    """Builds ``mul``."""
    product = simple(instruction, _product(instruction))
    return returning(_wide(type_of(instruction)), product) if "wide" in instruction.modifiers else product


def multiply_add(instruction: Instruction) -> Operation:
    """Builds ``mad`` and ``madc``."""
    product, dtype = _product(instruction), type_of(instruction)

    def with_carry(a: Values, b: Values, c: Values, carry: Values | None = None) -> Any:
        return integers.add_with_carry(product(a, b), c, carry)

    if "wide" in instruction.modifiers:
        wide = _wide(dtype)
        return returning(wide, simple(instruction, lambda a, b, c: product(a, b) + c, dtype, dtype, wide))
    if "sat" in instruction.modifiers:
        return simple(instruction, lambda a, b, c: integers.saturating_add(product(a, b), c))
    return _carrying(instruction, with_carry, lambda a, b, c: product(a, b) + c)


def _wide(dtype: np.dtype) -> np.dtype:
    """Returns the integer type of twice the width."""
    return np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")


def multiply_24(instruction: Instruction) -> Operation:
    """Builds ``mul24`` and ``mad24``."""
    high = "hi" in instruction.modifiers
    if instruction.name == "mul24":
        return simple(instruction, lambda a, b: integers.multiply_24(a, b, high))
    return simple(instruction, lambda a, b, c: integers.multiply_24(a, b, high) + c)


def absolute_difference(a: Values, b: Values, c: Values) -> Values:
    """Returns ``|a - b| + c``: the result of ``sad``."""
    return np.where(a < b, b - a, a - b) + c


def funnel_shift(instruction: Instruction) -> Operation:
    """Builds ``shf``."""
    left, wrap = "l" in instruction.modifiers, "wrap" in instruction.modifiers
    return simple(instruction, lambda a, b, c: integers.funnel_shift(a, b, c, left, wrap))


def find_highest(instruction: Instruction) -> Operation:
    """Builds ``bfind``."""
    as_shift = "shiftamt" in instruction.modifiers
    return returning(U32, simple(instruction, lambda a: integers.find_highest(a, as_shift)))


def three_input_logic(instruction: Instruction) -> Operation:
    """Builds ``lop3``."""
    *_, table = instruction.operands
    if not isinstance(table, Immediate):
        raise TypeError(table)
    sources = tuple((operand(instruction, i), U32) for i in (1, 2, 3))
    evaluate = partial(integers.three_input_logic, table=table.bits)
    return Operation(((operand(instruction, 0), U32),), sources, evaluate)


def permute_bytes(instruction: Instruction) -> Operation:
    """Builds ``prmt``."""
    mode = instruction.modifiers[1:]
    evaluate = partial(integers.permute_bytes_by_mode, mode=mode[0]) if mode else integers.permute_bytes
    return simple(instruction, evaluate)
