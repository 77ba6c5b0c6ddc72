"""Statements of a body, and the function around them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import cast

from gpuspark.compiler.expressions import Expressions, assigned, set_flag
from gpuspark.compiler.flow import unset_reads
from gpuspark.compiler.known import body_of
from gpuspark.compiler.trees import leaves, misplaced, stored
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
        self.unreached = {id(node) for node in misplaced(self.statements)}

    def function(self, name: str, called: Called) -> ast.FunctionDef:
        """Returns the whole function."""
        code = self.source.function.__code__
        if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            self.refuse(self.source.node, "*args or **kwargs")
        if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            self.refuse(self.source.node, "a generator or coroutine")
        start = [n for n in self.known.fixed if n in self.known.local]
        self.guarded = unset_reads(self.statements, [*called.columns, *start])
        body = [statement for n in start for statement in self.begin(n, self.known.fixed[n])]
        body += self.block(self.statements)
        if self.is_entry and not leaves(body):
            body += self.give(ast.Constant(None))
        unset = [assigned(set_flag(n).id, ast.Constant(False)) for n in sorted(self.guarded)]
        never_set = [assigned(n, ast.Constant(0.0)) for n in sorted(self.guarded - stored(body))]
        body = unset + never_set + body
        arguments = [ast.arg(arg=n) for n in (*called.columns, *([OUT] if self.is_entry else []), ROW)]
        whole = cast(ast.FunctionDef, ast.parse(f"def {name}(): pass").body[0])
        whole.args.args, whole.body = arguments, body or [ast.Pass()]
        return whole

    def begin(self, name: str, value: object) -> list[ast.stmt]:
        """A parameter that starts with a value of its own, and is given others."""
        if isinstance(value, str):
            return self.remember(name, value)
        first = [assigned(name, self.constant(value, self.source.node))]
        return [*first, *self.remember(name, value)] if value is None else first

    def remember(self, name: str, value: str | None) -> list[ast.stmt]:
        """Keeps in mind that ``name`` holds a text or ``None`` from here on; a text has no code."""
        self.known.values[name] = value
        if isinstance(value, str):
            self.texts.add(name)
        return []

    def forget(self, nodes: Iterable[ast.AST]) -> None:
        """Forgets what the names held that ``nodes`` assign."""
        for name in stored(nodes):
            self.known.values.pop(name, None)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The statements, each after the assignments that stood inside its expressions."""
        result: list[ast.stmt] = []
        outer = self.before
        for statement in statements:
            self.before = []
            new = self.statement(statement)
            if not isinstance(statement, ast.Assign | ast.If | ast.Try):  # which look after themselves
                self.forget([statement])
            result += self.before + new
            if leaves(new):
                break
        self.before = outer
        return result

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.Return():
                return self.give(node.value or ast.Constant(None))
            case ast.Assign():
                return self.assign(node)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                return [ast.Assign(targets=[target], value=self.raw(value)), *self.flags(target)]
            case ast.AugAssign(target=ast.Name() as target):
                read_target = ast.copy_location(ast.Name(target.id, ast.Load()), target)
                combined = ast.copy_location(ast.BinOp(read_target, node.op, node.value), node)
                return [ast.Assign(targets=[target], value=self.value(combined)), *self.flags(target)]
            case ast.If():
                return self.branch(node)
            case ast.While():
                return self.repeat(node)
            case ast.For():
                return self.loop(node)
            case ast.Break() | ast.Continue():
                return [node]
            case ast.Raise():
                return self.fail()
            case ast.Assert():
                return [ast.If(ast.UnaryOp(ast.Not(), self.test(node.test)), self.fail(), [])]
            case ast.Try() if not node.finalbody:
                return self.attempt(node)
            case ast.AnnAssign(value=None) | ast.Pass() | ast.Expr(value=ast.Constant()):
                return [ast.Pass()]
            case ast.Expr():
                return [assigned("_gs_unused", self.raw(node.value))]
            case ast.Import() | ast.ImportFrom() if all((a.asname or a.name) in self.known.fixed for a in node.names):
                return [ast.Pass()]
        self.refuse(node, f"{describe(node)}")
        return []

    def attempt(self, node: ast.Try) -> list[ast.stmt]:
        """``try``: where Python would raise, the row is marked, and Python computes it again, handlers and all."""
        return [ast.Expr(self.operation("attempt")), *self.block([*node.body, *node.orelse])]

    def give(self, node: ast.expr) -> list[ast.stmt]:
        """``return``: the entry stores its result, a function that the body calls gives it back."""
        if not self.is_entry:
            return [ast.Return(self.raw(node))]
        if isinstance(node, ast.IfExp) and self.known.static(node.test) is None:
            return self.branch(ast.If(node.test, [ast.Return(node.body)], [ast.Return(node.orelse)]))
        name, arguments = ast.Name(OP + "store", ast.Load()), [ast.Name(OUT, ast.Load()), self.raw(node)]
        return [ast.Expr(ast.Call(name, [*arguments, ast.Name(ROW, ast.Load())], [])), ast.Return(None)]

    def fail(self) -> list[ast.stmt]:
        """Marks the row and leaves: Python raises there, or does what does not compile."""
        return [ast.Expr(self.operation("fail")), ast.Return(ast.Constant(None))]

    def assign(self, node: ast.Assign) -> list[ast.stmt]:
        apart = _one_by_one(node)
        if apart:
            return [new for assignment in apart for new in self.assign(assignment)]
        known = self.known.static(node.value)
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) and n.id in self.known.local for n in names):
                self.refuse(node, f"assignment to {ast.unparse(target)}")
        text = known is not None and isinstance(known[0], str)
        new = [] if text else [ast.Assign(targets=node.targets, value=self.raw(node.value))]
        self.forget([node])
        for target in node.targets:
            if isinstance(target, ast.Name) and known is not None and isinstance(known[0], str | None):
                self.remember(target.id, known[0])
        return [*new, *self.flags(node)]

    def branch(self, node: ast.If) -> list[ast.stmt]:
        known = self.known.static(node.test)
        if known is not None:
            return self.block(node.body if known[0] else node.orelse) or [ast.Pass()]
        test = self.test(node.test)
        self.forget([node.test])
        held = dict(self.known.values)
        first, body = self.side(node.body)
        after_body, self.known.values = self.known.values, held
        second, orelse = self.side(node.orelse)
        self.leave(first, second)
        if leaves(orelse) and node.orelse:
            self.known.values = after_body
        elif not leaves(body):
            both = self.known.values.items()
            self.known.values = {name: value for name, value in both if after_body.get(name, ...) == value}
        return [ast.If(test, body, orelse)]

    def side(self, statements: list[ast.stmt]) -> tuple[Branch, list[ast.stmt]]:
        """One side of a branch. What does not compile there marks the row, which is left to Python."""
        with self.unit.branch(statements) as branch:
            new = self.block(statements)
        if branch.is_left:
            self.use_in_python(statements)
        return branch, self.fail() if branch.is_left else new

    def repeat(self, node: ast.While) -> list[ast.stmt]:
        self.forget([node])
        test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self.operation("stopped")), self.test(node.test)])
        body = self.block(node.body) or [ast.Pass()]
        self.forget([node])
        return [ast.While(test, body, self.block(node.orelse))]

    def loop(self, node: ast.For) -> list[ast.stmt]:
        if not isinstance(node.target, ast.Name):
            self.refuse(node, f"a loop over {ast.unparse(node.target)}")
        if self.known.callee(node.iter) is range and isinstance(node.iter, ast.Call) and not node.iter.keywords:
            bounds = [self.operation("index", self.value(a)) for a in node.iter.args]
            if len(bounds) == 3:
                bounds[2] = self.operation("step", bounds[2])
            over: ast.expr = ast.Call(ast.Name("range", ast.Load()), bounds, [])
        else:
            over = self.value(node.iter)
        self.forget([node])
        guard = ast.If(self.operation("stopped"), [ast.Break()], [])
        body = [guard, *self.flags(node.target), *self.block(node.body)]
        self.forget([node])
        return [ast.For(node.target, over, body, self.block(node.orelse))]


def _one_by_one(node: ast.Assign) -> list[ast.Assign]:
    """``a, b = 0, x`` as two assignments, where ``x`` reads neither name; else nothing."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)) if len(targets) == len(values):
            read = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            names = {n.id for n in targets if isinstance(n, ast.Name)}
            if len(names) == len(targets) and not names & read:
                pairs = zip(targets, values, strict=True)
                return [ast.copy_location(ast.Assign(targets=[t], value=v), node) for t, v in pairs]
    return []
