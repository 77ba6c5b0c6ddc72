"""The approximate instructions (``.approx``), within the error bounds of the PTX ISA.

A GPU looks these up in tables that NVIDIA does not publish, so the last bits may differ from a GPU's. The
double-precision ones have the *format* that the ISA describes: they read and write only the upper half of a double
(20 bits of fraction), and programs refine the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.arithmetic import F32, F64
from gpuspark.devices.emulator.conversions import flushed

_UPPER_HALF = np.uint64(0xFFFFFFFF00000000)


def reciprocal(a: F64) -> F64:
    """Returns the result of ``rcp.approx.ftz.f64``."""
    return _in_upper_half(a, lambda x: 1 / x)


def reciprocal_square_root(a: F64) -> F64:
    """Returns the result of ``rsqrt.approx.ftz.f64``."""
    return _in_upper_half(a, lambda x: 1 / np.sqrt(x))


def _in_upper_half(a: F64, function: Callable[[F64], F64]) -> F64:
    """Returns ``function`` of the upper half of ``a``, rounded to the nearest upper half; subnormals are flushed."""
    truncated = (a.view(np.uint64) & _UPPER_HALF).view(np.float64)
    exact = function(flushed(truncated).astype(np.float64))
    half = np.uint64(0x80000000)
    rounded = ((exact.view(np.uint64) + half) & _UPPER_HALF).view(np.float64)
    return flushed(np.where(np.isfinite(exact), rounded, exact)).astype(np.float64)


def single(function: Callable[[F64], NDArray[Any]]) -> Callable[[F32], F32]:
    """Returns an instruction on floats that evaluates ``function`` in double precision and rounds the result."""

    def approximate(a: F32) -> F32:
        return function(a.astype(np.float64)).astype(np.float32)

    return approximate


SINGLE: dict[str, Callable[[F32], F32]] = {
    "rcp": single(lambda x: 1 / x),
    "sqrt": single(np.sqrt),
    "rsqrt": single(lambda x: 1 / np.sqrt(x)),
    "sin": single(np.sin),
    "cos": single(np.cos),
    "lg2": single(np.log2),
    "ex2": single(np.exp2),
    "tanh": single(np.tanh),
}
"""The single-precision instructions by their PTX names."""
