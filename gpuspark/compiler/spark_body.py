"""Rewrites a function as :mod:`~gpuspark.compiler.rewrite` does, for a Spark expression.

An expression can raise and hold strings, which compiled programs cannot, and cannot leave a row to Python. So ``raise``
keeps its error here, strings are constants, and a branch that has no equal refuses the whole function. The rewritten
functions stay syntax trees, with the lines of the original.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gpuspark.compiler.calls import defaults_of
from gpuspark.compiler.constants import list_as_array
from gpuspark.compiler.origins import PYTHON
from gpuspark.compiler.source import CannotCompile, Source, read
from gpuspark.compiler.statements import Statements
from gpuspark.compiler.unit import ENTRY, Branch, Called, Unit


@dataclass(frozen=True)
class SparkBody:
    """A rewritten function for a Spark expression."""

    functions: dict[str, tuple[Source, ast.FunctionDef]]
    """The rewritten functions by their new names; the entry is ``ENTRY``."""
    constants: dict[str, Any]


def rewrite_for_spark(function: Any, columns: Sequence[str], *, nullable: bool) -> SparkBody:
    """Returns ``function`` rewritten for columns with the names of its parameters.

    Raises :class:`CannotCompile` with every construct that has no Spark expression, one per line.
    """
    source = read(function)
    unit = _SparkUnit(_rewritten)
    try:
        called = Called(
            source, tuple(columns), nullable, defaults_of(function, tuple(columns)), (PYTHON,) * len(columns)
        )
        unit.add(called)
    except RecursionError:
        raise CannotCompile(f"an expression is nested too deeply ({source.where()})") from None
    if unit.refusals:
        raise CannotCompile("\n".join(dict.fromkeys(unit.refusals)))
    return SparkBody(unit.functions, unit.constants)


def _rewritten(unit: Unit, called: Called, name: str) -> ast.FunctionDef:
    tree = ast.fix_missing_locations(_SparkStatements(unit, called, name == ENTRY).function(name, called))
    assert isinstance(unit, _SparkUnit)
    unit.functions[name] = called.source, tree
    return tree


class _SparkUnit(Unit):
    """The functions of one Spark expression. A branch that does not compile is refused, not left to Python."""

    def __init__(self, rewrite: Any) -> None:
        super().__init__(rewrite)
        self.functions: dict[str, tuple[Source, ast.FunctionDef]] = {}

    def write(self, rewritten: ast.FunctionDef) -> None:
        """Adds nothing: what is lowered is the syntax tree."""

    @contextmanager
    def branch(self, statements: Iterable[ast.AST]) -> Iterator[Branch]:  # noqa: ARG002
        yield Branch()


class _SparkStatements(Statements):
    """Rewrites the statements of one function for a Spark expression."""

    keeps_strings = True

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        if isinstance(node, ast.While | ast.Try):
            self.refuse(node, f"a {'while loop' if isinstance(node, ast.While) else 'try'}")
            return []
        if isinstance(node, ast.Raise):
            return self._raise(node, node.exc)
        if isinstance(node, ast.Assert):
            failed = self._raise(node, ast.Call(ast.Name("AssertionError"), [node.msg] if node.msg else [], []))
            return [ast.copy_location(ast.If(ast.UnaryOp(ast.Not(), self.condition(node.test)), failed, []), node)]
        return [_located(new, node) for new in super().statement(node)]

    def expression(self, node: ast.expr) -> ast.expr:
        new: ast.expr = _located(super().expression(node), node)
        return new

    def constant(self, value: Any, node: ast.AST) -> ast.expr:
        if type(value) is str:
            return ast.Constant(value)
        if list_as_array(value) is None:
            return super().constant(value, node)
        name = f"_gs_c{len(self.unit.constants)}"
        self.unit.constants[name] = value
        return ast.Name(name, ast.Load())

    def binary_form(self, name: str, left: ast.expr, right: ast.expr) -> str:
        """Returns the form for NumPy scalars where an operand may be one. Numbers that are whole on some path only need
        no form: the lowering knows the type of every value."""
        may_be_numpy = "numpy" in self.origins.of(left) | self.origins.of(right)
        return f"numpy_{name}" if may_be_numpy else name

    def unary_form(self, name: str, operand: ast.expr) -> str:
        return super().unary_form(name, operand).replace("mixed_", "")

    def walrus(self, node: ast.NamedExpr) -> ast.expr:
        """Returns ``:=`` where it stands: before its statement, its errors would come too early."""
        if id(node) in self.unhoistable or node.target.id in self.maybe_unset:
            return self.refuse(node, f"{node.target.id} := where it may not be reached, or the name is read before it")
        return ast.NamedExpr(node.target, self.expression(node.value))

    def call(self, node: ast.Call) -> ast.expr:
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if method in ("startswith", "endswith") and len(node.args) == 1 and not node.keywords:
            assert isinstance(node.func, ast.Attribute)
            if self.scope.object_of(node.func) is None:
                return self.operation(method, self.non_null(node.func.value), self.non_null(node.args[0]))
        return super().call(node)

    def membership(self, left: ast.expr, rewritten: ast.expr, op: ast.cmpop, sequence: ast.expr) -> ast.expr:
        known = self.scope.static_value(sequence) or self.scope.object_of(sequence)
        is_container = isinstance(sequence, ast.Tuple | ast.List | ast.Set)
        if is_container or (known is not None and type(known[0]) is not str):
            return super().membership(left, rewritten, op, sequence)
        test = self.operation("contains", self.non_null(sequence), self._require_non_null(left, rewritten))
        return ast.UnaryOp(ast.Not(), test) if isinstance(op, ast.NotIn) else test

    def _raise(self, node: ast.stmt, exception: ast.expr | None) -> list[ast.stmt]:
        """Returns the statement that raises an error whose text is the same for all rows."""
        text = self._text_of(exception)
        if text is None:
            self.refuse(node, "raise of an error whose type or text depends on the row, or is no built-in's")
            return []
        raising = ast.Expr(self.operation("raise", ast.Constant(text)))
        return [ast.fix_missing_locations(ast.copy_location(raising, node))]

    def _text_of(self, exception: ast.expr | None) -> str | None:
        """Returns the type and text of a built-in error, as tracebacks show them; ``None`` for anything else."""
        arguments: list[Any] = []
        if isinstance(exception, ast.Call):
            static = [self.scope.static_value(argument) for argument in exception.args]
            if exception.keywords or any(value is None for value in static):
                return None
            arguments = [value[0] for value in static if value is not None]
            exception = exception.func
        if not isinstance(exception, ast.Name):
            return None
        error = self.scope.object_of(exception)
        if error is None or error[0] is not getattr(builtins, exception.id, None) or not isinstance(error[0], type):
            return None
        if not issubclass(error[0], Exception):
            return None
        try:
            text = str(error[0](*arguments))
        except TypeError:
            return None
        return f"{error[0].__name__}: {text}" if text else error[0].__name__


def _located(new: Any, node: ast.AST) -> Any:
    """Returns a rewritten node with the position of the original, unless it has one."""
    return new if hasattr(new, "lineno") else ast.copy_location(new, node)
