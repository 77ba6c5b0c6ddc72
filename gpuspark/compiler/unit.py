"""A program text under construction: the entry function and the functions that it calls.

A called function is rewritten once for each distinct way in which it is called (:meth:`Called.key`).
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpuspark.compiler.origins import Origins, Returned
from gpuspark.compiler.source import Source
from gpuspark.compiler.trees import has_lasting_effect

ENTRY = "_gs_f0"
"""The name of the entry function in a program text."""
OP = "_gs_op_"
"""The prefix of the names of operations."""
ROW = "_gs_row"
"""The last argument of every function and operation: the row's status byte and number."""
OUT = "_gs_out"
"""The entry function's argument for the result column."""


@dataclass(frozen=True)
class Called:
    """A function and how it is called."""

    source: Source
    columns: tuple[str, ...]
    """The parameters that have a value for each row."""
    nullable: bool
    """Whether the values of ``columns`` may be ``None``."""
    fixed: dict[str, Any]
    """The parameters with one value for all rows: defaults, flags and functions."""
    origins: tuple[Origins, ...]
    """The origins of the values of ``columns``."""

    def key(self) -> tuple[Any, ...]:
        """Returns a key that is equal for calls that can share one rewritten function.

        Values in ``fixed`` count by identity; this object keeps them alive.
        """
        fixed = tuple((name, id(self.fixed[name])) for name in sorted(self.fixed))
        return (self.source.function, self.columns, self.nullable, fixed, self.origins)


@dataclass
class Branch:
    """One rewritten side of a branch."""

    refusals: list[str] = field(default_factory=list)
    runs_in_python: bool = False
    """Whether rows that take this side are left to Python."""


@dataclass
class Unit:
    """The functions, constants, operations and refusals of one program text."""

    rewrite: Callable[[Unit, Called, str], ast.FunctionDef]
    texts: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    left_to_python: list[str] = field(default_factory=list)
    """The refusals of branches that are left to Python: rows that take these are marked."""
    containers: dict[int, Any] = field(default_factory=dict)
    """The captured values that the program reads, by id: lists, sets and arrays among them."""
    used_in_python: dict[int, str] = field(default_factory=dict)
    """The captured lists, sets, dictionaries and arrays that code left to Python uses: id to name and line."""
    open: list[types.CodeType] = field(default_factory=list)
    """The functions that are being rewritten, outermost first."""
    returned: Returned = field(default_factory=dict)
    """The origins of the results of called functions."""
    _names: dict[tuple[Any, ...], tuple[str, Called, list[str]]] = field(default_factory=dict)
    """The new name, the call and the refusals of each rewritten function, by :meth:`Called.key`."""

    def add(self, called: Called) -> str:
        """Rewrites a function, unless that is done already, and returns its new name."""
        key = called.key()
        if key in self._names:
            name, _, refusals = self._names[key]
            self.refusals += refusals
            return name
        name, before = f"_gs_f{len(self._names)}", len(self.refusals)
        self._names[key] = name, called, []
        self.open.append(called.source.function.__code__)
        rewritten = self.rewrite(self, called, name)
        self.open.pop()
        refusals = self.refusals[before:]
        self._names[key] = name, called, refusals
        if not refusals:
            self.write(rewritten)
        return name

    def write(self, rewritten: ast.FunctionDef) -> None:
        """Adds the text of a rewritten function."""
        self.texts.append(ast.unparse(ast.fix_missing_locations(rewritten)))

    @contextmanager
    def branch(self, statements: Iterable[ast.AST]) -> Iterator[Branch]:
        """Context manager that collects the refusals of a branch.

        If there are any, ``statements`` are left to Python, unless they change something that outlives the row.
        """
        branch, before, containers = Branch(), len(self.refusals), dict(self.containers)
        yield branch
        branch.refusals = self.refusals[before:]
        if branch.refusals and not has_lasting_effect(statements):
            del self.refusals[before:]
            self.containers = containers
            branch.runs_in_python = True

    def refuse(self, source: Source, node: ast.AST, what: str) -> ast.expr:
        """Notes that ``node`` does not compile; returns a placeholder, so that later refusals are found too."""
        self.refusals.append(f"{what} ({source.where(node)})")
        return ast.Constant(0)
