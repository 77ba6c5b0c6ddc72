"""The expressions of one function, for each combination of column types that its body tells apart.

The types of columns are not known when a Spark column is built. So a body is lowered for columns that may hold any
number; where an operation must know which numbers they are, it is lowered once for each.
"""

from __future__ import annotations

import datetime
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gpuspark.columns.types import ColumnType
from gpuspark.compiler.catalyst import operations, trees  # noqa: F401  (importing the operations registers them)
from gpuspark.compiler.catalyst.lowering import lower
from gpuspark.compiler.catalyst.paths import (
    SPARK_TYPES,
    ColumnKind,
    Decisions,
    Error,
    Path,
    Undecided,
    error_text,
    have_types,
    parameter_value,
)
from gpuspark.compiler.catalyst.trees import Refused, Tree, both, call, choose, either, negation
from gpuspark.compiler.source import CannotCompile
from gpuspark.compiler.spark_body import SparkBody, rewrite_for_spark

_MOST_RUNS = 16
"""How often a body is run, for columns of different types."""
_MOST_NODES_OF_ALL = 3000
"""The most nodes of all variants together."""
_MOST_DECISIONS = 3
"""The number of parameters, whose numbers the body must know, up to which each is varied by itself."""
_OF_NUMBERS = ("number", "narrow", "float", "integer", "bigint")
_HINTS: dict[Any, ColumnKind] = {
    float: "number", int: "number", bool: "number", str: "string",
    "float": "number", "int": "number", "bool": "number", "str": "string",
}  # fmt: skip
"""What a type hint says of a column."""


@dataclass(frozen=True)
class Variant:
    """The expression for columns of some types."""

    kinds: Mapping[str, ColumnKind]
    """What the columns hold; a parameter that is missing may have any type."""
    errors: tuple[Error, ...]
    """The conditions at which Python raises, in their order, each with the text of the error."""
    result: Tree
    """The result where no error is raised."""
    null: Tree
    """Where the result is null because a column is."""
    declared: ColumnType
    """The type of the result."""

    def takes(self, names: Mapping[str, str]) -> bool:
        """Returns whether the variant is for columns of these Spark types, by parameter."""
        return all(names.get(parameter) in SPARK_TYPES[kind] for parameter, kind in self.kinds.items())

    def tree(self, raised: Callable[[Tree], Tree]) -> Tree:
        """Returns the expression. ``raised`` makes an expression of an error's text.

        Spark computes once what an expression has several times, except in the branches of ``if``. So a number is no
        branch, but multiplied with one, which comes first: it is 1, or null, or raises.
        """
        if self.declared.kind not in ("float", "integer") or self.result == trees.NULL:
            return choose(self.null, trees.NULL, self.checked(trees.FALSE, self.result, raised))
        if not self.errors and trees.null_with(self.result) >= self.null.columns():
            return self.result
        narrow = self.declared.name if self.declared.bits < 64 else ""
        wide = self.result.arguments[0] if narrow and self.result.name == narrow else self.result
        one = trees.real(1.0) if self.declared.kind == "float" else trees.whole(1)
        factor = self.checked(self.null, choose(self.null, trees.NULL, one), raised)
        return call(narrow, call("*", factor, wide)) if narrow else call("*", factor, wide)

    def checked(self, null: Tree, otherwise: Tree, raised: Callable[[Tree], Tree]) -> Tree:
        """Returns ``otherwise``, or an error where one is raised, which is never where ``null`` holds. ``raised`` makes
        an expression of an error's text."""
        if not self.errors:
            return otherwise
        invalid = trees.FALSE
        for condition, _ in self.errors:
            invalid = either(invalid, condition)
        *cases, (_, last) = self.errors
        while cases and cases[-1][1] == last:
            cases.pop()
        error = raised(last)
        if cases:
            error = call("when", *(part for condition, text in cases for part in (condition, raised(text))), error)
        return choose(both(negation(null), invalid), error, otherwise)

    @cached_property
    def with_texts(self) -> Tree:
        """The expression, with the errors' texts in place of the errors. Reading it raises :class:`Refused` if the
        expression is too large."""
        return self.tree(lambda error: error)

    @property
    def size(self) -> int:
        """The number of nodes."""
        return self.with_texts.size

    @property
    def condition(self) -> Tree:
        """The condition that the columns' types must meet."""
        return have_types({parameter: SPARK_TYPES[kind] for parameter, kind in self.kinds.items()})


@dataclass(frozen=True)
class Expression:
    """A function as Spark expressions."""

    variants: tuple[Variant, ...]
    refusals: tuple[str, ...]
    """Why the body has no expression at all, or none for columns of some types."""

    @cached_property
    def _trees(self) -> dict[tuple[Tree, str], Tree]:
        return {}

    @cached_property
    def condition(self) -> Tree:
        """The condition that the columns' types must meet for some variant."""
        condition = trees.FALSE
        for variant in self.variants:
            condition = either(condition, variant.condition)
        return condition

    def refusals_for(self, types: Mapping[str, str]) -> list[str]:
        """Returns why columns of these Spark types, by parameter, have no expression; an empty list if they have."""
        if any(variant.takes(types) for variant in self.variants):
            return []
        if self.refusals:
            return list(self.refusals)
        names = ", ".join(f"{parameter} {name}" for parameter, name in types.items())
        return [f"the expression is not for columns of these types ({names})"]

    def tree(self, fallback: Tree, function: str) -> Tree:
        """Returns the expression for columns of any type: ``fallback`` where no variant is for them."""
        if (fallback, function) not in self._trees:
            self._trees[fallback, function] = self._tree(fallback, function)
        return self._trees[fallback, function]

    def _tree(self, fallback: Tree, function: str) -> Tree:
        cases: dict[Tree, Tree] = {}
        for variant in self.variants:
            whole = variant.tree(lambda error: _raise(error, function))
            cases[whole] = either(cases.get(whole, trees.FALSE), variant.condition)
        if len(cases) == 1:
            [(whole, condition)] = cases.items()
        else:
            whole = call("when", *(part for tree, condition in cases.items() for part in (condition, tree)))
            condition = self.condition
        return call("when", condition, whole, fallback)


def _raise(error: Tree, function: str) -> Tree:
    where = f" (gpuspark ran {function} as a Spark expression)"
    if error.form == "literal" and error.name.startswith("'"):
        return call("raise_error", trees.text(error.name[1:-1] + where))
    return call("raise_error", call("concat", error, trees.text(where)))


def expression_of(
    function: Callable[..., Any],
    columns: Sequence[str],
    *,
    nullable: bool,
    result: ColumnType,
    hints: Mapping[str, Any],
) -> Expression:
    """Returns a function as Spark expressions of columns for these parameters.

    ``nullable``: the body sees nulls, as ``None``; otherwise a null in any column makes the result null. ``hints``: the
    type hints of the parameters, which tell numbers from strings where the body does not.
    """
    try:
        body = rewrite_for_spark(function, columns, nullable=nullable)
    except CannotCompile as refusal:
        return Expression((), tuple(str(refusal).splitlines()))
    return _Search(body, tuple(columns), nullable, result, hints).expression()


def _alternatives(
    fixed: Mapping[str, ColumnKind], split: Mapping[str, tuple[ColumnKind, ...]]
) -> Iterator[dict[str, ColumnKind]]:
    """Yields what else the parameters may hold that a run has decided on, after those that were fixed for it."""
    before = dict(fixed)
    many = len(fixed) + len(split) > _MOST_DECISIONS
    for position, (name, (kind, *others)) in enumerate(split.items()):
        if many and (fixed or position):
            return
        yield from ({**before, name: other} for other in others)
        before[name] = kind


def _outside_of_calendar(decisions: Decisions) -> Iterator[Error]:
    """Yields the error of each date that Python's calendar lacks: Spark's has more years."""
    for name, kind in decisions.kinds.items():
        if kind == "date":
            first, last = (Tree(f"date'{day}'", form="literal") for day in ("0001-01-01", "9999-12-31"))
            date = trees.column(name)
            outside = either(call("<", date, first), call(">", date, last))
            yield outside, error_text(lambda: datetime.date.max + datetime.timedelta(1))


class _Search:
    """The search for the variants of one body."""

    def __init__(
        self, body: SparkBody, columns: tuple[str, ...], nullable: bool, result: ColumnType, hints: Mapping[str, Any]
    ) -> None:
        self.body, self.columns, self.nullable, self.result = body, columns, nullable, result
        self.hints = {name: _HINTS[hint] for name, hint in hints.items() if hint in _HINTS and name in columns}
        self.refusals: dict[str, None] = {}

    def expression(self) -> Expression:
        """Returns all variants."""
        variants = self._of_numbers()
        refusals = tuple(self.refusals)  # what the body would do with strings or dates is no news
        if not variants and any(name not in self.hints for name in self.columns):
            variants = self._of_others("string") or self._of_others("date")
        return Expression(tuple(variants), refusals)

    def _of_others(self, default: ColumnKind) -> list[Variant]:
        """Returns the variant for columns that are strings, or dates, unless the body needs numbers."""
        try:
            variant = self._variant(Decisions(dict(self.hints), default))
        except Undecided:
            return []
        return [variant] if variant else []

    def _of_numbers(self) -> list[Variant]:
        """Returns the variants for columns of numbers.

        Each run of the body decides which numbers some parameters hold, where it must know; the other possibilities of
        each decision are then tried in turn. A parameter is first taken for what the one before it was.
        """
        variants: list[Variant] = []
        waiting: deque[dict[str, ColumnKind]] = deque([{}])
        for _ in range(_MOST_RUNS):
            if not waiting:
                break
            fixed = waiting.popleft()
            decisions = Decisions({**self.hints, **fixed}, usual=next(reversed(fixed.values()), None))
            try:
                variant = self._variant(decisions)
            except Undecided as undecided:
                waiting.extend({**fixed, undecided.parameter: option} for option in undecided.options)
                continue
            if variant is not None:
                variants.append(variant)
            waiting.extend(_alternatives(fixed, decisions.split))
        return self._within_limit(variants)

    def _within_limit(self, variants: list[Variant]) -> list[Variant]:
        """Returns the variants without the largest ones, so that all are not too many nodes together: Spark analyses
        them before it drops those for other types."""
        by_size = sorted(variants, key=lambda variant: variant.size)
        totals = itertools.accumulate(variant.size for variant in by_size)
        kept = [variant for variant, total in zip(by_size, totals, strict=True) if total <= _MOST_NODES_OF_ALL]
        if len(kept) < len(variants):
            self.refusals[f"expressions of more than {_MOST_NODES_OF_ALL:,} nodes for columns of all types"] = None
        return kept

    def _variant(self, decisions: Decisions) -> Variant | None:
        """Returns the variant for columns of these kinds, ``None`` if the body is refused. Raises
        :class:`~gpuspark.compiler.catalyst.paths.Undecided` if it must know more of them."""
        path = Path(decisions)
        for name in self.columns:
            path.names[name] = parameter_value(name, decisions.kinds.get(name), self.nullable)
        try:
            errors, result = lower(self.body, self.result, path)
            errors = [*_outside_of_calendar(decisions), *errors]
            kinds = self._read(decisions, errors, result)
            variant = Variant(kinds, tuple(errors), result, self._null(), self.result)
            _ = variant.size  # too large a tree is refused
        except (CannotCompile, Refused) as refusal:
            self.refusals.update(dict.fromkeys(str(refusal).splitlines()))
            return None
        except RecursionError:
            self.refusals["an expression is nested too deeply"] = None
            return None
        return variant if self._is_analysed(variant, decisions) else None

    def _read(self, decisions: Decisions, errors: list[Error], result: Tree) -> dict[str, ColumnKind]:
        """Returns the kinds of the columns that the expression reads, or that decided how it came out."""
        read = {name for tree in (result, *itertools.chain(*errors)) for name in tree.columns()}
        kinds = {name: decisions.kinds[name] for name in self.columns if name in decisions.kinds}
        return {name: kind for name, kind in kinds.items() if name in read or kind not in ("number", "narrow")}

    def _null(self) -> Tree:
        null = trees.FALSE
        for name in () if self.nullable else self.columns:
            null = either(null, call("isnull", trees.column(name)))
        return null

    def _is_analysed(self, variant: Variant, decisions: Decisions) -> bool:
        """Returns whether Spark can analyse the expression for every call that Python can run: it casts columns to
        numbers, which Spark refuses for dates and lists."""
        unsure = [
            name
            for name, kind in variant.kinds.items()
            if kind in _OF_NUMBERS and name not in decisions.numbers() and name not in self.hints
        ]
        for name in unsure:
            hint = f"give it a type hint ({name}: float)"
            self.refusals[f"nothing in the body shows that {name} is a number and no date or list: {hint}"] = None
        return not unsure
