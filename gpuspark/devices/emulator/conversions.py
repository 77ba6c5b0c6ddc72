"""Conversions (``cvt``) between all scalar types, with rounding and saturation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.arithmetic import Rounding, narrowed, toward

Values = NDArray[Any]
Floats = NDArray[np.floating]

_TO_INTEGER = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def flushed(a: Floats) -> Floats:
    """Returns ``a`` with subnormals replaced by zeros of their sign (``.ftz``)."""
    smallest = np.finfo(a.dtype).tiny
    return np.where(np.abs(a) < smallest, np.copysign(a.dtype.type(0), a), a)


def saturated(a: Floats) -> Floats:
    """Returns ``a`` clamped to 0 and 1 (``.sat``); NaN becomes +0."""
    return np.where(a > 0, np.minimum(a, a.dtype.type(1)), a.dtype.type(0))


def float_to_integer(a: Floats, dtype: np.dtype, rounding: str) -> Values:
    """Returns ``a`` rounded to an integer and clamped to the range of ``dtype``.

    NaN becomes zero if both types are narrower than 64 bits, else the highest bit alone."""
    whole = _TO_INTEGER[rounding](a).astype(np.float64)
    info = np.iinfo(dtype)
    too_low, too_high = whole < info.min, whole > info.max
    if dtype.itemsize == 8:  # the largest integer is not a double: it rounds up to 2**63 or 2**64
        too_high = whole >= float(info.max)
    nan = np.isnan(whole)
    inside = np.where(too_low | too_high | nan, 0.0, whole).astype(dtype)
    wide = a.dtype.itemsize == 8 or dtype.itemsize == 8
    nan_bits = np.array(1 << (8 * dtype.itemsize - 1) if wide else 0, np.uint64).astype(f"u{dtype.itemsize}")
    result = np.where(too_low, info.min, np.where(too_high, info.max, inside)).astype(dtype)
    return np.where(nan, nan_bits.view(dtype), result)


def integer_to_float(a: NDArray[np.integer], dtype: np.dtype, rounding: Rounding) -> Values:
    """Returns the nearest float, or the next one in the direction of ``rounding``."""
    nearest = a.astype(dtype)
    if rounding == "rn":
        return nearest
    pairs = zip(a.tolist(), nearest.tolist(), strict=True)
    return toward(nearest, np.array([(exact > near) - (exact < near) for exact, near in pairs]), rounding)


def float_to_float(a: Floats, dtype: np.dtype, rounding: str) -> Values:
    """Returns ``a`` as a wider, narrower or the same type; ``.rni`` and similar round to an integral value."""
    if rounding in _TO_INTEGER:
        a = _TO_INTEGER[rounding](a)
        rounding = "rn"
    if dtype.itemsize >= a.dtype.itemsize:
        return a.astype(dtype)
    return narrowed(a, dtype, rounding)  # type: ignore[arg-type]


def integer_to_integer(a: NDArray[np.integer], dtype: np.dtype, saturate: bool) -> Values:
    """Returns the low bits of ``a``, or with ``saturate`` its value clamped to the range of ``dtype``."""
    if saturate:
        to, source = np.iinfo(dtype), np.iinfo(a.dtype)
        a = np.clip(a, a.dtype.type(max(to.min, source.min)), a.dtype.type(min(to.max, source.max)))
    return a.astype(dtype)


def convert(a: Values, dtype: np.dtype, rounding: str, *, ftz: bool, saturate: bool) -> Values:
    """Returns the result of ``cvt``. ``rounding`` is empty if the conversion is exact."""
    if a.dtype.kind == "f":
        if ftz and a.dtype.itemsize == 4:
            a = flushed(a)
        if dtype.kind != "f":
            return float_to_integer(a, dtype, rounding)
        result: Values = float_to_float(a, dtype, rounding or "rn")
        if ftz and dtype.itemsize == 4:
            result = flushed(result)
        return saturated(result) if saturate else result
    if dtype.kind == "f":
        result = integer_to_float(a, dtype, rounding or "rn")  # type: ignore[arg-type]
        return saturated(result) if saturate else result
    return integer_to_integer(a, dtype, saturate)
