"""Which local names may be read before they are set. Python raises ``UnboundLocalError`` there; a compiled program
keeps a flag for such a name, and marks the row where it is read too early."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gpuspark.compiler.trees import names_in_order

Names = frozenset[str]
_NOWHERE: Names | None = None
"""The state after a statement that control does not pass."""


def unset_reads(statements: Iterable[ast.stmt], parameters: Iterable[str]) -> set[str]:
    """The local names that some path reads before it sets them."""
    walker = _Flow(list(statements))
    walker.block(walker.statements, frozenset(parameters))
    return walker.unset


class _Flow:
    def __init__(self, statements: list[ast.stmt]) -> None:
        self.statements = statements
        self.local = {
            n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        self.unset: set[str] = set()
        self.breaks: list[list[Names]] = []

    def block(self, statements: list[ast.stmt], known: Names | None) -> Names | None:
        for statement in statements:
            if known is None:
                break
            known = self.statement(statement, known)
        return known

    def statement(self, node: ast.stmt, known: Names) -> Names | None:
        match node:
            case ast.If():
                known = self.expression(node.test, known)
                return _join([self.block(node.body, known), self.block(node.orelse, known)])
            case ast.While() | ast.For():
                return self.loop(node, known)
            case ast.Break():
                self.breaks[-1].append(known)
                return _NOWHERE
            case ast.Continue():
                return _NOWHERE
            case ast.Try():  # where Python enters a handler, a compiled program has marked the row
                return self.block([*node.body, *node.orelse], known)
            case ast.Return() | ast.Raise():
                self.expression(node, known)
                return _NOWHERE
            case _:
                return self.expression(node, known)

    def loop(self, node: ast.While | ast.For, known: Names) -> Names | None:
        before = self.expression(node.iter if isinstance(node, ast.For) else node.test, known)
        inside = before | _stored(node.target) if isinstance(node, ast.For) else before
        self.breaks.append([])
        self.block(node.body, inside)
        left_early = self.breaks.pop()
        forever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        ends: list[Names | None] = [] if forever else [before]  # a marked row runs no loop, however long
        after = self.block(node.orelse, _join(ends)) if node.orelse else _join(ends)
        return _join([after, *left_early])

    def expression(self, node: ast.AST, known: Names) -> Names:
        """Reads before stores, which is the order of assignments; ``:=`` sets its name at once."""
        for event in names_in_order(node):
            if isinstance(event, ast.NamedExpr):
                known = known | {event.target.id}
            elif event.id in self.local and event.id not in known:
                self.unset.add(event.id)
        return known | _stored(node)


def _stored(node: ast.AST) -> Names:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _join(states: list[Names | None]) -> Names | None:
    reached = [s for s in states if s is not None]
    return frozenset.intersection(*reached) if reached else _NOWHERE
