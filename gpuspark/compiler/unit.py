"""One program text under construction: the entry function and those that it calls, each rewritten once for each way
in which it is called."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpuspark.compiler.origins import Origins, Returned
from gpuspark.compiler.source import Source

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
class Unit:
    """The functions, constants, operations and refusals of one program text."""

    rewrite: Callable[[Unit, Called, str], ast.FunctionDef]
    texts: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    open: list[types.CodeType] = field(default_factory=list)
    """The functions that are being rewritten, outermost first."""
    returned: Returned = field(default_factory=dict)
    """Where the results of each called function come from."""
    _names: dict[tuple[Any, ...], tuple[str, Called]] = field(default_factory=dict)

    def add(self, called: Called) -> str:
        """Rewrites a function, unless it is there already, and returns its new name."""
        key = called.key()
        if key in self._names:
            return self._names[key][0]
        name = f"_gs_f{len(self._names)}"
        self._names[key] = name, called
        self.open.append(called.source.function.__code__)
        rewritten = self.rewrite(self, called, name)
        self.open.pop()
        self.texts.append(ast.unparse(ast.fix_missing_locations(rewritten)))
        return name

    def refuse(self, source: Source, node: ast.AST, what: str) -> ast.expr:
        """Notes that ``node`` does not compile; returns an expression to go on with."""
        self.refusals.append(f"{what} ({source.where(node)})")
        return ast.Constant(0)
