"""The public names of the real cuDF, for the stand-in (``gpuspark/tools/cudf_record.json``).

By class and name: ``property``; a method's signature; or ``raises TypeError`` where the method consists of that
alone, such as iteration. Parameters that exist and take one value only, since the method begins with ``if axis is not
None: raise NotImplementedError``. Of NumPy, the functions that cuDF hands on to CuPy by name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version
from typing import Any

from tests.proof.contracts.record import C_FUNCTION, written

CLASSES = {
    "Series": "cudf.Series",
    "DataFrame": "cudf.DataFrame",
    "Index": "cudf.Index",
    "StringMethods": "cudf.core.accessors.StringMethods",
    "DatetimeProperties": "cudf.core.series.DatetimeProperties",
    "TimedeltaProperties": "cudf.core.series.TimedeltaProperties",
    "CategoricalAccessor": "cudf.core.accessors.CategoricalAccessor",
    "ListMethods": "cudf.core.accessors.ListMethods",
    "StructMethods": "cudf.core.accessors.StructMethods",
    "SeriesGroupBy": "cudf.core.groupby.groupby.SeriesGroupBy",
    "DataFrameGroupBy": "cudf.core.groupby.groupby.DataFrameGroupBy",
    "Rolling": "cudf.core.window.Rolling",
    "ExponentialMovingWindow": "cudf.core.window.ExponentialMovingWindow",
}
NUMPY = ("numpy", "numpy.linalg", "numpy.fft")
_OF_EVERY_OBJECT = frozenset(dir(object)) - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
_INNER = frozenset({"__annotations__", "__dict__", "__module__", "__weakref__", "__dask_tokenize__", "__slots__"})


def cudf_record() -> dict[str, Any]:
    return {
        "version": version("cudf-cu12"),
        "classes": {name: names_of(_class(path)) for name, path in CLASSES.items()},
        "only": {name: only_of(_class(path)) for name, path in CLASSES.items()},
        "numpy": numpy_names(),
    }


def names_of(kind: type) -> dict[str, str]:
    """The public names and operators of a class."""
    result = {}
    for name in dir(kind):
        operator = name.startswith("__") and name.endswith("__") and name not in _OF_EVERY_OBJECT | _INNER
        if operator or not name.startswith("_"):
            result[name] = entry(kind, name)
    return result


def entry(kind: type, name: str) -> str:
    static = inspect.getattr_static(kind, name)
    thing = getattr(kind, name)
    if isinstance(static, property) or not callable(thing) or inspect.isclass(thing):
        return "property"
    raised = only_raises(inspect.unwrap(thing))
    if raised:
        return f"raises {raised}"
    bound = not isinstance(static, classmethod | staticmethod)
    try:
        return written(inspect.signature(thing), without_first=bound)
    except (ValueError, TypeError):
        return C_FUNCTION


def only_raises(function: Any) -> str | None:
    """The exception's name where a function does nothing else than raising it."""
    match _steps(function):
        case [ast.Raise(exc=ast.Call(func=ast.Name(name)))] | [ast.Raise(exc=ast.Name(name))]:
            return name
    return None


def only_of(kind: type) -> dict[str, dict[str, Any]]:
    """By method and parameter, the only value that is not answered by ``NotImplementedError``."""
    result = {}
    for name in names_of(kind):
        thing = getattr(kind, name)
        values = only_values(inspect.unwrap(thing)) if callable(thing) and not inspect.isclass(thing) else {}
        if values:
            result[name] = values
    return result


def only_values(function: Any) -> dict[str, Any]:
    """What the tests at a method's top level leave of its parameters."""
    steps = [*_steps(function)]
    result: dict[str, Any] = {}
    while steps:
        match steps.pop(0):
            case ast.If(test, [ast.Raise(exc=ast.Call(func=ast.Name("NotImplementedError")))], others):
                for part in test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]:
                    result |= _left(part)
                steps = [*others, *steps]
    parameters = inspect.signature(function).parameters if result else {}
    return {name: value for name, value in result.items() if name in parameters}


def _left(test: ast.expr) -> dict[str, Any]:
    """The value of a parameter for which ``test`` is false, if it is one."""
    match test:
        case ast.Compare(ast.Name(name), [ast.IsNot()], [ast.Constant(None)]):
            return {name: None}
        case ast.Compare(ast.Name(name), [ast.NotEq()], [ast.Constant(str() | int() as value)]):
            return {name: value}
        case ast.Name(name):
            return {name: False}
        case ast.UnaryOp(ast.Not(), ast.Name(name)):
            return {name: True}
    return {}


def _steps(function: Any) -> list[ast.stmt]:
    """A method's statements without its documentation; none where its source cannot be read."""
    try:
        tree = ast.parse("class C:\n" + inspect.getsource(function))
    except (OSError, TypeError, IndentationError):  # no source; a function at the top level
        return []
    method = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    steps = method.body if method else []
    return [step for step in steps if not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))]


def numpy_names() -> list[str]:
    """NumPy's functions (``numpy.sqrt``, ``numpy.linalg.norm``) of which CuPy has one of its own, by the same name."""
    result = []
    for module in NUMPY:
        ours = importlib.import_module(module)
        theirs = importlib.import_module(module.replace("numpy", "cupy"))
        for name in ours.__all__:
            function = getattr(ours, name)
            dispatches = hasattr(function, "nin") or hasattr(function, "_implementation")
            if dispatches and getattr(theirs, name, function) is not function:
                result.append(f"{module}.{name}")
    return sorted(result)


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    result: type = getattr(importlib.import_module(module), name)
    return result
