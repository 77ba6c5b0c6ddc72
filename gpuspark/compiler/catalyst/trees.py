"""Spark expressions as trees of calls of Spark's functions, and their SQL text.

Spark knows operators as functions too, so ``a + b`` is a call of the function ``+``, and a tree needs no other form
than calls, literals and columns.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

_Result = TypeVar("_Result")
_PLAIN_TEXT = re.compile(r"[ !#%&(-\[\]-~]*")
"""Text that a SQL literal shows as it is, whatever the session's settings for escapes and substitution are."""


class Refused(Exception):
    """Raised for a construct that has no equal Spark expression, with the reason."""


MOST_NODES, MOST_DEEP = 2500, 150
"""The largest and the deepest tree that is built: Spark analyses and compiles every node, in all less than a second."""


@dataclass(frozen=True, eq=False)
class Tree:
    """A Spark expression: a call of the function ``name``, a literal with the SQL text ``name``, or the column of the
    parameter ``name``."""

    name: str
    arguments: tuple[Tree, ...] = ()
    form: Literal["call", "literal", "column"] = "call"
    size: int = field(init=False)
    """The number of nodes, each counted as often as it occurs."""
    depth: int = field(init=False)
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", 1 + sum(argument.size for argument in self.arguments))
        object.__setattr__(self, "depth", 1 + max((argument.depth for argument in self.arguments), default=0))
        object.__setattr__(self, "_hash", hash((self.name, self.form, self.arguments)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Tree) or self._hash != other._hash:
            return False
        return (self.name, self.form, self.arguments) == (other.name, other.form, other.arguments)

    def __str__(self) -> str:
        return self.text({name: name for name in self.columns()})

    __repr__ = __str__

    def text(self, names: Mapping[str, str]) -> str:
        """Returns the SQL text. ``names``: what stands for the columns of the parameters."""
        return fold(self, lambda name: names[name], lambda text: text, _written)

    def columns(self) -> set[str]:
        """Returns the parameters whose columns the tree reads."""
        waiting, seen, names = [self], {self}, set()
        while waiting:
            node = waiting.pop()
            if node.form == "column":
                names.add(node.name)
            new = [argument for argument in node.arguments if argument not in seen]
            seen.update(new)
            waiting += new
        return names


def fold(
    tree: Tree,
    of_column: Callable[[str], _Result],
    of_literal: Callable[[str], _Result],
    of_call: Callable[[str, list[_Result]], _Result],
) -> _Result:
    """Returns the tree turned into something else, from the leaves up. Equal subtrees are turned once."""
    done: dict[Tree, _Result] = {}

    def turn(node: Tree) -> _Result:
        if node not in done:
            if node.form == "call":
                done[node] = of_call(node.name, [turn(argument) for argument in node.arguments])
            else:
                done[node] = (of_column if node.form == "column" else of_literal)(node.name)
        return done[node]

    return turn(tree)


def null_with(tree: Tree) -> set[str]:
    """Returns parameters with whose columns the tree is null, as far as its calls are of arithmetic and mathematics."""
    if tree.form == "column":
        return {tree.name}
    parts = [null_with(argument) for argument in tree.arguments]
    if tree.name == "if":
        return parts[1] & parts[2]
    return set().union(*parts) if tree.name in _NULL_WITH_ANY else set()


MATHEMATICS = frozenset(
    "exp expm1 ln log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh cbrt atan2 hypot power".split()
)
"""Functions that take as long as many operators."""
_NULL_WITH_ANY = MATHEMATICS | frozenset(
    "+ - * try_add try_subtract try_multiply try_divide negative abs sqrt floor ceil rint double bigint".split()
)
"""Functions that are null where any argument is."""


def with_parts(tree: Tree, name_of: Callable[[int], str]) -> tuple[Tree, dict[str, Tree]]:
    """Returns the tree with columns for the larger calls that it has several times, and these calls by the columns'
    names, ``name_of(0)`` and so on. A call may itself have the columns of those inside it."""
    uses: Counter[Tree] = Counter()

    def count(node: Tree) -> None:
        uses[node] += 1
        if uses[node] == 1:
            for argument in node.arguments:
                count(argument)

    count(tree)
    parts: dict[str, Tree] = {}
    done: dict[Tree, Tree] = {}

    def shortened(node: Tree) -> Tree:
        if node not in done:
            short = Tree(node.name, tuple(map(shortened, node.arguments)), node.form)
            if uses[node] > 1 and short.size >= _LEAST_PART:
                name = name_of(len(parts))
                parts[name] = short
                short = column(name)
            done[node] = short
        return done[node]

    return shortened(tree), parts


_LEAST_PART = 4
"""The least number of nodes for which a call is worth a name of its own."""
_KEYWORDS = ("and", "or", "not", "in", "when")
"""Names of functions that SQL reads as something else, unless they are quoted."""


def _written(name: str, arguments: list[str]) -> str:
    """Returns the SQL text of a call. Spark parses names without quotes faster."""
    quoted = name if name.isidentifier() and name not in _KEYWORDS else f"`{name}`"
    return f"{quoted}({', '.join(arguments)})"


def call(name: str, *arguments: Tree) -> Tree:
    """Returns a call of Spark's function ``name``. Raises :class:`Refused` if the tree is too large or too deep."""
    tree = Tree(name, arguments)
    if tree.size > MOST_NODES:
        raise Refused(f"an expression of more than {MOST_NODES:,} nodes, with names and calls written out")
    if tree.depth > MOST_DEEP:
        raise Refused(f"an expression of more than {MOST_DEEP} calls inside each other")
    return tree


def column(parameter: str) -> Tree:
    """Returns the column that is given for a parameter."""
    return Tree(parameter, form="column")


def real(value: float) -> Tree:
    """Returns a literal of Spark's type ``double``."""
    if math.isnan(value):
        return Tree("double('NaN')", form="literal")
    if math.isinf(value):
        return Tree(f"double('{'-' if value < 0 else ''}Infinity')", form="literal")
    return Tree(f"{float(value)!r}D", form="literal")


def whole(value: int) -> Tree:
    """Returns a literal of Spark's type ``bigint``."""
    return Tree(f"{int(value)}L", form="literal")


def text(value: str) -> Tree:
    """Returns a literal of Spark's type ``string``."""
    if _PLAIN_TEXT.fullmatch(value):
        return Tree(f"'{value}'", form="literal")
    return Tree(f"decode(X'{value.encode().hex()}', 'UTF-8')", form="literal")


TRUE, FALSE, NULL = (Tree(name, form="literal") for name in ("true", "false", "null"))


def boolean(value: bool) -> Tree:
    """Returns a literal of Spark's type ``boolean``."""
    return TRUE if value else FALSE


def negation(condition: Tree) -> Tree:
    """Returns ``not condition``."""
    if condition in (TRUE, FALSE):
        return boolean(condition == FALSE)
    return condition.arguments[0] if condition.name == "not" else call("not", condition)


def differ(first: Tree, second: Tree) -> Tree:
    """Returns whether two values differ. To Spark ``!=`` is no function."""
    return negation(call("=", first, second))


def both(first: Tree, second: Tree) -> Tree:
    """Returns ``first and second``. Spark evaluates ``second`` only where ``first`` is not false."""
    if FALSE in (first, second):
        return FALSE
    if first in (TRUE, second):
        return second
    return first if second == TRUE else call("and", first, second)


def either(first: Tree, second: Tree) -> Tree:
    """Returns ``first or second``. Spark evaluates ``second`` only where ``first`` is not true."""
    if TRUE in (first, second):
        return TRUE
    if first in (FALSE, second):
        return second
    return first if second == FALSE else call("or", first, second)


def choose(condition: Tree, then: Tree, otherwise: Tree) -> Tree:
    """Returns ``then`` where ``condition`` is true, else ``otherwise``."""
    if then == otherwise or condition == TRUE:
        return then
    if condition == FALSE:
        return otherwise
    if then == TRUE:
        return either(condition, otherwise)
    if then == FALSE:
        return both(negation(condition), otherwise)
    if otherwise == FALSE:
        return both(condition, then)
    if otherwise == TRUE:
        return either(negation(condition), then)
    return _clamped(condition, then, otherwise) or call("if", condition, then, otherwise)


def _clamped(condition: Tree, then: Tree, otherwise: Tree) -> Tree | None:
    """Returns ``limit if x < limit else x``, and the same of ``x > limit``, with one copy of ``x``: the condition must
    read so, where ``then`` is a literal and ``x`` is ``otherwise``; else ``None``. Spark's functions keep the first of
    equal numbers, and take NaN for the greatest."""
    limit, x = then, otherwise
    if limit.form != "literal" or not limit.name.endswith(("D", "L")) or x.form == "literal":
        return None
    if condition in (Tree("<", (x, limit)), Tree(">", (limit, x))):
        return call("greatest", x, limit)
    if condition in (Tree(">", (x, limit)), Tree("<", (limit, x))):
        return call("least", x, limit)
    numbers = negation(call("isnan", x))
    if condition in (both(Tree(">", (x, limit)), numbers), both(Tree("<", (limit, x)), numbers)):
        opposite = -float(limit.name.removesuffix("D"))
        if opposite != 0.0:  # there is no literal -0.0
            return call("negative", call("greatest", call("negative", x), real(opposite)))
    return None
