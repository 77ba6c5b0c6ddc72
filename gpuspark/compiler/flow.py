"""Which local names may be read before they are set. Python raises ``UnboundLocalError`` there, a
compiled program would read whatever lies in the register; so such a body is not compiled."""

from __future__ import annotations

import ast
from collections.abc import Iterable

Names = frozenset[str]
_NOWHERE: Names | None = None
"""The state after a statement that control does not pass."""


def unset_reads(statements: Iterable[ast.stmt], parameters: Iterable[str]) -> list[ast.Name]:
    """Every read of a local name that some path reaches before the name is set."""
    walker = _Flow(list(statements))
    walker.block(walker.statements, frozenset(parameters))
    return walker.found


class _Flow:
    def __init__(self, statements: list[ast.stmt]) -> None:
        self.statements = statements
        self.local = {
            n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        self.found: list[ast.Name] = []
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
            case ast.Return() | ast.Raise():
                self.expression(node, known)
                return _NOWHERE
            case _:
                return self.expression(node, known)

    def loop(self, node: ast.While | ast.For, known: Names) -> Names | None:
        before = self.expression(node.iter if isinstance(node, ast.For) else node.test, known)
        inside = before | _stored(node.target) if isinstance(node, ast.For) else before
        self.breaks.append([])
        body_end = self.block(node.body, inside)
        left_early = self.breaks.pop()
        forever = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)
        ends = [] if forever else [body_end if _runs_at_least_once(node) and not _continues(node) else before]
        after = self.block(node.orelse, _join(ends)) if node.orelse else _join(ends)
        return _join([after, *left_early])

    def expression(self, node: ast.AST, known: Names) -> Names:
        """Reads before stores, which is the order of assignments; a walrus sets its name at once."""
        for child in ast.walk(node):
            if isinstance(child, ast.NamedExpr):
                known = known | _stored(child.target)
        self.found += [
            child
            for child in ast.walk(node)
            if isinstance(child, ast.Name)
            and isinstance(child.ctx, ast.Load)
            and child.id in self.local
            and child.id not in known
        ]
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in known:
            self.found.append(node.target)
        return known | _stored(node)


def _stored(node: ast.AST) -> Names:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _join(states: list[Names | None]) -> Names | None:
    reached = [s for s in states if s is not None]
    return frozenset.intersection(*reached) if reached else _NOWHERE


def _runs_at_least_once(node: ast.While | ast.For) -> bool:
    """``for … in range(10)`` with whole numbers written out."""
    if not (isinstance(node, ast.For) and isinstance(node.iter, ast.Call)):
        return False
    call = node.iter
    numbers = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, int)]
    is_range = isinstance(call.func, ast.Name) and call.func.id == "range"
    return is_range and 0 < len(numbers) == len(call.args) <= 2 and len(range(*numbers)) > 0


def _continues(node: ast.While | ast.For) -> bool:
    return any(isinstance(n, ast.Continue) for s in node.body for n in ast.walk(s))
