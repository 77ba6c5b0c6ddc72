"""The faults of PTX programs, the threads that they name, and text that cannot be parsed."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.parser import parse
from gpuspark.devices.protocol import Program
from gpuspark.errors import DeviceFault
from tests.support.ptx_programs import HEADER, KERNEL, call, program, run


def fault(body: str, rows: int = 300, before: str = "") -> str:
    with pytest.raises(DeviceFault) as raised:
        run(body, np.arange(rows), before)
    return str(raised.value)


def test_an_access_beyond_a_buffer_names_instruction_and_thread() -> None:
    body = "add.u64 %w0, %x, 8;\n    ld.global.s64 %v, [%w0];"
    message = fault(body)
    line = next(n for n, t in enumerate((HEADER + KERNEL.replace("BODY", body)).splitlines(), 1) if "[%w0]" in t)
    assert message.startswith("k: no memory for 8 bytes at 0x")
    assert "0 bytes after the end of an input of 2,400 bytes" in message
    assert f"'ld.global.s64 %v, [%w0];' at PTX line {line}" in message
    assert "block (1, 0, 0), thread (43, 0, 0)" in message


def test_the_source_line_is_named_where_it_is_known() -> None:
    before = '.file 1 "/somewhere/body.py"\n'
    message = fault(".loc 1 42 7\n ld.global.s64 %v, [%x+80000];", before=before)
    assert "(/somewhere/body.py:42)" in message


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("add.u64 %x, %x, 4; ld.global.s64 %v, [%x];", "misaligned access of 8 bytes"),
        ("add.u64 %x, %x, 8; ld.global.v2.u64 {%w0, %w1}, [%x];", "misaligned access of 16 bytes"),
        ("ld.global.s64 %v, [%x+-8];", "8 bytes before the start of an input"),
        ("ld.global.s64 %v, [%o];", "that nothing has written: byte 0 of an output"),
        ("st.global.s64 [%x], %v;", "writes to read-only memory"),
        ("mov.u64 %w0, 0; ld.global.s64 %v, [%w0];", "at 0x0"),
        ("mov.u64 %w0, -8; ld.global.s64 %v, [%w0];", "0xfffffffffffffff8"),
        ("trap;", "the program trapped"),
        (".local .b8 d[8]; mov.u64 %w0, d; ld.local.u64 %v, [%w0+8];", "no private memory for 8 bytes"),
        (".local .align 8 .b8 d[8]; mov.u64 %w0, d; ld.u64 %v, [%w0+8];", "no private memory for 8 bytes"),
        (
            ".local .align 8 .b8 d[8]; mov.u64 %w0, d; ld.local.u32 %r0, [%w0+2];",
            "misaligned access of 4 bytes",
        ),
        (".local .align 8 .b8 d[8]; mov.u64 %w0, d; ld.global.u64 %v, [%w0];", "no memory for 8 bytes"),
        ("ld.local.u64 %v, [%x];", "no private memory for 8 bytes"),
        ("T: .branchtargets END, END;\n mov.u32 %r0, 9; brx.idx %r0, T;", "no target 9"),
    ],
)
def test_faults(body: str, problem: str) -> None:
    assert problem in fault(body)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_fault_names_the_thread_that_failed(guarded: bool) -> None:
    """Only row 261 has a wrong address: thread 5 of block 1."""
    if guarded:
        body = "setp.gt.s64 %p1, %v, 200; setp.eq.s64 %p0, %v, 261; @%p0 add.u64 %x, %x, 99992;\n"
        body += "@%p1 ld.global.s64 %v, [%x];"
    else:
        body = "setp.ne.s64 %p0, %v, 261; @%p0 bra SKIP; add.u64 %x, %x, 99992;\nSKIP: ld.global.s64 %v, [%x];"
    assert "block (1, 0, 0), thread (5, 0, 0)" in fault(body)


def test_a_fault_among_generic_addresses_of_both_kinds_names_its_thread() -> None:
    """Even rows read their local memory; of the odd ones, row 261 has a wrong address."""
    body = """
    .local .align 8 .b8 depot[8];
    mov.u64 %w0, depot; st.local.u64 [%w0], 5;
    and.b64 %w1, %v, 1; setp.eq.s64 %p0, %w1, 0; setp.eq.s64 %p1, %v, 261; @%p1 add.u64 %x, %x, 99992;
    selp.b64 %w2, %w0, %x, %p0; ld.u64 %v, [%w2];
    """
    message = fault(body)
    assert "no memory for 8 bytes" in message
    assert "block (1, 0, 0), thread (5, 0, 0)" in message


def test_threads_that_have_exited_do_not_shift_the_names_of_others() -> None:
    body = "setp.lt.s64 %p0, %v, 250; @%p0 bra END; setp.eq.s64 %p1, %v, 261; @!%p1 bra END; trap;"
    assert "block (1, 0, 0), thread (5, 0, 0)" in fault(body)


# ---- text that cannot be read


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (".version 8.0\n.nonsense 3;", "PTX line 2: the emulator does not know this directive"),
        (".global .b8 x[4", "expected"),
        (".visible .entry k() { .reg .q77 %a; }", "does not know this type"),
        (".visible .entry k() { mov.u32 %a, `; }", "has no meaning"),
        (".visible .entry k() { @7 ret; }", "a guard must be a predicate"),
        (".func f(.reg .b32 %a) { ret; }", "parameters in registers"),
    ],
)
def test_text_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(PtxError, match=re.escape(problem)):
        parse(text)


def test_calls_to_what_is_not_there() -> None:
    with pytest.raises(PtxError, match="functions of the same module"):
        run(call("printf"), np.arange(3))


def test_an_entry_that_is_not_there() -> None:
    device = EmulatedDevice(1 << 20)
    with pytest.raises(ValueError, match=r"no entry 'other'; it has \['k'\]"):
        device.launch(Program("ptx", program("").code, "other", "a"), [1, 2], 3)
    with pytest.raises(ValueError, match="k takes 3 parameters, not 2"):
        device.launch(Program("ptx", program("").code, "k", "a"), [1], 3)
