"""Arithmetic on numbers of mixed origin: an integer on one path and a float on another.

After ``sign = 1`` on one path and ``sign = -0.5`` on another, ``sign`` is a float in compiled code. Where it is 1,
Python's ``cents * sign`` is an integer, exact at any size, and never a negative zero. Below 2**53 floats hold integers
exactly, so there the float's answer is Python's; a row that leaves that range, or meets a negative zero, is marked.

Each binary operator has a form for each side that may be mixed: ``mixed_mul_left``, ``mixed_mul_right`` and
``mixed_mul_both``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuspark.compiler.operations.registry import (
    MARKED,
    chooser,
    is_boolean,
    is_float,
    is_number,
    operation,
    stubs,
)

_EXACT = 2.0**53
_BINARY = "add sub mul truediv floordiv mod pow lshift rshift and or xor".split()


def _binary(name: str, left: bool, right: bool) -> None:
    """Registers the form of a binary operator in which these sides may be mixed."""

    def choose(checked: bool, a: Any, b: Any, row: Any) -> Any:
        has_plain_float = (is_float(a) and not left) or (is_float(b) and not right)
        if has_plain_float or not (is_float(a) or is_float(b)) or not (is_number(a) and is_number(b)):
            return chooser(name)(checked, a, b, row)
        if name == "pow":
            return "** of a number that is whole on one path and a float on another"
        return _of_whole_floats(name, checked)

    choose.__name__ = f"mixed_{name}_{'both' if left and right else 'left' if left else 'right'}"
    operation(choose)


def _of_whole_floats(name: str, checked: bool) -> Any:
    """Returns the operator ``name`` on floats that may stand for integers."""
    compute = stubs((name,), checked)[name]
    divides = name == "truediv"  # Python's result is a float for integers too

    def exact(a, b, row):
        x, y = np.float64(a), np.float64(b)
        z = compute(x, y, row)
        if checked:
            if not (math.fabs(x) < _EXACT and math.fabs(y) < _EXACT):
                row[0][0] = MARKED
            if not divides and (not math.fabs(z) < _EXACT or (z == 0.0 and math.copysign(1.0, z) < 0.0)):
                row[0][0] = MARKED
        return z

    return exact


for _name in _BINARY:
    for _left, _right in ((True, False), (False, True), (True, True)):
        _binary(_name, _left, _right)


@operation
def mixed_neg(checked: bool, a: Any, row: Any) -> Any:
    if not is_float(a):
        return chooser("neg")(checked, a, row)

    def negative(a, row):
        if checked and a == 0.0:  # -0 is 0
            row[0][0] = MARKED
        return -a

    return negative


def _extreme(name: str) -> None:
    """Registers ``min`` or ``max`` of a float and a written-out integer."""

    def choose(checked: bool, a: Any, b: Any, row: Any) -> Any:
        if is_float(a) == is_float(b) or is_boolean(a) or is_boolean(b) or not (is_number(a) and is_number(b)):
            return chooser(name)(checked, a, b, row)
        pick = stubs((name,), checked)[name]
        first_is_whole = not is_float(a)

        def of_floats(a, b, row):
            x, y = np.float64(a), np.float64(b)
            if not math.fabs(x if first_is_whole else y) < _EXACT:
                row[0][0] = MARKED
            return pick(x, y, row)

        return of_floats

    choose.__name__ = f"mixed_{name}"
    operation(choose)


_extreme("min")
_extreme("max")
