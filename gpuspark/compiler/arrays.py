"""Array functions to programs: a function that is called for one item, with whole arrays, becomes a loop over
the items (CPU) or a thread for each (PTX).

A program's parameters, all 64-bit words: the arrays' addresses and the numbers in the function's order, then the
number of items. Functions that it calls are compiled with it. Arithmetic is the compiler's own (wrapping integers,
IEEE floats): who writes an array function writes for a machine.
"""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from gpuspark.compiler.source import CannotCompile

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
        return known[id(function)]
    _refuse_raise(function)
    names = {name: _compiled(value, jit, known, function) for name, value in captured(function)}
    scope = {**function.__globals__, **names}
    cells = tuple(
        CellType(names[name]) for name in function.__code__.co_freevars
    )
    copy = FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    known[id(function)] = jit(copy)
    return known[id(function)]


def _refuse_raise(function: FunctionType) -> None:
    for instruction in dis.get_instructions(function):
        if instruction.opname == "RAISE_VARARGS":
            file = function.__code__.co_filename.rsplit("/", 1)[-1]
            line = instruction.positions.lineno if instruction.positions else function.__code__.co_firstlineno
            raise CannotCompile(
                f"raise or assert in {function.__name__} ({file}, line {line}): machine code has no errors. Write a "
                "mark, and raise in the function around it"
            )


def _compiled(value: Any, jit: Callable[..., Any], known: dict[int, Any], caller: FunctionType) -> Any:
    plain = plain_function(value)
    if plain is None:
        return value
    if plain is caller:
        raise CannotCompile(f"{plain.__name__} calls itself")
    return with_compiled_callees(plain, jit, known)


def plain_function(value: Any) -> FunctionType | None:
    """The Python function behind ``value``, if it is one, or an array function."""
    inner = getattr(value, "__gpuspark_body__", value)
    return inner if isinstance(inner, FunctionType) else None


def captured(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The global and enclosing names that ``function`` uses, with their values. Nested code counts."""
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _names(code: CodeType) -> set[str]:
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def fingerprint(function: FunctionType, seen: frozenset[int] = frozenset()) -> str:
    """A digest of everything that decides what ``function`` computes: its code, its defaults, the values that it
    captures and the functions that it calls."""
    parts: list[Any] = [_described(function.__code__), function.__defaults__]
    for name, value in captured(function):
        plain = plain_function(value)
        if plain is not None:
            parts.append((name, "itself" if id(plain) in seen else fingerprint(plain, seen | {id(function)})))
        elif isinstance(value, ModuleType):
            parts.append((name, value.__name__))
        elif hasattr(value, "tobytes") and hasattr(value, "shape"):
            parts.append((name, str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()))
        else:
            parts.append((name, type(value).__name__, repr(value)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _described(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_described(c) if isinstance(c, CodeType) else (type(c).__name__, c) for c in code.co_consts[:])
    return code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars
