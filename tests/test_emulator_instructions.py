"""Each instruction of the table, run from PTX text, against Python's own unbounded integers and fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.instructions import TABLE
from gpuspark.devices.emulator.syntax import DTYPES
from gpuspark.devices.protocol import Pointer, Program

Array = NDArray[Any]
HEADER = ".version 8.0\n.target sm_75\n.address_size 64\n"


def compute(text: str, result: str, *sources: Array) -> Array:
    """Runs ``text`` for each row. It finds the sources in ``%a0``, ``%a1`` ... and leaves ``%out``."""
    kinds = [next(k for k, d in DTYPES.items() if d == s.dtype and k[0] in "usf") for s in sources]
    names = [f"p{i}" for i in range(len(sources))]
    registers = [("b16" if k in ("u8", "s8") else k.replace("s", "b").replace("u", "b")) for k in kinds]
    out = "b16" if result in ("u8", "s8") else result
    lines = [
        HEADER,
        f".visible .entry k({', '.join(f'.param .u64 {n}' for n in [*names, 'po', 'count'])}) {{",
        ".reg .b64 %i, %n, %x<8>; .reg .b32 %t<4>; .reg .pred %done, %p, %q;",
        ".reg .b32 %r<10>; .reg .b64 %d<10>; .reg .b16 %h<6>; .reg .f32 %f<6>; .reg .f64 %g<6>;",
        *(f".reg .{r} %a{i};" for i, r in enumerate(registers)),
        f".reg .{out} %out;",
        "mov.u32 %t0, %tid.x; mov.u32 %t1, %ctaid.x; mov.u32 %t2, %ntid.x; mad.lo.u32 %t3, %t1, %t2, %t0;",
        "cvt.u64.u32 %i, %t3; ld.param.u64 %n, [count]; setp.ge.u64 %done, %i, %n; @%done ret;",
    ]
    for i, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        lines += [
            f"ld.param.u64 %x0, [{name}]; cvta.to.global.u64 %x0, %x0;",
            f"mul.lo.u64 %x1, %i, {DTYPES[kind].itemsize}; add.u64 %x2, %x0, %x1;",
            f"ld.global.{kind} %a{i}, [%x2];",
        ]
    lines += [
        text,
        f"ld.param.u64 %x0, [po]; mul.lo.u64 %x1, %i, {DTYPES[result].itemsize}; add.u64 %x2, %x0, %x1;",
        f"st.global.{result} [%x2], %out; ret; }}",
    ]
    device = EmulatedDevice(1 << 24)
    count = len(sources[0])
    handles = [device.copy_in(np.ascontiguousarray(s).view(np.uint8)) for s in sources]
    target = device.allocate(count * DTYPES[result].itemsize)
    program = Program("ptx", "\n".join(lines).encode(), "k", "k")
    device.launch(program, [*map(Pointer, handles), Pointer(target)], count)
    return device.copy_out(target).view(DTYPES[result])


def integers(dtype: str, count: int = 400, seed: int = 0) -> Array:
    """Random numbers of the type, small ones, and its extremes."""
    kind = DTYPES[dtype]
    info = np.iinfo(kind)
    random = np.random.default_rng(seed)
    anything = random.integers(info.min, info.max, count, dtype=kind, endpoint=True)
    small = random.integers(max(info.min, -9), 40, count // 2, dtype=kind)
    ends = random.permutation(np.resize(np.array([info.min, info.max, 0, 1, info.max - 1], kind), count // 4))
    return random.permutation(np.concatenate([anything, small, ends]))


def wrap(value: int, dtype: str) -> int:
    """``value`` as the type holds it."""
    bits = 8 * DTYPES[dtype].itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype[0] == "s" and value >> (bits - 1) else value


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def check(text: str, result: str, sources: Sequence[Array], expected: Callable[..., int | float]) -> None:
    """Every row of ``text`` is what ``expected`` says of the row's Python numbers."""
    got = compute(text, result, *sources)
    rows = list(zip(*(s.tolist() for s in sources), strict=True))
    wanted = [expected(*row) for row in rows]
    if DTYPES[result].kind != "f":
        wanted = [wrap(int(w), result) for w in wanted]
    same = [g == w or (g != g and w != w) for g, w in zip(got.tolist(), wanted, strict=True)]
    assert all(same), [(rows[i], got[i], wanted[i]) for i, ok in enumerate(same) if not ok][:5]


def bits_of(dtype: str) -> int:
    return 8 * DTYPES[dtype].itemsize


def quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int) -> int:
    return abs(a) % abs(b) * (1 if a >= 0 else -1)


INTEGER_TYPES = ["s16", "u16", "s32", "u32", "s64", "u64"]


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
    check("add.cc.u64 %d0, %a0, %a1; addc.cc.u64 %d1, -1, %a0; addc.u64 %out, 0, 0;", "u64", sources,
          lambda a, b: (2**64 - 1 + a + (a + b >> 64)) >> 64)  # fmt: skip


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

    check(f"shf.l.{mode}.b32 %out, %a0, %a1, %a2;", "u32", sources,
          lambda a, b, n: ((b << 32 | a) << by(n)) >> 32)  # fmt: skip
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
    check("prmt.b32.rc16 %out, %a0, %a1, %a2;", "u32", sources,
          lambda a, b, n: picked(a, b, 0x3232 if n & 1 else 0x1010))  # fmt: skip
    check("prmt.b32.f4e %out, %a0, %a1, %a2;", "u32", sources,
          lambda a, b, n: (b << 32 | a) >> 8 * (n & 3))  # fmt: skip


# ---- comparing and choosing

DOUBLES = np.array([0.0, -0.0, 1.0, -1.5, 2.0, math.inf, -math.inf, math.nan, 5e-324, 1e308])
PAIRS = [np.repeat(DOUBLES, len(DOUBLES)), np.tile(DOUBLES, len(DOUBLES))]
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a < b or a > b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def unordered(a: float, b: float) -> bool:
    return math.isnan(a) or math.isnan(b)


@pytest.mark.parametrize("name", sorted(COMPARE))
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_comparing_floats(name: str, dtype: str) -> None:
    sources = [p.astype(DTYPES[dtype]) for p in PAIRS]
    text = "setp.{}.{} %p, %a0, %a1; selp.u32 %out, 1, 0, %p;"
    check(text.format(name, dtype), "u32", sources, COMPARE[name])
    check(text.format(name + "u", dtype), "u32", sources, lambda a, b: COMPARE[name](a, b) or unordered(a, b))


def test_comparing_for_numbers() -> None:
    text = "setp.{}.f64 %p, %a0, %a1; selp.u32 %out, 1, 0, %p;"
    check(text.format("num"), "u32", PAIRS, lambda a, b: not unordered(a, b))
    check(text.format("nan"), "u32", PAIRS, unordered)


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_comparing_integers(dtype: str) -> None:
    sources = [integers(dtype), integers(dtype, seed=1)]
    for name, expected in COMPARE.items():
        check(f"setp.{name}.{dtype} %p, %a0, %a1; selp.u32 %out, 1, 0, %p;", "u32", sources, expected)


def test_unsigned_comparisons_by_their_own_names() -> None:
    sources = [integers("u32"), integers("u32", seed=1)]
    for name, like in {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.items():
        check(f"setp.{name}.u32 %p, %a0, %a1; selp.u32 %out, 1, 0, %p;", "u32", sources, COMPARE[like])


@pytest.mark.parametrize("join", ["and", "or", "xor"])
def test_comparing_with_another_predicate(join: str) -> None:
    text = f"""
    setp.gt.s32 %q, %a2, 0;
    setp.lt.{join}.s32 %p|%done, %a0, %a1, !%q;
    selp.u32 %r0, 1, 0, %p; selp.u32 %r1, 2, 0, %done; or.b32 %out, %r0, %r1;
    """
    joined: dict[str, Callable[[bool, bool], bool]] = {
        "and": lambda x, y: x and y,
        "or": lambda x, y: x or y,
        "xor": lambda x, y: x != y,
    }

    def expected(a: int, b: int, c: int) -> int:
        return int(joined[join](a < b, not c > 0)) + 2 * int(joined[join](not a < b, not c > 0))

    check(text, "u32", [integers("s32", seed=s) for s in range(3)], expected)


def test_comparing_into_a_number() -> None:
    check("set.lt.u32.f64 %out, %a0, %a1;", "u32", PAIRS, lambda a, b: -1 if a < b else 0)
    check("set.geu.f32.f64 %out, %a0, %a1;", "f32", PAIRS, lambda a, b: float(a >= b or unordered(a, b)))


def test_choosing() -> None:
    check("setp.lt.f64 %p, %a0, %a1; selp.f64 %out, %a0, 0d3FF0000000000000, %p;", "f64", PAIRS,
          lambda a, b: a if a < b else 1.0)  # fmt: skip
    check("cvt.rn.f32.f64 %f0, %a1; slct.f64.f32 %out, %a0, 0d3FF0000000000000, %f0;", "f64", PAIRS,
          lambda a, b: a if b >= 0 else 1.0)  # fmt: skip
    signed = [integers("s32"), integers("s32", seed=1)]
    check("slct.s32.s32 %out, %a0, 7, %a1;", "s32", signed, lambda a, b: a if b >= 0 else 7)


def test_predicates_are_values_too() -> None:
    text = """
    setp.lt.s32 %p, %a0, 0; setp.lt.s32 %q, %a1, 0;
    and.pred %done, %p, %q; not.pred %done, %done; xor.pred %p, %p, %done; mov.pred %q, %p;
    selp.u32 %out, 1, 0, %q;
    """
    check(text, "u32", [integers("s32"), integers("s32", seed=1)],
          lambda a, b: (a < 0) != (not (a < 0 and b < 0)))  # fmt: skip


# ---- floating point


def single(value: float) -> float:
    return float(np.float32(value))


def least(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    return min((a, b), key=lambda v: (v, math.copysign(1, v)))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_least_and_greatest(dtype: str) -> None:
    sources = [p.astype(DTYPES[dtype]) for p in PAIRS]
    for name, sign in (("min", 1), ("max", -1)):
        got = compute(f"{name}.{dtype} %out, %a0, %a1;", dtype, *sources)
        for g, a, b in zip(got.tolist(), *(s.tolist() for s in sources), strict=True):
            wanted = sign * least(sign * a, sign * b)
            assert repr(g) == repr(wanted), (name, a, b, g, wanted)
        check(f"{name}.NaN.{dtype} %out, %a0, %a1;", dtype, sources,
              lambda a, b, s=sign: math.nan if unordered(a, b) else s * least(s * a, s * b))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function"),
    [("add.rn", np.add), ("sub.rn", np.subtract), ("mul.rn", np.multiply), ("div.rn", np.divide)],
)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_ieee_arithmetic(name: str, function: np.ufunc, dtype: str) -> None:
    sources = [p.astype(DTYPES[dtype]) for p in PAIRS]
    with np.errstate(all="ignore"):
        wanted = function(*sources)
    np.testing.assert_array_equal(compute(f"{name}.{dtype} %out, %a0, %a1;", dtype, *sources), wanted)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_signs_roots_and_reciprocals(dtype: str) -> None:
    values = [np.array([0.0, -0.0, 1.0, -2.0, 4.0, 3.0, math.inf, -math.inf, math.nan], DTYPES[dtype])]
    with np.errstate(all="ignore"):
        cases = {
            "abs": np.abs(values[0]),
            "neg": -values[0],
            "sqrt.rn": np.sqrt(values[0]),
            "rcp.rn": 1 / values[0],
        }
    for name, wanted in cases.items():
        got = compute(f"{name}.{dtype} %out, %a0;", dtype, *values)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(np.signbit(got[:-1]), np.signbit(wanted[:-1]))
    signs = np.array([-1.0, 1.0, -0.0, 0.0, math.inf, -5.0, 1.0, 1.0, -1.0], DTYPES[dtype])
    got = compute(f"copysign.{dtype} %out, %a0, %a1;", dtype, signs, *values)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(signs))


def test_properties_of_a_number() -> None:
    values = [np.array([0.0, 1.0, -math.inf, math.nan, 5e-324, 2.0**-1022])]
    tests: dict[str, list[int]] = {
        "finite": [1, 1, 0, 0, 1, 1],
        "infinite": [0, 0, 1, 0, 0, 0],
        "number": [1, 1, 1, 0, 1, 1],
        "notanumber": [0, 0, 0, 1, 0, 0],
        "normal": [0, 1, 0, 0, 0, 1],
        "subnormal": [0, 0, 0, 0, 1, 0],
    }
    for name, wanted in tests.items():
        got = compute(f"testp.{name}.f64 %p, %a0; selp.u32 %out, 1, 0, %p;", "u32", *values)
        assert got.tolist() == wanted, name


def test_flushing_of_subnormal_floats() -> None:
    tiny = np.array([1e-40, -1e-40, 1e-30], np.float32)
    assert compute("add.ftz.f32 %out, %a0, 0f00000000;", "f32", tiny).tolist() == [0, 0, single(1e-30)]
    assert compute("add.f32 %out, %a0, 0f00000000;", "f32", tiny).tolist() == tiny.tolist()
    product = compute("mul.rn.ftz.f32 %out, %a0, %a0;", "f32", np.array([1e-20, -1e-20], np.float32))
    assert product.tolist() == [0, 0]
    assert compute("set.gt.ftz.u32.f32 %out, %a0, 0f00000000;", "u32", tiny).tolist() == [0, 0, 2**32 - 1]


def test_saturation_between_zero_and_one() -> None:
    values = np.array([-1.0, 0.25, 3.0, math.nan], np.float32)
    assert compute("add.sat.f32 %out, %a0, 0f00000000;", "f32", values).tolist() == [0, 0.25, 1, 0]


@pytest.mark.parametrize("name", ["rcp", "rsqrt"])
def test_upper_half_of_a_double(name: str) -> None:
    """The ISA: the result has 20 bits of fraction and depends on those of the argument only."""
    values = np.exp(np.random.default_rng(0).uniform(-300, 300, 2000))
    exact = 1 / values if name == "rcp" else values**-0.5
    got = compute(f"{name}.approx.ftz.f64 %out, %a0;", "f64", values)
    assert (got.view(np.uint64) & np.uint64(0xFFFFFFFF) == 0).all()
    assert (np.abs(got / exact - 1) < 2.0**-19).all()
    edges = compute(f"{name}.approx.ftz.f64 %out, %a0;", "f64", np.array([0.0, -0.0, math.inf, math.nan, 5e-324]))
    np.testing.assert_array_equal(edges, [math.inf, -math.inf, 0.0, math.nan, math.inf])


@pytest.mark.parametrize(
    ("name", "low", "high", "function", "absolute", "relative"),
    [
        ("rcp.approx", 1e-30, 1e30, lambda x: 1 / x, 0, 2.0**-23),
        ("rsqrt.approx", 1e-30, 1e30, lambda x: 1 / math.sqrt(x), 0, 2.0**-22.9),
        ("sqrt.approx", 1e-30, 1e30, math.sqrt, 0, 2.0**-23),
        ("ex2.approx", -100, 100, lambda x: 2.0**x, 0, 2.0**-22),
        ("lg2.approx", 1e-3, 1e3, math.log2, 2.0**-22.6, 2.0**-22.6),
        ("sin.approx", -math.pi, math.pi, math.sin, 2.0**-20.9, 0),
        ("cos.approx", -math.pi, math.pi, math.cos, 2.0**-20.9, 0),
        ("tanh.approx", -5, 5, math.tanh, 0, 2.0**-11),
    ],
)
def test_approximate_floats(
    name: str, low: float, high: float, function: Callable[[float], float], absolute: float, relative: float
) -> None:
    values = np.random.default_rng(0).uniform(low, high, 500).astype(np.float32)
    got = compute(f"{name}.f32 %out, %a0;", "f32", values)
    wanted = [function(v) for v in values.tolist()]
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=relative, atol=absolute)


def test_fused_multiply_add_rounds_once() -> None:
    a = np.array([1 + 2.0**-30])
    assert compute("fma.rn.f64 %out, %a0, %a0, 0dBFF0000000000000;", "f64", a)[0] == 2.0**-29 + 2.0**-60
    b = np.array([1 + 2.0**-20], np.float32)
    assert compute("fma.rn.f32 %out, %a0, %a0, 0fBF800000;", "f32", b)[0] == np.float32(2.0**-19 + 2.0**-40)
    assert compute("add.rz.f64 %out, %a0, 0d3CA0000000000000;", "f64", np.array([1.5]))[0] == 1.5
    assert compute("add.rp.f64 %out, %a0, 0d3CA0000000000000;", "f64", np.array([1.5]))[0] == 1.5 + 2.0**-52


# ---- converting

ROUND: dict[str, Callable[[float], int]] = {
    "rni": round,
    "rzi": math.trunc,
    "rmi": math.floor,
    "rpi": math.ceil,
}
FLOATS = np.concatenate(
    [
        np.array([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 2.0**31, 2.0**63, -(2.0**63), 2.0**64, 1e300]),
        np.array([math.inf, -math.inf, math.nan, 127.5, 255.5, -129.0, 65535.5, 2147483647.5, 4294967295.5]),
        np.random.default_rng(0).standard_normal(200) * 300,
    ]
)


@pytest.mark.parametrize("rounding", sorted(ROUND))
@pytest.mark.parametrize("to", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_floats_to_integers_clamp(rounding: str, to: str, source: str) -> None:
    info = np.iinfo(DTYPES[to])

    def expected(value: float) -> int:
        if math.isnan(value):
            return 1 << (bits_of(to) - 1) if source == "f64" or bits_of(to) == 64 else 0
        if math.isinf(value):
            return int(info.max if value > 0 else info.min)
        return min(max(ROUND[rounding](value), int(info.min)), int(info.max))

    with np.errstate(over="ignore"):
        values = FLOATS.astype(DTYPES[source])
    check(f"cvt.{rounding}.{to}.{source} %out, %a0;", to, [values], expected)


@pytest.mark.parametrize("source", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("to", ["f32", "f64"])
def test_integers_to_floats(source: str, to: str) -> None:
    values = integers(source)
    got = compute(f"cvt.rn.{to}.{source} %out, %a0;", to, values)
    for exact, near in zip(values.tolist(), got, strict=True):
        if to == "f64":
            assert near == float(exact)
        else:
            below, above = np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))
            distance = abs(int(near) - exact)
            assert distance <= abs(int(below) - exact)
            assert distance <= abs(int(above) - exact)
    down = compute(f"cvt.rm.{to}.{source} %out, %a0;", to, values)
    up = compute(f"cvt.rp.{to}.{source} %out, %a0;", to, values)
    for exact, low, high in zip(values.tolist(), down, up, strict=True):
        assert int(low) <= exact <= int(high)
        assert low == high or np.nextafter(low, high) == high


@pytest.mark.parametrize("source", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("to", ["s8", "u8", *INTEGER_TYPES])
def test_integers_to_integers(source: str, to: str) -> None:
    info = np.iinfo(DTYPES[to])
    check(f"cvt.{to}.{source} %out, %a0;", to, [integers(source)], lambda a: a)
    check(f"cvt.sat.{to}.{source} %out, %a0;", to, [integers(source)],
          lambda a: min(max(a, int(info.min)), int(info.max)))  # fmt: skip


@pytest.mark.parametrize("rounding", sorted(ROUND))
def test_floats_to_whole_floats(rounding: str) -> None:
    values = FLOATS[np.isfinite(FLOATS)]
    check(f"cvt.{rounding}.f64.f64 %out, %a0;", "f64", [values], lambda a: float(ROUND[rounding](a)))


def test_doubles_to_floats() -> None:
    values = np.array([1.1, -1.1, 1e300, -1e300, 1e-46, 3e-39, math.inf, math.nan])
    with np.errstate(all="ignore"):
        nearest = values.astype(np.float32)
    np.testing.assert_array_equal(compute("cvt.rn.f32.f64 %out, %a0;", "f32", values), nearest)
    down = compute("cvt.rm.f32.f64 %out, %a0;", "f32", values[:6])
    up = compute("cvt.rp.f32.f64 %out, %a0;", "f32", values[:6])
    toward_zero = compute("cvt.rz.f32.f64 %out, %a0;", "f32", values[:6])
    assert (down.astype(float) <= values[:6]).all()
    assert (up.astype(float) >= values[:6]).all()
    np.testing.assert_array_equal(np.nextafter(down, up), up)
    np.testing.assert_array_equal(toward_zero, np.where(values[:6] > 0, down, up))
    assert compute("cvt.rn.ftz.f32.f64 %out, %a0;", "f32", values[4:6]).tolist() == [0, 0]
    np.testing.assert_array_equal(compute("cvt.f64.f32 %out, %a0;", "f64", nearest), nearest.astype(float))


def test_halves() -> None:
    values = np.array([1.0, 65504.0, 1e9, 1e-8, 0.1], np.float32)
    with np.errstate(all="ignore"):
        wanted = values.astype(np.float16)
    got = compute("cvt.rn.f16.f32 %h0, %a0; mov.b16 %out, %h0;", "u16", values)
    assert got.tolist() == wanted.view(np.uint16).tolist()
    np.testing.assert_array_equal(compute("cvt.f32.f16 %out, %a0;", "f32", wanted.view(np.uint16)), wanted)


# ---- moving


def test_packing_and_unpacking() -> None:
    values = [integers("u64")]
    check("mov.b64 {%r0, _}, %a0; mov.b32 %out, %r0;", "u32", values, lambda a: a)
    check("mov.b64 {_, %r1}, %a0; mov.b32 %out, %r1;", "u32", values, lambda a: a >> 32)
    check("mov.b64 {%r0, %r1}, %a0; mov.b64 %out, {%r1, %r0};", "u64", values, lambda a: a << 32 | a >> 32)
    check("mov.b64 {%h0, %h1, %h2, %h3}, %a0; mov.b64 %out, {%h3, %h2, %h1, %h0};", "u64", values,
          lambda a: sum((a >> 16 * i & 0xFFFF) << 16 * (3 - i) for i in range(4)))  # fmt: skip


def test_moving_bits_between_types() -> None:
    values = np.random.default_rng(0).standard_normal(100)
    assert (compute("mov.b64 %out, %a0;", "u64", values) == values.view(np.uint64)).all()
    narrow = values.astype(np.float32)
    assert (compute("mov.b32 %out, %a0;", "u32", narrow) == narrow.view(np.uint32)).all()


def test_constants() -> None:
    one = np.zeros(1)
    assert compute("mov.f64 %out, 0d400921FB54442D18;", "f64", one)[0] == math.pi
    assert compute("mov.f32 %out, 0f40490FDB;", "f32", one)[0] == np.float32(math.pi)
    assert compute("mov.f64 %out, 1.5;", "f64", one)[0] == 1.5
    assert compute("mov.f64 %out, -1.5;", "f64", one)[0] == -1.5
    assert compute("mov.s64 %out, -5;", "s64", one)[0] == -5
    assert compute("mov.u32 %out, 0xFFU;", "u32", one)[0] == 255
    assert compute("mov.u32 %out, 0b101;", "u32", one)[0] == 5
    assert compute("mov.u32 %out, 010;", "u32", one)[0] == 8
    assert compute("mov.b64 %d0, 0d3FF0000000000000; mov.b64 %out, %d0;", "f64", one)[0] == 1.0


# ---- what is not known


@pytest.mark.parametrize(
    "text",
    [
        "frobnicate.f64 %out, %a0;",
        "add.f16x2 %out, %a0, %a0;",
        "add.rn.relu.f64 %out, %a0, %a0;",
        "mov.u32 %r0, %clock;",
        "ld.global.b128 %out, [%x2];",
        "mov.u64 %d0, nowhere;",
        "cvt.s32.f64 %r0, %a0;",
        "bra nowhere;",
        "add.f64 %out, %a0;",
        "add %out, %a0, %a0;",
    ],
)
def test_what_is_not_known_is_an_error_that_names_the_line(text: str) -> None:
    with pytest.raises(PtxError, match=r"PTX line \d+") as raised:
        compute("\n" + text, "f64", np.zeros(1))
    assert text.split()[0].rstrip(";") in str(raised.value)


def test_every_row_of_the_table_is_run_here() -> None:
    """This file mentions each instruction of the table."""
    own = Path(__file__).read_text()
    assert [name for name in TABLE if not re.search(rf"\b{name}\b", own)] == []
