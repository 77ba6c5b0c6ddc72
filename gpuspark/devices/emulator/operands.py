"""How an instruction reads its operands and writes its results, in the type it works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.lanes import Team
from gpuspark.devices.emulator.syntax import Immediate, Register

Values = NDArray[Any]
Read = Callable[[Team], Values]
Write = Callable[[Team, Values], None]


def constant(immediate: Immediate, dtype: np.dtype) -> Values:
    """The number in the text as one value of ``dtype``."""
    bits = np.array([immediate.bits % 2**64], np.uint64)
    if immediate.width == 0:
        made = bits.astype(dtype) if dtype.kind in "fb" else bits.astype(f"u{dtype.itemsize}").view(dtype)
    else:
        plain = bits.astype(f"u{immediate.width // 8}")
        number: Values = plain.view(f"f{immediate.width // 8}") if dtype.kind == "f" else plain
        made = number.astype(dtype)
    made.setflags(write=False)
    return made


def always(values: Values) -> Read:
    return lambda _team: values


def read_register(register: Register, dtype: np.dtype) -> Read:
    """Same bits where the widths agree; of a wider register, the low bits."""
    if register.dtype == dtype:
        if register.negated:
            return lambda team: ~team.read(register)
        return lambda team: team.read(register)
    if register.dtype.itemsize == dtype.itemsize:
        return lambda team: team.read(register).view(dtype)
    narrow, plain = f"u{dtype.itemsize}", f"u{register.dtype.itemsize}"
    return lambda team: team.read(register).view(plain).astype(narrow).view(dtype)


def write_register(register: Register, dtype: np.dtype) -> Write:
    """Same bits where the widths agree; a wider register is filled with zeros, or the sign."""
    if register.dtype == dtype:
        return lambda team, values: team.write(register, values)
    if register.dtype.itemsize == dtype.itemsize:
        return lambda team, values: team.write(register, values.view(register.dtype))
    wide = f"u{register.dtype.itemsize}"
    plain = f"{'i' if dtype.kind == 'i' else 'u'}{dtype.itemsize}"
    return lambda team, values: team.write(register, values.view(plain).astype(wide).view(register.dtype))


def discard(_team: Team, _values: Values) -> None:
    """Writes a result that nobody wants."""
