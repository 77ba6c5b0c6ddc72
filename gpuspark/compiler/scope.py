"""What a body's names and expressions stand for before any row runs.

A name may stand for a captured object, for an imported module or function, or for a string or ``None`` that is the
same for all rows; an expression of such names may have a static value.
"""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from gpuspark.compiler.constants import (
    compare_static,
    is_constant,
    list_as_array,
    own_class_advice,
    unusable_part,
    why_unusable,
)
from gpuspark.compiler.source import UNBOUND, Source, Unresolved, attribute_of
from gpuspark.compiler.trees import walk


class Scope:
    """The names of one function.

    ``fixed``: parameters and imported names with one value for all rows. ``local``: the names that are not looked up
    outside the function.
    """

    def __init__(self, source: Source, local: Iterable[str], fixed: dict[str, Any]) -> None:
        self.source, self.local, self.fixed = source, frozenset(local), fixed
        self.static_locals: dict[str, Any] = {}
        """The local names that hold a string or ``None`` for all rows, at the statement that is being rewritten."""

    def object_of(self, node: ast.expr) -> tuple[Any] | None:
        """Returns the object behind a global name or a chain of module attributes, as a 1-tuple; otherwise ``None``."""
        match node:
            case ast.Name(id=name) if name in self.fixed and name not in self.local:
                return (self.fixed[name],)
            case ast.Name(id=name) if name not in self.local:
                try:
                    return (self.source.resolve(name),)
                except Unresolved:
                    return None
            case ast.Attribute(value=owner, attr=name):
                module = self.object_of(owner)
                value = attribute_of(module[0], name) if module else UNBOUND
                return None if value is UNBOUND else (value,)
        return None

    def problem(self, node: ast.expr) -> str | None:
        """Returns why the object behind ``node``, or the module that it is read from, cannot be captured."""
        captured = self.object_of(node)
        if captured and not is_constant(captured[0]) and own_class_advice(unusable_part(captured[0])):
            return f"{ast.unparse(node)} is {why_unusable(unusable_part(captured[0]))}"
        return self.problem(node.value) if isinstance(node, ast.Attribute) else None

    def static_value(self, node: ast.expr) -> tuple[Any] | None:
        """Returns the value of ``node`` as a 1-tuple if it is the same for all rows, otherwise ``None``.

        Comparisons with strings and ``None`` are evaluated here, so that strings can serve as options.
        """
        match node:
            case ast.Constant(value=value):
                return (value,)
            case ast.Name(id=name) if name in self.static_locals:
                return (self.static_locals[name],)
            case ast.Name() | ast.Attribute():
                captured = self.object_of(node)
                usable = captured and (is_constant(captured[0]) or list_as_array(captured[0]) is not None)
                return captured if usable else None
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                static = self.static_value(operand)
                return (not static[0],) if static else None
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return (-number,)
            case ast.BoolOp():
                return self._and_or(node)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                first, second = self.static_value(left), self.static_value(right) or self._captured_container(op, right)
                if first and second and any(isinstance(v[0], str | type(None)) for v in (first, second)):
                    return compare_static(op, first[0], second[0])
            case ast.Tuple(elts=elements) if elements:
                values = [self.static_value(e) for e in elements]
                if all(v is not None for v in values):
                    return (tuple(v[0] for v in values if v),)
        return None

    def _and_or(self, node: ast.BoolOp) -> tuple[Any] | None:
        """Returns the static value of ``and`` or ``or``, whose operands count up to the one that decides it."""
        deciding_truth = isinstance(node.op, ast.Or)
        static = None
        for operand in node.values:
            static = self.static_value(operand)
            if static is None or bool(static[0]) is deciding_truth:
                break
        return static

    def _captured_container(self, op: ast.cmpop, node: ast.expr) -> tuple[Any] | None:
        """Returns the elements of a captured container to the right of ``in``, as a tuple in a 1-tuple."""
        captured = self.object_of(node) if isinstance(op, ast.In | ast.NotIn) else None
        is_container = captured is not None and type(captured[0]) in (list, set, frozenset, dict)
        return (tuple(captured[0]),) if captured and is_container else None

    def callee(self, node: ast.expr) -> Any:
        """Returns the object that a call calls; ``None`` for one that is not static, and for other expressions."""
        function = self.object_of(node.func) if isinstance(node, ast.Call) else None
        return function[0] if function else None


def body_of(source: Source, columns: Iterable[str], fixed: dict[str, Any]) -> tuple[list[ast.stmt], Scope]:
    """Returns a function's statements and its names. ``columns``: the parameters that have a value for each row;
    ``fixed``: those with one value for all rows."""
    node = source.node
    statements: list[ast.stmt] = (
        [ast.copy_location(ast.Return(node.body), node.body)] if isinstance(node, ast.Lambda) else node.body
    )
    code = source.function.__code__
    stored = {n.id for n in walk(statements) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del)}
    modules = imported(statements, {*stored, *columns, *fixed})
    local = ({*code.co_varnames, *code.co_cellvars} - set(fixed) - set(modules)) | set(columns) | (stored & set(fixed))
    return statements, Scope(source, local, {**fixed, **modules})


def imported(statements: list[ast.stmt], taken: Collection[str]) -> dict[str, Any]:
    """Returns the objects that the body imports from ``math`` and ``numpy``, by name.

    An import counts if it could precede the body: it is on every path, its name is bound once, is not read before and
    is not in ``taken``.
    """
    imports = [node for node in walk(statements) if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = [alias.asname or alias.name for node in imports for alias in node.names]
    objects: dict[str, Any] = {}
    if not imports:
        return objects
    unfit = {*taken, *(name for name in bound if bound.count(name) > 1)}
    for node in statements:
        objects |= {name: value for name, value in _imports(node) if name not in unfit}
        unfit |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return objects


_MODULES: dict[str, types.ModuleType] = {"math": math, "numpy": np}


def _imports(node: ast.stmt) -> Iterator[tuple[str, Any]]:
    """Yields the names that an import of ``math`` or ``numpy`` binds, with their objects."""
    match node:
        case ast.Import(names=names):
            yield from ((a.asname or a.name, _MODULES[a.name]) for a in names if a.name in _MODULES)
        case ast.ImportFrom(module=str(module), names=names, level=0) if module in _MODULES:
            attributes = vars(_MODULES[module])
            yield from ((a.asname or a.name, attributes[a.name]) for a in names if a.name in attributes)
