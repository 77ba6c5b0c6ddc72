"""Integer arithmetic of PTX, over arrays: results wrap, shifts clamp, and carries are returned.

The arguments of a function have one type (``uint32``, ``int64`` ...) unless stated otherwise; a "count" or "position"
is ``uint32``. Results are new arrays.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]
Counts = NDArray[np.uint32]
Bools = NDArray[np.bool_]

_WIDER = {np.dtype(n): np.dtype(w) for n, w in (("u2", "u4"), ("i2", "i4"), ("u4", "u8"), ("i4", "i8"))}


def bits_of(dtype: np.dtype) -> int:
    """Returns the width of ``dtype`` in bits."""
    return 8 * dtype.itemsize


def unsigned(a: Integers) -> Integers:
    """Returns the same bits as an unsigned type."""
    return a.view(f"u{a.dtype.itemsize}")


# ---- carries


def add_with_carry(a: Integers, b: Integers, carry: Bools | None = None) -> tuple[Integers, Bools]:
    """Returns ``a + b + carry`` and the carry out."""
    x, y = unsigned(a), unsigned(b)
    total = x + y
    out = total < x
    if carry is not None:
        step = carry.astype(total.dtype)
        total = total + step
        out = out | (total < step)
    return total.view(a.dtype), out


def subtract_with_borrow(a: Integers, b: Integers, borrow: Bools | None = None) -> tuple[Integers, Bools]:
    """Returns ``a - b - borrow`` and the borrow out."""
    x, y = unsigned(a), unsigned(b)
    difference = x - y
    out = x < y
    if borrow is not None:
        step = borrow.astype(difference.dtype)
        out = out | (difference < step)
        difference = difference - step
    return difference.view(a.dtype), out


# ---- products and quotients


def multiply_wide(a: Integers, b: Integers) -> Integers:
    """Returns the whole product, in twice the width."""
    wider = _WIDER[a.dtype]
    product: Integers = a.astype(wider) * b.astype(wider)
    return product


def multiply_high(a: Integers, b: Integers) -> Integers:
    """Returns the upper half of the product."""
    if a.dtype.itemsize < 8:
        return (multiply_wide(a, b) >> bits_of(a.dtype)).astype(a.dtype)
    x, y = unsigned(a), unsigned(b)
    low_mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x_low, x_high, y_low, y_high = x & low_mask, x >> half, y & low_mask, y >> half
    middle = x_high * y_low + (x_low * y_low >> half)
    other = x_low * y_high + (middle & low_mask)
    high = x_high * y_high + (middle >> half) + (other >> half)
    if a.dtype.kind == "i":
        high = high - np.where(a < 0, y, np.uint64(0)) - np.where(b < 0, x, np.uint64(0))
    upper: Integers = high.view(a.dtype)
    return upper


def multiply_24(a: Integers, b: Integers, high: bool) -> Integers:
    """Returns the product of the low 24 bits: its low 32 bits, or bits 16 to 47."""
    shift = a.dtype.type(8)
    wide = multiply_wide((a << shift) >> shift, (b << shift) >> shift)
    part: Integers = (wide >> wide.dtype.type(16 if high else 0)).astype(a.dtype)
    return part


def magnitude(a: Integers) -> Integers:
    """Returns ``|a|`` as an unsigned type, correct for the smallest number too."""
    return unsigned(np.where(a < 0, -a, a)) if a.dtype.kind == "i" else a


def divide(a: Integers, b: Integers) -> Integers:
    """Returns the quotient, rounded toward zero. Division by zero gives all ones, as on GPUs."""
    divisor = magnitude(b)
    zero = divisor == 0
    quotient = magnitude(a) // np.where(zero, divisor.dtype.type(1), divisor)
    if a.dtype.kind == "i":
        quotient = np.where((a < 0) != (b < 0), -quotient, quotient)
    return np.where(zero, ~divisor.dtype.type(0), quotient).view(a.dtype)


def remainder(a: Integers, b: Integers) -> Integers:
    """Returns ``a - b * divide(a, b)``, which has the sign of ``a``. The remainder by zero is ``a``."""
    divisor = magnitude(b)
    zero = divisor == 0
    rest = magnitude(a) % np.where(zero, divisor.dtype.type(1), divisor)
    if a.dtype.kind == "i":
        rest = np.where(a < 0, -rest, rest)
    return np.where(zero, unsigned(a), rest).view(a.dtype)


def saturating_add(a: Integers, b: Integers) -> Integers:
    """Returns the 32-bit signed sum, clamped to its range."""
    return np.clip(a.astype(np.int64) + b, -(2**31), 2**31 - 1).astype(np.int32)


# ---- shifts


def shift_left(a: Integers, count: Counts) -> Integers:
    """Returns ``a << count``; zero where ``count`` is the width or more."""
    width = bits_of(a.dtype)
    shifted = a << np.minimum(count, width - 1).astype(a.dtype)
    return np.asarray(np.where(count < width, shifted, a.dtype.type(0)))


def shift_right(a: Integers, count: Counts) -> Integers:
    """Returns ``a >> count``, filled with the sign; only the sign is left where ``count`` is the width or more."""
    width = bits_of(a.dtype)
    shifted = a >> np.minimum(count, width - 1).astype(a.dtype)
    if a.dtype.kind == "u":
        shifted = np.where(count < width, shifted, a.dtype.type(0))
    return np.asarray(shifted)


def funnel_shift(low: Integers, high: Integers, count: Counts, left: bool, wrap: bool) -> Integers:
    """Returns the upper half of ``high:low << count``, or the lower half of ``high:low >> count``."""
    both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
    by = (count & np.uint32(31) if wrap else np.minimum(count, np.uint32(32))).astype(np.uint64)
    shifted = (both << by) >> np.uint64(32) if left else both >> by
    return shifted.astype(np.uint32)


# ---- bit fields


def extract_field(a: Integers, position: Counts, length: Counts) -> Integers:
    """Returns ``length`` bits of ``a`` from ``position`` on; a signed field is extended by its top bit."""
    width = bits_of(a.dtype)
    start, size = position & np.uint32(255), length & np.uint32(255)
    x = unsigned(a)
    field = shift_right(x, start) & low_mask(size, x.dtype)
    if a.dtype.kind == "u":
        return field
    top = np.minimum(start + size - np.uint32(1), np.uint32(width - 1))
    negative = (shift_right(x, top) & x.dtype.type(1)).astype(bool) & (size > 0)
    present = np.minimum(size, np.uint32(width) - np.minimum(start, np.uint32(width)))
    return np.where(negative, field | ~low_mask(present, x.dtype), field).view(a.dtype)


def insert_field(field: Integers, base: Integers, position: Counts, length: Counts) -> Integers:
    """Returns ``base`` with ``length`` bits from ``position`` on replaced by those of ``field``."""
    start, size = position & np.uint32(255), length & np.uint32(255)
    mask = shift_left(low_mask(size, base.dtype), start)
    return base & ~mask | shift_left(field, start) & mask


def low_mask(size: Counts, dtype: np.dtype) -> Integers:
    """Returns a mask of the lowest ``size`` bits."""
    ones = ~np.zeros(size.shape, dtype)
    return ~shift_left(ones, size)


def count_ones(a: Integers) -> Counts:
    """Returns the number of bits that are one."""
    return np.bitwise_count(a).astype(np.uint32)


def count_leading_zeros(a: Integers) -> Counts:
    """Returns the number of zeros above the highest one."""
    return np.uint32(bits_of(a.dtype)) - count_ones(_smeared(a))


def _smeared(a: Integers) -> Integers:
    """Returns ``a`` with all bits below its highest one set."""
    x = a.copy()
    step = 1
    while step < bits_of(a.dtype):
        x |= x >> x.dtype.type(step)
        step *= 2
    return x


def find_highest(a: Integers, as_shift: bool) -> Counts:
    """Returns the position of the highest bit that differs from the sign; all ones where there is none.

    With ``as_shift``, returns how far ``a`` must be shifted left to move that bit to the top."""
    x = unsigned(np.where(a < 0, ~a, a)) if a.dtype.kind == "i" else a
    zeros = count_leading_zeros(x)
    top = np.uint32(bits_of(a.dtype) - 1)
    return np.where(x == 0, np.uint32(0xFFFFFFFF), zeros if as_shift else top - zeros)


def reverse_bits(a: Integers) -> Integers:
    """Returns the bits in reverse order."""
    x = np.ascontiguousarray(a)
    bits = np.unpackbits(x.view(np.uint8).reshape(-1, x.itemsize), axis=1, bitorder="little")
    return np.packbits(bits[:, ::-1], axis=1, bitorder="little").view(x.dtype)[:, 0]


# ---- operations on three words


def three_input_logic(a: Integers, b: Integers, c: Integers, table: int) -> Integers:
    """Returns, for each bit position, bit ``4a + 2b + c`` of the lookup ``table``."""
    terms = [
        (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c) for row in range(8) if table >> row & 1
    ]
    return reduce(np.bitwise_or, terms, (a ^ a) | (b ^ b) | (c ^ c))


def permute_bytes(a: Integers, b: Integers, selector: Integers) -> Integers:
    """Returns four of the eight bytes of ``b:a``, chosen by the four-bit fields of ``selector``.

    Bit 3 of a field replicates the byte's sign instead."""
    both = b.astype(np.uint64) << np.uint64(32) | a.astype(np.uint64)
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, selector.shape), np.uint32)
    for position in range(4):
        choice = selector >> np.uint32(4 * position) & np.uint32(15)
        byte = both >> (choice & np.uint32(7)).astype(np.uint64) * np.uint64(8) & np.uint64(255)
        sign = np.where(byte >= 128, np.uint64(255), np.uint64(0))
        byte = np.where(choice & np.uint32(8), sign, byte).astype(np.uint32)
        result |= byte << np.uint32(8 * position)
    return result


_PERMUTATIONS = {
    "f4e": (0x3210, 0x4321, 0x5432, 0x6543),
    "b4e": (0x5670, 0x6701, 0x7012, 0x0123),
    "rc8": (0x0000, 0x1111, 0x2222, 0x3333),
    "ecl": (0x3210, 0x3211, 0x3222, 0x3333),
    "ecr": (0x0000, 0x1110, 0x2210, 0x3210),
    "rc16": (0x1010, 0x3232, 0x1010, 0x3232),
}


def permute_bytes_by_mode(a: Integers, b: Integers, choice: Integers, mode: str) -> Integers:
    """Returns a named permutation of ``prmt``: ``choice`` selects one of four."""
    selectors = np.array(_PERMUTATIONS[mode], np.uint32)[choice & np.uint32(3)]
    return permute_bytes(a, b, selectors)
