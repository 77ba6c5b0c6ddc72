"""Operators on NumPy scalars, where NumPy's answer is not Python's.

On floats and integers NumPy's operators give what Python's give, except where ours mark the row: then Python runs the
body, and NumPy answers. Booleans differ: ``+`` of two is ``or``, ``*`` is ``and``, ``~`` is ``not``, ``-`` is an
error. And ``round(x, n)`` multiplies, rounds and divides.

The operations ``numpy_*`` are for operands of which one is a NumPy scalar on every path, ``maybe_numpy_*`` for those
that are one on some path only: where Python and NumPy differ, the latter do not compile.

Source: NumPy, the reference of ``numpy.bool`` and of ``numpy.round``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpuspark.compiler.operations.registry import (
    MARKED,
    chooser,
    is_boolean,
    is_float,
    operation,
    primitive,
)
from gpuspark.compiler.vocabulary import as_written

_rint = primitive("rint", lambda x: lambda x: np.rint(x))
_BINARY = "add sub mul truediv floordiv mod pow lshift rshift and or xor".split()
_SAME_FOR_BOOLEANS = {"truediv", "and", "or", "xor"}
"""The operators that give the same for NumPy's booleans as for Python's."""


def _logical_or(a, b, row):
    return a or b


def _logical_and(a, b, row):
    return a and b


_OF_BOOLEANS = {"add": _logical_or, "mul": _logical_and}


def _binary(name: str) -> None:
    """Registers the two forms of a binary operator."""

    def certain(checked: bool, a: Any, b: Any, row: Any) -> Any:
        if is_boolean(a) and is_boolean(b) and name not in _SAME_FOR_BOOLEANS:
            return _OF_BOOLEANS.get(name, f"{as_written(name)} of two NumPy booleans")
        return chooser(name)(checked, a, b, row)

    def uncertain(checked: bool, a: Any, b: Any, row: Any) -> Any:
        if is_boolean(a) and is_boolean(b) and name not in _SAME_FOR_BOOLEANS:
            return f"{as_written(name)} of booleans that are NumPy's on one path and Python's on another"
        return chooser(name)(checked, a, b, row)

    _register(name, certain, uncertain)


def _unary(name: str, of_boolean: Callable[..., Any] | None) -> None:
    """Registers the two forms of a unary operator; ``of_boolean`` implements it for a NumPy boolean."""

    def certain(checked: bool, a: Any, row: Any) -> Any:
        if is_boolean(a):
            return of_boolean or f"{as_written(name)} of a NumPy boolean"
        return chooser(name)(checked, a, row)

    def uncertain(checked: bool, a: Any, row: Any) -> Any:
        if is_boolean(a):
            return f"{as_written(name)} of a boolean that is NumPy's on one path and Python's on another"
        return chooser(name)(checked, a, row)

    _register(name, certain, uncertain)


def _register(name: str, certain: Callable[..., Any], uncertain: Callable[..., Any]) -> None:
    """Registers ``certain`` as ``numpy_name`` and ``uncertain`` as ``maybe_numpy_name``."""
    certain.__name__, uncertain.__name__ = f"numpy_{name}", f"maybe_numpy_{name}"
    operation(certain)
    operation(uncertain)


for _name in _BINARY:
    _binary(_name)
_unary("neg", None)
_unary("pos", None)
_unary("invert", lambda a, row: not a)
_unary("abs", lambda a, row: a)
for _name in ("round", "real", "imag"):
    _unary(_name, None)


def _trunc(checked: bool, a: Any, row: Any) -> Any:
    return chooser("math_trunc")(checked, a, row) if is_float(a) else "math.trunc of a NumPy whole number or boolean"


_register("math_trunc", _trunc, lambda checked, a, row: _trunc(checked, a, row))


@operation
def numpy_round_to(checked: bool, a: Any, b: Any, row: Any) -> Any:
    """``round(x, n)`` of a NumPy scalar: multiplied by ``10**n``, rounded and divided."""
    if is_boolean(a):
        return "round of a NumPy boolean"
    if not is_float(a):
        return chooser("round_to")(checked, a, b, row)

    def rounded(a, b, row):
        if b < 0 or b > 22:  # 10**22 is the last power of ten that is a float
            row[0][0] = MARKED
            return a
        scale = 1.0
        for _ in range(b):
            scale *= 10.0
        return _rint(a * scale) / scale

    return rounded


@operation
def maybe_numpy_round_to(checked: bool, a: Any, b: Any, row: Any) -> Any:
    if is_boolean(a) or is_float(a):
        return "round of a number that is NumPy's on one path and Python's on another"
    return chooser("round_to")(checked, a, b, row)
