"""The instructions that move and convert: mov with its packing, and cvt."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpuspark.devices.emulator.conversions import convert
from gpuspark.devices.emulator.operations import Operation, Values, operand, simple, type_of
from gpuspark.devices.emulator.shared import LOW_WORD, SHARED_WINDOW
from gpuspark.devices.emulator.syntax import DTYPES, Instruction, Operand, Vector


def move(instruction: Instruction) -> Operation:
    target, source = operand(instruction, 0), operand(instruction, 1)
    dtype = type_of(instruction)
    if isinstance(target, Vector):
        return _unpack(target, source, dtype)
    if isinstance(source, Vector):
        return _pack(target, source, dtype)
    return simple(instruction, np.copy)


def _unpack(target: Vector, source: Operand, dtype: np.dtype) -> Operation:
    part = np.dtype(f"u{dtype.itemsize // len(target.items)}")
    wanted = [(place, item) for place, item in enumerate(target.items) if item is not None]
    shifts = [dtype.type(8 * part.itemsize * place) for place, _ in wanted]

    def evaluate(whole: Values) -> Any:
        parts = tuple((whole >> shift).astype(part) for shift in shifts)
        return parts if len(parts) > 1 else parts[0]

    return Operation(tuple((item, part) for _, item in wanted), ((source, dtype),), evaluate)


def _pack(target: Operand, source: Vector, dtype: np.dtype) -> Operation:
    part = np.dtype(f"u{dtype.itemsize // len(source.items)}")
    width = 8 * part.itemsize

    def evaluate(*parts: Values) -> Values:
        whole = parts[0].astype(dtype)
        for place, value in enumerate(parts[1:], 1):
            whole = whole | value.astype(dtype) << dtype.type(width * place)
        return whole

    return Operation(((target, dtype),), tuple((item, part) for item in source.items), evaluate)


def convert_types(instruction: Instruction) -> Operation:
    kinds = [m for m in instruction.modifiers if m in DTYPES]
    to, source = DTYPES[kinds[0]], DTYPES[kinds[1]]
    rounding = next((m for m in instruction.modifiers if len(m) in (2, 3) and m[0] == "r"), "")
    if source.kind == "f" and to.kind != "f" and not rounding:
        raise TypeError("a rounding is needed")
    evaluate = partial(
        convert,
        dtype=to,
        rounding=rounding,
        ftz="ftz" in instruction.modifiers,
        saturate="sat" in instruction.modifiers,
    )
    return Operation(((operand(instruction, 0), to),), ((operand(instruction, 1), source),), evaluate)


def convert_address(instruction: Instruction) -> Operation:
    """``cvta``: generic addresses are those of the spaces, but for shared ones, of which the low word counts."""
    if "shared" not in instruction.modifiers and "shared::cta" not in instruction.modifiers:
        return simple(instruction, np.copy)
    window = np.uint64(0 if "to" in instruction.modifiers else SHARED_WINDOW)
    return simple(instruction, lambda address: (address & LOW_WORD | window).astype(address.dtype))
