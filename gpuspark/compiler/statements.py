"""Statements of a body, and the function around them."""

from __future__ import annotations

import ast
import inspect
from typing import cast

from gpuspark.compiler.expressions import Expressions, assigned, set_flag
from gpuspark.compiler.flow import unset_reads
from gpuspark.compiler.known import body_of
from gpuspark.compiler.trees import leaves, misplaced
from gpuspark.compiler.unit import ENTRY, OP, OUT, ROW, Called, Unit
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
        prologue = [assigned(n, self.constant(self.known.fixed[n], self.source.node)) for n in start]
        prologue += [assigned(set_flag(n).id, ast.Constant(False)) for n in sorted(self.guarded)]
        body = prologue + self.block(self.statements)
        if self.is_entry and not leaves(body):
            body += self.give(ast.Constant(None))
        arguments = [ast.arg(arg=n) for n in (*called.columns, *([OUT] if self.is_entry else []), ROW)]
        whole = cast(ast.FunctionDef, ast.parse(f"def {name}(): pass").body[0])
        whole.args.args, whole.body = arguments, body or [ast.Pass()]
        return whole

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The statements, each after the assignments that stood inside its expressions."""
        result: list[ast.stmt] = []
        outer = self.before
        for statement in statements:
            self.before = []
            new = self.statement(statement)
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
                test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self.operation("stopped")), self.test(node.test)])
                return [ast.While(test, self.block(node.body) or [ast.Pass()], self.block(node.orelse))]
            case ast.For():
                return self.loop(node)
            case ast.Break() | ast.Continue():
                return [node]
            case ast.Raise() | ast.Assert():
                return self.fail(node)
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
            return [ast.If(self.test(node.test), self.give(node.body), self.give(node.orelse))]
        name, arguments = ast.Name(OP + "store", ast.Load()), [ast.Name(OUT, ast.Load()), self.raw(node)]
        return [ast.Expr(ast.Call(name, [*arguments, ast.Name(ROW, ast.Load())], [])), ast.Return(None)]

    def fail(self, node: ast.Raise | ast.Assert) -> list[ast.stmt]:
        end: list[ast.stmt] = [ast.Expr(self.operation("fail")), ast.Return(ast.Constant(None))]
        return [ast.If(ast.UnaryOp(ast.Not(), self.test(node.test)), end, [])] if isinstance(node, ast.Assert) else end

    def assign(self, node: ast.Assign) -> list[ast.stmt]:
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) for n in names):
                self.refuse(node, f"assignment to {ast.unparse(target)}")
        return [ast.Assign(targets=node.targets, value=self.raw(node.value)), *self.flags(node)]

    def branch(self, node: ast.If) -> list[ast.stmt]:
        known = self.known.static(node.test)
        if known is not None:
            return self.block(node.body if known[0] else node.orelse) or [ast.Pass()]
        return [ast.If(self.test(node.test), self.block(node.body), self.block(node.orelse))]

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
        guard = ast.If(self.operation("stopped"), [ast.Break()], [])
        body = [guard, *self.flags(node.target), *self.block(node.body)]
        return [ast.For(node.target, over, body, self.block(node.orelse))]
