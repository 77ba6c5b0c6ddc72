"""What is known of a body before any row is seen: the objects behind its names, values that no row decides, and
modules that it imports."""

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
    """The names of one function. ``fixed``: parameters and imported names with one value for all rows; ``local``: the
    names that are not looked up outside of the function."""

    def __init__(self, source: Source, local: Iterable[str], fixed: dict[str, Any]) -> None:
        self.source, self.local, self.fixed = source, frozenset(local), fixed
        self.static_locals: dict[str, Any] = {}
        """Local names that hold a text or ``None`` for all rows, where the rewriting stands just now."""

    def object_of(self, node: ast.expr) -> tuple[Any] | None:
        """The object behind a global name or a chain of attributes of modules, as a 1-tuple."""
        match node:
            case ast.Name(id=name) if name in self.fixed and name not in self.local:
                return (self.fixed[name],)
            case ast.Name(id=name) if name not in self.local:
                try:
                    return (self.source.resolve(name),)
                except Unresolved:
                    return None
            case ast.Attribute(value=owner, attr=name):
                found = self.object_of(owner)
                value = attribute_of(found[0], name) if found else UNBOUND
                return None if value is UNBOUND else (value,)
        return None

    def problem(self, node: ast.expr) -> str | None:
        """Why the object behind ``node``, or the module that it is read of, is none of those that compile."""
        found = self.object_of(node)
        if found and not is_constant(found[0]) and own_class_advice(unusable_part(found[0])):
            return f"{ast.unparse(node)} is {why_unusable(unusable_part(found[0]))}"
        return self.problem(node.value) if isinstance(node, ast.Attribute) else None

    def static_value(self, node: ast.expr) -> tuple[Any] | None:
        """The value of ``node`` as a 1-tuple where it does not depend on any row. Comparisons of strings
        are decided here, so that strings can serve as flags."""
        match node:
            case ast.Constant(value=value):
                return (value,)
            case ast.Name(id=name) if name in self.static_locals:
                return (self.static_locals[name],)
            case ast.Name() | ast.Attribute():
                found = self.object_of(node)
                return found if found and (is_constant(found[0]) or list_as_array(found[0]) is not None) else None
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                known = self.static_value(operand)
                return (not known[0],) if known else None
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return (-number,)
            case ast.BoolOp():
                return self._and_or(node)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                one, other = self.static_value(left), self.static_value(right) or self._captured_strings(op, right)
                if one and other and any(isinstance(v[0], str | type(None)) for v in (one, other)):
                    return compare_static(op, one[0], other[0])
            case ast.Tuple(elts=elements) if elements:
                known_elements = [self.static_value(e) for e in elements]
                if all(k is not None for k in known_elements):
                    return (tuple(k[0] for k in known_elements if k),)
        return None

    def _and_or(self, node: ast.BoolOp) -> tuple[Any] | None:
        """``and`` or ``or``, of which Python reads no more than what decides it."""
        decisive = isinstance(node.op, ast.Or)
        known = None
        for operand in node.values:
            known = self.static_value(operand)
            if known is None or bool(known[0]) is decisive:
                break
        return known

    def _captured_strings(self, op: ast.cmpop, node: ast.expr) -> tuple[Any] | None:
        """A captured container of texts, as a tuple, to the right of ``in``."""
        known = self.object_of(node) if isinstance(op, ast.In | ast.NotIn) else None
        fits = known is not None and type(known[0]) in (list, set, frozenset, dict)
        return (tuple(known[0]),) if known and fits else None

    def callee(self, node: ast.expr) -> Any:
        """The object that a call calls; ``None`` where that is not known."""
        known = self.object_of(node.func) if isinstance(node, ast.Call) else None
        return known[0] if known else None


def body_of(source: Source, columns: Iterable[str], fixed: dict[str, Any]) -> tuple[list[ast.stmt], Scope]:
    """Returns a function's statements, and what is known of its names, for columns of these parameters."""
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
    """Returns what the body imports of ``math`` and ``numpy``, by name, where it is as good as imported beforehand: on
    every path, once, before the name is read, and under a name that is not in ``taken``."""
    imports = [node for node in walk(statements) if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = [alias.asname or alias.name for node in imports for alias in node.names]
    objects: dict[str, Any] = {}
    for place, node in enumerate(statements):
        read_before = {n.id for n in walk(statements[:place]) if isinstance(n, ast.Name)}
        unfit = {*taken, *read_before, *(name for name in bound if bound.count(name) > 1)}
        objects |= {name: thing for name, thing in _imports(node) if name not in unfit}
    return objects


_MODULES: dict[str, types.ModuleType] = {"math": math, "numpy": np}


def _imports(node: ast.stmt) -> Iterator[tuple[str, Any]]:
    """The names that an import of ``math`` or ``numpy`` binds, with their objects."""
    match node:
        case ast.Import(names=names):
            yield from ((a.asname or a.name, _MODULES[a.name]) for a in names if a.name in _MODULES)
        case ast.ImportFrom(module=str(module), names=names, level=0) if module in _MODULES:
            held = vars(_MODULES[module])
            yield from ((a.asname or a.name, held[a.name]) for a in names if a.name in held)
