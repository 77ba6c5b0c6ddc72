"""Finds the local names that may be read before they are set.

Python raises ``UnboundLocalError`` there. A compiled program keeps a flag for such a name, and marks the row where it
is read too early.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gpuspark.compiler.trees import assigned_names, names_in_order

Names = frozenset[str]
_UNREACHABLE: Names | None = None
"""The state after a statement that control never passes."""


def unset_reads(statements: Iterable[ast.stmt], parameters: Iterable[str]) -> set[str]:
    """Returns the local names that some path reads before it sets them."""
    walker = _Flow(list(statements))
    walker.block(walker.statements, frozenset(parameters))
    return walker.unset


class _Flow:
    """A walk over the statements of a function. The state is the set of names that are set on every path."""

    def __init__(self, statements: list[ast.stmt]) -> None:
        self.statements = statements
        self.local = assigned_names(statements)
        self.unset: set[str] = set()
        """The names that were read before they were set."""
        self.breaks: list[list[Names]] = []
        """The states at the ``break`` statements of each loop around, outermost first."""

    def block(self, statements: list[ast.stmt], names_set: Names | None) -> Names | None:
        """Returns the state after ``statements``."""
        for statement in statements:
            if names_set is None:
                break
            names_set = self.statement(statement, names_set)
        return names_set

    def statement(self, node: ast.stmt, names_set: Names) -> Names | None:
        """Returns the state after one statement."""
        match node:
            case ast.If():
                names_set = self.expression(node.test, names_set)
                return _join([self.block(node.body, names_set), self.block(node.orelse, names_set)])
            case ast.While() | ast.For():
                return self.loop(node, names_set)
            case ast.Break():
                self.breaks[-1].append(names_set)
                return _UNREACHABLE
            case ast.Continue():
                return _UNREACHABLE
            case ast.Try():  # a row that would enter a handler is marked
                return self.block([*node.body, *node.orelse], names_set)
            case ast.Return() | ast.Raise():
                self.expression(node, names_set)
                return _UNREACHABLE
            case _:
                return self.expression(node, names_set)

    def loop(self, node: ast.While | ast.For, names_set: Names) -> Names | None:
        """Returns the state after a loop, whose body may not run at all."""
        before = self.expression(node.iter if isinstance(node, ast.For) else node.test, names_set)
        inside = before | assigned_names([node.target]) if isinstance(node, ast.For) else before
        self.breaks.append([])
        self.block(node.body, inside)
        at_breaks = self.breaks.pop()
        forever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        at_end: list[Names | None] = [] if forever else [before]  # a marked row leaves every loop
        after = self.block(node.orelse, _join(at_end)) if node.orelse else _join(at_end)
        return _join([after, *at_breaks])

    def expression(self, node: ast.AST, names_set: Names) -> Names:
        """Returns the state after the expressions of ``node``: names are read before an assignment stores, and ``:=``
        sets its name at once."""
        for event in names_in_order(node):
            if isinstance(event, ast.NamedExpr):
                names_set = names_set | {event.target.id}
            elif event.id in self.local and event.id not in names_set:
                self.unset.add(event.id)
        return names_set | assigned_names([node])


def _join(states: list[Names | None]) -> Names | None:
    """Returns the names that are set in all of the states that control reaches."""
    reached = [s for s in states if s is not None]
    return frozenset.intersection(*reached) if reached else _UNREACHABLE
