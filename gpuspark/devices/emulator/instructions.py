"""What each PTX instruction computes: one line in a table for each.

Instructions that touch memory or decide where a thread goes next are in :mod:`.program`.
"""

from __future__ import annotations

import numpy as np

from gpuspark.devices.emulator import choice_operations as choices
from gpuspark.devices.emulator import float_operations as floats
from gpuspark.devices.emulator import integer_operations as whole
from gpuspark.devices.emulator import integers
from gpuspark.devices.emulator import move_operations as moves
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.float_operations import floating
from gpuspark.devices.emulator.operations import U32, Builder, Operation, counting, each
from gpuspark.devices.emulator.operations import integer_or_float as either
from gpuspark.devices.emulator.syntax import DTYPES, Instruction


def operation(instruction: Instruction) -> Operation:
    """What ``instruction`` computes. Raises :class:`~.faults.PtxError` if that is not known."""
    entry = TABLE.get(instruction.name)
    if entry is None:
        raise _unknown(instruction, "the emulator does not know this instruction")
    build, allowed = entry
    for modifier in instruction.modifiers:
        if modifier not in DTYPES and modifier not in allowed:
            raise _unknown(instruction, f"the emulator does not know .{modifier} here")
    try:
        return build(instruction)
    except (IndexError, KeyError, TypeError) as error:
        raise _unknown(instruction, "the emulator does not know this form of the instruction") from error


def _entry(build: Builder, modifiers: str = "") -> tuple[Builder, frozenset[str]]:
    return build, frozenset(modifiers.split())


def _unknown(instruction: Instruction, problem: str) -> PtxError:
    return PtxError(instruction.line, instruction.text, problem)


_ROUNDINGS = "rn rz rm rp ftz sat"
_ADDRESS_SPACES = "to global const local param"
_COMPARISONS = " ".join(
    (*choices.ORDERED, *choices.UNSIGNED, *choices.UNORDERED, *choices.JOIN, "num nan ftz")
)

TABLE: dict[str, tuple[Builder, frozenset[str]]] = {
    # floating point, and what integers share with it
    "add": _entry(either(whole.add, floating("add")), _ROUNDINGS + " cc"),
    "sub": _entry(either(whole.subtract, floating("sub")), _ROUNDINGS + " cc"),
    "mul": _entry(either(whole.multiply, floating("mul")), _ROUNDINGS + " lo hi wide"),
    "mad": _entry(either(whole.multiply_add, floating("fma")), _ROUNDINGS + " lo hi wide cc"),
    "div": _entry(either(each(integers.divide), floating("div")), _ROUNDINGS + " full approx"),
    "fma": _entry(floating("fma"), _ROUNDINGS),
    "sqrt": _entry(floats.square_root, _ROUNDINGS + " approx"),
    "rcp": _entry(floats.reciprocal, _ROUNDINGS + " approx"),
    "rsqrt": _entry(floats.approximate, "approx ftz"),
    "sin": _entry(floats.approximate, "approx ftz"),
    "cos": _entry(floats.approximate, "approx ftz"),
    "lg2": _entry(floats.approximate, "approx ftz"),
    "ex2": _entry(floats.approximate, "approx ftz"),
    "tanh": _entry(floats.approximate, "approx"),
    "min": _entry(floats.extreme, "ftz NaN"),
    "max": _entry(floats.extreme, "ftz NaN"),
    "abs": _entry(floats.absolute, "ftz"),
    "neg": _entry(floats.negated, "ftz"),
    "testp": _entry(floats.test_property, " ".join(floats.PROPERTIES)),
    "copysign": _entry(each(lambda sign, size: np.copysign(size, sign))),
    # integers
    "addc": _entry(whole.add, "cc"),
    "subc": _entry(whole.subtract, "cc"),
    "madc": _entry(whole.multiply_add, "lo hi cc"),
    "mul24": _entry(whole.multiply_24, "lo hi"),
    "mad24": _entry(whole.multiply_24, "lo hi"),
    "rem": _entry(each(integers.remainder)),
    "sad": _entry(each(whole.absolute_difference)),
    # bits
    "and": _entry(each(np.bitwise_and)),
    "or": _entry(each(np.bitwise_or)),
    "xor": _entry(each(np.bitwise_xor)),
    "not": _entry(each(np.invert)),
    "cnot": _entry(each(lambda a: (a == 0).astype(a.dtype))),
    "lop3": _entry(whole.three_input_logic),
    "shl": _entry(each(integers.shift_left, None, U32)),
    "shr": _entry(each(integers.shift_right, None, U32)),
    "shf": _entry(whole.funnel_shift, "l r clamp wrap"),
    "bfe": _entry(each(integers.extract_field, None, U32, U32)),
    "bfi": _entry(each(integers.insert_field, None, None, U32, U32)),
    "bfind": _entry(whole.find_highest, "shiftamt"),
    "brev": _entry(each(integers.reverse_bits)),
    "clz": _entry(counting(integers.count_leading_zeros)),
    "popc": _entry(counting(integers.count_ones)),
    "prmt": _entry(whole.permute_bytes, "f4e b4e rc8 ecl ecr rc16"),
    # comparing, choosing, moving
    "setp": _entry(choices.set_predicate, _COMPARISONS),
    "set": _entry(choices.set_number, _COMPARISONS),
    "selp": _entry(choices.select),
    "slct": _entry(choices.select_by_sign, "ftz"),
    "mov": _entry(moves.move),
    "cvt": _entry(moves.convert_types, "rn rz rm rp rni rzi rmi rpi ftz sat"),
    "cvta": _entry(each(np.copy), _ADDRESS_SPACES),
}
"""Every instruction that only computes: its name, how to build it, and the modifiers it may have."""
