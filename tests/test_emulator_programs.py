"""Whole programs from PTX text: branches, loops, calls, local memory and variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpuspark.devices.emulator import interpreter
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.emulator.program import Program as LoadedProgram
from tests.support.ptx_programs import HEADER, call, program, run


def check(body: str, values: Any, expected: Callable[[int], int], before: str = "") -> None:
    rows = np.asarray(values, np.int64)
    assert run(body, rows, before).tolist() == [expected(v) for v in rows.tolist()]


ROWS = np.random.default_rng(0).integers(-50, 1000, 700)


# ---- control flow


def collatz(value: int) -> int:
    number, steps = abs(value) + 1, 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


COLLATZ = """
    abs.s64 %w0, %v;
    add.s64 %w0, %w0, 1;
    mov.u64 %v, 0;
LOOP:
    setp.eq.s64 %p0, %w0, 1;
    @%p0 bra DONE;
    add.s64 %v, %v, 1;
    and.b64 %w1, %w0, 1;
    setp.eq.s64 %p1, %w1, 0;
    @%p1 bra EVEN;
    mad.lo.s64 %w0, %w0, 3, 1;
    bra.uni LOOP;
EVEN:
    shr.s64 %w0, %w0, 1;
    bra LOOP;
DONE:
"""


def test_loops_of_different_lengths() -> None:
    check(COLLATZ, ROWS, collatz)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=70))
def test_loops_of_any_lengths(values: list[int]) -> None:
    check(COLLATZ, values, collatz)


def test_threads_reconverge_after_a_branch() -> None:
    """All threads together execute the instruction after the branch."""
    body = """
    setp.lt.s64 %p0, %v, 0;
    @%p0 bra NEGATIVE;
    add.s64 %v, %v, 1;
    bra MET;
NEGATIVE:
    neg.s64 %v, %v;
MET:
    mul.lo.s64 %v, %v, 3;
    """
    sizes: list[int] = []
    memory = AddressSpace(1 << 20)
    loaded = LoadedProgram(parse(program(body).code.decode()), memory)
    for pc, step in enumerate(loaded.steps):
        if step.instruction.name == "mul":
            action = step.action
            assert callable(action)

            def counted(active: Any, action: Any = action) -> None:
                sizes.append(active.size)
                action(active)

            loaded.steps[pc] = type(step)(counted, step.guard, step.instruction)
    source, target = memory.put(ROWS.view(np.uint8)), memory.allocate(ROWS.nbytes)
    words = [source.address, target.address, len(ROWS)]
    interpreter.launch(loaded, "k", (3, 1, 1), (256, 1, 1), words)
    assert sizes == [len(ROWS)]
    expected = [(-v if v < 0 else v + 1) * 3 for v in ROWS.tolist()]
    assert target.data.view(np.int64).tolist() == expected


def test_guards_select_threads() -> None:
    body = "setp.gt.s64 %p0, %v, 100; @%p0 add.s64 %v, %v, 7; @!%p0 sub.s64 %v, %v, 9;"
    check(body, ROWS, lambda v: v + 7 if v > 100 else v - 9)


def test_a_guarded_write_leaves_a_copied_register_alone() -> None:
    body = "setp.gt.s64 %p0, %v, 100; mov.u64 %w0, %v; @%p0 mov.u64 %w0, 5; sub.s64 %v, %v, %w0;"
    check(body, ROWS, lambda v: v - 5 if v > 100 else 0)


def test_threads_may_exit_early() -> None:
    body = "setp.gt.s64 %p0, %v, 100; st.global.s64 [%o], %v; @%p0 ret; @!%p0 exit; mov.u64 %v, 77;"
    check(body, ROWS, lambda v: v)


def test_a_branch_by_index() -> None:
    body = """
    abs.s64 %w0, %v; rem.u64 %w0, %w0, 3; cvt.u32.u64 %r0, %w0;
TABLE: .branchtargets ZERO, ONE, TWO;
    brx.idx %r0, TABLE;
ZERO:
    mov.u64 %v, 100; bra.uni MET;
ONE:
    mov.u64 %v, 200; bra.uni MET;
TWO:
    mov.u64 %v, 300;
MET:
    """
    check(body, ROWS, lambda v: [100, 200, 300][abs(v) % 3])


# ---- calls

TWICE = """
.func (.param .b64 result) twice(.param .b64 value)
;
.func (.param .b64 result) twice(.param .b64 value)
{
    .reg .b64 %a;
    ld.param.u64 %a, [value];
    shl.b64 %a, %a, 1;
    st.param.b64 [result+0], %a;
    ret;
}
"""


def test_a_call() -> None:
    check(call("twice") + call("twice"), ROWS, lambda v: 4 * v, TWICE)


def test_a_call_that_some_threads_make() -> None:
    body = f"setp.lt.s64 %p0, %v, 500; @%p0 bra SKIP; {call('twice')} SKIP: {call('twice')}"
    check(body, ROWS, lambda v: 2 * v if v < 500 else 4 * v, TWICE)


def test_recursion_keeps_registers_apart() -> None:
    factorial = """
.func (.param .b64 result) factorial(.param .b64 value)
{
    .reg .b64 %a, %b; .reg .pred %p;
    ld.param.u64 %a, [value];
    mov.u64 %b, 1;
    setp.le.s64 %p, %a, 1;
    @%p bra OUT;
    sub.s64 %b, %a, 1;
    { .param .b64 param0; .param .b64 retval0;
    st.param.b64 [param0], %b; call (retval0), factorial, (param0); ld.param.b64 %b, [retval0]; }
    mul.lo.s64 %b, %b, %a;
OUT:
    st.param.b64 [result], %b;
    ret;
}
"""
    check(call("factorial"), np.arange(0, 20), lambda v: int(np.prod(np.arange(1, v + 1))), factorial)


def test_several_results_of_different_types() -> None:
    divide = """
.func (.param .align 8 .b8 result[16]) divide(.param .b64 a, .param .b32 b)
{
    .reg .b64 %a, %b, %q; .reg .b32 %c, %r;
    ld.param.u64 %a, [a]; ld.param.u32 %c, [b]; cvt.u64.u32 %b, %c;
    div.u64 %q, %a, %b; rem.u64 %a, %a, %b; cvt.u32.u64 %r, %a;
    st.param.b64 [result+0], %q; st.param.b32 [result+8], %r; ret;
}
"""
    body = """
    { .param .b64 param0; .param .b32 param1; .param .align 8 .b8 retval0[16];
    st.param.b64 [param0], %v; st.param.b32 [param1], 7;
    call.uni (retval0), divide, (param0, param1);
    ld.param.b64 %w0, [retval0+0]; ld.param.b32 %r0, [retval0+8]; }
    cvt.u64.u32 %w1, %r0; mad.lo.s64 %v, %w0, 100, %w1;
    """
    check(body, np.arange(500), lambda v: v // 7 * 100 + v % 7, divide)


# ---- memory


def test_each_thread_has_its_own_local_memory() -> None:
    """Written at an offset that differs by thread, read back through its generic address."""
    body = """
    .local .align 16 .b8 depot[64];
    mov.u64 %w0, depot; cvta.local.u64 %w1, %w0;
    and.b64 %w2, %i, 7; shl.b64 %w2, %w2, 3; add.u64 %w3, %w0, %w2; add.u64 %w4, %w1, %w2;
    st.local.u64 [%w3], %v;
    setp.gt.s64 %p0, %v, 300; @%p0 bra SKIP;
    st.u64 [%w4], 7;
SKIP:
    ld.u64 %v, [%w4];
    """
    check(body, ROWS, lambda v: v if v > 300 else 7)


def test_generic_addresses_of_both_kinds_at_once() -> None:
    body = """
    .local .align 8 .b8 depot[8];
    mov.u64 %w0, depot; st.local.u64 [%w0], 5; setp.gt.s64 %p0, %v, 300;
    selp.b64 %w1, %w0, %x, %p0; selp.b64 %w2, %w0, %o, %p0;
    ld.u64 %w3, [%w1]; st.u64 [%w2], %w3; ld.u64 %v, [%w2];
    """
    check(body, ROWS, lambda v: 5 if v > 300 else v)


def test_variables_of_the_module() -> None:
    before = """
.global .align 8 .b8 table[32] = {1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 3};
.const .align 4 .u32 words[4] = {10, 0x14, -1, 30};
.global .f64 numbers[2] = {0d3FF0000000000000, 2.5};
.common .global .align 8 .u64 spare;
.global .u64 link = generic(table)+8;
.global .u64 links[2] = {spare, link};
"""
    body = """
    mov.u64 %w0, table; ld.global.nc.u64 %w1, [%w0+16]; ld.global.nc.s64 %w2, [table+8];
    add.s64 %v, %v, %w1; add.s64 %v, %v, %w2;
    ld.const.u32 %r0, [words+4]; ld.const.s32 %r1, [words+8]; add.s32 %r0, %r0, %r1; cvt.s64.s32 %w3, %r0;
    add.s64 %v, %v, %w3;
    ld.global.f64 %w4, [numbers+8]; cvt.rzi.s64.f64 %w4, %w4; add.s64 %v, %v, %w4;
    ld.global.u64 %w5, [spare]; add.s64 %v, %v, %w5;
    ld.global.u64 %w6, [links+8]; ld.u64 %w6, [%w6]; ld.u64 %w6, [%w6]; add.s64 %v, %v, %w6;
    """
    check(body, ROWS, lambda v: v + 3 - 1 + 20 - 1 + 2 + 0 - 1, before)


def test_vector_accesses() -> None:
    body = """
    shr.u64 %w0, %i, 1; shl.b64 %w0, %w0, 4; ld.param.u64 %w1, [px]; add.u64 %w1, %w1, %w0;
    ld.global.v2.u64 {%w2, %w3}, [%w1];
    .local .align 16 .b8 depot[16];
    mov.u64 %w4, depot; st.local.v4.u32 [%w4], {1, 2, 3, 4}; ld.local.v2.b64 {_, %w5}, [%w4];
    add.s64 %v, %w2, %w3; add.s64 %v, %v, %w5;
    """
    rows = np.arange(512)
    check(body, rows, lambda v: 2 * (v // 2 * 2) + 1 + (4 << 32) + 3)


def test_narrow_loads_extend() -> None:
    body = "ld.global.s8 %r0, [%x]; cvt.s64.s32 %w0, %r0; ld.global.u8 %w1, [%x]; mad.lo.s64 %v, %w0, 1000, %w1;"
    check(body, np.array([0, 1, 127, 128, 255]), lambda v: (v - 256 if v > 127 else v) * 1000 + v)


def test_blocks_and_threads_in_three_dimensions() -> None:
    text = (
        HEADER
        + """
.visible .entry k(.param .u64 po) {
    .reg .b32 %r<20>; .reg .b64 %d<4>;
    mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z;
    mov.u32 %r3, %ntid.x; mov.u32 %r4, %ntid.y; mov.u32 %r5, %ntid.z;
    mov.u32 %r6, %ctaid.x; mov.u32 %r7, %ctaid.y; mov.u32 %r8, %ctaid.z;
    mov.u32 %r9, %nctaid.x; mov.u32 %r10, %nctaid.y;
    mad.lo.u32 %r11, %r8, %r10, %r7; mad.lo.u32 %r11, %r11, %r9, %r6;
    mad.lo.u32 %r11, %r11, %r5, %r2; mad.lo.u32 %r11, %r11, %r4, %r1; mad.lo.u32 %r11, %r11, %r3, %r0;
    mov.u32 %r12, %laneid;
    ld.param.u64 %d0, [po]; mul.wide.u32 %d1, %r11, 4; add.u64 %d0, %d0, %d1; st.global.u32 [%d0], %r12; ret;
}
"""
    )
    memory = AddressSpace(1 << 16)
    target = memory.allocate(2 * 3 * 2 * 5 * 2 * 3 * 4)
    interpreter.launch(LoadedProgram(parse(text), memory), "k", (2, 3, 2), (5, 2, 3), [target.address])
    assert target.data.view(np.uint32)[:360].tolist() == [i % 30 for i in range(360)]
