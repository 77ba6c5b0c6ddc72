"""Statements of a body, and the function around them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import cast

from gpuspark.compiler.expressions import Expressions, assignment, is_set_flag
from gpuspark.compiler.flow import unset_reads
from gpuspark.compiler.scope import body_of
from gpuspark.compiler.trees import always_leaves, assigned_names, unhoistable
from gpuspark.compiler.unit import ENTRY, OP, OUT, ROW, Branch, Called, Unit
from gpuspark.compiler.vocabulary import describe


def rewritten(unit: Unit, called: Called, name: str) -> ast.FunctionDef:
    """Returns the function ``called`` as a function ``name`` of portable operations."""
    return Statements(unit, called, name == ENTRY).function(name, called)


class Statements(Expressions):
    """Rewrites the statements of one function. The entry of a program stores its result itself."""

    def __init__(self, unit: Unit, called: Called, is_entry: bool) -> None:
        super().__init__(unit, called, *body_of(called.source, called.columns, called.fixed))
        self.is_entry = is_entry
        self.unhoistable = {id(node) for node in unhoistable(self.statements)}

    def function(self, name: str, called: Called) -> ast.FunctionDef:
        """Returns the whole function."""
        code = self.source.function.__code__
        if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            self.refuse(self.source.node, "*args or **kwargs")
        if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            self.refuse(self.source.node, "a generator or coroutine")
        start = [n for n in self.scope.fixed if n in self.scope.local]
        self.maybe_unset = unset_reads(self.statements, [*called.columns, *start])
        body = [statement for n in start for statement in self.initialise(n, self.scope.fixed[n])]
        body += self.block(self.statements)
        if self.is_entry and not always_leaves(body):
            body += self.return_statement(ast.Constant(None))
        unset = [assignment(is_set_flag(n).id, ast.Constant(False)) for n in sorted(self.maybe_unset)]
        never_set = [assignment(n, ast.Constant(0.0)) for n in sorted(self.maybe_unset - assigned_names(body))]
        body = unset + never_set + body
        arguments = [ast.arg(arg=n) for n in (*called.columns, *([OUT] if self.is_entry else []), ROW)]
        whole = cast(ast.FunctionDef, ast.parse(f"def {name}(): pass").body[0])
        whole.args.args, whole.body = arguments, body or [ast.Pass()]
        return whole

    def initialise(self, name: str, value: object) -> list[ast.stmt]:
        """A parameter that starts with a value of its own, and is given others."""
        if isinstance(value, str):
            return self.remember_static(name, value)
        first = [assignment(name, self.constant(value, self.source.node))]
        return [*first, *self.remember_static(name, value)] if value is None else first

    def remember_static(self, name: str, value: str | None) -> list[ast.stmt]:
        """Keeps in mind that ``name`` holds a text or ``None`` from here on; a text has no code."""
        self.scope.static_locals[name] = value
        if isinstance(value, str):
            self.string_names.add(name)
        return []

    def forget_static(self, nodes: Iterable[ast.AST]) -> None:
        """Forgets what the names held that ``nodes`` assign."""
        for name in assigned_names(nodes):
            self.scope.static_locals.pop(name, None)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The statements, each after the assignments that stood inside its expressions."""
        result: list[ast.stmt] = []
        outer = self.hoisted
        for statement in statements:
            self.hoisted = []
            new = self.statement(statement)
            if not isinstance(statement, ast.Assign | ast.If | ast.Try):  # which look after themselves
                self.forget_static([statement])
            result += self.hoisted + new
            if always_leaves(new):
                break
        self.hoisted = outer
        return result

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.Return():
                return self.return_statement(node.value or ast.Constant(None))
            case ast.Assign():
                return self.assign(node)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                return [ast.Assign(targets=[target], value=self.expression(value)), *self.record_set(target)]
            case ast.AugAssign(target=ast.Name() as target):
                read_target = ast.copy_location(ast.Name(target.id, ast.Load()), target)
                combined = ast.copy_location(ast.BinOp(read_target, node.op, node.value), node)
                return [ast.Assign(targets=[target], value=self.non_null(combined)), *self.record_set(target)]
            case ast.If():
                return self.if_statement(node)
            case ast.While():
                return self.while_loop(node)
            case ast.For():
                return self.for_loop(node)
            case ast.Break() | ast.Continue():
                return [node]
            case ast.Raise():
                return self.mark_and_leave()
            case ast.Assert():
                return [ast.If(ast.UnaryOp(ast.Not(), self.condition(node.test)), self.mark_and_leave(), [])]
            case ast.Try() if not node.finalbody:
                return self.try_statement(node)
            case ast.AnnAssign(value=None) | ast.Pass() | ast.Expr(value=ast.Constant()):
                return [ast.Pass()]
            case ast.Expr():
                return [assignment("_gs_unused", self.expression(node.value))]
            case ast.Import() | ast.ImportFrom() if all((a.asname or a.name) in self.scope.fixed for a in node.names):
                return [ast.Pass()]
        self.refuse(node, f"{describe(node)}")
        return []

    def try_statement(self, node: ast.Try) -> list[ast.stmt]:
        """``try``: where Python would raise, the row is marked, and Python computes it again, handlers and all."""
        return [ast.Expr(self.operation("begin_try")), *self.block([*node.body, *node.orelse])]

    def return_statement(self, node: ast.expr) -> list[ast.stmt]:
        """``return``: the entry stores its result, a function that the body calls gives it back."""
        if not self.is_entry:
            return [ast.Return(self.expression(node))]
        if isinstance(node, ast.IfExp) and self.scope.static_value(node.test) is None:
            return self.if_statement(ast.If(node.test, [ast.Return(node.body)], [ast.Return(node.orelse)]))
        name, arguments = ast.Name(OP + "store", ast.Load()), [ast.Name(OUT, ast.Load()), self.expression(node)]
        return [ast.Expr(ast.Call(name, [*arguments, ast.Name(ROW, ast.Load())], [])), ast.Return(None)]

    def mark_and_leave(self) -> list[ast.stmt]:
        """Marks the row and leaves: Python raises there, or does what does not compile."""
        return [ast.Expr(self.operation("mark")), ast.Return(ast.Constant(None))]

    def assign(self, node: ast.Assign) -> list[ast.stmt]:
        apart = _split_tuple_assignment(node)
        if apart:
            return [new for assignment in apart for new in self.assign(assignment)]
        known = self.scope.static_value(node.value)
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) and n.id in self.scope.local for n in names):
                self.refuse(node, f"assignment to {ast.unparse(target)}")
        text = known is not None and isinstance(known[0], str)
        new = [] if text else [ast.Assign(targets=node.targets, value=self.expression(node.value))]
        self.forget_static([node])
        for target in node.targets:
            if isinstance(target, ast.Name) and known is not None and isinstance(known[0], str | None):
                self.remember_static(target.id, known[0])
        return [*new, *self.record_set(node)]

    def if_statement(self, node: ast.If) -> list[ast.stmt]:
        known = self.scope.static_value(node.test)
        if known is not None:
            return self.block(node.body if known[0] else node.orelse) or [ast.Pass()]
        test = self.condition(node.test)
        self.forget_static([node.test])
        held = dict(self.scope.static_locals)
        first, body = self.branch_side(node.body)
        after_body, self.scope.static_locals = self.scope.static_locals, held
        second, orelse = self.branch_side(node.orelse)
        self.note_left_to_python(first, second)
        if always_leaves(orelse) and node.orelse:
            self.scope.static_locals = after_body
        elif not always_leaves(body):
            both = self.scope.static_locals.items()
            self.scope.static_locals = {name: value for name, value in both if after_body.get(name, ...) == value}
        return [ast.If(test, body, orelse)]

    def branch_side(self, statements: list[ast.stmt]) -> tuple[Branch, list[ast.stmt]]:
        """One side of a branch. What does not compile there marks the row, which is left to Python."""
        with self.unit.branch(statements) as branch:
            new = self.block(statements)
        if branch.runs_in_python:
            self.note_used_in_python(statements)
        return branch, self.mark_and_leave() if branch.runs_in_python else new

    def while_loop(self, node: ast.While) -> list[ast.stmt]:
        self.forget_static([node])
        test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self.operation("is_marked")), self.condition(node.test)])
        body = self.block(node.body) or [ast.Pass()]
        self.forget_static([node])
        return [ast.While(test, body, self.block(node.orelse))]

    def for_loop(self, node: ast.For) -> list[ast.stmt]:
        if not isinstance(node.target, ast.Name):
            self.refuse(node, f"a loop over {ast.unparse(node.target)}")
        if self.scope.callee(node.iter) is range and isinstance(node.iter, ast.Call) and not node.iter.keywords:
            bounds = [self.operation("range_bound", self.non_null(a)) for a in node.iter.args]
            if len(bounds) == 3:
                bounds[2] = self.operation("range_step", bounds[2])
            over: ast.expr = ast.Call(ast.Name("range", ast.Load()), bounds, [])
        else:
            over = self.non_null(node.iter)
        self.forget_static([node])
        guard = ast.If(self.operation("is_marked"), [ast.Break()], [])
        body = [guard, *self.record_set(node.target), *self.block(node.body)]
        self.forget_static([node])
        return [ast.For(node.target, over, body, self.block(node.orelse))]


def _split_tuple_assignment(node: ast.Assign) -> list[ast.Assign]:
    """``a, b = 0, x`` as two assignments, where ``x`` reads neither name; else nothing."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if len(targets) == len(values):
            read = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            names = {n.id for n in targets if isinstance(n, ast.Name)}
            if len(names) == len(targets) and not names & read:
                pairs = zip(targets, values, strict=True)
                return [ast.copy_location(ast.Assign(targets=[t], value=v), node) for t, v in pairs]
    return []
