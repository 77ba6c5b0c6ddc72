"""Puts Spark columns into an expression that is given as SQL text.

Spark's own ways need a call of the JVM for each node of an expression; the text is parsed in one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession


class _Parser:
    """What building needs of the JVM, looked up once for a session: each name in a path of packages costs a call."""

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark._jvm  # noqa: SLF001  (PySpark has no public way to put columns into a parsed expression)
        self._parser: Any = spark._jsparkSession.sessionState().sqlParser()  # noqa: SLF001
        self._new_map = jvm.java.util.HashMap
        self._to_scala = jvm.org.apache.spark.api.python.PythonUtils.toScalaMap
        self.columns: Any = jvm.org.apache.spark.sql.classic.ExpressionUtils
        """Spark's conversions between columns and expressions."""
        self.parsed: Callable[[str], Any] = lru_cache(_MOST_KEPT)(self._parser.parseExpression)
        self.whole: Callable[[str, tuple[tuple[str, str], ...]], Any] = lru_cache(_MOST_KEPT)(self._whole)

    def replaced(self, expression: Any, by_name: Mapping[str, Any]) -> Any:
        """Returns an expression with others in place of the names that stand for them."""
        replacements = self._new_map()
        for name, replacement in by_name.items():
            replacements.put(self.parsed(name), replacement)
        # A Scala map is also a function, such as transformDown takes.
        return expression.transformDown(self._to_scala(replacements))

    def _whole(self, text: str, parts: tuple[tuple[str, str], ...]) -> Any:
        """Returns the expression of a text, with its parts in it. All are parsed together: parsing is slow to begin."""
        if not parts:
            return self._parser.parseExpression(text)
        texts = [text, *(part for _, part in parts)]
        parsed = self._parser.parseExpression(f"array({', '.join(texts)})").children()
        return self.replaced(parsed.head(), {name: parsed.apply(n + 1) for n, (name, _) in enumerate(parts)})


_MOST_KEPT = 256
"""How many parsed expressions a session keeps."""
_parsers: WeakKeyDictionary[SparkSession, _Parser] = WeakKeyDictionary()


def column_of_text(text: str, parts: Mapping[str, str], arguments: Mapping[str, Column], spark: SparkSession) -> Column:
    """Returns the SQL expression ``text`` as a column of classic Spark. The keys of ``parts`` are names in it, and in
    each other, that stand for these SQL expressions; the keys of ``arguments`` are names that stand for columns."""
    from pyspark.sql.classic.column import Column as ClassicColumn

    if spark not in _parsers:
        _parsers[spark] = _Parser(spark)
    parser = _parsers[spark]
    whole = parser.whole(text, tuple(parts.items()))
    columns = {name: parser.columns.expression(column._jc) for name, column in arguments.items()}  # noqa: SLF001
    return ClassicColumn(parser.columns.column(parser.replaced(whole, columns)))


_CALL = re.compile(r"([^\s(),]+)\(")
_RANDOM = frozenset(
    "rand randn random randstr uniform uuid shuffle monotonically_increasing_id input_file_name java_method reflect "
    "try_reflect udf pandas_udf arrow_udf call_function call_udf expr".split()
)
"""Functions of PySpark whose results differ from call to call, or may."""


def is_surely_deterministic(text: str) -> bool:
    """Returns whether a column has one value for each row, however often it is computed: whether all functions that its
    ``text`` shows are Spark's own, and not random. Of UDFs it is not known."""
    from pyspark.sql import functions

    names = [name.lower() for name in _CALL.findall(text)]
    return all(_OPERATOR_NAME.fullmatch(name) or (hasattr(functions, name) and name not in _RANDOM) for name in names)


_OPERATOR_NAME = re.compile(r"[-+*/%&|^<>=!~]+|and|or|not|in|between|case|when|if|cast")
_OPERATOR = re.compile(r"(?P<operator>[-+*/%&|^<>=!]+|and|or)\((?P<operands>.*)\)", re.DOTALL)


def displayed(column: Column) -> str:
    """Returns what Spark calls a column that has no name of its own, such as ``(a + 1)``. Spark prints operators as
    functions, and functions by the names that the user gave them, before it has analysed the column."""
    return _with_operators(str(column).removeprefix("Column<'").removesuffix("'>"))


def _with_operators(text: str) -> str:
    """Returns ``+(a, 1)`` as ``(a + 1)``, and any other text unchanged."""
    match = _OPERATOR.fullmatch(text)
    operands = _split(match["operands"]) if match else []
    if match is None or len(operands) != 2:
        return text
    left, right = map(_with_operators, operands)
    return f"({left} {match['operator'].upper()} {right})"


def _split(text: str) -> list[str]:
    """Returns the arguments in a text that separates them with commas."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 2
    return [*parts, text[start:]]
