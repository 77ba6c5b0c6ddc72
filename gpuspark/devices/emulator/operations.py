"""What an instruction computes, as plain data, and the forms that many instructions share.

Every ``evaluate`` returns fresh arrays: registers may later be changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.syntax import DTYPES, Arguments, Instruction, Operand

Values = NDArray[Any]
Evaluate = Callable[..., Any]
Typed = tuple[Operand | None, "np.dtype[Any]"]

PRED, U32, S32, F32, F64 = (DTYPES[name] for name in ("pred", "u32", "s32", "f32", "f64"))


@dataclass(frozen=True)
class Operation:
    """``results = evaluate(*sources)``. ``evaluate`` returns a tuple where there are several results."""

    results: tuple[Typed, ...]
    sources: tuple[Typed, ...]
    evaluate: Evaluate


Builder = Callable[[Instruction], Operation]


def type_of(instruction: Instruction) -> np.dtype:
    """The type an instruction works on: its last one."""
    return DTYPES[next(m for m in reversed(instruction.modifiers) if m in DTYPES)]


def operand(instruction: Instruction, place: int) -> Operand:
    operand = instruction.operands[place]
    if isinstance(operand, Arguments):
        raise TypeError(operand)
    return operand


def simple(instruction: Instruction, evaluate: Evaluate, *kinds: np.dtype) -> Operation:
    """The first operand is the result; the others are sources of these types (or all of one type)."""
    dtype = type_of(instruction)
    count = len(instruction.operands) - 1
    types = kinds or (dtype,) * count
    sources = tuple((operand(instruction, i + 1), t) for i, t in zip(range(count), types, strict=True))
    return Operation(((operand(instruction, 0), dtype),), sources, evaluate)


def returning(result: np.dtype, made: Operation) -> Operation:
    return Operation(((made.results[0][0], result),), made.sources, made.evaluate)


def each(evaluate: Evaluate, *kinds: np.dtype | None) -> Builder:
    """A table entry: ``evaluate`` over sources of the instruction's type, or of ``kinds``
    (``None`` stands for the instruction's type)."""

    def build(instruction: Instruction) -> Operation:
        dtype = type_of(instruction)
        return simple(instruction, evaluate, *(kind or dtype for kind in kinds))

    return build


def counting(evaluate: Evaluate) -> Builder:
    """Counts of bits are 32-bit numbers, whatever they count in."""
    return lambda instruction: returning(U32, simple(instruction, evaluate))


def integer_or_float(for_integers: Builder, for_floats: Builder) -> Builder:
    return lambda instruction: (for_floats if type_of(instruction).kind == "f" else for_integers)(instruction)
