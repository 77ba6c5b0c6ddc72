"""One program text under construction: the entry function and those that it calls, each rewritten once for each way
in which it is called."""

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
OP = "_gs_op_"
ROW = "_gs_row"
OUT = "_gs_out"


@dataclass(frozen=True)
class Called:
    """A function and the way in which it is called."""

    source: Source
    columns: tuple[str, ...]
    """The parameters that are given a value for each row."""
    nullable: bool
    """Whether these may be ``None``."""
    fixed: dict[str, Any]
    """The parameters with one value for all rows: defaults, flags and functions."""
    origins: tuple[Origins, ...]
    """Where the values of ``columns`` come from."""

    def key(self) -> tuple[Any, ...]:
        """Equal for calls that share one rewritten function. ``fixed`` values count by identity: each is kept here."""
        fixed = tuple((name, id(self.fixed[name])) for name in sorted(self.fixed))
        return (self.source.function, self.columns, self.nullable, fixed, self.origins)


@dataclass
class Branch:
    """One side of a branch, once it is rewritten."""

    refusals: list[str] = field(default_factory=list)
    runs_in_python: bool = False
    """Whether its rows are left to Python."""


@dataclass
class Unit:
    """The functions, constants, operations and refusals of one program text."""

    rewrite: Callable[[Unit, Called, str], ast.FunctionDef]
    texts: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    left_to_python: list[str] = field(default_factory=list)
    """What does not compile and stands where few rows may come: those rows are marked."""
    containers: dict[int, Any] = field(default_factory=dict)
    """What is captured in the program, by id: lists, sets and arrays among it."""
    used_in_python: dict[int, str] = field(default_factory=dict)
    """Captured lists, sets, dictionaries and arrays that code left to Python uses, by id: their name and line."""
    open: list[types.CodeType] = field(default_factory=list)
    """The functions that are being rewritten, outermost first."""
    returned: Returned = field(default_factory=dict)
    """Where the results of each called function come from."""
    _names: dict[tuple[Any, ...], tuple[str, Called, list[str]]] = field(default_factory=dict)
    """By what decides it: a rewritten function's name, how it is called, and its refusals."""

    def add(self, called: Called) -> str:
        """Rewrites a function, unless it is there already, and returns its new name."""
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
            self.texts.append(ast.unparse(ast.fix_missing_locations(rewritten)))
        return name

    @contextmanager
    def branch(self, statements: Iterable[ast.AST]) -> Iterator[Branch]:
        """Within, refusals are those of a branch: ``statements`` are left to Python, unless they change something that
        has_lasting_effect the row."""
        branch, before, containers = Branch(), len(self.refusals), dict(self.containers)
        yield branch
        branch.refusals = self.refusals[before:]
        if branch.refusals and not has_lasting_effect(statements):
            del self.refusals[before:]
            self.containers = containers
            branch.runs_in_python = True

    def refuse(self, source: Source, node: ast.AST, what: str) -> ast.expr:
        """Notes that ``node`` does not compile; returns an expression to go on with."""
        self.refusals.append(f"{what} ({source.where(node)})")
        return ast.Constant(0)
