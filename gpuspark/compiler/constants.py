"""What a body may capture: the values that can be part of a program, and comparisons decided beforehand."""

from __future__ import annotations

import ast
from typing import Any

MOST_ARRAY_BYTES = 16384


def is_constant(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | tuple) or hasattr(value, "dtype")


def numbers(value: Any) -> Any:
    """Returns a captured list of numbers as an array: bodies that compile only read it. Of another value, ``None``."""
    import numpy as np

    if type(value) is not list or not value:
        return None
    if all(type(item) is float for item in value):
        return np.array(value, np.float64)
    if all(type(item) is int and -(2**63) <= item < 2**63 for item in value):
        return np.array(value, np.int64)
    return None


def constant_problem(value: Any) -> str | None:
    """Why a captured value cannot be part of a program, if so."""
    if isinstance(value, tuple):
        return next((p for p in map(constant_problem, value) if p), None if value else "an empty tuple")
    if hasattr(value, "dtype"):
        if str(value.dtype) not in ("float64", "int64"):
            return f"a captured NumPy value of {value.dtype} (float64 and int64 compile)"
        if value.nbytes > MOST_ARRAY_BYTES or value.size == 0:
            return f"a captured array of {value.nbytes} bytes (1 to {MOST_ARRAY_BYTES} compile)"
        return None
    if isinstance(value, str):
        return f"the string {value!r} (strings compile only as flags, compared with ==)"
    if isinstance(value, bool | float):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else f"the number {value}, which needs more than 64 bits"
    return f"a captured {type(value).__name__}"


def decide(op: ast.cmpop, one: Any, other: Any) -> tuple[bool] | None:
    match op:
        case ast.Eq():
            return (one == other,)
        case ast.NotEq():
            return (one != other,)
        case ast.Is():
            return (one is other,)
        case ast.IsNot():
            return (one is not other,)
        case ast.In() if isinstance(other, str | tuple):
            return (one in other,)
        case ast.NotIn() if isinstance(other, str | tuple):
            return (one not in other,)
    return None
