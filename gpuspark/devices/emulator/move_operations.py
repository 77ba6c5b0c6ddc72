"""Builders for the instructions that move and convert: ``mov`` with its packing, ``cvt`` and ``cvta``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpuspark.devices.emulator.conversions import convert
from gpuspark.devices.emulator.operations import Operation, Values, operand, simple, type_of
from gpuspark.devices.emulator.shared import LOW_WORD, SHARED_WINDOW
from gpuspark.devices.emulator.syntax import DTYPES, Instruction, Operand, Vector


def move(instruction: Instruction) -> Operation:
    """Builds ``mov``."""
    target, source = operand(instruction, 0), operand(instruction, 1)
    dtype = type_of(instruction)
    if isinstance(target, Vector):
        return _unpack(target, source, dtype)
    if isinstance(source, Vector):
        return _pack(target, source, dtype)
    return simple(instruction, np.copy)


def _unpack(target: Vector, source: Operand, dtype: np.dtype) -> Operation:
    """Builds ``mov {a, b}, c``: splits a value into its parts."""
    part = np.dtype(f"u{dtype.itemsize // len(target.items)}")
    used = [(number, item) for number, item in enumerate(target.items) if item is not None]
    shifts = [dtype.type(8 * part.itemsize * number) for number, _ in used]

    def evaluate(whole: Values) -> Any:
        parts = tuple((whole >> shift).astype(part) for shift in shifts)
        return parts if len(parts) > 1 else parts[0]

    return Operation(tuple((item, part) for _, item in used), ((source, dtype),), evaluate)


def _pack(target: Operand, source: Vector, dtype: np.dtype) -> Operation:
    """Builds ``mov c, {a, b}``: combines a value from its parts."""
    part = np.dtype(f"u{dtype.itemsize // len(source.items)}")
    width = 8 * part.itemsize

    def evaluate(*parts: Values) -> Values:
        whole = parts[0].astype(dtype)
        for number, value in enumerate(parts[1:], 1):
            whole = whole | value.astype(dtype) << dtype.type(width * number)
        return whole

    return Operation(((target, dtype),), tuple((item, part) for item in source.items), evaluate)


def convert_types(instruction: Instruction) -> Operation:
    """Builds ``cvt``."""
    types = [DTYPES[m] for m in instruction.modifiers if m in DTYPES]
    target, source = types[0], types[1]
    rounding = next((m for m in instruction.modifiers if len(m) in (2, 3) and m[0] == "r"), "")
    if source.kind == "f" and target.kind != "f" and not rounding:
        raise TypeError("a rounding is needed")
    evaluate = partial(
        convert,
        dtype=target,
        rounding=rounding,
        ftz="ftz" in instruction.modifiers,
        saturate="sat" in instruction.modifiers,
    )
    return Operation(((operand(instruction, 0), target),), ((operand(instruction, 1), source),), evaluate)


def convert_address(instruction: Instruction) -> Operation:
    """Builds ``cvta``. Generic addresses equal those of the state space, except shared ones: they lie in a window."""
    if "shared" not in instruction.modifiers and "shared::cta" not in instruction.modifiers:
        return simple(instruction, np.copy)
    window = np.uint64(0 if "to" in instruction.modifiers else SHARED_WINDOW)
    return simple(instruction, lambda address: (address & LOW_WORD | window).astype(address.dtype))
