"""What an instruction computes, as plain data, and builders that many instructions share.

Every ``evaluate`` returns new arrays, because registers may later be changed in place.
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
"""An operand and the type in which the instruction reads or writes it."""

PRED, U32, S32, F32, F64 = (DTYPES[name] for name in ("pred", "u32", "s32", "f32", "f64"))


@dataclass(frozen=True)
class Operation:
    """``results = evaluate(*sources)``. ``evaluate`` returns a tuple where there are several results."""

    results: tuple[Typed, ...]
    sources: tuple[Typed, ...]
    evaluate: Evaluate


Builder = Callable[[Instruction], Operation]
"""Returns the operation of an instruction."""


def type_of(instruction: Instruction) -> np.dtype:
    """Returns the type that an instruction works on: the last one among its modifiers."""
    return DTYPES[next(m for m in reversed(instruction.modifiers) if m in DTYPES)]


def operand(instruction: Instruction, number: int) -> Operand:
    """Returns the operand ``number``. Raises ``TypeError`` for a list of arguments."""
    operand = instruction.operands[number]
    if isinstance(operand, Arguments):
        raise TypeError(operand)
    return operand


def simple(instruction: Instruction, evaluate: Evaluate, *source_types: np.dtype) -> Operation:
    """Returns an operation whose result is the first operand and whose sources are the others.

    The sources have ``source_types``, or all the instruction's type."""
    dtype = type_of(instruction)
    count = len(instruction.operands) - 1
    types = source_types or (dtype,) * count
    sources = tuple((operand(instruction, i + 1), t) for i, t in zip(range(count), types, strict=True))
    return Operation(((operand(instruction, 0), dtype),), sources, evaluate)


def returning(result_type: np.dtype, operation: Operation) -> Operation:
    """Returns ``operation`` with a result of ``result_type``."""
    return Operation(((operation.results[0][0], result_type),), operation.sources, operation.evaluate)


def elementwise(evaluate: Evaluate, *source_types: np.dtype | None) -> Builder:
    """Returns a builder that applies ``evaluate`` to sources of ``source_types``.

    ``None``, the default for all sources, stands for the instruction's type."""

    def build(instruction: Instruction) -> Operation:
        dtype = type_of(instruction)
        return simple(instruction, evaluate, *(source_type or dtype for source_type in source_types))

    return build


def counting(evaluate: Evaluate) -> Builder:
    """Returns a builder for a count of bits, which is a u32 for every source type."""
    return lambda instruction: returning(U32, simple(instruction, evaluate))


def integer_or_float(for_integers: Builder, for_floats: Builder) -> Builder:
    """Returns a builder that chooses one of two by the instruction's type."""
    return lambda instruction: (for_floats if type_of(instruction).kind == "f" else for_integers)(instruction)
