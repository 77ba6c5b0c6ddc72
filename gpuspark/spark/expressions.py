"""Puts Spark columns into an expression that is given as SQL text.

Spark's own ways need a call of the JVM for each node of an expression; the text is parsed in one call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession


@dataclass(frozen=True)
class _Classes:
    """What building needs of the JVM, looked up once: each name in a path of packages costs a call."""

    columns: Any
    """Spark's conversions between columns and expressions."""
    new_map: Any
    to_scala: Any
    parser: Any
    placeholders: dict[str, Any]
    """The parsed names that stand for argument columns."""

    def parsed(self, name: str) -> Any:
        """Returns the expression of a name that stands for an argument."""
        if name not in self.placeholders:
            self.placeholders[name] = self.parser.parseExpression(name)
        return self.placeholders[name]


_classes: WeakKeyDictionary[SparkSession, _Classes] = WeakKeyDictionary()


def _classes_of(spark: SparkSession) -> _Classes:
    if spark not in _classes:
        jvm: Any = spark._jvm  # noqa: SLF001  (PySpark has no public way to put columns into a parsed expression)
        parser: Any = spark._jsparkSession.sessionState().sqlParser()  # noqa: SLF001
        utils: Any = jvm.org.apache.spark.sql.classic.ExpressionUtils
        to_scala = jvm.org.apache.spark.api.python.PythonUtils.toScalaMap
        _classes[spark] = _Classes(utils, jvm.java.util.HashMap, to_scala, parser, {})
    return _classes[spark]


def column_of_text(text: str, arguments: Mapping[str, Column], spark: SparkSession) -> Column:
    """Returns the SQL expression ``text`` as a column of classic Spark. The keys of ``arguments`` are names in it that
    stand for these columns."""
    from pyspark.sql.classic.column import Column as ClassicColumn

    classes = _classes_of(spark)
    replaced = classes.new_map()
    for name, argument in arguments.items():
        replaced.put(classes.parsed(name), classes.columns.expression(argument._jc))  # noqa: SLF001
    by_name = classes.to_scala(replaced)  # a Scala map is also a function, such as transformDown takes
    return ClassicColumn(classes.columns.column(classes.parser.parseExpression(text).transformDown(by_name)))


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
