"""The PTX instructions on integers and bits, against Python's unbounded integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.ptx_instructions import INTEGER_TYPES, bits_of, check, compute, integers, quotient, remainder, wrap


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", lambda a, b: a + b),
        ("sub", lambda a, b: a - b),
        ("mul.lo", lambda a, b: a * b),
        ("min", min),
        ("max", max),
    ],
)
def test_integer_arithmetic(dtype: str, name: str, expected: Callable[[int, int], int]) -> None:
    check(f"{name}.{dtype} %out, %a0, %a1;", dtype, [integers(dtype), integers(dtype, seed=1)], expected)


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_high_half_of_a_product(dtype: str) -> None:
    sources = [integers(dtype), integers(dtype, seed=1)]
    check(f"mul.hi.{dtype} %out, %a0, %a1;", dtype, sources, lambda a, b: a * b >> bits_of(dtype))


@pytest.mark.parametrize("dtype", ["s16", "u16", "s32", "u32"])
def test_wide_products(dtype: str) -> None:
    wide = f"{dtype[0]}{2 * bits_of(dtype)}"
    sources = [integers(dtype), integers(dtype, seed=1), integers(wide, seed=2)]
    check(f"mul.wide.{dtype} %out, %a0, %a1;", wide, sources, lambda a, b, _: a * b)
    check(f"mad.wide.{dtype} %out, %a0, %a1, %a2;", wide, sources, lambda a, b, c: a * b + c)


@pytest.mark.parametrize("dtype", ["s32", "u32", "s64", "u64"])
def test_multiply_add(dtype: str) -> None:
    sources = [integers(dtype, seed=s) for s in range(3)]
    check(f"mad.lo.{dtype} %out, %a0, %a1, %a2;", dtype, sources, lambda a, b, c: a * b + c)
    check(f"mad.hi.{dtype} %out, %a0, %a1, %a2;", dtype, sources, lambda a, b, c: (a * b >> bits_of(dtype)) + c)


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_division(dtype: str) -> None:
    divisors = integers(dtype, seed=1)
    divisors[divisors == 0] = 3
    sources = [integers(dtype), divisors]
    check(f"div.{dtype} %out, %a0, %a1;", dtype, sources, quotient)
    check(f"rem.{dtype} %out, %a0, %a1;", dtype, sources, remainder)


def test_division_by_zero_gives_a_number_and_no_error() -> None:
    zero = np.zeros(3, np.int64)
    assert (compute("div.s64 %out, %a0, %a1;", "s64", np.array([1, -1, 0]), zero) == -1).all()
    assert compute("rem.s64 %out, %a0, %a1;", "s64", np.array([7, -7, 0]), zero).tolist() == [7, -7, 0]


@pytest.mark.parametrize("dtype", ["s16", "s32", "s64"])
def test_absolute_and_negative(dtype: str) -> None:
    check(f"abs.{dtype} %out, %a0;", dtype, [integers(dtype)], abs)
    check(f"neg.{dtype} %out, %a0;", dtype, [integers(dtype)], lambda a: -a)


def test_saturating_addition() -> None:
    sources = [integers("s32"), integers("s32", seed=1)]
    check("add.sat.s32 %out, %a0, %a1;", "s32", sources, lambda a, b: min(max(a + b, -(2**31)), 2**31 - 1))
    check("sub.sat.s32 %out, %a0, %a1;", "s32", sources, lambda a, b: min(max(a - b, -(2**31)), 2**31 - 1))


def test_addition_and_subtraction_with_carries() -> None:
    sources = [integers("u64"), integers("u64", seed=1)]
    halves = "mov.b64 {%r0, %r1}, %a0; mov.b64 {%r2, %r3}, %a1;"
    text = f"{halves} {{}}.cc.u32 %r4, %r0, %r2; {{}}c.u32 %r5, %r1, %r3; mov.b64 %out, {{{{%r4, %r5}}}};"
    text = text.replace("{%r0", "{{%r0").replace("%r1}", "%r1}}").replace("{%r2", "{{%r2").replace("%r3}", "%r3}}")
    check(text.format("add", "add"), "u64", sources, lambda a, b: a + b)
    check(text.format("sub", "sub"), "u64", sources, lambda a, b: a - b)


def test_carries_reach_beyond_the_sum() -> None:
    sources = [integers("u64"), integers("u64", seed=1)]
    check("add.cc.u64 %d0, %a0, %a1; addc.u64 %out, 0, 0;", "u64", sources, lambda a, b: a + b >> 64)
    check("sub.cc.u64 %d0, %a0, %a1; subc.u64 %out, 0, 0;", "u64", sources, lambda a, b: a - b >> 64)
    check(
        "add.cc.u64 %d0, %a0, %a1; addc.cc.u64 %d1, -1, %a0; addc.u64 %out, 0, 0;",
        "u64",
        sources,
        lambda a, b: (2**64 - 1 + a + (a + b >> 64)) >> 64,
    )


def test_a_carry_passes_through_a_sum_of_all_ones() -> None:
    text = "add.cc.u64 %d0, -1, 1; not.b64 %d1, %a0; addc.cc.u64 %d2, %a0, %d1; addc.u64 %out, %d2, 0;"
    check(text, "u64", [integers("u64")], lambda a: 1)
    text = "sub.cc.u64 %d0, 0, 1; subc.cc.u64 %d2, %a0, %a0; subc.u64 %out, %d2, 0;"
    check(text, "u64", [integers("u64")], lambda a: -2)


def test_a_product_of_64_bits_from_halves() -> None:
    """The upper half of a 64 x 64 bit product, as compilers build it from 32-bit parts."""
    text = """
    mov.b64 {%r0, %r1}, %a0; mov.b64 {%r2, %r3}, %a1;
    mul.lo.u32 %r4, %r0, %r2; mul.hi.u32 %r5, %r0, %r2;
    mad.lo.cc.u32 %r5, %r0, %r3, %r5; madc.hi.u32 %r6, %r0, %r3, 0;
    mad.lo.cc.u32 %r5, %r1, %r2, %r5; madc.hi.cc.u32 %r6, %r1, %r2, %r6; madc.hi.u32 %r7, %r1, %r3, 0;
    mad.lo.cc.u32 %r6, %r1, %r3, %r6; addc.u32 %r7, %r7, 0;
    mov.b64 %out, {%r6, %r7};
    """
    check(text, "u64", [integers("u64"), integers("u64", seed=1)], lambda a, b: a * b >> 64)


def test_products_of_24_bits() -> None:
    def low24(value: int) -> int:
        value &= 0xFFFFFF
        return value - (1 << 24) if value >> 23 else value

    sources = [integers("s32"), integers("s32", seed=1)]
    check("mul24.lo.s32 %out, %a0, %a1;", "s32", sources, lambda a, b: low24(a) * low24(b))
    check("mul24.hi.s32 %out, %a0, %a1;", "s32", sources, lambda a, b: low24(a) * low24(b) >> 16)
    check("mad24.lo.s32 %out, %a0, %a1, %a0;", "s32", sources, lambda a, b: low24(a) * low24(b) + a)


def test_sum_of_absolute_difference() -> None:
    sources = [integers("s32"), integers("s32", seed=1)]
    check("sad.s32 %out, %a0, %a1, 5;", "s32", sources, lambda a, b: abs(a - b) + 5)


# ---- bits


@pytest.mark.parametrize("dtype", ["b16", "b32", "b64"])
def test_logic(dtype: str) -> None:
    plain = dtype.replace("b", "u")
    sources = [integers(plain), integers(plain, seed=1)]
    check(f"and.{dtype} %out, %a0, %a1;", plain, sources, lambda a, b: a & b)
    check(f"or.{dtype} %out, %a0, %a1;", plain, sources, lambda a, b: a | b)
    check(f"xor.{dtype} %out, %a0, %a1;", plain, sources, lambda a, b: a ^ b)
    check(f"not.{dtype} %out, %a0;", plain, sources, lambda a, _: ~a)
    check(f"cnot.{dtype} %out, %a0;", plain, sources, lambda a, _: int(a == 0))


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_shifts_beyond_the_width_clamp(dtype: str) -> None:
    counts = np.resize(np.array([0, 1, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 2**32 - 1], np.uint32), 700)
    sources = [integers(dtype), counts]
    check(f"shl.b{bits_of(dtype)} %out, %a0, %a1;", dtype, sources, lambda a, n: a << n if n < 64 else 0)
    check(f"shr.{dtype} %out, %a0, %a1;", dtype, sources, lambda a, n: a >> n)


@pytest.mark.parametrize("mode", ["clamp", "wrap"])
def test_funnel_shifts(mode: str) -> None:
    counts = np.resize(np.array([0, 1, 13, 31, 32, 33, 40, 64], np.uint32), 700)
    sources = [integers("u32"), integers("u32", seed=1), counts]

    def by(count: int) -> int:
        return count % 32 if mode == "wrap" else min(count, 32)

    check(f"shf.l.{mode}.b32 %out, %a0, %a1, %a2;", "u32", sources, lambda a, b, n: ((b << 32 | a) << by(n)) >> 32)
    check(f"shf.r.{mode}.b32 %out, %a0, %a1, %a2;", "u32", sources, lambda a, b, n: (b << 32 | a) >> by(n))


@pytest.mark.parametrize("dtype", ["s32", "u32", "s64", "u64"])
def test_bit_fields(dtype: str) -> None:
    width = bits_of(dtype)
    places = np.resize(np.array([0, 1, 7, 20, 31, 33, 60, 63, 64, 255], np.uint32), 700)
    lengths = np.resize(np.array([0, 1, 4, 8, 32, 64, 255], np.uint32), 700)
    sources = [integers(dtype), integers(dtype, seed=1), places, lengths]

    def extracted(a: int, _: int, place: int, length: int) -> int:
        # a signed number continues with its sign, whatever lies beyond the width
        a = wrap(a, dtype)
        if length == 0:
            return 0
        if dtype[0] == "u":
            return (a >> place) & ((1 << length) - 1)
        sign = a >> min(place + length - 1, width - 1) & 1
        bits = [(a >> place + i & 1) if i < length and place + i < width else sign for i in range(width)]
        return sum(bit << i for i, bit in enumerate(bits))

    def inserted(field: int, base: int, place: int, length: int) -> int:
        mask = ((1 << length) - 1) << place
        return (base & ~mask) | (field << place & mask)

    check(f"bfe.{dtype} %out, %a0, %a2, %a3;", dtype, sources, extracted)
    check(f"bfi.b{width} %out, %a0, %a1, %a2, %a3;", dtype, sources, inserted)


@pytest.mark.parametrize("width", [32, 64])
def test_counting_bits(width: int) -> None:
    plain = f"u{width}"
    values = [integers(plain)]
    check(f"popc.b{width} %out, %a0;", "u32", values, lambda a: a.bit_count())
    check(f"clz.b{width} %out, %a0;", "u32", values, lambda a: width - a.bit_length())
    check(f"bfind.u{width} %out, %a0;", "u32", values, lambda a: a.bit_length() - 1)
    check(f"bfind.shiftamt.u{width} %out, %a0;", "u32", values, lambda a: width - a.bit_length() if a else -1)
    check(f"brev.b{width} %out, %a0;", plain, values, lambda a: int(f"{a:0{width}b}"[::-1], 2))
    signed = [integers(f"s{width}")]
    check(f"bfind.s{width} %out, %a0;", "u32", signed, lambda a: (~a if a < 0 else a).bit_length() - 1)


@pytest.mark.parametrize("table", [0x00, 0x80, 0x96, 0xCA, 0xE8, 0xFF])
def test_three_input_logic(table: int) -> None:
    sources = [integers("u32", seed=s) for s in range(3)]

    def expected(a: int, b: int, c: int) -> int:
        rows = ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1) for i in range(32))
        return sum((table >> row & 1) << i for i, row in enumerate(rows))

    check(f"lop3.b32 %out, %a0, %a1, %a2, {table:#x};", "u32", sources, expected)


def test_byte_permutation() -> None:
    def picked(a: int, b: int, selector: int) -> int:
        octets = (b << 32 | a).to_bytes(8, "little")
        made = []
        for place in range(4):
            choice = selector >> 4 * place & 15
            byte = octets[choice & 7]
            made.append((255 if byte & 128 else 0) if choice & 8 else byte)
        return int.from_bytes(bytes(made), "little")

    sources = [integers("u32", seed=s) for s in range(3)]
    check("prmt.b32 %out, %a0, %a1, %a2;", "u32", sources, picked)
    check(
        "prmt.b32.rc16 %out, %a0, %a1, %a2;", "u32", sources, lambda a, b, n: picked(a, b, 0x3232 if n & 1 else 0x1010)
    )
    check("prmt.b32.f4e %out, %a0, %a1, %a2;", "u32", sources, lambda a, b, n: (b << 32 | a) >> 8 * (n & 3))
