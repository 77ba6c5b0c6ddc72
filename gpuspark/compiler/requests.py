"""What is to be compiled: a function with everything that decides its code."""

from __future__ import annotations

from dataclasses import dataclass
from types import FunctionType
from typing import Any

from gpuspark.columns.types import ColumnType
from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.fingerprint import fingerprint
from gpuspark.compiler.rewrite import Body


@dataclass(frozen=True)
class Request:
    """A body with everything that decides its code."""

    body: Body
    columns: tuple[ColumnType, ...]
    result: ColumnType
    checked: bool
    """Whether overflow, division by zero and domain errors are noticed (``arithmetic=python``)."""
    nullable: bool
    """Whether the body sees nulls, as ``None`` (``nulls="pass"``)."""

    def parts(self) -> tuple[Any, ...]:
        """What the code depends on, but for the tools."""
        constants = digest_of(self.body.constants)
        types = (*map(str, self.columns), str(self.result))
        return (self.body.text, constants, *types, self.checked, self.nullable)


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
