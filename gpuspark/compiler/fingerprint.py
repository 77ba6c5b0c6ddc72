"""The digest that identifies the program of an array function, and the refusal of functions that raise."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType, FunctionType

from gpuspark.compiler.digest import digest_with_functions
from gpuspark.compiler.source import CannotCompile


def refuse_raise(function: FunctionType) -> None:
    """Raises :class:`CannotCompile` if ``function`` contains ``raise`` or ``assert``."""
    line = _line_of_raise(function.__code__)
    if line is not None:
        file = function.__code__.co_filename.rsplit("/", 1)[-1]
        raise CannotCompile(
            f"raise or assert in {function.__name__} ({file}, line {line}): machine code cannot raise. Write an "
            "error code to an array, and raise in the calling function"
        )


@lru_cache(maxsize=4096)
def _line_of_raise(code: CodeType) -> int | None:
    """Returns the line of the first ``raise`` or ``assert`` in ``code`` or in a function inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RAISE_VARARGS":
            return (instruction.positions and instruction.positions.lineno) or code.co_firstlineno
    inner = (_line_of_raise(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return next((line for line in inner if line is not None), None)


def fingerprint(function: FunctionType) -> str:
    """Returns a digest of everything that affects what ``function`` computes: its code, its defaults, the values that
    it captures and the functions that it calls, however it reaches them.

    Raises :class:`CannotCompile` for a captured object that has no digest, and for a function that may raise.
    """
    refuse_raise(function)
    digest, functions = digest_with_functions(function)
    for called in functions:
        refuse_raise(called)
    return digest


def fingerprint_or_reason(function: FunctionType) -> str:
    """Returns the :func:`fingerprint`, or the reason why there is none. While it is equal, the program stays valid."""
    try:
        return fingerprint(function)
    except CannotCompile as refusal:
        return str(refusal)
