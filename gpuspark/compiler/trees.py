"""Questions about syntax trees: what control reaches, and what is a test."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator


def walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield from ast.walk(node)


def leaves(statements: list[ast.stmt]) -> bool:
    """Whether control never reaches what follows."""
    match statements:
        case [*_, ast.Return() | ast.Break() | ast.Continue()]:
            return True
        case [*_, ast.If(body=body, orelse=orelse)]:
            return leaves(body) and leaves(orelse)
    return False


def guarded(node: ast.AST) -> list[ast.expr]:
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
