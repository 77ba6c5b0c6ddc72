"""The origins of a body's values, where Python's answer depends on them.

Compiled code knows a value's machine type, which does not say two things:

* Whether it is a NumPy scalar or a Python number. ``~np.isnan(x)`` is a logical not, while ``~True`` is -2; ``round``
  rounds differently; comparisons with NumPy scalars give NumPy booleans.
* Whether it is a whole number on some path. A name that is ``0`` on one path and a float on another is a float in
  compiled code. On the first path Python computes with integers, exactly and without a negative zero.

So each expression has a set of origins: ``"literal"`` (an integer that is written out, or computed from such only),
``"numpy"`` (a NumPy scalar) and ``"python"`` (anything else). The analysis is flow-insensitive: it looks at all
assignments of a name at once.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from gpuspark.compiler.calls import bind
from gpuspark.compiler.scope import Scope, body_of
from gpuspark.compiler.source import CannotCompile
from gpuspark.compiler.trees import walk
from gpuspark.compiler.vocabulary import operation_of, plain_function

Origin = Literal["literal", "numpy", "python"]
Origins = frozenset[Origin]
PYTHON: Origins = frozenset({"python"})
_LITERAL: Origins = frozenset({"literal"})
_NUMPY: Origins = frozenset({"numpy"})
_NOTHING: Origins = frozenset()
_KEEPS_TYPE = {"np_absolute", "np_sign", "np_maximum", "np_minimum", "np_fmax", "np_fmin", "np_floor", "np_ceil",
               "np_trunc"}  # fmt: skip
"""NumPy functions that return whole numbers for whole numbers."""
Returned = dict[tuple[Any, ...], tuple[Origins, object]]
"""The origins of each called function's result, by function and arguments. The object beside them keeps the ids in
the key valid."""


def is_mixed(origins: Origins) -> bool:
    """Returns whether a value is a written-out integer on one path and something else on another."""
    return "literal" in origins and len(origins) > 1


def only_numpy(origins: Origins) -> bool:
    """Returns whether a value is a NumPy scalar on every path."""
    return origins == _NUMPY


class Analysis:
    """The origins of every expression of a function, for given origins of its parameters."""

    def __init__(
        self, statements: Iterable[ast.stmt], parameters: Mapping[str, Origins], scope: Scope, returned: Returned
    ) -> None:
        self.scope, self._returned = scope, returned
        starts = {name: of_value(value) for name, value in scope.fixed.items() if name in scope.local}
        self.names: dict[str, Origins] = {**starts, **parameters}
        nodes = list(walk(statements))
        changed = True
        while changed:
            before = dict(self.names)
            for node in nodes:
                self._visit(node)
            changed = self.names != before
        returns = [node.value for node in nodes if isinstance(node, ast.Return) and node.value is not None]
        self.returned = _union(map(self.of, returns)) or PYTHON
        """The origins of the function's result."""

    def of(self, node: ast.expr) -> Origins:
        """Returns the origins of ``node``; for a tuple or array, those of its elements."""
        static = self.scope.static_value(node)
        if static is not None:
            return of_value(static[0])
        match node:
            case ast.Name(id=name):
                return self.names.get(name, PYTHON if name not in self.scope.local else _NOTHING)
            case ast.BinOp():
                return _arithmetic(self.of(node.left), self.of(node.right), isinstance(node.op, ast.Div))
            case ast.UnaryOp(op=ast.Not()):
                return PYTHON
            case ast.UnaryOp(operand=operand) | ast.NamedExpr(value=operand) | ast.Subscript(value=operand):
                return self.of(operand)
            case ast.Attribute(value=operand, attr="real" | "imag"):
                return self.of(operand)
            case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
                return _union(map(self.of, parts))
            case ast.IfExp():
                return self.of(node.body) | self.of(node.orelse)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node)
        return PYTHON

    def _comparison(self, node: ast.Compare) -> Origins:
        """Returns the origins of a comparison: NumPy's with a NumPy scalar, except for ``in`` and ``is``."""
        sides = [self.of(side) for side in (node.left, *node.comparators)]
        results = _NOTHING
        for op, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot):
                results |= PYTHON
                continue
            if "numpy" in left | right:
                results |= _NUMPY
            if left - _NUMPY and right - _NUMPY:
                results |= PYTHON
        return results

    def _call(self, node: ast.Call) -> Origins:
        """Returns the origins of the result of a call."""
        callee = self.scope.callee(node)
        if callee is None:
            return PYTHON
        function = plain_function(callee)
        if function is not None:
            return self._of_function(node, function)
        name = operation_of(callee, len(node.args)) or ""
        arguments = _union(map(self.of, node.args))
        if name.startswith("np_"):
            return _NUMPY | _LITERAL if name in _KEEPS_TYPE and is_mixed(arguments) else _NUMPY
        if name == "pow":
            return _arithmetic(self.of(node.args[0]), self.of(node.args[1]), False)
        if name == "round_to":
            return self.of(node.args[0])
        if name == "len":  # Numba takes it for a literal too
            return _LITERAL
        return arguments if name in ("abs", "min", "max") else PYTHON

    def _of_function(self, node: ast.Call, function: types.FunctionType) -> Origins:
        """Returns the origins of a plain function's result for the arguments of the call ``node``."""
        try:
            binding = bind(node, function, self.scope)
        except CannotCompile:
            return PYTHON
        parameters = {name: self.of(argument) for name, argument in binding.arguments.items()}
        fixed = tuple((name, id(value)) for name, value in binding.fixed.items())
        key = (function, tuple(parameters.items()), fixed)
        if key not in self._returned:
            self._returned[key] = PYTHON, binding  # the answer if it calls itself
            statements, scope = body_of(binding.source, binding.arguments, binding.fixed)
            inner = Analysis(statements, parameters, scope, self._returned)
            self._returned[key] = inner.returned, binding
        return self._returned[key][0]

    def _visit(self, node: ast.AST) -> None:
        """Adds the origins of what ``node`` assigns to those of the assigned names."""
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._add(name, self.of(value))
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                self._add(name, self.of(value))
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                before = self.names.get(name, _NOTHING)
                self._add(name, _arithmetic(before, self.of(value), isinstance(op, ast.Div)))
            case ast.For(target=target, iter=iterable):
                in_range = self.scope.callee(iterable) is range
                for part in walk([target]):
                    if isinstance(part, ast.Name):
                        self._add(part.id, PYTHON if in_range else self.of(iterable))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        """Adds the origins of ``value`` to the names in ``target``, element by element where both are tuples."""
        if isinstance(target, ast.Tuple | ast.List):
            parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            pairwise = len(parts) == len(target.elts) and not any(isinstance(p, ast.Starred) for p in parts)
            for n, inner in enumerate(target.elts):
                self._assign(inner, parts[n] if pairwise else value)
        elif isinstance(target, ast.Name):
            self._add(target.id, self.of(value))

    def _add(self, name: str, origins: Origins) -> None:
        self.names[name] = self.names.get(name, _NOTHING) | origins


def of_value(value: Any) -> Origins:
    """Returns the origins of a value that is the same for all rows."""
    if isinstance(value, tuple | list | set | frozenset) and value:
        return _union(map(of_value, value))
    if hasattr(value, "dtype"):
        return _NUMPY
    return _LITERAL if type(value) is int else PYTHON


def _union(origins: Iterable[Origins]) -> Origins:
    return _NOTHING.union(*origins)


def _arithmetic(left: Origins, right: Origins, divides: bool) -> Origins:
    """Returns the origins of the result of a binary operator."""
    both = left | right
    result = both & _NUMPY
    plain_left, plain_right = left - _NUMPY, right - _NUMPY
    if plain_left and plain_right:
        result |= _LITERAL if plain_left == plain_right == _LITERAL and not divides else PYTHON
    if (is_mixed(left) or is_mixed(right)) and not divides:
        result |= _LITERAL | PYTHON
    return result
