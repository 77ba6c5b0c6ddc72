"""Finds the expressions of a body that may be ``None``, and so need a check where Python needs a value."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from gpuspark.compiler.trees import walk

Test = Callable[[ast.expr], bool]


def maybe_null(
    statements: list[ast.stmt], null_parameters: Iterable[str], call_may_be_null: Callable[[ast.Call], bool]
) -> Test:
    """Returns a predicate that says whether an expression of a body may be ``None``.

    The analysis is flow-insensitive: a name that is ever assigned ``None`` counts as nullable everywhere.
    """
    names = set(null_parameters)

    def nullable(node: ast.expr) -> bool:
        match node:
            case ast.Constant(value=None):
                return True
            case ast.Name(id=name):
                return name in names
            case ast.IfExp():
                return nullable(node.body) or nullable(node.orelse)
            case ast.BoolOp():
                return any(nullable(v) for v in node.values)
            case ast.NamedExpr():
                return nullable(node.value)
            case ast.Call():
                return call_may_be_null(node)
        return False

    nodes = list(walk(statements))
    changed = True
    while changed:
        before = len(names)
        for node in nodes:
            match node:
                case ast.Assign(targets=targets, value=value) if nullable(value):
                    names |= {t.id for target in targets for t in walk([target]) if isinstance(t, ast.Name)}
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if nullable(value):
                    names.add(name)
                case ast.NamedExpr(target=ast.Name(id=name), value=value) if nullable(value):
                    names.add(name)
        changed = len(names) > before
    return nullable
