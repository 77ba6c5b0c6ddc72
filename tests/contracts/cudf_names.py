"""The public names of the real cuDF, for the stand-in (``gpuspark/cudf_record.json``).

By class and name: ``property``; a method's signature; or ``raises TypeError`` where the method consists of that
alone, such as iteration. Of NumPy, the functions that cuDF hands on to CuPy by name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version
from typing import Any

from tests.contracts.record import C_FUNCTION, written

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
        "numpy": numpy_names(),
    }


def names_of(kind: type) -> dict[str, str]:
    """The public names and operators of a class."""
    found = {}
    for name in dir(kind):
        operator = name.startswith("__") and name.endswith("__") and name not in _OF_EVERY_OBJECT | _INNER
        if operator or not name.startswith("_"):
            found[name] = entry(kind, name)
    return found


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
    try:
        tree = ast.parse("class C:\n" + inspect.getsource(function))
    except (OSError, TypeError, IndentationError):  # no source; a function at the top level
        return None
    method = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    steps = method.body if method else []
    match [step for step in steps if not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))]:
        case [ast.Raise(exc=ast.Call(func=ast.Name(name)))] | [ast.Raise(exc=ast.Name(name))]:
            return name
    return None


def numpy_names() -> list[str]:
    """NumPy's functions (``numpy.sqrt``, ``numpy.linalg.norm``) of which CuPy has one of its own, by the same name."""
    found = []
    for module in NUMPY:
        ours = importlib.import_module(module)
        theirs = importlib.import_module(module.replace("numpy", "cupy"))
        for name in ours.__all__:
            function = getattr(ours, name)
            dispatches = hasattr(function, "nin") or hasattr(function, "_implementation")
            if dispatches and getattr(theirs, name, function) is not function:
                found.append(f"{module}.{name}")
    return sorted(found)


def _class(path: str) -> type:
    module, _, name = path.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found
