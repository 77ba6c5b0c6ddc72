"""Array functions to programs: a function that is called for one item, with whole arrays, becomes a loop over
the items (CPU) or a thread for each (PTX).

A program's parameters, all 64-bit words: the arrays' addresses and the numbers in the function's order, then the
number of items. Functions that it calls are compiled with it. Arithmetic is the compiler's own (wrapping integers,
IEEE floats): who writes an array function writes for a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

from gpuspark.compiler.digest import captured
from gpuspark.compiler.requests import Parameter
from gpuspark.compiler.source import UNBOUND, CannotCompile
from gpuspark.compiler.vocabulary import plain_function
from gpuspark.devices.protocol import Target


def program_text(parameters: tuple[Parameter, ...], target: Target) -> str:
    """The loop, or the thread, around an array function."""
    names = [f"p{n}" for n in range(len(parameters))]
    given = ["i"]
    for name, parameter in zip(names, parameters, strict=True):
        if not parameter.is_array:
            given.append(f"float_of_bits({name})" if parameter.dtype == "float64" else name)
        elif parameter.scratch and target == "ptx":
            given.append(f"advanced({name}, thread * {parameter.scratch})")
        else:
            given.append(name)
    call = f"function({', '.join(given)})"
    head = f"def program({', '.join([*names, 'items', 'count'])}):"
    if target == "cpu":
        return f"{head}\n    for i in range(items):\n        {call}"
    return (
        f"{head}\n    thread = cuda.grid(1)\n    if thread < count:\n"
        f"        for i in range(thread, items, count):\n            {call}"
    )


def with_compiled_callees(function: FunctionType, jit: Callable[..., Any], known: dict[int, Any] | None = None) -> Any:
    """``function`` compiled by ``jit``, and so every plain function that it calls."""
    known = {} if known is None else known
    if id(function) in known:
        if known[id(function)] is None:
            raise CannotCompile(f"{function.__name__} calls itself")
        return known[id(function)]
    known[id(function)] = None  # until it is compiled
    names: dict[str, Any] = {}
    for name, value in captured(function):
        if value is UNBOUND:
            raise CannotCompile(f"the name {name!r} is not bound where {function.__name__} was defined")
        plain = plain_function(value, in_array_function=True)
        names[name] = value if plain is None else with_compiled_callees(plain, jit, known)
    free = function.__code__.co_freevars
    scope = {**function.__globals__, **{name: value for name, value in names.items() if name not in free}}
    cells = tuple(CellType(names[name]) for name in free)
    copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    known[id(function)] = jit(copy)
    return known[id(function)]
