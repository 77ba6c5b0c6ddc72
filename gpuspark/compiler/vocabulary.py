"""The operators, built-ins, ``math`` and NumPy functions that compile, each with the name of its operation.

:mod:`gpuspark.compiler.operations` defines the operations.
"""

from __future__ import annotations

import ast
import math
import re
import types
from typing import Any

from gpuspark.compiler.source import HoldsBody, HoldsItemBody

BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv",
    ast.Mod: "mod", ast.Pow: "pow", ast.LShift: "lshift", ast.RShift: "rshift",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
}  # fmt: skip
UNARY = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert"}
COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_BUILTINS = {abs: "abs", int: "int", float: "float", bool: "truth", pow: "pow", len: "len"}
_MATH = (
    "sqrt exp expm1 log log10 log2 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
    "erf erfc gamma lgamma fabs floor ceil trunc degrees radians isnan isinf isfinite "
    "atan2 hypot copysign fmod pow cbrt"
).split()
_MATH_NAMES = {getattr(math, name): name for name in _MATH}
_NUMPY = (
    "sqrt exp expm1 log log10 log2 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh "
    "arctanh absolute fabs floor ceil trunc sign isnan isinf isfinite degrees radians deg2rad rad2deg "
    "arctan2 hypot copysign maximum minimum fmax fmin cbrt"
).split()
ATTRIBUTES = (
    "days", "seconds", "microseconds", "real", "imag",
    "year", "month", "day", "hour", "minute", "second", "microsecond",
)  # fmt: skip
"""The attributes of time differences, numbers, dates and timestamps that compile."""
METHODS = ("total_seconds", "weekday", "isoweekday", "toordinal")
"""The methods of time differences, dates and timestamps that compile; they take no arguments."""


def operation_of(callee: Any, count: int) -> str | None:
    """Returns the name of the operation for a built-in, ``math`` or NumPy function called with ``count`` arguments;
    ``None`` for any other callable."""
    if callee in (min, max):
        return str(callee.__name__) if count >= 2 else None
    if callee is round:
        return {1: "round", 2: "round_to"}.get(count)
    if callee is math.log and count == 2:
        return "math_log_base"
    two = ("atan2", "hypot", "copysign", "fmod", "pow", "arctan2", "maximum", "minimum", "fmax", "fmin")
    if isinstance(callee, type | types.BuiltinFunctionType) and callee in _BUILTINS:
        name = _BUILTINS[callee]
        return name if count == (2 if name == "pow" else 1) else None
    if isinstance(callee, types.BuiltinFunctionType) and callee in _MATH_NAMES:
        name = _MATH_NAMES[callee]
        return f"math_{name}" if count == (2 if name in two else 1) else None
    if type(callee).__module__ == "numpy" and type(callee).__name__ == "ufunc" and callee.__name__ in _NUMPY:
        return f"np_{callee.__name__}" if count == (2 if callee.__name__ in two else 1) else None
    return None


_FORM = re.compile("^(maybe_numpy|numpy|mixed)_|_(both|left|right)$")
_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "lshift": "<<",
    "rshift": ">>", "and": "&", "or": "|", "xor": "^", "neg": "-", "pos": "+", "invert": "~", "real": ".real",
    "imag": ".imag", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "round_to": "round",
    "range_bound": "range", "range_step": "range", "is_element": "'in'", "contains": "'in'", "begin_try": "try",
    "startswith": ".startswith", "endswith": ".endswith",
    **{name: f".{name}" for name in (*ATTRIBUTES, *METHODS)},
}  # fmt: skip


def bare_name(operation: str) -> str:
    """Returns the name of an operation without its form: ``add`` for ``mixed_add_left`` and ``numpy_add``."""
    return _FORM.sub("", operation)


def as_written(operation: str) -> str:
    """Returns an operation as a body writes it: ``np.sign`` for ``np_sign``, ``+`` for ``mixed_add_left``."""
    bare = bare_name(operation)
    return _SYMBOLS.get(bare) or re.sub("^(math|np)_", r"\1.", bare)


def plain_function(callee: Any, *, in_array_function: bool = False) -> types.FunctionType | None:
    """Returns the Python function that a call of ``callee`` runs: itself, or the body of a decorated function of ours.

    Returns ``None`` for anything else. Attributes of a plain function are ignored: :func:`functools.wraps` copies them
    from the wrapped function.
    """
    ours = isinstance(callee, HoldsBody) and type(callee).__module__.startswith("gpuspark.")
    if ours and isinstance(callee, HoldsItemBody) and not in_array_function:
        return None
    body = callee.__gpuspark_body__ if ours else callee
    return body if type(body) is types.FunctionType else None


_IMPORT = "an import that is not at the head of the body, or not of math or numpy"


def describe(node: ast.AST) -> str:
    """Returns what a user would call the construct."""
    names = {
        ast.Try: "try", ast.With: "with", ast.FunctionDef: "a function inside the body", ast.Lambda: "a lambda",
        ast.ListComp: "a list comprehension", ast.GeneratorExp: "a generator expression", ast.List: "a list",
        ast.Dict: "a dictionary", ast.Set: "a set", ast.JoinedStr: "an f-string", ast.DictComp: "a comprehension",
        ast.Import: _IMPORT, ast.ImportFrom: _IMPORT, ast.Match: "match", ast.Delete: "del",
        ast.Global: "global", ast.Nonlocal: "nonlocal",
    }  # fmt: skip
    if isinstance(node, ast.Attribute):
        return f"attribute .{node.attr}"
    if isinstance(node, ast.Name):
        return f"the name {node.id!r}, which is not a number, tuple or small array"
    return names.get(type(node), type(node).__name__)
