"""A Python function to portable program text: the same function, with every operation that Python and
a processor may disagree on spelled as a call of an operation of ours.

``a / b`` becomes ``_gs_truediv(a, b, _gs_row)``: the operation computes the quotient, or marks the row
where Python would raise; a marked row is computed again by Python itself. Types are not known yet, so
one text serves every column type, both arithmetic modes, the CPU and CUDA. Captured numbers, tuples
and small arrays become named constants; functions that the body calls are rewritten with it.

What is not listed here is not compiled: the reason names the construct, the file and the line.
"""

from __future__ import annotations

import ast
import inspect
import math
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gpuspark.compiler.constants import constant_problem, decide, is_constant
from gpuspark.compiler.flow import unset_reads
from gpuspark.compiler.nullness import maybe_null
from gpuspark.compiler.source import CannotCompile, Source, Unresolved, read
from gpuspark.compiler.trees import guarded, is_test, leaves, walk
from gpuspark.compiler.vocabulary import (
    BINARY,
    COMPARE,
    TIMEDELTA_PARTS,
    UNARY,
    describe,
    operation_of,
    plain_function,
)

ROW = "_gs_row"
OUT = "_gs_out"
ENTRY = "_gs_f0"
OP = "_gs_op_"


@dataclass(frozen=True)
class Body:
    """A rewritten function: exec ``text`` over ``constants`` and the operations, and call ``ENTRY`` with one
    value per column, where results go, and the row. It stores its result itself, at each ``return``: so
    each has its own type."""

    text: str
    constants: dict[str, Any]
    columns: tuple[str, ...]
    operations: tuple[str, ...]


@dataclass
class _Unit:
    """One program text: the entry function and those it calls."""

    texts: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    operations: set[str] = field(default_factory=set)
    names: dict[Any, str] = field(default_factory=dict)
    open: list[types.CodeType] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def add(self, source: Source, columns: Sequence[str], nullable: bool, fixed: dict[str, Any]) -> str:
        """Rewrites one function and returns its new name."""
        key = (source.function, tuple(columns), nullable, repr(sorted(fixed.items())))
        if key in self.names:
            return self.names[key]
        name = self.names[key] = f"_gs_f{len(self.names)}"
        self.open.append(source.function.__code__)
        rewritten = _Function(self, source, columns, nullable, fixed).rewrite(name)
        self.open.pop()
        self.texts.append(ast.unparse(ast.fix_missing_locations(rewritten)))
        return name


def rewrite(function: Any, columns: Sequence[str] | None = None, *, nullable: bool = False) -> Body:
    """Rewrites ``function`` for the given columns (parameter names; all parameters by default).

    Parameters that no column is given for keep their defaults, as constants. ``nullable`` means that
    columns may hold nulls, which the body sees as ``None``.

    Raises :class:`CannotCompile` with every construct that stands in the way, one per line.
    """
    source = read(function)
    given = tuple(inspect.signature(function).parameters) if columns is None else tuple(columns)
    unit = _Unit()
    try:
        unit.add(source, given, nullable, defaults_of(function, given))
        if unit.refusals:
            raise CannotCompile("\n".join(dict.fromkeys(unit.refusals)))
        compile("\n\n".join(unit.texts), "<gpuspark body>", "exec")
    except (RecursionError, SyntaxError):  # Python reads no more than 200 brackets inside each other
        raise CannotCompile(f"an expression is nested too deeply ({source.where()})") from None
    return Body("\n\n".join(unit.texts), unit.constants, given, tuple(sorted(unit.operations)))


def defaults_of(function: Any, given: Sequence[str]) -> dict[str, Any]:
    """The defaults of the parameters that are not ``given``."""
    parameters = inspect.signature(function).parameters
    return {n: p.default for n, p in parameters.items() if n not in given and p.default is not p.empty}


class _Function(ast.NodeVisitor):
    """Rewrites one function. ``value`` gives an expression that is never null, ``raw`` one that may be."""

    def __init__(
        self, unit: _Unit, source: Source, columns: Sequence[str], nullable: bool, fixed: dict[str, Any]
    ) -> None:
        self.unit, self.source, self.columns = unit, source, tuple(columns)
        node = source.node
        self.statements: list[ast.stmt] = (
            [ast.copy_location(ast.Return(node.body), node.body)] if isinstance(node, ast.Lambda) else node.body
        )
        self.local = set(columns) | {
            n.id for n in walk(self.statements) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del)
        }
        self.fixed = {**fixed, **self._imports()}
        unsure = (w for n in walk(self.statements) for w in walk(guarded(n)))
        self.sometimes = {id(w) for w in unsure if isinstance(w, ast.NamedExpr)}
        self.before: list[ast.stmt] = []
        self.is_entry = False
        self.nullable = maybe_null(self.statements, columns if nullable else (), self._call_may_be_null)

    # --- the function

    def rewrite(self, name: str) -> ast.FunctionDef:
        code = self.source.function.__code__
        if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            self.refuse(self.source.node, "*args or **kwargs")
        if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            self.refuse(self.source.node, "a generator or coroutine")
        start = [n for n in self.fixed if n in self.local]
        for read_early in unset_reads(self.statements, [*self.columns, *start]):
            self.refuse(read_early, f"{read_early.id!r} may be read before it is set")
        prologue: list[ast.stmt] = [_assign(n, self.constant(self.fixed[n], self.source.node)) for n in start]
        self.is_entry = name == ENTRY
        body = prologue + self.block(self.statements)
        if self.is_entry and not leaves(body):
            body += self.give(ast.Constant(None))
        arguments = [ast.arg(arg=n) for n in (*self.columns, *([OUT] if self.is_entry else []), ROW)]
        rewritten = cast(ast.FunctionDef, ast.parse(f"def {name}(): pass").body[0])
        rewritten.args.args, rewritten.body = arguments, body or [ast.Pass()]
        return rewritten

    def refuse(self, node: ast.AST, what: str) -> ast.expr:
        self.unit.refusals.append(f"{what} ({self.source.where(node)})")
        return ast.Constant(0)

    def _imports(self) -> dict[str, Any]:
        """Modules imported inside the body, which are as good as global ones."""
        found: dict[str, Any] = {}
        for node in walk(self.statements):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in ("math", "numpy"):
                        found[alias.asname or alias.name] = __import__(alias.name)
            elif isinstance(node, ast.ImportFrom) and node.module == "math":
                found |= {a.asname or a.name: getattr(math, a.name, None) for a in node.names}
        return found

    # --- statements

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The statements, each after the assignments that stood inside its expressions."""
        rewritten: list[ast.stmt] = []
        outer = self.before
        for statement in statements:
            self.before = []
            new = self.statement(statement)
            rewritten += self.before + new
            if leaves(new):
                break
        self.before = outer
        return rewritten

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.Return():
                return self.give(node.value or ast.Constant(None))
            case ast.Assign():
                return self.assign(node)
            case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
                return [ast.Assign(targets=[node.target], value=self.raw(value))]
            case ast.AnnAssign(value=None) | ast.Pass():
                return [ast.Pass()]
            case ast.AugAssign(target=ast.Name() as target):
                read_target = ast.copy_location(ast.Name(target.id, ast.Load()), target)
                combined = ast.copy_location(ast.BinOp(read_target, node.op, node.value), node)
                return [ast.Assign(targets=[target], value=self.value(combined))]
            case ast.If():
                return self.branch(node)
            case ast.While():
                test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), self.operation("stopped")), self.test(node.test)])
                return [ast.While(test, self.block(node.body) or [ast.Pass()], self.block(node.orelse))]
            case ast.For():
                return self.loop(node)
            case ast.Break() | ast.Continue():
                return [node]
            case ast.Raise():
                return self.fail()
            case ast.Assert():
                return [ast.If(ast.UnaryOp(ast.Not(), self.test(node.test)), self.fail(), [])]
            case ast.Expr(value=ast.Constant()):
                return [ast.Pass()]
            case ast.Expr():
                return [_assign("_gs_unused", self.raw(node.value))]
            case ast.Import() | ast.ImportFrom() if all((a.asname or a.name) in self.fixed for a in node.names):
                return [ast.Pass()]
        self.refuse(node, f"{describe(node)}")
        return []

    def give(self, node: ast.expr) -> list[ast.stmt]:
        """``return``: the entry stores its result, a function that the body calls gives it back."""
        if not self.is_entry:
            return [ast.Return(self.raw(node))]
        if isinstance(node, ast.IfExp) and self.static(node.test) is None:
            return [ast.If(self.test(node.test), self.give(node.body), self.give(node.orelse))]
        name, arguments = ast.Name(OP + "store", ast.Load()), [ast.Name(OUT, ast.Load()), self.raw(node)]
        return [ast.Expr(ast.Call(name, [*arguments, ast.Name(ROW, ast.Load())], [])), ast.Return(None)]

    def fail(self) -> list[ast.stmt]:
        return [ast.Expr(self.operation("fail")), ast.Return(ast.Constant(None))]

    def assign(self, node: ast.Assign) -> list[ast.stmt]:
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            if not all(isinstance(n, ast.Name) for n in names):
                self.refuse(node, f"assignment to {ast.unparse(target)}")
        return [ast.Assign(targets=node.targets, value=self.raw(node.value))]

    def branch(self, node: ast.If) -> list[ast.stmt]:
        known = self.static(node.test)
        if known is not None:
            return self.block(node.body if known[0] else node.orelse) or [ast.Pass()]
        return [ast.If(self.test(node.test), self.block(node.body), self.block(node.orelse))]

    def loop(self, node: ast.For) -> list[ast.stmt]:
        if not isinstance(node.target, ast.Name):
            self.refuse(node, f"a loop over {ast.unparse(node.target)}")
        if self._callee(node.iter) is range and isinstance(node.iter, ast.Call) and not node.iter.keywords:
            bounds = [self.operation("index", self.value(a)) for a in node.iter.args]
            if len(bounds) == 3:
                bounds[2] = self.operation("step", bounds[2])
            over: ast.expr = ast.Call(ast.Name("range", ast.Load()), bounds, [])
        else:
            over = self.value(node.iter)
        guard = ast.If(self.operation("stopped"), [ast.Break()], [])
        return [ast.For(node.target, over, [guard, *self.block(node.body)], self.block(node.orelse))]

    # --- expressions

    def operation(self, name: str, *arguments: ast.expr) -> ast.expr:
        self.unit.operations.add(name)
        return ast.Call(ast.Name(OP + name, ast.Load()), [*arguments, ast.Name(ROW, ast.Load())], [])

    def value(self, node: ast.expr) -> ast.expr:
        """``node`` where Python needs a value: a null is marked, as Python would raise."""
        new = self.raw(node)
        return self.operation("some", new) if self.nullable(node) else new

    def test(self, node: ast.expr) -> ast.expr:
        """``node`` as a condition."""
        match node:
            case ast.BoolOp():
                return ast.BoolOp(node.op, [self.test(v) for v in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return ast.UnaryOp(ast.Not(), self.test(node.operand))
            case ast.Compare():
                return self.raw(node)
        return self.operation("truth", self.raw(node))

    def raw(self, node: ast.expr) -> ast.expr:
        known = self.static(node)
        if known is not None:
            return self.constant(known[0], node)
        match node:
            case ast.Name(id=name) if name in self.local:
                return node
            case ast.BinOp() if type(node.op) in BINARY:
                return self.operation(BINARY[type(node.op)], self.value(node.left), self.value(node.right))
            case ast.UnaryOp(op=ast.Not()):
                return self.test(node)
            case ast.UnaryOp():
                return self.operation(UNARY[type(node.op)], self.value(node.operand))
            case ast.BoolOp():
                return self.either(node)
            case ast.Compare():
                return self.compare(node)
            case ast.IfExp():
                return ast.IfExp(self.test(node.test), self.raw(node.body), self.raw(node.orelse))
            case ast.Call():
                return self.call(node)
            case ast.Attribute() if node.attr in TIMEDELTA_PARTS:
                return self.operation(node.attr, self.value(node.value))
            case ast.Subscript():
                return self.operation("item", self.value(node.value), self.value(node.slice))
            case ast.Tuple() if isinstance(node.ctx, ast.Load):
                return ast.Tuple([self.value(e) for e in node.elts], ast.Load())
            case ast.NamedExpr():
                return self.walrus(node)
        return self.refuse(node, describe(node))

    def walrus(self, node: ast.NamedExpr) -> ast.expr:
        """An assignment of its own, before the statement: the compilers mistake ``:=`` for something else."""
        if id(node) in self.sometimes:
            return self.refuse(node, ":= where it may not be reached")
        self.before.append(ast.Assign(targets=[node.target], value=self.raw(node.value)))
        return ast.Name(node.target.id, ast.Load())

    def either(self, node: ast.BoolOp) -> ast.expr:
        """``a or b`` and ``a and b`` give one of their operands. ``a`` is spelled out twice: it has no effects."""
        if all(is_test(operand) for operand in node.values):
            return self.test(node)
        result = self.raw(node.values[-1])
        for operand in reversed(node.values[:-1]):
            first = self.raw(operand)
            arms = (first, result) if isinstance(node.op, ast.Or) else (result, first)
            result = ast.IfExp(self.operation("truth", first), *arms)
        return result

    def compare(self, node: ast.Compare) -> ast.expr:
        """A chain ``a < b < c`` is ``a < b and b < c``."""
        tests: list[ast.expr] = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.Is | ast.IsNot):
                if not (isinstance(right, ast.Constant) and right.value is None):
                    return self.refuse(node, "'is' with anything but None")
                tests.append(ast.Compare(self.raw(left), [op], [right]))
            elif isinstance(op, ast.In | ast.NotIn):
                tests.append(self.contains(self.value(left), op, right))
            else:
                tests.append(self.operation(COMPARE[type(op)], self.value(left), self.value(right)))
            left = right
        return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)

    def contains(self, item: ast.expr, op: ast.cmpop, sequence: ast.expr) -> ast.expr:
        """``x in (1, 2, 3)``: one comparison per element of a tuple known now."""
        known = self.static(sequence)
        if known is not None and isinstance(known[0], tuple | list | set | frozenset):
            elements = [self.constant(v, sequence) for v in known[0]]
        elif isinstance(sequence, ast.Tuple | ast.List | ast.Set):
            elements = [self.value(e) for e in sequence.elts]
        else:
            return self.refuse(sequence, f"'in' over {ast.unparse(sequence)}")
        tests = [self.operation("eq", item, element) for element in elements]
        found = ast.BoolOp(ast.Or(), tests) if len(tests) > 1 else (tests or [ast.Constant(False)])[0]
        return ast.UnaryOp(ast.Not(), found) if isinstance(op, ast.NotIn) else found

    # --- calls

    def call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "total_seconds" and not node.args:
            return self.operation("total_seconds", self.value(node.func.value))
        callee = self._callee(node)
        if callee is None:
            return self.refuse(node, f"a call of {ast.unparse(node.func)}")
        plain = plain_function(callee)
        if plain is not None:
            return self.call_function(node, plain)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            return self.refuse(node, f"{ast.unparse(node.func)} with keywords or *")
        arguments = [self.value(a) for a in node.args]
        name = operation_of(callee, len(arguments))
        if name is None:
            return self.refuse(node, f"a call of {ast.unparse(node.func)} with {len(arguments)} arguments")
        if name in ("min", "max"):
            result = arguments[0]
            for argument in arguments[1:]:
                result = self.operation(name, result, argument)
            return result
        return self.operation(name, *arguments)

    def call_function(self, node: ast.Call, function: types.FunctionType) -> ast.expr:
        if function.__code__ in self.unit.open:
            return self.refuse(node, f"{function.__name__} calls itself")
        keywords = {k.arg: k.value for k in node.keywords}
        if None in keywords or any(isinstance(a, ast.Starred) for a in node.args):
            return self.refuse(node, f"a call of {function.__name__} with * or **")
        try:
            bound = inspect.signature(function).bind(*node.args, **{k: v for k, v in keywords.items() if k})
            source = read(function)
        except (TypeError, CannotCompile) as error:
            return self.refuse(node, f"a call of {function.__name__}: {error}")
        given = tuple(bound.arguments)
        nullable = any(self.nullable(a) for a in bound.arguments.values() if isinstance(a, ast.expr))
        fixed = defaults_of(function, given)
        for name in [n for n in given if self._is_flag(bound.arguments[n])]:
            known = self.static(bound.arguments.pop(name))
            fixed[name] = known[0] if known else None
        given = tuple(bound.arguments)
        new_name = self.unit.add(source, given, nullable, fixed)
        arguments = [self.raw(bound.arguments[n]) for n in given]
        return ast.Call(ast.Name(new_name, ast.Load()), [*arguments, ast.Name(ROW, ast.Load())], [])

    def _is_flag(self, node: ast.expr) -> bool:
        known = self.static(node)
        return known is not None and isinstance(known[0], str)

    def _callee(self, node: ast.expr) -> Any:
        """The object that a call calls, where that is known now."""
        if not isinstance(node, ast.Call):
            return None
        known = self._object(node.func)
        return known[0] if known else None

    def _call_may_be_null(self, node: ast.Call) -> bool:
        callee = self._callee(node)
        return callee is not None and plain_function(callee) is not None

    # --- what is known before any row is seen

    def _object(self, node: ast.expr) -> tuple[Any] | None:
        """The object behind a global name or a chain of attributes of modules."""
        match node:
            case ast.Name(id=name) if name in self.fixed and name not in self.local:
                return (self.fixed[name],)
            case ast.Name(id=name) if name not in self.local:
                try:
                    return (self.source.resolve(name),)
                except Unresolved:
                    return None
            case ast.Attribute(value=owner, attr=name):
                found = self._object(owner)
                if found and isinstance(found[0], types.ModuleType) and hasattr(found[0], name):
                    return (getattr(found[0], name),)
        return None

    def static(self, node: ast.expr) -> tuple[Any] | None:
        """The value of ``node`` as a 1-tuple where it does not depend on any row. Comparisons of strings
        are decided here, so that strings can serve as flags."""
        match node:
            case ast.Constant(value=value):
                return (value,)
            case ast.Name() | ast.Attribute():
                found = self._object(node)
                return found if found and is_constant(found[0]) else None
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                known = self.static(operand)
                return (not known[0],) if known else None
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return (-number,)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                one, other = self.static(left), self.static(right)
                if one and other and any(isinstance(v[0], str | type(None)) for v in (one, other)):
                    return decide(op, one[0], other[0])
            case ast.Tuple(elts=elements) if elements:
                known_elements = [self.static(e) for e in elements]
                if all(k is not None for k in known_elements):
                    return (tuple(k[0] for k in known_elements if k),)
        return None

    def constant(self, value: Any, node: ast.AST) -> ast.expr:
        if value is None or isinstance(value, bool):
            return ast.Constant(value)
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


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign(targets=[ast.Name(name, ast.Store())], value=value)
