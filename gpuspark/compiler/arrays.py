"""Array functions to programs: a function that is called for one item, with whole arrays, becomes a loop over
the items (CPU) or a thread for each (PTX).

A program's parameters, all 64-bit words: the arrays' addresses and the numbers in the function's order, then the
number of items. Functions that it calls are compiled with it. Arithmetic is the compiler's own (wrapping integers,
IEEE floats): who writes an array function writes for a machine.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from gpuspark.compiler.digest import captured, digest_with_functions
from gpuspark.compiler.source import UNBOUND, CannotCompile
from gpuspark.compiler.vocabulary import plain_function

if TYPE_CHECKING:
    from gpuspark.devices.protocol import Target


@dataclass(frozen=True)
class Parameter:
    """What a word of a program is: an array of ``dtype`` (NumPy's name), or a number, ``int64`` or ``float64``."""

    dtype: str
    is_array: bool
    scratch: int = 0
    """For an array that each thread has a part of: the part's length."""

    def __str__(self) -> str:
        return f"{self.dtype}{'*' if self.is_array else ''}{self.scratch or ''}"


@dataclass(frozen=True)
class ArrayRequest:
    """An array function with the types that decide its code."""

    function: FunctionType
    parameters: tuple[Parameter, ...]

    def parts(self) -> tuple[Any, ...]:
        """What the code depends on, but for the tools."""
        return ("array", fingerprint(self.function), *map(str, self.parameters))

    def build(self, target: Target) -> tuple[str, bytes]:
        """The entry's name and the code. Raises :class:`CannotCompile` with what the compiler refused."""
        from gpuspark.compiler.build import build_arrays

        return build_arrays(self, target)


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


def refuse_raise(function: FunctionType) -> None:
    """Raises :class:`CannotCompile` where ``function`` may raise an error of its own."""
    line = _line_of_raise(function.__code__)
    if line is not None:
        file = function.__code__.co_filename.rsplit("/", 1)[-1]
        raise CannotCompile(
            f"raise or assert in {function.__name__} ({file}, line {line}): machine code has no errors. Write a mark, "
            "and raise in the function around it"
        )


@lru_cache(maxsize=4096)
def _line_of_raise(code: CodeType) -> int | None:
    """The line of the first ``raise`` or ``assert`` in ``code``, or in a function inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RAISE_VARARGS":
            return (instruction.positions and instruction.positions.lineno) or code.co_firstlineno
    inner = (_line_of_raise(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return next((line for line in inner if line is not None), None)


def fingerprint(function: FunctionType) -> str:
    """A digest of everything that decides what ``function`` computes: its code, its defaults, the values that it
    captures and the functions that it calls, whatever way it reaches them.

    Raises :class:`CannotCompile` for a captured object whose content cannot be told, and a function that may raise.
    """
    refuse_raise(function)
    digest, functions = digest_with_functions(function)
    for called in functions:
        refuse_raise(called)
    return digest


def fingerprint_or_reason(function: FunctionType) -> str:
    """Returns the :func:`fingerprint`, or the reason why there is none: equal while the same program serves."""
    try:
        return fingerprint(function)
    except CannotCompile as refusal:
        return str(refusal)
