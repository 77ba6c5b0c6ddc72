"""Reading the operands of an instruction, and writing its results, in the type that it works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.syntax import Immediate, Register
from gpuspark.devices.emulator.threads import ActiveThreads

Values = NDArray[Any]
Read = Callable[[ActiveThreads], Values]
"""Returns the value of an operand in each active thread, or one value that all share."""
Write = Callable[[ActiveThreads, Values], None]
"""Sets a result in each active thread."""


def constant(immediate: Immediate, dtype: np.dtype) -> Values:
    """Returns the number in the text as an array of one ``dtype``."""
    bits = np.array([immediate.bits % 2**64], np.uint64)
    if immediate.width == 0:
        value = bits.astype(dtype) if dtype.kind in "fb" else bits.astype(f"u{dtype.itemsize}").view(dtype)
    else:
        unsigned = bits.astype(f"u{immediate.width // 8}")
        number: Values = unsigned.view(f"f{immediate.width // 8}") if dtype.kind == "f" else unsigned
        value = number.astype(dtype)
    value.setflags(write=False)
    return value


def read_constant(values: Values) -> Read:
    """Returns a reader of ``values``, the same in every thread."""
    return lambda _active: values


def read_register(register: Register, dtype: np.dtype) -> Read:
    """Returns a reader of ``register`` as ``dtype``: the same bits, of a wider register the low ones."""
    if register.dtype == dtype:
        if register.negated:
            return lambda active: ~active.read(register)
        return lambda active: active.read(register)
    if register.dtype.itemsize == dtype.itemsize:
        return lambda active: active.read(register).view(dtype)
    narrow, unsigned = f"u{dtype.itemsize}", f"u{register.dtype.itemsize}"
    return lambda active: active.read(register).view(unsigned).astype(narrow).view(dtype)


def write_register(register: Register, dtype: np.dtype) -> Write:
    """Returns a writer of ``dtype`` to ``register``: the same bits, extended by zeros or the sign if it is wider."""
    if register.dtype == dtype:
        return lambda active, values: active.write(register, values)
    if register.dtype.itemsize == dtype.itemsize:
        return lambda active, values: active.write(register, values.view(register.dtype))
    wide = f"u{register.dtype.itemsize}"
    integer = f"{'i' if dtype.kind == 'i' else 'u'}{dtype.itemsize}"
    return lambda active, values: active.write(register, values.view(integer).astype(wide).view(register.dtype))


def discard(_active: ActiveThreads, _values: Values) -> None:
    """Ignores a result that the instruction discards (``_``)."""
