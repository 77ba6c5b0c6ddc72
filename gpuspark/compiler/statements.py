"""Rewrites the statements of a body, and the function around them."""

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
    """Returns the syntax tree of ``called`` rewritten to portable operations, under the new name ``name``."""
    return Statements(unit, called, name == ENTRY).function(name, called)


class Statements(Expressions):
    """Rewrites the statements of one function. The entry function of a program stores its own result."""

    keeps_strings = False
    """Whether strings are values of the rewritten text, and not only options that are known beforehand."""

    def __init__(self, unit: Unit, called: Called, is_entry: bool) -> None:
        super().__init__(unit, called, *body_of(called.source, called.columns, called.fixed))
        self.is_entry = is_entry
        self.unhoistable = {id(node) for node in unhoistable(self.statements)}

    def function(self, name: str, called: Called) -> ast.FunctionDef:
        """Returns the whole function, with its flags for names that may be read before they are set."""
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
        """Returns the assignments for a parameter with a fixed value that the body assigns again."""
        if isinstance(value, str) and not self.keeps_strings:
            return self.remember_static(name, value)
        initial = [assignment(name, self.constant(value, self.source.node))]
        return [*initial, *self.remember_static(name, value)] if isinstance(value, str | None) else initial

    def remember_static(self, name: str, value: str | None) -> list[ast.stmt]:
        """Notes that ``name`` holds ``value`` from here on. Returns no statements."""
        self.scope.static_locals[name] = value
        if isinstance(value, str) and not self.keeps_strings:
            self.string_names.add(name)
        return []

    def forget_static(self, nodes: Iterable[ast.AST]) -> None:
        """Discards the noted values of the names that ``nodes`` assign."""
        if self.scope.static_locals:
            for name in assigned_names(nodes):
                self.scope.static_locals.pop(name, None)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Returns the rewritten statements, each after the assignments hoisted out of its expressions."""
        result: list[ast.stmt] = []
        outer = self.hoisted
        for statement in statements:
            self.hoisted = []
            new = self.statement(statement)
            if not isinstance(statement, ast.Assign | ast.If | ast.Try):  # these forget their own names
                self.forget_static([statement])
            result += self.hoisted + new
            if always_leaves(new):
                break
        self.hoisted = outer
        return result

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        """Returns the statements that replace one statement."""
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
        """Returns the body of a ``try`` without its handlers: where Python would raise, the row is marked, and Python
        computes it again with the handlers."""
        return [ast.Expr(self.operation("begin_try")), *self.block([*node.body, *node.orelse])]

    def return_statement(self, node: ast.expr) -> list[ast.stmt]:
        """Returns the statements for ``return node``: the entry function stores the result, a called one returns it."""
        if not self.is_entry:
            return [ast.Return(self.expression(node))]
        if isinstance(node, ast.IfExp) and self.scope.static_value(node.test) is None:
            return self.if_statement(ast.If(node.test, [ast.Return(node.body)], [ast.Return(node.orelse)]))
        name, arguments = ast.Name(OP + "store", ast.Load()), [ast.Name(OUT, ast.Load()), self.expression(node)]
        return [ast.Expr(ast.Call(name, [*arguments, ast.Name(ROW, ast.Load())], [])), ast.Return(None)]

    def mark_and_leave(self) -> list[ast.stmt]:
        """Returns statements that mark the row and leave the function: where Python raises, or runs what does not
        compile."""
        return [ast.Expr(self.operation("mark")), ast.Return(ast.Constant(None))]

    def assign(self, node: ast.Assign) -> list[ast.stmt]:
        """Returns the statements for an assignment. A string is only noted, as a static value."""
        single_assignments = _split_tuple_assignment(node)
        if single_assignments:
            return [new for single in single_assignments for new in self.assign(single)]
        static = self.scope.static_value(node.value)
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) and n.id in self.scope.local for n in names):
                self.refuse(node, f"assignment to {ast.unparse(target)}")
        is_string = static is not None and isinstance(static[0], str) and not self.keeps_strings
        new = [] if is_string else [ast.Assign(targets=node.targets, value=self.expression(node.value))]
        self.forget_static([node])
        for target in node.targets:
            if isinstance(target, ast.Name) and static is not None and isinstance(static[0], str | None):
                self.remember_static(target.id, static[0])
        return [*new, *self.record_set(node)]

    def if_statement(self, node: ast.If) -> list[ast.stmt]:
        """Returns the branch, or only the side that is taken where the test is static.

        After it, a name keeps its static value only if it has that value at the end of every side that reaches it.
        """
        static = self.scope.static_value(node.test)
        if static is not None:
            return self.block(node.body if static[0] else node.orelse) or [ast.Pass()]
        test = self.condition(node.test)
        self.forget_static([node.test])
        before_branch = dict(self.scope.static_locals)
        body_branch, body = self.branch_side(node.body)
        after_body, self.scope.static_locals = self.scope.static_locals, before_branch
        else_branch, orelse = self.branch_side(node.orelse)
        self.note_left_to_python(body_branch, else_branch)
        if always_leaves(orelse) and node.orelse:
            self.scope.static_locals = after_body
        elif not always_leaves(body):
            after_orelse = self.scope.static_locals.items()
            self.scope.static_locals = {
                name: value for name, value in after_orelse if after_body.get(name, ...) == value
            }
        return [ast.If(test, body, orelse)]

    def branch_side(self, statements: list[ast.stmt]) -> tuple[Branch, list[ast.stmt]]:
        """Returns one side of a branch. A side that does not compile marks the row, which Python computes again."""
        with self.unit.branch(statements) as branch:
            new = self.block(statements)
        if branch.runs_in_python:
            self.note_used_in_python(statements)
        return branch, self.mark_and_leave() if branch.runs_in_python else new

    def while_loop(self, node: ast.While) -> list[ast.stmt]:
        """Returns a ``while`` loop that a marked row leaves."""
        self.forget_static([node])
        test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self.operation("is_marked")), self.condition(node.test)])
        body = self.block(node.body) or [ast.Pass()]
        self.forget_static([node])
        return [ast.While(test, body, self.block(node.orelse))]

    def for_loop(self, node: ast.For) -> list[ast.stmt]:
        """Returns a ``for`` loop over a range, tuple or array that a marked row leaves."""
        if not isinstance(node.target, ast.Name):
            self.refuse(node, f"a loop over {ast.unparse(node.target)}")
        if self.scope.callee(node.iter) is range and isinstance(node.iter, ast.Call) and not node.iter.keywords:
            bounds = [self.operation("range_bound", self.non_null(a)) for a in node.iter.args]
            if len(bounds) == 3:
                bounds[2] = self.operation("range_step", bounds[2])
            iterable: ast.expr = ast.Call(ast.Name("range", ast.Load()), bounds, [])
        else:
            iterable = self.non_null(node.iter)
        self.forget_static([node])
        leave_if_marked = ast.If(self.operation("is_marked"), [ast.Break()], [])
        body = [leave_if_marked, *self.record_set(node.target), *self.block(node.body)]
        self.forget_static([node])
        return [ast.For(node.target, iterable, body, self.block(node.orelse))]


def _split_tuple_assignment(node: ast.Assign) -> list[ast.Assign]:
    """Returns ``a, b = 0, x`` as single assignments if ``x`` reads none of the names; otherwise an empty list."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if len(targets) == len(values):
            names_read = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            names = {n.id for n in targets if isinstance(n, ast.Name)}
            if len(names) == len(targets) and not names & names_read:
                pairs = zip(targets, values, strict=True)
                return [ast.copy_location(ast.Assign(targets=[t], value=v), node) for t, v in pairs]
    return []
