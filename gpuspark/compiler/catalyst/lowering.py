"""Runs a rewritten body once with Spark expressions for values: the result is the expression of the whole body.

A branch runs both of its sides, and the names that they set become choices. A loop over constants runs its body as
often as Python does. Errors are collected in the order in which Python raises them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpuspark.columns.types import ColumnType
from gpuspark.compiler.catalyst import trees
from gpuspark.compiler.catalyst.operations.registry import lowering
from gpuspark.compiler.catalyst.operations.results import result_column
from gpuspark.compiler.catalyst.paths import Error, Path, guarded, items_of
from gpuspark.compiler.catalyst.trees import Refused, Tree, negation
from gpuspark.compiler.catalyst.values import (
    NONE,
    Choice,
    Items,
    Operand,
    Value,
    boolean,
    merge,
    of_constant,
)
from gpuspark.compiler.source import CannotCompile, Source
from gpuspark.compiler.spark_body import SparkBody
from gpuspark.compiler.unit import ENTRY, OP
from gpuspark.compiler.vocabulary import as_written

_LONGEST_LOOP = 200


@dataclass
class End:
    """How a block of statements ends on one path."""

    how: Literal["falls", "returns", "raises", "breaks", "continues"]
    path: Path
    value: Operand = NONE
    """What is returned."""
    error: Tree = trees.NULL
    """The text of the error that is raised."""


@dataclass
class Fork:
    """A block of statements that ends in different ways on the two sides of a condition."""

    condition: Tree
    then: Flow
    otherwise: Flow


@dataclass
class Flow:
    """What a block of statements does: first the errors, then its end."""

    errors: list[Error]
    end: End | Fork

    def map(self, how: str, continued: Callable[[Path], Flow]) -> Flow:
        """Returns this flow, which goes on with ``continued`` where it ends like ``how``."""
        if isinstance(self.end, Fork):
            sides = self.end.then.map(how, continued), self.end.otherwise.map(how, continued)
            return _after(self.errors, combined(self.end.condition, *sides))
        if self.end.how != how:
            return self
        return _after(self.errors, continued(self.end.path))


def _after(errors: list[Error], flow: Flow) -> Flow:
    """Returns a flow that raises ``errors`` first."""
    return Flow([*errors, *flow.errors], flow.end)


def combined(condition: Tree, then: Flow, otherwise: Flow) -> Flow:
    """Returns the flow of a branch: one end where both sides end alike."""
    one, other = then.end, otherwise.end
    errors = [*guarded(condition, then.errors), *guarded(negation(condition), otherwise.errors)]
    if isinstance(one, End) and isinstance(other, End):
        if one.how == "raises":
            return Flow([*guarded(condition, then.errors), (condition, one.error), *otherwise.errors], other)
        if other.how == "raises":
            opposite = negation(condition)
            return Flow([*guarded(opposite, otherwise.errors), (opposite, other.error), *then.errors], one)
        if one.how == other.how == "returns":
            return Flow(errors, End("returns", one.path, merge(condition, one.value, other.value)))
        if one.how == other.how:
            return Flow(errors, End(one.how, _joined(condition, one.path, other.path)))
    return Flow([], Fork(condition, then, otherwise))


def _joined(condition: Tree, one: Path, other: Path) -> Path:
    """Returns the path after a branch: its names are choices, and only what both sides know is known."""
    joined = one.fork()
    joined.truths = {tree: holds for tree, holds in one.truths.items() if other.truths.get(tree) is holds}
    joined.bounds = {tree: bounds for tree, bounds in one.bounds.items() if other.bounds.get(tree) == bounds}
    for name, value in other.names.items():
        joined.names[name] = _merged(condition, one, one.names[name], other, value) if name in one.names else value
    return joined


def _merged(condition: Tree, one: Path, then: Operand, other: Path, otherwise: Operand) -> Operand:
    """Returns what a name, or a conditional expression, is after a branch with what each side knows of it. A column
    that may hold any numbers is decided where the other side is a float: then they may be of one type."""
    if then == otherwise:
        return then
    then, otherwise = one.known(then), other.known(otherwise)
    if isinstance(then, Value) and isinstance(otherwise, Value) and "float" in (then.kind, otherwise.kind):
        then, otherwise = _decided(one, then), _decided(other, otherwise)
    return merge(condition, then, otherwise)


def _decided(path: Path, value: Value) -> Value:
    """Returns the column of a parameter that the body shows to be a number as one whose numbers are decided."""
    is_number = value.kind == "number" and not value.derived and value.parameter in path.decisions.pinned
    return path.settled(value) if is_number else value


class Lowering:
    """Runs the functions of one body."""

    def __init__(self, body: SparkBody, declared: ColumnType) -> None:
        self.body = body
        self.convert = result_column(declared)
        self.source: Source = body.functions[ENTRY][0]

    def function(self, name: str, path: Path) -> Flow:
        """Returns the flow of a function whose parameters ``path`` holds; each of its ends returns or raises."""
        before = self.source
        self.source, tree = self.body.functions[name]
        flow = self.block(tree.body, path)
        flow = flow.map("falls", lambda path: Flow([], End("returns", path)))
        self.source = before
        return _folded(flow)

    # --- statements

    def block(self, statements: Sequence[ast.stmt], path: Path) -> Flow:
        """Returns the flow of statements."""
        for position, statement in enumerate(statements):
            flow = self.statement(statement, path)
            errors = [*path.errors, *flow.errors]
            if isinstance(flow.end, Fork) or flow.end.how != "falls":
                rest = statements[position + 1 :]
                return Flow(errors, flow.end).map("falls", lambda path, rest=rest: self.block(rest, path))  # type: ignore[misc]
            path = flow.end.path
            path.errors = errors
        errors, path.errors = path.errors, []
        return Flow(errors, End("falls", path))

    def statement(self, node: ast.stmt, path: Path) -> Flow:
        """Returns the flow of one statement. ``path`` keeps the errors of its expressions."""
        match node:
            case ast.Assign(targets=targets, value=value):
                operand = self.value(value, path)
                for target in targets:
                    self.assign(target, operand, path)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[_, result, _])) if name == OP + "store":
                path.names["_gs_result"] = self.at(node, path, self.convert, self.value(result, path))
            case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=text), *_])) if (
                name == OP + "raise"
            ):
                return Flow([], End("raises", path, error=trees.text(str(text))))
            case ast.Expr(value=value):
                self.value(value, path)
            case ast.Return(value=None):
                return self._leave(path, "returns", path.names.get("_gs_result", NONE))
            case ast.Return(value=ast.expr() as value):
                return self._leave(path, "returns", self.value(value, path))
            case ast.If():
                return self.branch(node, path)
            case ast.For():
                return self.loop(node, path)
            case ast.Break() | ast.Continue():
                return self._leave(path, "breaks" if isinstance(node, ast.Break) else "continues")
            case ast.Pass():
                pass
            case _:
                raise self.refusal(node, type(node).__name__)
        errors, path.errors = path.errors, []
        return Flow(errors, End("falls", path))

    def _leave(self, path: Path, how: Literal["returns", "breaks", "continues"], value: Operand = NONE) -> Flow:
        errors, path.errors = path.errors, []
        return Flow(errors, End(how, path, value))

    def assign(self, target: ast.expr, operand: Operand, path: Path) -> None:
        """Sets a name, or the names of a tuple."""
        if isinstance(target, ast.Name):
            path.names[target.id] = operand
            return
        if not isinstance(target, ast.Tuple):
            raise self.refusal(target, f"assignment to {ast.unparse(target)}")
        items = self.at(target, path, lambda _path, operand: items_of(operand), operand)
        if not isinstance(items, Items) or len(items.items) != len(target.elts):
            raise self.refusal(target, "unpacking of what is not as many values on every path")
        for inner, item in zip(target.elts, items.items, strict=True):
            self.assign(inner, item, path)

    def branch(self, node: ast.If, path: Path) -> Flow:
        """Returns the flow of ``if``."""
        test = self.condition(node.test, path)
        errors, path.errors = path.errors, []
        if test in (trees.TRUE, trees.FALSE):
            return _after(errors, self.block(node.body if test == trees.TRUE else node.orelse, path))
        sides = []
        for statements, holds in ((node.body, True), (node.orelse, False)):
            side = path.fork()
            side.assume(test, holds)
            sides.append(self.block(statements, side))
        return _after(errors, combined(test, *sides))

    def loop(self, node: ast.For, path: Path) -> Flow:
        """Returns the flow of ``for``, with its body once for each item."""
        items = self.items(node, path)
        errors, path.errors = path.errors, []

        def turn(position: int, path: Path) -> Flow:
            if position == len(items):
                return self.block(node.orelse, path)
            self.assign(node.target, items[position], path)
            flow = self.block(node.body, path).map("continues", lambda path: Flow([], End("falls", path)))
            return flow.map("falls", lambda path: turn(position + 1, path))

        flow = turn(0, path)
        return _after(errors, flow.map("breaks", lambda path: Flow([], End("falls", path))))

    def items(self, node: ast.For, path: Path) -> Sequence[Operand]:
        """Returns the items that a loop runs over."""
        match node.iter:
            case ast.Call(func=ast.Name(id="range"), args=arguments):
                bounds = [path.known(self.value(argument, path)) for argument in arguments]
                constants = [bound.constant for bound in bounds if isinstance(bound, Value)]
                if len(constants) < len(bounds) or any(type(bound) is not int for bound in constants):
                    raise self.refusal(node, "a loop whose range depends on the row")
                if len(constants) == 3 and constants[2] == 0:
                    raise self.refusal(node, "a range with the step 0")
                numbers = range(*constants)
                self._limit_turns(node, len(numbers))
                return [of_constant(number) for number in numbers]
        items = self.at(node, path, lambda _path, operand: items_of(operand), self.value(node.iter, path))
        if not isinstance(items, Items):
            raise self.refusal(node, "a loop over what is not of one length for all rows")
        self._limit_turns(node, len(items.items))
        return items.items

    def _limit_turns(self, node: ast.For, turns: int) -> None:
        """Raises :class:`CannotCompile` for a loop that is too long to be written out."""
        if turns > _LONGEST_LOOP:
            raise self.refusal(node, f"a loop of {turns} turns: at most {_LONGEST_LOOP} are written out")

    # --- expressions

    def value(self, node: ast.expr, path: Path) -> Operand:
        """Returns the value of an expression, whose errors ``path`` then holds."""
        match node:
            case ast.Constant(value=constant):
                return self.at(node, path, lambda _path: of_constant(constant))
            case ast.Name(id=name) if name in path.names:
                return path.known(path.names[name])
            case ast.Name(id=name) if name in self.body.constants:
                path.decisions.uses_numpy |= hasattr(self.body.constants[name], "dtype")
                return self.at(node, path, lambda _path: of_constant(self.body.constants[name]))
            case ast.Name(id=name):
                raise self.refusal(node, f"the name {name!r}, which is not set on every path")
            case ast.NamedExpr(target=ast.Name(id=name), value=assigned):
                path.names[name] = self.value(assigned, path)
                return path.names[name]
            case ast.Tuple(elts=elements):
                return Items(tuple(self.value(element, path) for element in elements))
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return boolean(self.condition(node, path))
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op]):
                is_none = self.at(node, path, _is_none, self.value(left, path))
                assert isinstance(is_none, Value)
                return is_none if isinstance(op, ast.Is) else boolean(negation(is_none.tree))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.conditional(self.condition(test, path), body, orelse, path)
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in self.body.functions:
                return self.call(name, [self.value(argument, path) for argument in arguments[:-1]], path)
            case ast.Call(func=ast.Name(id=name), args=arguments) if name.startswith(OP):
                return self.operation(node, name.removeprefix(OP), arguments[:-1], path)
        raise self.refusal(node, ast.unparse(node))

    def operation(self, node: ast.expr, name: str, arguments: Sequence[ast.expr], path: Path) -> Operand:
        """Returns the result of an operation."""
        path.decisions.uses_numpy |= name.startswith(("np_", "numpy_", "maybe_numpy_"))
        if name == "is_marked":
            return boolean(trees.FALSE)
        if name in ("range_bound", "range_step"):
            return self.value(arguments[0], path)
        operands = [self.value(argument, path) for argument in arguments]
        try:
            return path.apply(lowering(name), *operands)
        except Refused as refused:
            raise self.refusal(node, _with_operation(name, str(refused))) from None

    def condition(self, node: ast.expr, path: Path) -> Tree:
        """Returns an expression that is a boolean. ``and`` and ``or`` evaluate no more than Python does."""
        match node:
            case ast.BoolOp(op=op, values=values):
                is_and = isinstance(op, ast.And)
                result = self.condition(values[0], path)
                for later in values[1:]:
                    if result == trees.boolean(not is_and):
                        return result
                    with path.under(result, is_and) as side:
                        test = self.condition(later, side)
                    result = trees.both(result, test) if is_and else trees.either(result, test)
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return negation(self.condition(operand, path))
        value = self.value(node, path)
        if not isinstance(value, Value) or value.kind != "boolean":
            value = self.at(node, path, lowering("truth"), value)
        assert isinstance(value, Value)
        holds = path.truths.get(value.tree)
        return value.tree if holds is None else trees.boolean(holds)

    def conditional(self, test: Tree, body: ast.expr, orelse: ast.expr, path: Path) -> Operand:
        """Returns ``body if test else orelse``."""
        if test in (trees.TRUE, trees.FALSE):
            return self.value(body if test == trees.TRUE else orelse, path)
        with path.under(test, True) as one:
            then = self.value(body, one)
        with path.under(test, False) as other:
            otherwise = self.value(orelse, other)
        return _merged(test, one, then, other, otherwise)

    def call(self, name: str, arguments: Sequence[Operand], path: Path) -> Operand:
        """Returns the result of a call of another plain function."""
        parameters = [argument.arg for argument in self.body.functions[name][1].args.args[:-1]]
        inner = path.fork()
        inner.names = dict(zip(parameters, arguments, strict=True))
        flow = self.function(name, inner)
        for condition, error in flow.errors:
            path.check(condition, error)
        assert isinstance(flow.end, End)
        if flow.end.how == "raises":
            path.check(trees.TRUE, flow.end.error)
        return flow.end.value

    def at(self, node: ast.AST, path: Path, operation: Callable[..., Operand], *operands: Operand) -> Operand:
        """Returns ``operation`` of operands. A refusal gets the line of ``node``."""
        try:
            return path.apply(operation, *operands)
        except Refused as refused:
            raise self.refusal(node, str(refused)) from None

    def refusal(self, node: ast.AST, what: str) -> CannotCompile:
        """Returns the error of a construct that has no Spark expression."""
        return CannotCompile(f"{what} ({self.source.where(node)})")


def _folded(flow: Flow) -> Flow:
    """Returns the flow of a whole function with one end: a value, or an error."""
    if isinstance(flow.end, End):
        return flow
    sides = _folded(flow.end.then), _folded(flow.end.otherwise)
    return _after(flow.errors, combined(flow.end.condition, *sides))


def _is_none(_path: Path, a: Any) -> Operand:
    return boolean(trees.boolean(a == NONE))


def _with_operation(name: str, reason: str) -> str:
    """Returns a reason that names the operation."""
    written = as_written(name)
    return reason if written in reason or name in ("non_null", "item", "read_if_set") else f"{written}: {reason}"


def lower(body: SparkBody, declared: ColumnType, path: Path) -> tuple[list[Error], Tree]:
    """Returns the errors that a body raises, and its result where it raises none.

    ``path`` holds the values of its parameters. Raises :class:`CannotCompile` for what has no Spark expression.
    """
    flow = Lowering(body, declared).function(ENTRY, path)
    assert isinstance(flow.end, End)
    if flow.end.how == "raises":
        return [*flow.errors, (trees.TRUE, flow.end.error)], trees.NULL
    return flow.errors, _tree(flow.end.value)


def _tree(value: Operand) -> Tree:
    """Returns a result, which may be a choice of null and a value, as one expression."""
    if isinstance(value, Choice):
        return trees.choose(value.condition, _tree(value.then), _tree(value.otherwise))
    assert isinstance(value, Value)
    return value.tree
