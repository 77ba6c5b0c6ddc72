"""Text and compiled functions for array functions.

An array function is called once for each item, with whole arrays. Its program is a loop over the items (CPU), or a
kernel whose threads share the items (PTX). The program's parameters are 64-bit words: the arrays' addresses and the
numbers, in the function's order, then the number of items and the number of threads. Called functions are compiled
with it. Arithmetic is the compiler's: integers wrap, floats are IEEE.
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
    """Returns the text of the loop (CPU) or of the kernel (PTX) that calls an array function."""
    names = [f"p{n}" for n in range(len(parameters))]
    arguments = ["i"]
    for name, parameter in zip(names, parameters, strict=True):
        if not parameter.is_array:
            arguments.append(f"float_of_bits({name})" if parameter.dtype == "float64" else name)
        elif parameter.scratch and target == "ptx":
            arguments.append(f"offset_pointer({name}, thread * {parameter.scratch})")
        else:
            arguments.append(name)
    call = f"function({', '.join(arguments)})"
    head = f"def program({', '.join([*names, 'items', 'count'])}):"
    if target == "cpu":
        return f"{head}\n    for i in range(items):\n        {call}"
    return (
        f"{head}\n    thread = cuda.grid(1)\n    if thread < count:\n"
        f"        for i in range(thread, items, count):\n            {call}"
    )


def with_compiled_callees(
    function: FunctionType, jit: Callable[..., Any], compiled: dict[int, Any] | None = None
) -> Any:
    """Returns ``function`` compiled by ``jit``, with every plain function that it calls.

    ``compiled`` maps ids of functions to their compiled form, or to ``None`` while they are being compiled.
    """
    compiled = {} if compiled is None else compiled
    if id(function) in compiled:
        if compiled[id(function)] is None:
            raise CannotCompile(f"{function.__name__} calls itself")
        return compiled[id(function)]
    compiled[id(function)] = None
    names: dict[str, Any] = {}
    for name, value in captured(function):
        if value is UNBOUND:
            raise CannotCompile(f"the name {name!r} is not bound where {function.__name__} was defined")
        plain = plain_function(value, in_array_function=True)
        names[name] = value if plain is None else with_compiled_callees(plain, jit, compiled)
    free = function.__code__.co_freevars
    globals_ = {**function.__globals__, **{name: value for name, value in names.items() if name not in free}}
    cells = tuple(CellType(names[name]) for name in free)
    copy = FunctionType(function.__code__, globals_, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    compiled[id(function)] = jit(copy)
    return compiled[id(function)]
