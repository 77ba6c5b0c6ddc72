"""Runs PTX programs in the emulator: a kernel whose body changes one number of each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import Pointer, Program

HEADER = ".version 8.0\n.target sm_75\n.address_size 64\n"

KERNEL = """
.visible .entry k(.param .u64 px, .param .u64 po, .param .u64 count)
{
    .reg .b64 %i, %n, %x, %o, %at, %v, %w<8>;
    .reg .b32 %t<4>, %r<8>;
    .reg .pred %done, %p<4>;
    mov.u32 %t0, %tid.x;
    mov.u32 %t1, %ctaid.x;
    mov.u32 %t2, %ntid.x;
    mad.lo.u32 %t3, %t1, %t2, %t0;
    cvt.u64.u32 %i, %t3;
    ld.param.u64 %n, [count];
    setp.ge.u64 %done, %i, %n;
    @%done bra END;
    ld.param.u64 %x, [px];
    ld.param.u64 %o, [po];
    shl.b64 %at, %i, 3;
    add.u64 %x, %x, %at;
    add.u64 %o, %o, %at;
    ld.global.s64 %v, [%x];
BODY
    st.global.s64 [%o], %v;
END:
    ret;
}
"""


def program(body: str, before: str = "") -> Program:
    """Returns the kernel with ``body``. ``before`` is PTX text before it: variables and functions."""
    text = HEADER + before + KERNEL.replace("BODY", body)
    return Program("ptx", text.encode(), "k", str(hash(text)))


def run(body: str, values: NDArray[np.int64], before: str = "") -> NDArray[np.int64]:
    """Returns ``%v`` (s64) of each row, which holds the row's value before ``body`` and the result after it."""
    device = EmulatedDevice(1 << 26)
    source = device.copy_in(values.view(np.uint8))
    target = device.allocate(values.nbytes)
    device.launch(program(body, before), [Pointer(source), Pointer(target)], len(values))
    return device.copy_out(target).view(np.int64)


def call(name: str) -> str:
    """Returns the PTX text that calls a function of ``%v`` and stores its result there."""
    return f"""
    {{
    .param .b64 param0; .param .b64 retval0;
    st.param.b64 [param0+0], %v;
    call.uni (retval0), {name}, (param0);
    ld.param.b64 %v, [retval0+0];
    }}
    """
