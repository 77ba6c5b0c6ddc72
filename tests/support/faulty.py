"""Functions that are wrong on a device, by design: workers and ``gpuspark replay`` import this module.

Our own compiled programs have no such faults, so these stand in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gpuspark as gs
from gpuspark.columns.types import ColumnType
from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName, Program
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.execution.scalar import ScalarFunction

LIMIT = 900.0

# Doubles its column; where a value is greater than LIMIT, it writes the result far behind its buffer.
OUT_OF_BOUNDS = """
.version 7.0
.target sm_70
.address_size 64
.visible .entry planted(
    .param .u64 values, .param .u64 results, .param .u64 states, .param .u64 rows
)
{
    .reg .pred %p<3>;
    .reg .b16 %h<2>;
    .reg .b32 %r<4>;
    .reg .f64 %f<3>;
    .reg .b64 %d<12>;
    ld.param.u64 %d1, [values];
    ld.param.u64 %d2, [results];
    ld.param.u64 %d3, [states];
    ld.param.u64 %d4, [rows];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %ctaid.x;
    mul.wide.u32 %d5, %r2, %r3;
    cvt.u64.u32 %d6, %r1;
    add.s64 %d5, %d5, %d6;
    setp.ge.s64 %p1, %d5, %d4;
    @%p1 bra DONE;
    shl.b64 %d6, %d5, 3;
    add.s64 %d7, %d1, %d6;
    ld.global.f64 %f1, [%d7];
    add.rn.f64 %f2, %f1, %f1;
    add.s64 %d8, %d2, %d6;
    setp.gt.f64 %p2, %f1, 0d408C200000000000;
    @%p2 add.s64 %d8, %d8, 1048576;
    st.global.f64 [%d8], %f2;
    add.s64 %d9, %d3, %d5;
    mov.u16 %h1, 0;
    st.global.u8 [%d9], %h1;
DONE:
    ret;
}
"""


class OutOfBounds(ScalarFunction):
    """A function whose program for a GPU is the one above."""

    def program(self, types: Sequence[ColumnType], config: Config, device: DeviceName) -> Program:
        if device == "cpu":
            return super().program(types, config, device)
        return Program("ptx", OUT_OF_BOUNDS.encode(), "planted", "planted out of bounds")


@gs.udf("double")
def twice(a):
    return a + a


def planted(result: ScalarUDF, prepared: ScalarFunction) -> ScalarUDF:
    """``result``, which workers take ``prepared`` for."""
    result._prepared = {prepared.columns: prepared}  # type: ignore[attr-defined]
    return result


def out_of_bounds() -> ScalarUDF:
    """Doubles its column; on a GPU, it touches memory that is not its own where a value is above LIMIT."""
    return planted(gs.udf(twice.__gpuspark_body__, "double"), OutOfBounds(**vars(twice.scalar_function(["a"]))))


def other_above_limit(a):
    return a + a if a <= 900.0 else a + a + 1e-3


def mismatch() -> ScalarUDF:
    """Doubles its column on every device; plain Python has another answer where a value is above LIMIT."""
    honest = twice.scalar_function(["a"])
    return planted(gs.udf(twice.__gpuspark_body__, "double"), replace(honest, function=other_above_limit))
