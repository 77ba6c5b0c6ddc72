"""Captured values: which ones can be constants of a program, and comparisons of static values."""

from __future__ import annotations

import ast
import enum
import types
from typing import Any

import numpy as np

MAX_ARRAY_BYTES = 16384
"""The largest array that may be part of a program."""
_REPLACEMENTS: dict[type, str] = {
    np.ndarray: "np.asarray(...)", np.generic: ".item()", tuple: "tuple(...)", float: "float(...)", int: "int(...)",
    str: "str(...)", types.ModuleType: "a name of its own for each value that the function reads",
}  # fmt: skip
"""What to write instead of an object of a subclass of one of these types."""


def is_constant(value: Any) -> bool:
    """Returns whether the type of ``value`` may be part of a program. Subclasses may not: they can have operators of
    their own."""
    if type(value) is tuple:
        return all(map(is_constant, value))
    if isinstance(value, np.generic):
        return getattr(np, type(value).__name__, None) is type(value)
    return value is None or type(value) in (bool, int, float, str, np.ndarray)


def own_class_advice(value: Any) -> str | None:
    """Returns what an instance of an enum or of a subclass of a constant's type is, and what to write instead;
    otherwise ``None``."""
    name, bases = type(value).__name__, type(value).__mro__[1:]
    if isinstance(value, enum.Enum):
        enum_class = next(base.__name__ for base in bases if base.__module__ == "enum")
        return f"a {name} (an {enum_class}): use {name}.{value.name}.value"
    for base, instead in _REPLACEMENTS.items():
        if base in bases and not is_constant(value):
            return f"a {name} (a {base.__name__} with methods of its own): use {instead}"
    return None


def why_unusable(value: Any) -> str:
    """Returns why an object cannot be part of a program and, if possible, what to write instead.

    >>> import http
    >>> why_unusable(http.HTTPStatus.OK)
    'a HTTPStatus (an IntEnum): use HTTPStatus.OK.value'
    """
    return own_class_advice(value) or f"a {type(value).__name__}, which is not a number, tuple or small array"


def unusable_part(value: Any) -> Any:
    """Returns the first part of a nested tuple that cannot be part of a program, or else ``value`` itself."""
    parts = value if type(value) is tuple else ()
    return next((unusable_part(part) for part in parts if not is_constant(part)), value)


def list_as_array(value: Any) -> Any:
    """Returns a captured list of numbers as an array, since compiled bodies only read it; ``None`` for other values."""
    import numpy as np

    if type(value) is not list or not value:
        return None
    if all(type(item) is int and -(2**63) <= item < 2**63 for item in value):
        return np.array(value, np.int64)
    if all(type(item) is float or (type(item) is int and abs(item) <= 2**53) for item in value):
        return np.array(value, np.float64)  # in which whole numbers are of mixed origin (see origins)
    return None


def constant_problem(value: Any) -> str | None:
    """Returns why a captured value cannot be part of a program; ``None`` if it can."""
    if not is_constant(value):
        return why_unusable(unusable_part(value))
    if isinstance(value, tuple):
        return next((p for p in map(constant_problem, value) if p), None if value else "an empty tuple")
    if isinstance(value, np.ndarray | np.generic):
        if str(value.dtype) not in ("float64", "int64"):
            return f"a captured NumPy value of {value.dtype} (float64 and int64 compile)"
        if value.nbytes > MAX_ARRAY_BYTES or value.size == 0:
            return f"a captured array of {value.nbytes} bytes (1 to {MAX_ARRAY_BYTES} compile)"
        return None
    if isinstance(value, str):
        return f"the string {value!r} (strings compile only as flags, compared with ==)"
    if isinstance(value, bool | float):
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else f"the number {value}, which needs more than 64 bits"
    return f"a captured {type(value).__name__}"


def compare_static(op: ast.cmpop, left: Any, right: Any) -> tuple[bool] | None:
    """Returns the result of a comparison of static values as a 1-tuple; ``None`` for other operators."""
    match op:
        case ast.Eq():
            return (left == right,)
        case ast.NotEq():
            return (left != right,)
        case ast.Is():
            return (left is right,)
        case ast.IsNot():
            return (left is not right,)
        case ast.In() if isinstance(right, str | tuple):
            return (left in right,)
        case ast.NotIn() if isinstance(right, str | tuple):
            return (left not in right,)
    return None
