"""``math``, the scalar functions of NumPy, and the conversions ``int``, ``float`` and ``round``.

``math`` raises where NumPy returns NaN or infinity: a ``ValueError`` if the result of numbers is NaN, an
``OverflowError`` if that of finite numbers is infinite. Such a row is marked. The functions are the platform's: the C
library's on the CPU, except ``exp`` and ``log`` (``elementary``), and NVIDIA's libdevice on CUDA, except those in
``exact``. They differ by a few units in the last place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from gpuspark.compiler.operations.elementary import exp, log
from gpuspark.compiler.operations.exact import gamma, library_log, log2, log10, power
from gpuspark.compiler.operations.numbers import floor, fmod
from gpuspark.compiler.operations.registry import (
    MARKED,
    is_boolean,
    is_float,
    is_integer,
    is_number,
    operation,
    primitive,
    wrap_sub,
)

_LIMIT = 2.0**63

_FUNCTIONS = (
    "sqrt exp expm1 log log10 log2 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
    "erf erfc gamma lgamma fabs degrees radians cbrt"
).split()
_ALIKE = "sqrt exp expm1 log log10 log2 log1p sin cos tan sinh cosh tanh fabs degrees radians cbrt".split()
"""The functions that have the same name in ``math`` and NumPy."""
_NUMPY = {
    **{name: name for name in _ALIKE},
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "deg2rad": "radians", "rad2deg": "degrees",
}  # fmt: skip


def _unary(name: str, function: Any, *, raises: bool) -> None:
    """Registers a function of one number. ``raises``: whether it raises where the result is NaN or infinite."""

    def choose(checked: bool, a: Any, row: Any) -> Any:
        def apply(a, row):
            x = np.float64(a)
            y = function(x)
            if checked and raises and not math.isfinite(y) and not math.isnan(x):
                row[0][0] |= MARKED if math.isnan(y) or math.isfinite(x) else 0
            return y

        return apply if is_number(a) and (raises or not is_boolean(a)) else None

    choose.__name__ = name
    operation(choose)


def _binary(name: str, function: Any, *, raises: bool) -> None:
    """Registers a function of two numbers. ``raises``: whether it raises where the result is NaN or infinite."""

    def choose(checked: bool, a: Any, b: Any, row: Any) -> Any:
        def apply(a, b, row):
            x, y = np.float64(a), np.float64(b)
            z = function(x, y)
            numbers = not math.isnan(x) and not math.isnan(y)
            finite = math.isfinite(x) and math.isfinite(y)
            if checked and raises and ((math.isnan(z) and numbers) or (math.isinf(z) and finite)):
                row[0][0] = MARKED
            return z

        halved = name.startswith("np_") and (
            is_boolean(a) or is_boolean(b)
        )  # NumPy computes with booleans in half precision
        return apply if is_number(a) and is_number(b) and not halved else None

    choose.__name__ = name
    operation(choose)


_library_cbrt = types.ExternalFunction("cbrt", types.float64(types.float64))
cbrt = primitive("cbrt", lambda x: lambda x: _library_cbrt(x))  # Numba has no CPU version
_OURS = {"cbrt": cbrt, "exp": exp, "log": log, "log2": log2, "log10": log10, "gamma": gamma, "pow": power}
for _name in _FUNCTIONS:
    _unary(f"math_{_name}", _OURS.get(_name) or getattr(math, _name), raises=True)
for _name, _function in _NUMPY.items():
    _unary(f"np_{_name}", _OURS.get(_function) or getattr(math, _function), raises=False)
for _name in ("atan2", "hypot", "copysign", "pow"):
    _binary(f"math_{_name}", _OURS.get(_name, getattr(math, _name)), raises=_name in ("hypot", "pow"))
for _name, _function in {"arctan2": "atan2", "hypot": "hypot", "copysign": "copysign"}.items():
    _binary(f"np_{_name}", getattr(math, _function), raises=False)


# --- functions with rules of their own


def _to_whole(checked: bool, a: Any, toward: Any) -> Any:
    """Returns the conversion of a float to an integer, rounded by ``toward``.

    NaN, infinity and values from 2**63 on mark the row: in Python they raise or need more than 64 bits.
    """
    if is_integer(a):
        return lambda a, row: np.int64(a)

    def convert(a, row):
        x = toward(np.float64(a))
        if not (-_LIMIT <= x < _LIMIT):
            if checked:
                row[0][0] = MARKED
            return np.int64(0)
        return np.int64(x)

    return convert if is_float(a) else None


_truncate = primitive("trunc", lambda x: lambda x: np.trunc(x))
_ceil = primitive("ceil", lambda x: lambda x: np.ceil(x))
_rint = primitive("rint", lambda x: lambda x: np.rint(x))


@operation
def int_(checked: bool, a: Any, row: Any) -> Any:
    return _to_whole(checked, a, _truncate)


@operation
def math_trunc(checked: bool, a: Any, row: Any) -> Any:
    return _to_whole(checked, a, _truncate)


@operation
def math_floor(checked: bool, a: Any, row: Any) -> Any:
    return _to_whole(checked, a, floor)


@operation
def math_ceil(checked: bool, a: Any, row: Any) -> Any:
    return _to_whole(checked, a, _ceil)


@operation
def round_(checked: bool, a: Any, row: Any) -> Any:
    """``round(x)``: to an integer, half to even."""
    return _to_whole(checked, a, _rint)


@operation
def float_(checked: bool, a: Any, row: Any) -> Any:
    return (lambda a, row: np.float64(a)) if is_number(a) else None


@operation
def round_to(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``round(x, n)``: Python rounds the exact decimal value of ``x``.

    Where ``x * 10**n`` is not close to a tie, that is the nearest whole number divided by ``10**n``; close to a tie the
    row is marked.
    """
    if not is_integer(b) or is_boolean(b):
        return None
    if is_integer(a):

        def whole(a, b, row):
            if b < 0:
                row[0][0] = MARKED
            return np.int64(a)

        return whole

    def real(a, b, row):
        x = np.float64(a)
        if b < 0 or b > 15:
            row[0][0] = MARKED
            return x
        scale = 1.0
        for _ in range(b):
            scale *= 10.0
        scaled = x * scale
        size = math.fabs(scaled)
        if not size < 2.0**50:
            if math.isfinite(x) and size < math.inf and math.fabs(x) < 2.0**52:
                row[0][0] = MARKED
            return x
        if math.fabs(size - floor(size) - 0.5) < 1e-3 + size * 1e-15:
            row[0][0] = MARKED
            return x
        return math.copysign(_rint(scaled) / scale, x)

    return real if is_float(a) else None


def _predicate(name: str, function: Any, of_whole: bool) -> None:
    """Registers a test of a float; ``of_whole`` is its answer for every integer."""

    def choose(checked: bool, a: Any, row: Any) -> Any:
        if is_integer(a):
            return lambda a, row: of_whole
        return (lambda a, row: function(a)) if is_float(a) else None

    choose.__name__ = name
    operation(choose)


for _name, _whole in {"isnan": False, "isinf": False, "isfinite": True}.items():
    _predicate(f"math_{_name}", getattr(math, _name), _whole)
    _predicate(f"np_{_name}", getattr(math, _name), _whole)


@operation
def math_fmod(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``math.fmod``: raises, and so marks the row, for a zero divisor and an infinite dividend."""

    def remainder(a, b, row):
        x, y = np.float64(a), np.float64(b)
        if y == 0.0 or math.isinf(x):
            if checked and not math.isnan(x) and not math.isnan(y):
                row[0][0] = MARKED
            return math.nan
        return fmod(x, y)

    return remainder if is_number(a) and is_number(b) else None


@operation
def math_log_base(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``math.log(a, b)``: the quotient of two logarithms, as in Python."""

    def quotient(a, b, row):
        x, base = np.float64(a), np.float64(b)
        if checked and (x <= 0.0 or base <= 0.0 or base == 1.0):
            row[0][0] = MARKED
            return math.nan
        return library_log(x) / library_log(base)

    return quotient if is_number(a) and is_number(b) else None


def _rounded(name: str, toward: Any) -> None:
    """Registers a rounding function of NumPy's, which returns a float."""

    def choose(checked: bool, a: Any, row: Any) -> Any:
        return (lambda a, row: toward(a)) if is_float(a) else None

    choose.__name__ = name
    operation(choose)


for _name, _toward in {"np_floor": floor, "np_ceil": _ceil, "np_trunc": _truncate}.items():
    _rounded(_name, _toward)


@operation
def np_absolute(checked: bool, a: Any, row: Any) -> Any:
    """``np.absolute``: of the smallest integer NumPy returns itself, so the row is marked."""
    if is_integer(a) and not is_boolean(a):

        def whole(a, row):
            x = np.int64(a)
            if x == -(2**63):
                row[0][0] = MARKED
            return wrap_sub(np.int64(0), x) if x < 0 else x

        return whole
    return (lambda a, row: math.fabs(a)) if is_float(a) else None


@operation
def np_sign(checked: bool, a: Any, row: Any) -> Any:
    """``np.sign`` of a float: NaN stays NaN."""

    def sign(a, row):
        if a > 0.0:
            return 1.0
        if a < 0.0:
            return -1.0
        return 0.0 if a == 0.0 else a

    return sign if is_float(a) else None


def _extreme(name: str, larger: bool, skip_nan: bool) -> None:
    """Registers ``maximum`` and ``minimum``, which pass NaN on, or ``fmax`` and ``fmin``, which prefer the number."""

    def choose(checked: bool, a: Any, b: Any, row: Any) -> Any:
        def pick(a, b, row):
            if math.isnan(a):
                return b if skip_nan else a
            if math.isnan(b):
                return a if skip_nan else b
            if a == b:  # if 0.0 and -0.0, NumPy's choice depends on the machine
                row[0][0] |= MARKED if a == 0.0 and math.copysign(1.0, a) != math.copysign(1.0, b) else 0
                return a
            return (a if a > b else b) if larger else (a if a < b else b)

        return pick if is_float(a) and is_float(b) else None

    choose.__name__ = name
    operation(choose)


_extreme("np_maximum", larger=True, skip_nan=False)
_extreme("np_minimum", larger=False, skip_nan=False)
_extreme("np_fmax", larger=True, skip_nan=True)
_extreme("np_fmin", larger=False, skip_nan=True)


@operation
def math_isclose(checked: bool, a: Any, b: Any, relative: Any, absolute: Any, row: Any) -> Any:
    """``math.isclose``, step by step as in Python. A negative tolerance raises there, and marks the row."""

    def close(a, b, relative, absolute, row):
        x, y, share, least = np.float64(a), np.float64(b), np.float64(relative), np.float64(absolute)
        if share < 0.0 or least < 0.0:
            row[0][0] = MARKED
        if x == y:
            return True
        if math.isinf(x) or math.isinf(y):
            return False
        difference = math.fabs(y - x)
        return difference <= math.fabs(share * y) or difference <= math.fabs(share * x) or difference <= least

    return close if all(map(is_number, (a, b, relative, absolute))) else None
