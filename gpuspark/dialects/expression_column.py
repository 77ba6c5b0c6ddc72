"""Device ``sql``: a scalar function as a Spark expression, with no Python worker.

The types of columns are not known when a Spark column is built. So it holds the expression for each combination of
types that has one, and our UDF for all others; Spark's optimizer drops what the types rule out, and with the UDF its
worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpuspark.compiler.catalyst import Expression, trees
from gpuspark.compiler.catalyst.trees import Tree, column, fold, with_parts
from gpuspark.config import Config
from gpuspark.spark.expressions import column_of_text, displayed, is_surely_deterministic
from gpuspark.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

_UDF = "our own UDF"
"""The name of the UDF's column in a tree: no parameter has it."""
_LABEL = "_gpuspark_label"
"""The attribute of our columns that holds their names, for the names of columns that they are arguments of."""
_PLACEHOLDER = "_gpuspark_argument_{}"
_PART = "_gpuspark_part_{}"
_PLAIN_NAME = re.compile(r"(?!_gpuspark_)[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
"""Names of columns, and of fields in them, that may be part of a text without quotes of their own."""
_MOST_BYTES = 8_000
"""The bytes of a Java method from which on HotSpot interprets it (its option ``HugeMethodLimit``): a Spark expression
whose method is longer takes ten times as long. The columns of one ``select`` share a method."""
_MOST_KEPT = 256
"""How many trees' sizes and texts are kept, for functions that are called again."""
_BYTES_OF_DIFFERENT_NODE = 45
_BYTES_OF_METHOD, _BYTES_OF_MATHEMATICS, _BYTES_OF_CALL = 250, 75, 28
"""Bounds of the Java code that Spark 4.3 makes (tests/test_expression_size.py): of a node that differs from all others,
as Spark computes equal ones once, except in branches; and, wherever it stands, of a call. The second bound counts no
columns, literals, conditions and comparisons, whose share is in the others'."""
_CONDITIONS = frozenset(
    ("and", "or", "not", "if", "when", "in", "isnull", "isnotnull", "=", "<=>", "<", "<=", ">", ">=")
)


def why_not_chosen(config: Config, expression: Expression, types: Mapping[str, str] | None = None) -> list[str]:
    """Returns why a function does not run as a Spark expression; an empty list if it does. ``types``: Spark's names of
    the columns' types, if they are known."""
    if config.arithmetic == "native":
        return ["spark.gpuspark.arithmetic=native, and expressions compute as Python does"]
    if types is not None:
        refusals = expression.refusals_for(types)
    else:
        refusals = [] if expression.variants else list(expression.refusals)
    if not refusals and config.device == "auto" and most_bytes(expression) > _MOST_BYTES:
        return [f"its Java method may exceed {_MOST_BYTES:,} bytes, which Java interprets: compiled it is faster"]
    return refusals


def most_bytes(expression: Expression) -> int:
    """Returns a bound of the bytes of Java code that Spark makes of the largest variant of ``expression``."""
    return max((_most_bytes(variant.with_texts) for variant in expression.variants), default=0)


@lru_cache(_MOST_KEPT)
def _most_bytes(tree: Tree) -> int:
    different: set[Tree] = set()
    bytes_of_calls = 0

    def visit(node: Tree) -> None:
        nonlocal bytes_of_calls
        different.add(node)
        if node.name in trees.MATHEMATICS:
            bytes_of_calls += _BYTES_OF_MATHEMATICS
        elif node.form == "call" and node.name not in _CONDITIONS:
            bytes_of_calls += _BYTES_OF_CALL
        for argument in node.arguments:
            visit(argument)

    visit(tree)
    return _BYTES_OF_METHOD + min(_BYTES_OF_DIFFERENT_NODE * len(different), bytes_of_calls)


def label_of(name: str, arguments: Mapping[str, Column | str], by_name: Collection[str]) -> str:
    """Returns what Spark calls a column of the function ``name``. ``by_name``: the arguments that are given by name."""
    labels = []
    for parameter, value in arguments.items():
        label = value if isinstance(value, str) else vars(value).get(_LABEL) or displayed(value)
        labels.append(f"{parameter} => {label}" if parameter in by_name else label)
    return f"{name}({', '.join(labels)})"


def labelled(column: Column, label: str) -> Column:
    """Returns ``column``, one of ours that has one value for each row, with its label, for columns that read it."""
    vars(column)[_LABEL] = label
    return column


def may_be_repeated(value: Column | str) -> bool:
    """Returns whether an argument, a column or its name, has the same value wherever an expression reads it."""
    return isinstance(value, str) or _LABEL in vars(value) or is_surely_deterministic(displayed(value))


def expression_column(
    expression: Expression,
    name: str,
    arguments: Mapping[str, Column | str],
    udf: Column,
    spark: SparkSession | None,
    verified: Callable[[Column], Column] | None,
) -> Column:
    """Returns a column of the function ``name``: its expression where the types of ``arguments``, columns or their
    names, have one, and ``udf`` elsewhere. ``verified`` makes a column that compares the expression with Python."""
    columns = {**arguments, _UDF: udf}
    if verified is None:
        return column_of(expression.tree(column(_UDF), name), columns, spark)
    from pyspark.sql import functions

    native = verified(column_of(expression.tree(trees.NULL, name), arguments, spark))
    return functions.when(column_of(expression.condition, arguments, spark), native).otherwise(udf)


def column_of(tree: Tree, columns: Mapping[str, Column | str], spark: SparkSession | None) -> Column:
    """Returns a tree as a Spark column. ``columns``: what is given for its parameters, columns or their names."""
    return _by_calls(tree, columns) if is_connect() else _by_text(tree, columns, spark)


def _by_calls(tree: Tree, columns: Mapping[str, Column | str]) -> Column:
    """Returns a tree as a column of Spark Connect, which builds calls without asking the server."""
    from pyspark.sql import functions

    def of_column(parameter: str) -> Column:
        value = columns[parameter]
        return functions.col(value) if isinstance(value, str) else value

    return fold(
        tree,
        of_column,
        lambda text: functions.expr(text),
        lambda name, parts: functions.call_function(f"`{name}`", *parts),
    )


def _by_text(tree: Tree, columns: Mapping[str, Column | str], spark: Any) -> Column:
    """Returns a tree as a column of classic Spark, which parses its text. The names of columns are part of the text."""
    from pyspark.sql import functions

    names: dict[str, str] = {}
    arguments: dict[str, Column] = {}
    for position, (parameter, value) in enumerate(columns.items()):
        if isinstance(value, str) and _PLAIN_NAME.fullmatch(value):
            names[parameter] = ".".join(f"`{part}`" for part in value.split("."))
            continue
        names[parameter] = _PLACEHOLDER.format(position)
        arguments[names[parameter]] = functions.col(value) if isinstance(value, str) else value
    return column_of_text(*_texts(tree, tuple(names.items())), arguments, spark)


@lru_cache(_MOST_KEPT)
def _texts(tree: Tree, columns: tuple[tuple[str, str], ...]) -> tuple[str, Mapping[str, str]]:
    """Returns the text of a tree, and the texts of its parts by the names that stand for them. ``columns``: what stands
    for the columns of the parameters."""
    whole, parts = with_parts(tree, _PART.format)
    names = {**dict(columns), **{name: name for name in parts}}
    return whole.text(names), {name: part.text(names) for name, part in parts.items()}
