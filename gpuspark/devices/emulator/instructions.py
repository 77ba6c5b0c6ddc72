"""The table of what each PTX instruction computes, one line for each.

Instructions that access memory or change the control flow are in :mod:`.program`, those by which threads cooperate in
:mod:`.collective_operations`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuspark.devices.emulator import choice_operations as choices
from gpuspark.devices.emulator import float_operations as floats
from gpuspark.devices.emulator import integer_operations as whole
from gpuspark.devices.emulator import integers
from gpuspark.devices.emulator import move_operations as moves
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.float_operations import floating
from gpuspark.devices.emulator.operations import U32, Builder, Operation, counting, elementwise
from gpuspark.devices.emulator.operations import integer_or_float as either
from gpuspark.devices.emulator.syntax import DTYPES, Instruction


def operation(instruction: Instruction) -> Operation:
    """Returns what ``instruction`` computes. Raises :class:`~.faults.PtxError` if the emulator does not know it."""
    entry = TABLE.get(instruction.name)
    if entry is None:
        raise _unknown(instruction, "the emulator does not know this instruction")
    for modifier in instruction.modifiers:
        if modifier not in DTYPES and modifier not in entry.modifiers:
            raise _unknown(instruction, f"the emulator does not know .{modifier} here")
    if len(instruction.operands) not in entry.operand_counts:
        raise _unknown(instruction, f"it should have {' or '.join(map(str, entry.operand_counts))} operands")
    try:
        return entry.build(instruction)
    except (IndexError, KeyError, StopIteration, TypeError) as error:
        raise _unknown(instruction, "the emulator does not know this form of the instruction") from error


@dataclass(frozen=True)
class _Entry:
    """One instruction: the function that builds its operation, and its valid operand counts and modifiers."""

    build: Builder
    operand_counts: tuple[int, ...]
    modifiers: frozenset[str]


def _entry(build: Builder, operands: int | tuple[int, ...], modifiers: str = "") -> _Entry:
    """Returns a row of the table. ``operands`` are the valid counts; ``modifiers`` are separated by spaces."""
    counts = (operands,) if isinstance(operands, int) else operands
    return _Entry(build, counts, frozenset(modifiers.split()))


def _unknown(instruction: Instruction, problem: str) -> PtxError:
    return PtxError(instruction.line, instruction.text, problem)


_ROUNDINGS = "rn rz rm rp ftz sat"
_ADDRESS_SPACES = "to global const local param shared shared::cta"
_COMPARISONS = " ".join(
    (*choices.ORDERED, *choices.UNSIGNED, *choices.UNORDERED, *choices.BOOLEAN_OPERATIONS, "num nan ftz")
)

TABLE: dict[str, _Entry] = {
    # floating point, and the instructions that integers share with it
    "add": _entry(either(whole.add, floating("add")), 3, _ROUNDINGS + " cc"),
    "sub": _entry(either(whole.subtract, floating("sub")), 3, _ROUNDINGS + " cc"),
    "mul": _entry(either(whole.multiply, floating("mul")), 3, _ROUNDINGS + " lo hi wide"),
    "mad": _entry(either(whole.multiply_add, floating("fma")), 4, _ROUNDINGS + " lo hi wide cc"),
    "div": _entry(either(elementwise(integers.divide), floating("div")), 3, _ROUNDINGS + " full approx"),
    "fma": _entry(floating("fma"), 4, _ROUNDINGS),
    "sqrt": _entry(floats.square_root, 2, _ROUNDINGS + " approx"),
    "rcp": _entry(floats.reciprocal, 2, _ROUNDINGS + " approx"),
    "rsqrt": _entry(floats.approximate, 2, "approx ftz"),
    "sin": _entry(floats.approximate, 2, "approx ftz"),
    "cos": _entry(floats.approximate, 2, "approx ftz"),
    "lg2": _entry(floats.approximate, 2, "approx ftz"),
    "ex2": _entry(floats.approximate, 2, "approx ftz"),
    "tanh": _entry(floats.approximate, 2, "approx"),
    "min": _entry(floats.extreme, 3, "ftz NaN"),
    "max": _entry(floats.extreme, 3, "ftz NaN"),
    "abs": _entry(floats.absolute, 2, "ftz"),
    "neg": _entry(floats.negated, 2, "ftz"),
    "testp": _entry(floats.test_property, 2, " ".join(floats.PROPERTIES)),
    "copysign": _entry(elementwise(lambda sign, size: np.copysign(size, sign)), 3),
    # integers
    "addc": _entry(whole.add, 3, "cc"),
    "subc": _entry(whole.subtract, 3, "cc"),
    "madc": _entry(whole.multiply_add, 4, "lo hi cc"),
    "mul24": _entry(whole.multiply_24, 3, "lo hi"),
    "mad24": _entry(whole.multiply_24, 4, "lo hi"),
    "rem": _entry(elementwise(integers.remainder), 3),
    "sad": _entry(elementwise(whole.absolute_difference), 4),
    # bits
    "and": _entry(elementwise(np.bitwise_and), 3),
    "or": _entry(elementwise(np.bitwise_or), 3),
    "xor": _entry(elementwise(np.bitwise_xor), 3),
    "not": _entry(elementwise(np.invert), 2),
    "cnot": _entry(elementwise(lambda a: (a == 0).astype(a.dtype)), 2),
    "lop3": _entry(whole.three_input_logic, 5),
    "shl": _entry(elementwise(integers.shift_left, None, U32), 3),
    "shr": _entry(elementwise(integers.shift_right, None, U32), 3),
    "shf": _entry(whole.funnel_shift, 4, "l r clamp wrap"),
    "bfe": _entry(elementwise(integers.extract_field, None, U32, U32), 4),
    "bfi": _entry(elementwise(integers.insert_field, None, None, U32, U32), 5),
    "bfind": _entry(whole.find_highest, 2, "shiftamt"),
    "brev": _entry(elementwise(integers.reverse_bits), 2),
    "clz": _entry(counting(integers.count_leading_zeros), 2),
    "popc": _entry(counting(integers.count_ones), 2),
    "prmt": _entry(whole.permute_bytes, 4, "f4e b4e rc8 ecl ecr rc16"),
    # comparing, choosing, moving
    "setp": _entry(choices.set_predicate, (3, 4), _COMPARISONS),
    "set": _entry(choices.set_number, (3, 4), _COMPARISONS),
    "selp": _entry(choices.select, 4),
    "slct": _entry(choices.select_by_sign, 4, "ftz"),
    "mov": _entry(moves.move, 2),
    "cvt": _entry(moves.convert_types, 2, "rn rz rm rp rni rzi rmi rpi ftz sat"),
    "cvta": _entry(moves.convert_address, 2, _ADDRESS_SPACES),
}
"""Every instruction that only computes, by its name."""
