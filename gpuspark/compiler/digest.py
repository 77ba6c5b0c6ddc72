"""Digests of the values that a program may be made from.

Two values have equal digests, in every process, exactly if Python code cannot distinguish them. The parts of a value
are written into a hash, each with its exact type and length. A value whose content is unknown, such as an instance of
some class, is refused by name: its digest would not change with its content.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import operator
import struct
import sys
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from gpuspark.compiler.constants import why_unusable
from gpuspark.compiler.source import UNBOUND, CannotCompile, HoldsBody, value_of

_LIBRARIES = {"builtins", "cmath", "math", "numba", "numpy", "operator"}
"""Objects of these modules are identified by name: the modules' versions are part of every program's key."""
_CONTAINERS = (tuple, list, set, frozenset, dict)
_CODE_PARTS = (
    "co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_posonlyargcount",
    "co_kwonlyargcount", "co_flags", "co_exceptiontable",
)  # fmt: skip


def digest_of(value: Any) -> str:
    """Returns the digest of ``value``.

    Raises :class:`CannotCompile` with the class of a part that has no digest.

    >>> digest_of((1, 0.0)) == digest_of((1, 0.0)), digest_of(0.0) == digest_of(-0.0), digest_of(1) == digest_of(True)
    (True, False, False)
    """
    return digest_with_functions(value)[0]


def digest_with_functions(value: Any) -> tuple[str, list[types.FunctionType]]:
    """Returns the digest of ``value`` and every Python function that it reaches."""
    writer = _DigestWriter()
    try:
        return writer.digest(value), writer.functions
    except RecursionError:
        raise CannotCompile("what it captures is nested too deeply") from None


@lru_cache(maxsize=4096)
def _digest_of_code(code: types.CodeType) -> str:
    """Returns the digest of a code object. Cached: each call of an array function needs it, and code never changes."""
    return _DigestWriter().digest(([getattr(code, name) for name in _CODE_PARTS], code.co_consts))


@lru_cache(maxsize=4096)
def globals_of(code: types.CodeType) -> list[str]:
    """Returns the global names that ``code`` and the functions inside it read, sorted."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = [globals_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return sorted(names.union(*inner))


class _DigestWriter:
    """Writes one value into a hash."""

    def __init__(self, outer: _DigestWriter | None = None) -> None:
        self.names: frozenset[str] = outer.names if outer else frozenset()
        """The attribute names that the enclosing functions could read from a module."""
        self.open_containers: list[int] = list(outer.open_containers) if outer else []
        """Ids of the containers around the current value, outermost first."""
        self.seen: dict[Any, tuple[int, Any]] = dict(outer.seen) if outer else {}
        """The number of each function and module that was written, by id; the object beside it keeps the id valid."""
        self.functions: list[types.FunctionType] = outer.functions if outer else []
        """The Python functions that were written."""

    def digest(self, value: Any) -> str:
        """Returns the digest of ``value``."""
        hashed = hashlib.sha256()
        for part in self.parts(value):
            hashed.update(len(part).to_bytes(8, "little"))
            hashed.update(part)
        return hashed.hexdigest()

    def parts(self, value: Any) -> Iterator[bytes]:
        """Yields the exact type of ``value``, then its content."""
        value_type = type(value)
        yield f"{value_type.__module__}.{value_type.__qualname__}".encode()
        if value is None or value is Ellipsis or value is NotImplemented:
            return
        if value_type is int:
            yield f"{value:x}".encode()
        elif value_type in (bool, str, bytes):
            yield repr(value).encode()
        elif value_type is float:
            yield struct.pack("<d", value)
        elif value_type is complex:
            yield struct.pack("<dd", value.real, value.imag)
        elif value_type in (range, slice):
            yield from self.sequence((value.start, value.stop, value.step))
        elif value_type is np.ndarray or (isinstance(value, np.generic) and _in_library(value_type)):
            yield from _array(value)
        elif isinstance(value, np.dtype):
            yield _dtype(value)
        elif value_type is types.CodeType:
            yield _digest_of_code(value).encode()
        elif value_type in _CONTAINERS:
            yield from self.container(value)
        elif _in_library(value):
            yield f"{_module_name(value)}.{_name(value)}".encode()
        elif value_type.__module__.startswith("numba.core.types"):
            yield repr(value).encode()
        else:
            yield from self.identified_object(value)

    def container(self, value: Any) -> Iterator[bytes]:
        """Yields a container's elements; those of a set in an order that is the same in every process."""
        if id(value) in self.open_containers:
            yield f"around {self.open_containers.index(id(value))}".encode()
            return
        self.open_containers.append(id(value))
        if isinstance(value, set | frozenset):
            yield from sorted(_DigestWriter(self).digest(element).encode() for element in value)
        elif isinstance(value, dict):
            yield from self.sequence(part for item in value.items() for part in item)
        else:
            yield from self.sequence(value)
        self.open_containers.pop()

    def sequence(self, values: Iterable[Any]) -> Iterator[bytes]:
        """Yields the number of values, then each of them."""
        listed = list(values)
        yield str(len(listed)).encode()
        for value in listed:
            yield from self.parts(value)

    def identified_object(self, value: Any) -> Iterator[bytes]:
        """Yields a function or a module, or its number if it was written before: it may reach itself."""
        value_type = type(value)
        key = (id(value), self.names if value_type is types.ModuleType else None)
        if key in self.seen:
            yield f"seen {self.seen[key][0]}".encode()
            return
        self.seen[key] = len(self.seen), value
        if value_type is types.FunctionType:
            yield from self.function(value)
        elif value_type is types.ModuleType:
            yield from self.module(value)
        elif isinstance(value, HoldsBody) and value_type.__module__.startswith("gpuspark."):
            yield from self.parts(value.__gpuspark_body__)
        elif value_type.__module__ == "numba.core.registry" and value_type.__name__ == "CPUDispatcher":
            yield from self.dispatcher(value)
        else:
            raise Undigestible(why_unusable(value))

    def function(self, function: types.FunctionType) -> Iterator[bytes]:
        """Yields the code, the defaults and everything that a function captures, however it reaches it."""
        self.functions.append(function)
        code, outer = function.__code__, self.names
        yield from self.sequence((code, function.__defaults__, function.__kwdefaults__))
        self.names = names_in(code)
        for name, value in captured(function):
            yield from self.captured(name, value)
        self.names = outer

    def captured(self, name: str, value: Any) -> Iterator[bytes]:
        """Yields a captured name and its value. A refusal of the value names it."""
        yield repr(name).encode()
        if value is UNBOUND:
            yield b"not bound"
            return
        try:
            yield from self.parts(value)
        except Undigestible as refusal:
            raise CannotCompile(f"{name} is {refusal}") from None

    def module(self, module: types.ModuleType) -> Iterator[bytes]:
        """Yields what the enclosing functions could read from a module: the attributes that their code names."""
        yield repr(module.__name__).encode()
        for name in sorted(self.names & vars(module).keys()):
            yield from self.captured(f"{module.__name__}.{name}", vars(module)[name])
        if "__getattr__" in vars(module) and module.__name__.partition(".")[0] not in _LIBRARIES:
            raise Undigestible("a module that makes its attributes on demand (__getattr__)")

    def dispatcher(self, dispatcher: Any) -> Iterator[bytes]:
        """Yields a function that Numba compiles: the Python function, the options and the explicit signatures."""
        yield from self.sequence((dispatcher.py_func, dispatcher.targetoptions))
        if not dispatcher._can_compile:  # noqa: SLF001  (Numba has no public way to ask)
            yield from self.sequence(map(str, dispatcher.nopython_signatures))


class Undigestible(CannotCompile):
    """Raised for a value that has no digest. The message says what it is, and what to write instead."""


def captured(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yields the enclosing and global names that ``function`` and functions inside it read, with their current
    values."""
    for name in (*function.__code__.co_freevars, *globals_of(function.__code__)):
        yield name, value_of(function, name)


@lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """Returns the names in ``code``, and its strings if it calls ``getattr``: all that it can read from a module."""
    strings = {text for text in code.co_consts if isinstance(text, str)} if "getattr" in code.co_names else set()
    inner = [names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return frozenset(strings.union(code.co_names, *inner))


def _array(value: Any) -> Iterator[bytes]:
    """Yields the bytes of a NumPy array or scalar in row order, and everything else that Numba or Python can see."""
    if value.dtype.hasobject:
        raise Undigestible("an array of objects")
    flags = value.flags
    yield _dtype(value.dtype)
    yield repr((value.shape, flags.c_contiguous, flags.f_contiguous, flags.aligned, flags.writeable)).encode()
    yield value.tobytes()


def _dtype(dtype: np.dtype[Any]) -> bytes:
    """Returns everything that distinguishes a NumPy type."""
    return f"{np.lib.format.dtype_to_descr(dtype)!r} {dtype.isalignedstruct} {dtype.itemsize}".encode()


def _in_library(value: Any) -> bool:
    """Returns whether ``value`` is a function or class that a library holds under the value's own name."""
    try:
        return _library_object(value) is value
    except AttributeError:
        return False


def _library_object(value: Any) -> Any:
    """Returns what a library holds under the name of ``value``. Raises ``AttributeError`` if it holds nothing."""
    if not isinstance(value, type | types.BuiltinFunctionType | np.ufunc) and not inspect.isroutine(value):
        raise AttributeError
    module = _module_name(value)
    if module.partition(".")[0] not in _LIBRARIES or module not in sys.modules:
        raise AttributeError
    return operator.attrgetter(_name(value))(sys.modules[module])


def _module_name(value: Any) -> str:
    """Returns the module that a function or class says it belongs to."""
    return "numpy" if isinstance(value, np.ufunc) else str(getattr(value, "__module__", None))


def _name(value: Any) -> str:
    """Returns the qualified name of a function or class."""
    return str(value.__name__ if isinstance(value, np.ufunc) else value.__qualname__)
