"""The PTX instructions that compare, select and move, and unknown ones. The others have files of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.instructions import TABLE
from gpuspark.devices.emulator.syntax import DTYPES
from tests.support.ptx_instructions import INTEGER_TYPES, PAIRS, check, compute, integers, unordered


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


# ---- comparing and selecting

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a < b or a > b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


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
    check(
        "setp.lt.f64 %p, %a0, %a1; selp.f64 %out, %a0, 0d3FF0000000000000, %p;",
        "f64",
        PAIRS,
        lambda a, b: a if a < b else 1.0,
    )
    check(
        "cvt.rn.f32.f64 %f0, %a1; slct.f64.f32 %out, %a0, 0d3FF0000000000000, %f0;",
        "f64",
        PAIRS,
        lambda a, b: a if b >= 0 else 1.0,
    )
    signed = [integers("s32"), integers("s32", seed=1)]
    check("slct.s32.s32 %out, %a0, 7, %a1;", "s32", signed, lambda a, b: a if b >= 0 else 7)


def test_predicates_are_values_too() -> None:
    text = """
    setp.lt.s32 %p, %a0, 0; setp.lt.s32 %q, %a1, 0;
    and.pred %done, %p, %q; not.pred %done, %done; xor.pred %p, %p, %done; mov.pred %q, %p;
    selp.u32 %out, 1, 0, %q;
    """
    check(text, "u32", [integers("s32"), integers("s32", seed=1)], lambda a, b: (a < 0) != (not (a < 0 and b < 0)))


# ---- moving


def test_packing_and_unpacking() -> None:
    values = [integers("u64")]
    check("mov.b64 {%r0, _}, %a0; mov.b32 %out, %r0;", "u32", values, lambda a: a)
    check("mov.b64 {_, %r1}, %a0; mov.b32 %out, %r1;", "u32", values, lambda a: a >> 32)
    check("mov.b64 {%r0, %r1}, %a0; mov.b64 %out, {%r1, %r0};", "u64", values, lambda a: a << 32 | a >> 32)
    check(
        "mov.b64 {%h0, %h1, %h2, %h3}, %a0; mov.b64 %out, {%h3, %h2, %h1, %h0};",
        "u64",
        values,
        lambda a: sum((a >> 16 * i & 0xFFFF) << 16 * (3 - i) for i in range(4)),
    )


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


# ---- unknown instructions


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
def test_an_unknown_instruction_is_an_error_that_names_the_line(text: str) -> None:
    with pytest.raises(PtxError, match=r"PTX line \d+") as raised:
        compute("\n" + text, "f64", np.zeros(1))
    assert text.split()[0].rstrip(";") in str(raised.value)


def test_every_row_of_the_table_is_tested() -> None:
    """The tests of instructions, or the program that they run in, mention each instruction of the table."""
    here = Path(__file__).parent
    files = [*here.glob("test_emulator_instructions*.py"), here / "support" / "ptx_instructions.py"]
    text = "".join(file.read_text() for file in files)
    assert [name for name in TABLE if not re.search(rf"\b{name}\b", text)] == []
