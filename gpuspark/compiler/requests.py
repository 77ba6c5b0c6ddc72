"""Requests to compile: a function with everything that affects its code."""

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
    """A rewritten scalar body with everything that affects its code."""

    body: Body
    columns: tuple[ColumnType, ...]
    result: ColumnType
    checked: bool
    """Whether overflow, division by zero and domain errors mark the row (``arithmetic=python``)."""
    nullable: bool
    """Whether the body sees nulls, as ``None`` (``nulls="pass"``)."""

    def parts(self) -> tuple[Any, ...]:
        """Returns everything that the code depends on, apart from the tools."""
        constants = digest_of(self.body.constants)
        types = (*map(str, self.columns), str(self.result))
        return (self.body.text, constants, *types, self.checked, self.nullable)


@dataclass(frozen=True)
class Parameter:
    """The type of one parameter of an array function: an array of ``dtype``, a name of NumPy's, or a number, ``int64``
    or ``float64``."""

    dtype: str
    is_array: bool
    scratch: int = 0
    """The number of elements per thread, for a scratch array of which each thread has its own part; otherwise 0."""

    def __str__(self) -> str:
        return f"{self.dtype}{'*' if self.is_array else ''}{self.scratch or ''}"


@dataclass(frozen=True)
class ArrayRequest:
    """An array function with the types of its parameters."""

    function: FunctionType
    parameters: tuple[Parameter, ...]

    def parts(self) -> tuple[Any, ...]:
        """Returns everything that the code depends on, apart from the tools."""
        return ("array", fingerprint(self.function), *map(str, self.parameters))
