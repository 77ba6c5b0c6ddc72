"""Questions about syntax trees: what control reaches, and what is a test."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator


def walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)


def always_leaves(statements: list[ast.stmt]) -> bool:
    """Whether control never reaches what follows."""
    match statements:
        case [*_, ast.Return() | ast.Break() | ast.Continue()]:
            return True
        case [*_, ast.If(body=body, orelse=orelse)]:
            return always_leaves(body) and always_leaves(orelse)
    return False


def assigned_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that are assigned somewhere in ``nodes``."""
    return {n.id for n in walk(nodes) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def has_lasting_effect(nodes: Iterable[ast.AST]) -> bool:
    """Whether something is changed that another row may see: an element, an attribute or a name outside."""
    return any(
        isinstance(n, ast.Global | ast.Nonlocal)
        or (isinstance(n, ast.Subscript | ast.Attribute) and isinstance(n.ctx, ast.Store | ast.Del))
        for n in walk(nodes)
    )


def maybe_unevaluated(node: ast.AST) -> list[ast.expr]:
    """The parts of an expression that Python may not reach, or reaches more than once."""
    match node:
        case ast.BoolOp(values=[_, *later]) | ast.Compare(comparators=[_, *later]):
            return later
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.While():
            return [node.test]
    return []


def is_test(node: ast.expr) -> bool:
    """Whether an expression is a boolean, whatever the columns hold."""
    if isinstance(node, ast.BoolOp):
        return all(is_test(operand) for operand in node.values)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def names_in_order(node: ast.AST) -> Iterator[ast.Name | ast.NamedExpr]:
    """The names that a statement's own expressions read, and their ``:=``, in Python's order: of a branch or loop those
    of its head; ``:=`` after what it assigns."""
    match node:
        case ast.NamedExpr():
            yield from names_in_order(node.value)
            yield node
        case ast.Name():
            if isinstance(node.ctx, ast.Load):
                yield node
        case ast.AugAssign(target=ast.Name() as target, value=value):
            yield target
            yield from names_in_order(value)
        case ast.IfExp():
            for part in (node.test, node.body, node.orelse):
                yield from names_in_order(part)
        case ast.If(test=head) | ast.While(test=head) | ast.For(iter=head):
            yield from names_in_order(head)
        case ast.Try():
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from names_in_order(child)


def unhoistable(statements: Iterable[ast.stmt]) -> Iterator[ast.NamedExpr]:
    """Each ``:=`` that cannot stand before its statement: Python may not reach it, or reads the name before it in the
    same statement, or sets the name there twice."""
    for node in walk(statements):
        yield from (w for w in walk(maybe_unevaluated(node)) if isinstance(w, ast.NamedExpr))
        if isinstance(node, ast.stmt):
            yield from _out_of_order(list(names_in_order(node)))


def _out_of_order(events: list[ast.Name | ast.NamedExpr]) -> Iterator[ast.NamedExpr]:
    for place, event in enumerate(events):
        if isinstance(event, ast.NamedExpr):
            inside = set(map(id, ast.walk(event.value)))
            earlier = [e for e in events[:place] if id(e) not in inside]
            again = [e for e in events if e is not event and isinstance(e, ast.NamedExpr)]
            names = [e.id for e in earlier if isinstance(e, ast.Name)] + [e.target.id for e in again]
            if event.target.id in names:
                yield event
