"""Questions about syntax trees: what they assign, where control goes, and in which order names are read."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator


def walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yields ``nodes`` and everything inside them, in the order of :func:`ast.walk` and in half its time; but not
    whether a name is read or written, which is in the name's ``ctx``."""
    for top in nodes:
        waiting = deque([top])
        while waiting:
            node = waiting.popleft()
            yield node
            for field in node._fields:
                part = getattr(node, field, None)
                if isinstance(part, list):
                    waiting.extend(each for each in part if isinstance(each, ast.AST))
                elif isinstance(part, ast.AST) and field != "ctx":
                    waiting.append(part)


def always_leaves(statements: list[ast.stmt]) -> bool:
    """Returns whether control never reaches what follows ``statements``."""
    match statements:
        case [*_, ast.Return() | ast.Break() | ast.Continue()]:
            return True
        case [*_, ast.If(body=body, orelse=orelse)]:
            return always_leaves(body) and always_leaves(orelse)
    return False


def assigned_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Returns the names that are assigned somewhere in ``nodes``."""
    return {n.id for n in walk(nodes) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def has_lasting_effect(nodes: Iterable[ast.AST]) -> bool:
    """Returns whether ``nodes`` change something that another row may see: an element, an attribute or a name outside
    the function."""
    return any(
        isinstance(n, ast.Global | ast.Nonlocal)
        or (isinstance(n, ast.Subscript | ast.Attribute) and isinstance(n.ctx, ast.Store | ast.Del))
        for n in walk(nodes)
    )


def maybe_unevaluated(node: ast.AST) -> list[ast.expr]:
    """Returns the parts of ``node`` that Python may not evaluate, or may evaluate more than once."""
    match node:
        case ast.BoolOp(values=[_, *later]) | ast.Compare(comparators=[_, *later]):
            return later
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.While():
            return [node.test]
    return []


def is_test(node: ast.expr) -> bool:
    """Returns whether an expression is a boolean whatever the columns hold."""
    if isinstance(node, ast.BoolOp):
        return all(is_test(operand) for operand in node.values)
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def names_in_order(node: ast.AST) -> Iterator[ast.Name | ast.NamedExpr]:
    """Yields the names that ``node`` reads, and its ``:=``, in the order of evaluation.

    Of a branch or loop only the head counts; a ``:=`` follows the names in its value.
    """
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
    """Yields each ``:=`` that cannot be moved before its statement: Python may not evaluate it, or the statement reads
    its name earlier or assigns it twice."""
    nodes = list(walk(statements))
    if not any(isinstance(node, ast.NamedExpr) for node in nodes):
        return
    for node in nodes:
        yield from (w for w in walk(maybe_unevaluated(node)) if isinstance(w, ast.NamedExpr))
        if isinstance(node, ast.stmt):
            yield from _out_of_order(list(names_in_order(node)))


def _out_of_order(events: list[ast.Name | ast.NamedExpr]) -> Iterator[ast.NamedExpr]:
    """Yields each ``:=`` in ``events`` whose name is read before it or assigned again."""
    for position, event in enumerate(events):
        if isinstance(event, ast.NamedExpr):
            inside = set(map(id, walk([event.value])))
            earlier = [e for e in events[:position] if id(e) not in inside]
            again = [e for e in events if e is not event and isinstance(e, ast.NamedExpr)]
            names = [e.id for e in earlier if isinstance(e, ast.Name)] + [e.target.id for e in again]
            if event.target.id in names:
                yield event
