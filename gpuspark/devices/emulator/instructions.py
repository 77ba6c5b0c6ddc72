"""What each PTX instruction computes: one line in a table for each.

An :class:`Operation` says which operands are read and written, as which types, and how the results
follow from the sources, lane by lane, as NumPy arrays. Instructions that touch memory or decide where
a thread goes next are in :mod:`.program`.

Every ``evaluate`` returns fresh arrays: registers may later be changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator import approximations, arithmetic, integers
from gpuspark.devices.emulator.conversions import convert, flushed, saturated
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.syntax import (
    CARRY,
    DTYPES,
    Arguments,
    Immediate,
    Instruction,
    Operand,
    Pair,
    Vector,
)

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


def _unknown(instruction: Instruction, problem: str) -> PtxError:
    return PtxError(instruction.line, instruction.text, problem)


# ---- forms that many instructions share


def _type(instruction: Instruction) -> np.dtype:
    """The type an instruction works on: its last one."""
    return DTYPES[next(m for m in reversed(instruction.modifiers) if m in DTYPES)]


def _operand(instruction: Instruction, place: int) -> Operand:
    operand = instruction.operands[place]
    if isinstance(operand, Arguments):
        raise TypeError(operand)
    return operand


def _simple(instruction: Instruction, evaluate: Evaluate, *kinds: np.dtype) -> Operation:
    """The first operand is the result; the others are sources of these types (or all of one type)."""
    dtype = _type(instruction)
    count = len(instruction.operands) - 1
    types = kinds or (dtype,) * count
    sources = tuple((_operand(instruction, i + 1), t) for i, t in zip(range(count), types, strict=True))
    return Operation(((_operand(instruction, 0), dtype),), sources, evaluate)


def _returns(result: np.dtype, made: Operation) -> Operation:
    return Operation(((made.results[0][0], result),), made.sources, made.evaluate)


def each(evaluate: Evaluate, *kinds: np.dtype | None) -> Builder:
    """A table entry: ``evaluate`` over sources of the instruction's type, or of ``kinds``
    (``None`` stands for the instruction's type)."""

    def build(instruction: Instruction) -> Operation:
        dtype = _type(instruction)
        return _simple(instruction, evaluate, *(kind or dtype for kind in kinds))

    return build


def _result_u32(evaluate: Evaluate) -> Builder:
    """Counts of bits are 32-bit numbers, whatever they count in."""
    return lambda instruction: _returns(U32, _simple(instruction, evaluate))


def _integer_or_float(for_integers: Builder, for_floats: Builder) -> Builder:
    return lambda instruction: (for_floats if _type(instruction).kind == "f" else for_integers)(instruction)


# ---- floating point


def _floating(name: str) -> Builder:
    """add, sub, mul, div, sqrt and fma with a rounding; without one they round to nearest."""

    def build(instruction: Instruction) -> Operation:
        modifiers, dtype = instruction.modifiers, _type(instruction)
        rounding = cast(arithmetic.Rounding, next((m for m in modifiers if m in _ROUNDED), "rn"))
        if dtype.itemsize == 2 and (rounding != "rn" or name == "fma"):
            raise TypeError("half precision")
        if rounding == "rn" and name != "fma":
            evaluate: Evaluate = _NUMPY[name]
        elif dtype == F64:
            evaluate = arithmetic.fma if rounding == "rn" else partial(arithmetic.rounded, name, rounding)
        else:
            evaluate = partial(arithmetic.rounded32, name, rounding)
        return _simple(instruction, _flushing(instruction, evaluate))

    return build


_ROUNDED = ("rn", "rz", "rm", "rp")
_NUMPY: dict[str, Evaluate] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "sqrt": np.sqrt,
}


def _flushing(instruction: Instruction, evaluate: Evaluate) -> Evaluate:
    """``evaluate`` with ``.ftz`` and ``.sat`` as the instruction has them."""
    ftz = "ftz" in instruction.modifiers and _type(instruction) == F32
    saturate = "sat" in instruction.modifiers
    if not ftz and not saturate:
        return evaluate

    def flushing(*values: Values) -> Values:
        result = flushed(evaluate(*map(flushed, values))) if ftz else evaluate(*values)
        return saturated(result) if saturate else result

    return flushing


def _reciprocal(instruction: Instruction) -> Operation:
    if "approx" in instruction.modifiers:
        return _approximate(instruction)
    made = _floating("div")(instruction)
    one: Typed = (Immediate(0x3FF0000000000000, 64), made.sources[0][1])
    return Operation(made.results, (one, *made.sources), made.evaluate)


def _approximate(instruction: Instruction) -> Operation:
    if _type(instruction) == F64:
        doubles = {"rcp": approximations.reciprocal, "rsqrt": approximations.reciprocal_root}
        return _simple(instruction, doubles[instruction.name])
    return _simple(instruction, _flushing(instruction, approximations.SINGLE[instruction.name]))


def _square_root(instruction: Instruction) -> Operation:
    return (_approximate if "approx" in instruction.modifiers else _floating("sqrt"))(instruction)


def _least(a: Values, b: Values) -> Values:
    """-0 is less than +0; a NaN loses against a number."""
    result = np.fmin(a, b)
    return np.where((a == 0) & (b == 0) & np.signbit(a), a, result)


def _greatest(a: Values, b: Values) -> Values:
    result = np.fmax(a, b)
    return np.where((a == 0) & (b == 0) & ~np.signbit(a), a, result)


def _extreme(instruction: Instruction) -> Operation:
    """min and max."""
    least = instruction.name == "min"
    if _type(instruction).kind != "f":
        return _simple(instruction, np.minimum if least else np.maximum)
    choose = _least if least else _greatest

    def with_nan(a: Values, b: Values) -> Values:
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), choose(a, b))

    evaluate = with_nan if "NaN" in instruction.modifiers else choose
    return _simple(instruction, _flushing(instruction, evaluate))


def _absolute(instruction: Instruction) -> Operation:
    return _simple(instruction, _flushing(instruction, np.abs))


def _negated(instruction: Instruction) -> Operation:
    return _simple(instruction, _flushing(instruction, np.negative))


_TESTS: dict[str, Evaluate] = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda a: ~np.isnan(a),
    "notanumber": np.isnan,
    "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
    "subnormal": lambda a: (np.abs(a) < np.finfo(a.dtype).tiny) & (a != 0),
}


def _test(instruction: Instruction) -> Operation:
    return _returns(PRED, _simple(instruction, _TESTS[instruction.modifiers[0]]))


# ---- integers


def _add(instruction: Instruction) -> Operation:
    if "sat" in instruction.modifiers:
        return _simple(instruction, integers.saturating_add)
    return _carrying(instruction, integers.add_with_carry, np.add)


def _subtract(instruction: Instruction) -> Operation:
    if "sat" in instruction.modifiers:
        return _simple(instruction, lambda a, b: integers.saturating_add(a, -b.astype(np.int64)))
    return _carrying(instruction, integers.subtract_with_borrow, np.subtract)


def _carrying(instruction: Instruction, with_carry: Evaluate, without: Evaluate) -> Operation:
    """add, sub, mad with ``.cc`` (leaves a carry) and their ``c`` forms (take one)."""
    reads, writes = instruction.name in ("addc", "subc", "madc"), "cc" in instruction.modifiers
    made = _simple(instruction, without)
    if not reads and not writes:
        return made
    sources = (*made.sources, (CARRY, PRED)) if reads else made.sources
    results = (*made.results, (CARRY, PRED)) if writes else made.results
    return Operation(results, sources, with_carry if writes else lambda *values: with_carry(*values)[0])


def _product(instruction: Instruction) -> Evaluate:
    """The half of the product that ``.lo``, ``.hi`` or ``.wide`` asks for."""
    if "wide" in instruction.modifiers:
        return integers.multiply_wide
    return integers.multiply_high if "hi" in instruction.modifiers else np.multiply


def _multiply(instruction: Instruction) -> Operation:
    made = _simple(instruction, _product(instruction))
    return _returns(_wide(_type(instruction)), made) if "wide" in instruction.modifiers else made


def _multiply_add(instruction: Instruction) -> Operation:
    product, dtype = _product(instruction), _type(instruction)

    def with_carry(a: Values, b: Values, c: Values, carry: Values | None = None) -> Any:
        return integers.add_with_carry(product(a, b), c, carry)

    if "wide" in instruction.modifiers:
        wide = _wide(dtype)
        return _returns(wide, _simple(instruction, lambda a, b, c: product(a, b) + c, dtype, dtype, wide))
    if "sat" in instruction.modifiers:
        return _simple(instruction, lambda a, b, c: integers.saturating_add(product(a, b), c))
    return _carrying(instruction, with_carry, lambda a, b, c: product(a, b) + c)


def _wide(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"{dtype.kind}{2 * dtype.itemsize}")


def _multiply_24(instruction: Instruction) -> Operation:
    high = "hi" in instruction.modifiers
    if instruction.name == "mul24":
        return _simple(instruction, lambda a, b: integers.multiply_24(a, b, high))
    return _simple(instruction, lambda a, b, c: integers.multiply_24(a, b, high) + c)


def _absolute_difference(a: Values, b: Values, c: Values) -> Values:
    return np.where(a < b, b - a, a - b) + c


def _funnel(instruction: Instruction) -> Operation:
    left, wrap = "l" in instruction.modifiers, "wrap" in instruction.modifiers
    return _simple(instruction, lambda a, b, c: integers.funnel_shift(a, b, c, left, wrap))


def _find_highest(instruction: Instruction) -> Operation:
    as_shift = "shiftamt" in instruction.modifiers
    return _returns(U32, _simple(instruction, lambda a: integers.find_highest(a, as_shift)))


def _logic(instruction: Instruction) -> Operation:
    *_, table = instruction.operands
    if not isinstance(table, Immediate):
        raise TypeError(table)
    sources = tuple((_operand(instruction, i), U32) for i in (1, 2, 3))
    evaluate = partial(integers.three_input_logic, table=table.bits)
    return Operation(((_operand(instruction, 0), U32),), sources, evaluate)


def _permute(instruction: Instruction) -> Operation:
    mode = instruction.modifiers[1:]
    evaluate = partial(integers.permute_bytes_by_mode, mode=mode[0]) if mode else integers.permute_bytes
    return _simple(instruction, evaluate)


# ---- comparing and choosing

_ORDERED: dict[str, Evaluate] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_UNORDERED = {"equ": "ne", "neu": "eq", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt"}
_JOIN: dict[str, Evaluate] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def _ordered_not_equal(a: Values, b: Values) -> Values:
    return (a < b) | (a > b)


def _comparison(name: str, floating: bool) -> Evaluate:
    """The comparison of that name. An ordered one is false where a NaN takes part, the others true."""
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name in _UNORDERED:  # the opposite of an ordered comparison
        opposite = _comparison(_UNORDERED[name], floating)
        return lambda a, b: ~opposite(a, b)
    if name == "ne" and floating:
        return _ordered_not_equal
    return _ORDERED[_UNSIGNED.get(name, name)]


def _comparing(instruction: Instruction) -> tuple[tuple[Typed, ...], Evaluate]:
    """The sources of setp or set, and a function of them that gives (condition, its opposite)."""
    dtype = _type(instruction)
    compare = _comparison(instruction.modifiers[0], dtype.kind == "f")
    if "ftz" in instruction.modifiers:
        exact = compare

        def compare(a: Values, b: Values) -> Values:
            return exact(flushed(a), flushed(b))

    sources: tuple[Typed, ...] = ((_operand(instruction, 1), dtype), (_operand(instruction, 2), dtype))
    join = next((_JOIN[m] for m in instruction.modifiers if m in _JOIN), None)
    if join is None:
        return sources, lambda a, b: _with_opposite(compare(a, b))
    joined = join

    def evaluate(a: Values, b: Values, c: Values) -> tuple[Values, Values]:
        condition = compare(a, b)
        return joined(condition, c), joined(~condition, c)

    return (*sources, (_operand(instruction, 3), PRED)), evaluate


def _with_opposite(condition: Values) -> tuple[Values, Values]:
    return condition, ~condition


def _set_predicate(instruction: Instruction) -> Operation:
    sources, evaluate = _comparing(instruction)
    first = _operand(instruction, 0)
    if isinstance(first, Pair):
        return Operation(((first.first, PRED), (first.second, PRED)), sources, evaluate)
    return Operation(((first, PRED),), sources, lambda *values: evaluate(*values)[0])


def _set_number(instruction: Instruction) -> Operation:
    """``set``: all ones or zero; in a float type 1.0 or 0.0."""
    sources, evaluate = _comparing(instruction)
    kinds = [m for m in instruction.modifiers if m in DTYPES]
    result = DTYPES[kinds[0]]
    true = result.type(1.0) if result.kind == "f" else np.uint32(0xFFFFFFFF).astype(result)

    def numbers(*values: Values) -> Values:
        return np.where(evaluate(*values)[0], true, result.type(0))

    return Operation(((_operand(instruction, 0), result),), sources, numbers)


def _select(instruction: Instruction) -> Operation:
    dtype = _type(instruction)
    return _simple(instruction, lambda a, b, p: np.where(p, a, b), dtype, dtype, PRED)


def _select_by_sign(instruction: Instruction) -> Operation:
    kinds = [DTYPES[m] for m in instruction.modifiers if m in DTYPES]
    made = _simple(instruction, lambda a, b, c: np.where(c >= 0, a, b), kinds[0], kinds[0], kinds[1])
    return _returns(kinds[0], made)


# ---- moving and converting


def _move(instruction: Instruction) -> Operation:
    target, source = _operand(instruction, 0), _operand(instruction, 1)
    dtype = _type(instruction)
    if isinstance(target, Vector):
        return _unpack(target, source, dtype)
    if isinstance(source, Vector):
        return _pack(target, source, dtype)
    return _simple(instruction, np.copy)


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


def _convert(instruction: Instruction) -> Operation:
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
    return Operation(((_operand(instruction, 0), to),), ((_operand(instruction, 1), source),), evaluate)


_ROUNDINGS = "rn rz rm rp ftz sat"
_ADDRESS_SPACES = "to global const local param"
_COMPARISONS = " ".join((*_ORDERED, *_UNSIGNED, *_UNORDERED, *_JOIN, "num nan ftz"))

TABLE: dict[str, tuple[Builder, frozenset[str]]] = {
    name: (build, frozenset(modifiers.split()))
    for name, build, modifiers in cast(
        "list[tuple[str, Builder, str]]",
        [
            # floating point, and what integers share with it
            ("add", _integer_or_float(_add, _floating("add")), _ROUNDINGS + " cc"),
            ("sub", _integer_or_float(_subtract, _floating("sub")), _ROUNDINGS + " cc"),
            ("mul", _integer_or_float(_multiply, _floating("mul")), _ROUNDINGS + " lo hi wide"),
            ("mad", _integer_or_float(_multiply_add, _floating("fma")), _ROUNDINGS + " lo hi wide cc"),
            ("div", _integer_or_float(each(integers.divide), _floating("div")), _ROUNDINGS + " full approx"),
            ("fma", _floating("fma"), _ROUNDINGS),
            ("sqrt", _square_root, _ROUNDINGS + " approx"),
            ("rcp", _reciprocal, _ROUNDINGS + " approx"),
            ("rsqrt", _approximate, "approx ftz"),
            ("sin", _approximate, "approx ftz"),
            ("cos", _approximate, "approx ftz"),
            ("lg2", _approximate, "approx ftz"),
            ("ex2", _approximate, "approx ftz"),
            ("tanh", _approximate, "approx"),
            ("min", _extreme, "ftz NaN"),
            ("max", _extreme, "ftz NaN"),
            ("abs", _absolute, "ftz"),
            ("neg", _negated, "ftz"),
            ("testp", _test, " ".join(_TESTS)),
            ("copysign", each(lambda sign, size: np.copysign(size, sign)), ""),
            # integers
            ("addc", _add, "cc"),
            ("subc", _subtract, "cc"),
            ("madc", _multiply_add, "lo hi cc"),
            ("mul24", _multiply_24, "lo hi"),
            ("mad24", _multiply_24, "lo hi"),
            ("rem", each(integers.remainder), ""),
            ("sad", each(_absolute_difference), ""),
            # bits
            ("and", each(np.bitwise_and), ""),
            ("or", each(np.bitwise_or), ""),
            ("xor", each(np.bitwise_xor), ""),
            ("not", each(np.invert), ""),
            ("cnot", each(lambda a: (a == 0).astype(a.dtype)), ""),
            ("lop3", _logic, ""),
            ("shl", each(integers.shift_left, None, U32), ""),
            ("shr", each(integers.shift_right, None, U32), ""),
            ("shf", _funnel, "l r clamp wrap"),
            ("bfe", each(integers.extract_field, None, U32, U32), ""),
            ("bfi", each(integers.insert_field, None, None, U32, U32), ""),
            ("bfind", _find_highest, "shiftamt"),
            ("brev", each(integers.reverse_bits), ""),
            ("clz", _result_u32(integers.count_leading_zeros), ""),
            ("popc", _result_u32(integers.count_ones), ""),
            ("prmt", _permute, "f4e b4e rc8 ecl ecr rc16"),
            # comparing, choosing, moving
            ("setp", _set_predicate, _COMPARISONS),
            ("set", _set_number, _COMPARISONS),
            ("selp", _select, ""),
            ("slct", _select_by_sign, "ftz"),
            ("mov", _move, ""),
            ("cvt", _convert, "rn rz rm rp rni rzi rmi rpi ftz sat"),
            ("cvta", each(np.copy), _ADDRESS_SPACES),
        ],
    )
}
"""Every instruction that only computes: its name, how to build it, and the modifiers it may have."""
