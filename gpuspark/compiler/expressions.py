"""Rewrites the expressions of a body: operators and library functions become calls of our operations."""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Iterable
from typing import Any

from gpuspark.compiler.calls import bind
from gpuspark.compiler.constants import constant_problem, list_as_array
from gpuspark.compiler.nullness import maybe_null
from gpuspark.compiler.origins import Analysis, is_mixed, only_numpy
from gpuspark.compiler.scope import Scope
from gpuspark.compiler.source import CannotCompile
from gpuspark.compiler.trees import assigned_names, is_test, walk
from gpuspark.compiler.unit import OP, ROW, Branch, Called, Unit
from gpuspark.compiler.vocabulary import (
    ATTRIBUTES,
    BINARY,
    COMPARE,
    METHODS,
    UNARY,
    describe,
    operation_of,
    plain_function,
)

_DIFFERS_FOR_NUMPY = {"neg", "pos", "invert", "abs", "round", "round_to", "real", "imag", "math_trunc"}
"""Operations on one number that mean something else for a NumPy scalar."""

_TYPES: dict[Any, str] = {float: "float", int: "int", bool: "bool"} | dict.fromkeys(
    (str, complex, bytes, list, tuple, dict, set), "other"
)
"""The types that ``isinstance`` may test for, and the suffix of the operation that tests a number."""


class Expressions:
    """Rewrites the expressions of one function."""

    def __init__(self, unit: Unit, called: Called, statements: list[ast.stmt], scope: Scope) -> None:
        self.unit, self.source, self.scope = unit, called.source, scope
        self.statements = statements
        self.hoisted: list[ast.stmt] = []
        """Assignments (``:=``) that were moved out of the current statement, to precede it."""
        self.unhoistable: set[int] = set()
        """Ids of the ``:=`` nodes that cannot be moved before their statement."""
        self.maybe_unset: set[str] = set()
        """Names that may be read before they are set. Each has a flag variable that says whether it is set."""
        self.string_names: set[str] = set()
        """Names that have been assigned a string."""
        self.bound_names = {*called.columns, *called.fixed, *assigned_names(statements)}
        """Parameters, and names that compiled statements may assign."""
        parameters = dict(zip(called.columns, called.origins, strict=True))
        self.origins = Analysis(statements, parameters, scope, unit.returned)
        self.nullable = maybe_null(statements, called.columns if called.nullable else (), self._call_may_be_null)

    def refuse(self, node: ast.AST, what: str) -> ast.expr:
        """Notes that ``node`` does not compile; returns a placeholder."""
        return self.unit.refuse(self.source, node, what)

    def operation(self, name: str, *arguments: ast.expr) -> ast.expr:
        """Returns a call of the operation ``name``, which the program then needs."""
        self.unit.operations.add(name)
        return ast.Call(ast.Name(OP + name, ast.Load()), [*arguments, ast.Name(ROW, ast.Load())], [])

    def non_null(self, node: ast.expr) -> ast.expr:
        """Returns ``node`` rewritten where Python needs a value: ``None`` marks the row, as Python would raise."""
        return self._require_non_null(node, self.expression(node))

    def condition(self, node: ast.expr) -> ast.expr:
        """Returns ``node`` rewritten as a condition, a boolean."""
        match node:
            case ast.BoolOp():
                return ast.BoolOp(node.op, [self.condition(v) for v in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return ast.UnaryOp(ast.Not(), self.condition(node.operand))
            case ast.Compare():
                return self.expression(node)
        return self.operation("truth", self.expression(node))

    def expression(self, node: ast.expr) -> ast.expr:
        """Returns ``node`` rewritten. Its value may be ``None``."""
        static = self.scope.static_value(node)
        if static is not None:
            return self.constant(static[0], node)
        match node:
            case ast.Name(id=name) if name in self.scope.local:
                return self.local_name(node)
            case ast.BinOp() if type(node.op) in BINARY:
                return self.binary(BINARY[type(node.op)], node.left, node.right)
            case ast.UnaryOp(op=ast.Not()):
                return self.condition(node)
            case ast.UnaryOp():
                return self.unary(UNARY[type(node.op)], node.operand)
            case ast.BoolOp():
                return self.and_or(node)
            case ast.Compare():
                return self.compare(node)
            case ast.IfExp():
                return self.conditional(node)
            case ast.Call():
                return self.call(node)
            case ast.Attribute() if node.attr in ATTRIBUTES:
                return self.unary(node.attr, node.value)
            case ast.Subscript():
                return self.operation("item", self.non_null(node.value), self.non_null(node.slice))
            case ast.Tuple() | ast.List() if isinstance(node.ctx, ast.Load):
                return ast.Tuple([self.non_null(e) for e in node.elts], ast.Load())
            case ast.NamedExpr():
                return self.walrus(node)
        return self.refuse(node, self.scope.problem(node) or describe(node))

    def constant(self, value: Any, node: ast.AST) -> ast.expr:
        """Returns ``value``, the static value of ``node``, as a literal or as a named constant of the program."""
        if value is None or isinstance(value, bool):
            return ast.Constant(value)
        self.unit.containers[id(value)] = value
        array = list_as_array(value)
        if array is not None:
            value = array
        problem = constant_problem(value)
        if problem:
            return self.refuse(node, problem)
        if isinstance(value, int) and value >= 0:
            return ast.Constant(value)
        if isinstance(value, float) and math.isfinite(value) and math.copysign(1, value) > 0:
            return ast.Constant(float(value))
        name = f"_gs_c{len(self.unit.constants)}"
        self.unit.constants[name] = value
        return ast.Name(name, ast.Load())

    def local_name(self, node: ast.Name) -> ast.expr:
        """Returns a local name, checked at run time where it may be read before it is set."""
        if node.id in self.string_names:
            return self.refuse(node, f"the name {node.id!r}, which holds a string that depends on the row")
        if node.id not in self.bound_names:
            return self.refuse(node, f"the name {node.id!r}, which is set by what does not compile")
        return self.operation("read_if_set", node, is_set_flag(node.id)) if node.id in self.maybe_unset else node

    def conditional(self, node: ast.IfExp) -> ast.expr:
        """Returns ``a if c else b``. A side that does not compile marks the row, and has the other side's value."""
        static = self.scope.static_value(node.test)
        if static is not None:
            return self.expression(node.body if static[0] else node.orelse)
        test = self.condition(node.test)
        with self.unit.branch([node.body]) as body_branch:
            body = self.expression(node.body)
        with self.unit.branch([node.orelse]) as else_branch:
            orelse = self.expression(node.orelse)
        self.note_left_to_python(body_branch, else_branch)
        sides = ((body_branch, node.body), (else_branch, node.orelse))
        self.note_used_in_python(side for branch, side in sides if branch.runs_in_python)
        if body_branch.runs_in_python:
            body = self.operation("left_to_python", orelse)
        if else_branch.runs_in_python:
            orelse = self.operation("left_to_python", body)
        return ast.IfExp(test, body, orelse)

    def note_used_in_python(self, nodes: Iterable[ast.AST]) -> None:
        """Notes the captured containers that ``nodes``, which are left to Python, use and may change."""
        for node in (n for n in walk(nodes) if isinstance(n, ast.Name | ast.Attribute)):
            captured = self.scope.object_of(node)
            if captured is not None and (isinstance(captured[0], list | set | dict) or hasattr(captured[0], "shape")):
                self.unit.used_in_python[id(captured[0])] = f"{ast.unparse(node)} ({self.source.where(node)})"

    def note_left_to_python(self, *branches: Branch) -> None:
        """Notes what is left to Python. If that is every branch, nothing is gained, and the refusals stand."""
        refusals = [refusal for branch in branches if branch.runs_in_python for refusal in branch.refusals]
        if all(branch.runs_in_python for branch in branches):
            self.unit.refusals += refusals
        else:
            self.unit.left_to_python += refusals

    # --- operators

    def binary(self, name: str, left: ast.expr, right: ast.expr) -> ast.expr:
        """Returns an operation on two numbers, in the form that their origins require."""
        return self.operation(self.binary_form(name, left, right), self.non_null(left), self.non_null(right))

    def binary_form(self, name: str, left: ast.expr, right: ast.expr) -> str:
        """Returns the name of the form of operation ``name`` that fits the origins of its operands."""
        left_origins, right_origins = self.origins.of(left), self.origins.of(right)
        sides = [side for side, origins in (("left", left_origins), ("right", right_origins)) if is_mixed(origins)]
        if sides:
            return f"mixed_{name}_{'both' if len(sides) == 2 else sides[0]}"
        if only_numpy(left_origins) or only_numpy(right_origins):
            return f"numpy_{name}"
        return f"maybe_numpy_{name}" if "numpy" in left_origins | right_origins else name

    def unary(self, name: str, operand: ast.expr, *more: ast.expr) -> ast.expr:
        """Returns an operation on one number, in the form that its origins require."""
        return self.operation(self.unary_form(name, operand), self.non_null(operand), *map(self.non_null, more))

    def unary_form(self, name: str, operand: ast.expr) -> str:
        """Returns the name of the form of operation ``name`` that fits the origins of its operand."""
        origins = self.origins.of(operand)
        if name == "neg" and is_mixed(origins):
            return "mixed_neg"
        if name in _DIFFERS_FOR_NUMPY and "numpy" in origins:
            return f"numpy_{name}" if only_numpy(origins) else f"maybe_numpy_{name}"
        return name

    def min_or_max(self, name: str, arguments: list[ast.expr]) -> ast.expr:
        """Returns ``min`` or ``max`` of several arguments, among which may be written-out integers beside floats."""
        result, before = self.non_null(arguments[0]), self.origins.of(arguments[0])
        for argument in arguments[1:]:
            origins = self.origins.of(argument)
            mixed = "literal" in before | origins and before != origins
            result = self.operation(f"mixed_{name}" if mixed else name, result, self.non_null(argument))
            before = before | origins
        return result

    def walrus(self, node: ast.NamedExpr) -> ast.expr:
        """Returns the name that ``:=`` assigns. The assignment moves before the statement: Numba mishandles ``:=``."""
        if id(node) in self.unhoistable:
            return self.refuse(node, f"{node.target.id} := where it may not be reached, or the name is read before it")
        self.hoisted += [ast.Assign(targets=[node.target], value=self.expression(node.value)), *self.record_set(node)]
        return ast.Name(node.target.id, ast.Load())

    def record_set(self, node: ast.AST) -> list[ast.stmt]:
        """Returns assignments that set the flags of the names that ``node`` assigns."""
        return [
            assignment(is_set_flag(name).id, ast.Constant(True))
            for name in sorted(assigned_names([node]) & self.maybe_unset)
        ]

    def and_or(self, node: ast.BoolOp) -> ast.expr:
        """Returns ``a or b`` or ``a and b``, whose value is an operand. ``a`` is computed twice: it has no effects."""
        if all(is_test(operand) for operand in node.values):
            return self.condition(node)
        operands = [self.expression(operand) for operand in node.values]
        result = operands[-1]
        for first in reversed(operands[:-1]):
            arms = (first, result) if isinstance(node.op, ast.Or) else (result, first)
            result = ast.IfExp(self.operation("truth", first), *arms)
        return result

    def compare(self, node: ast.Compare) -> ast.expr:
        """Returns a comparison. A chain ``a < b < c`` becomes ``a < b and b < c``: ``b`` has no side effects."""
        tests: list[ast.expr] = []
        left, left_value = node.left, self.expression(node.left)
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                if len(node.ops) > 1:
                    return self.refuse(node, "'in' inside a chain of comparisons")
                return self.membership(left, left_value, op, right)
            right_value = self.expression(right)
            if isinstance(op, ast.Is | ast.IsNot):
                if not (isinstance(right, ast.Constant) and right.value is None):
                    return self.refuse(node, "'is' with anything but None")
                tests.append(ast.Compare(left_value, [op], [right]))
            else:
                sides = self._require_non_null(left, left_value), self._require_non_null(right, right_value)
                tests.append(self.operation(COMPARE[type(op)], *sides))
            left, left_value = right, right_value
        return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)

    def _require_non_null(self, node: ast.expr, rewritten: ast.expr) -> ast.expr:
        """Returns ``rewritten``, the rewritten ``node``, with a check where it may be ``None``."""
        return self.operation("non_null", rewritten) if self.nullable(node) else rewritten

    def membership(self, left: ast.expr, rewritten: ast.expr, op: ast.cmpop, sequence: ast.expr) -> ast.expr:
        """Returns ``x in (1, 2, 3)`` as one test per element. Python asks for identity first, so NaN marks the row."""
        if isinstance(sequence, ast.Tuple | ast.List) and self.scope.static_value(left) == (None,):
            tests: list[ast.expr] = [
                ast.Compare(self.expression(element), [ast.Is()], [ast.Constant(None)]) for element in sequence.elts
            ]
            return self._any_of(tests, op, sequence)
        item = self._require_non_null(left, rewritten)
        container = self.scope.static_value(sequence) or self.scope.object_of(sequence)
        if container is not None and type(container[0]) in (tuple, list, set, frozenset):
            self.unit.containers[id(container[0])] = container[0]
            elements = [self.constant(v, sequence) for v in container[0]]
        elif isinstance(sequence, ast.Tuple | ast.List | ast.Set):
            elements = [self.non_null(e) for e in sequence.elts]
        else:
            return self.refuse(sequence, f"'in' over {ast.unparse(sequence)}")
        return self._any_of([self.operation("is_element", item, element) for element in elements], op, sequence)

    def _any_of(self, tests: list[ast.expr], op: ast.cmpop, sequence: ast.expr) -> ast.expr:
        """Returns ``in`` or ``not in``, from the tests of a container's elements. Elements that are computed may raise,
        and Python computes all before it compares the first: then no test is left out."""
        written = sequence.elts if isinstance(sequence, ast.Tuple | ast.List | ast.Set) else []
        any_test = tests[0] if tests else ast.Constant(False)
        if any(not isinstance(element, ast.Name) and self.scope.static_value(element) is None for element in written):
            for test in tests[1:]:
                any_test = self.operation("or", any_test, test)
        elif len(tests) > 1:
            any_test = ast.BoolOp(ast.Or(), tests)
        return ast.UnaryOp(ast.Not(), any_test) if isinstance(op, ast.NotIn) else any_test

    # --- calls

    def call(self, node: ast.Call) -> ast.expr:
        """Returns a call of a plain function, a built-in, or a function of ``math`` or NumPy."""
        callee = self.scope.callee(node)
        method = node.func.attr if callee is None and isinstance(node.func, ast.Attribute) else ""
        if method in METHODS and not node.args and not node.keywords:
            assert isinstance(node.func, ast.Attribute)
            return self.operation(method, self.non_null(node.func.value))
        if callee is None:
            return self.refuse(node, f"a call of {ast.unparse(node.func)}")
        plain = plain_function(callee)
        if plain is not None:
            return self.call_function(node, plain)
        if callee is math.isclose and len(node.args) == 2:
            return self.is_close(node)
        if callee is isinstance and len(node.args) == 2:
            return self.isinstance_test(node)
        if callee in (min, max) and len(node.args) == 1 and isinstance(node.args[0], ast.Tuple | ast.List):
            return self.min_or_max(callee.__name__, node.args[0].elts)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            return self.refuse(node, f"{ast.unparse(node.func)} with keywords or *")
        name = operation_of(callee, len(node.args))
        match name:
            case None:
                return self.refuse(node, f"a call of {ast.unparse(node.func)} with {len(node.args)} arguments")
            case "min" | "max":
                return self.min_or_max(name, node.args)
            case "pow":
                return self.binary(name, *node.args)
            case "abs" | "round" | "round_to" | "math_trunc":
                return self.unary(name, *node.args)
        return self.operation(name, *map(self.non_null, node.args))

    def is_close(self, node: ast.Call) -> ast.expr:
        """Returns ``math.isclose`` with its tolerances as positional arguments."""
        tolerances: dict[str | None, ast.expr] = {"rel_tol": ast.Constant(1e-9), "abs_tol": ast.Constant(0.0)}
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        in_order = list(named) in ([], ["rel_tol"], ["abs_tol"], ["rel_tol", "abs_tol"])  # the order of evaluation
        if not in_order or any(isinstance(a, ast.Starred) for a in node.args):
            return self.refuse(node, f"{ast.unparse(node.func)} with * or other keywords than tolerances")
        return self.operation("math_isclose", *map(self.non_null, [*node.args, *(tolerances | named).values()]))

    def isinstance_test(self, node: ast.Call) -> ast.expr:
        """Returns ``isinstance`` of a column that the body does not assign, so that the column's type is the answer."""
        operand, tested = node.args
        classes = [self.scope.object_of(c) for c in (tested.elts if isinstance(tested, ast.Tuple) else [tested])]
        origins = self.origins.of(operand)
        is_column = isinstance(operand, ast.Name) and operand.id not in assigned_names([self.source.node])
        if (
            not is_column
            or len(self.unit.open) > 1
            or "numpy" in origins
            or is_mixed(origins)
            or self.nullable(operand)
        ):
            return self.refuse(node, "isinstance of what may be of several types")
        tests: list[ast.expr] = []
        for tested_class in classes:
            if tested_class is None or not isinstance(tested_class[0], type) or tested_class[0] not in _TYPES:
                return self.refuse(node, f"isinstance with {ast.unparse(tested)}")
            tests.append(self.operation(f"instance_of_{_TYPES[tested_class[0]]}", self.non_null(operand)))
        return ast.BoolOp(ast.Or(), tests) if len(tests) > 1 else tests[0]

    def call_function(self, node: ast.Call, function: types.FunctionType) -> ast.expr:
        """Returns a call of a plain function, which is rewritten as part of the program."""
        if function.__code__ in self.unit.open:
            return self.refuse(node, f"{function.__name__} calls itself")
        try:
            binding = bind(node, function, self.scope)
        except CannotCompile as refusal:
            return self.refuse(node, str(refusal))
        columns = binding.arguments
        rewritten = {
            id(a): self.expression(a) for a in [*node.args, *(k.value for k in node.keywords)] if a in columns.values()
        }
        nullable = any(self.nullable(argument) for argument in columns.values())
        origins = tuple(self.origins.of(argument) for argument in columns.values())
        name = self.unit.add(Called(binding.source, tuple(columns), nullable, binding.fixed, origins))
        arguments = [rewritten[id(argument)] for argument in columns.values()]
        return ast.Call(ast.Name(name, ast.Load()), [*arguments, ast.Name(ROW, ast.Load())], [])

    def _call_may_be_null(self, node: ast.Call) -> bool:
        callee = self.scope.callee(node)
        return callee is not None and plain_function(callee) is not None


def is_set_flag(name: str) -> ast.Name:
    """Returns the flag variable that says whether ``name`` is set."""
    return ast.Name(f"_gs_set_{name}", ast.Load())


def assignment(name: str, value: ast.expr) -> ast.stmt:
    """Returns the statement ``name = value``."""
    return ast.Assign(targets=[ast.Name(name, ast.Store())], value=value)
