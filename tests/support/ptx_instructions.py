"""Runs single PTX instructions in the emulator, one thread for each row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.emulator.syntax import DTYPES
from gpuspark.devices.protocol import Pointer, Program

Array = NDArray[Any]
INTEGER_TYPES = ["s16", "u16", "s32", "u32", "s64", "u64"]

DOUBLES = np.array([0.0, -0.0, 1.0, -1.5, 2.0, math.inf, -math.inf, math.nan, 5e-324, 1e308])
PAIRS = [np.repeat(DOUBLES, len(DOUBLES)), np.tile(DOUBLES, len(DOUBLES))]
"""Two columns: every pair of ``DOUBLES``."""

HEADER = ".version 8.0\n.target sm_75\n.address_size 64\n"


def compute(text: str, result: str, *sources: Array) -> Array:
    """Returns ``%out`` after running ``text`` for each row, with the sources in ``%a0``, ``%a1`` ..."""
    types = [next(k for k, d in DTYPES.items() if d == s.dtype and k[0] in "usf") for s in sources]
    names = [f"p{i}" for i in range(len(sources))]
    registers = [("b16" if k in ("u8", "s8") else k.replace("s", "b").replace("u", "b")) for k in types]
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
    for i, (name, type_name) in enumerate(zip(names, types, strict=True)):
        lines += [
            f"ld.param.u64 %x0, [{name}]; cvta.to.global.u64 %x0, %x0;",
            f"mul.lo.u64 %x1, %i, {DTYPES[type_name].itemsize}; add.u64 %x2, %x0, %x1;",
            f"ld.global.{type_name} %a{i}, [%x2];",
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
    """Returns random numbers of the type, small ones, and its extremes."""
    scalar = DTYPES[dtype]
    info = np.iinfo(scalar)
    random = np.random.default_rng(seed)
    uniform = random.integers(info.min, info.max, count, dtype=scalar, endpoint=True)
    small = random.integers(max(info.min, -9), 40, count // 2, dtype=scalar)
    extremes = random.permutation(np.resize(np.array([info.min, info.max, 0, 1, info.max - 1], scalar), count // 4))
    return random.permutation(np.concatenate([uniform, small, extremes]))


def wrap(value: int, dtype: str) -> int:
    """Returns ``value`` wrapped to the range of the type."""
    bits = 8 * DTYPES[dtype].itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype[0] == "s" and value >> (bits - 1) else value


def check(text: str, result: str, sources: Sequence[Array], expected: Callable[..., int | float]) -> None:
    """Asserts that ``text`` computes ``expected`` of the Python numbers of each row."""
    results = compute(text, result, *sources)
    rows = list(zip(*(s.tolist() for s in sources), strict=True))
    wanted = [expected(*row) for row in rows]
    if DTYPES[result].kind != "f":
        wanted = [wrap(int(w), result) for w in wanted]
    same = [g == w or (g != g and w != w) for g, w in zip(results.tolist(), wanted, strict=True)]
    assert all(same), [(rows[i], results[i], wanted[i]) for i, ok in enumerate(same) if not ok][:5]


def bits_of(dtype: str) -> int:
    """Returns the width of the type in bits."""
    return 8 * DTYPES[dtype].itemsize


def quotient(a: int, b: int) -> int:
    """Returns the quotient, rounded toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int) -> int:
    """Returns the remainder, which has the sign of ``a``."""
    return abs(a) % abs(b) * (1 if a >= 0 else -1)


def unordered(a: float, b: float) -> bool:
    """Returns whether one of two numbers is NaN."""
    return math.isnan(a) or math.isnan(b)
