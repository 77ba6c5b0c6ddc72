"""The functions that were built as Spark expressions in a session. No worker runs them, so no rows are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_built: WeakKeyDictionary[SparkSession, dict[str, None]] = WeakKeyDictionary()


def note_expression(spark: SparkSession, function: str) -> None:
    """Notes that a column of ``function`` was built as a Spark expression."""
    _built.setdefault(spark, {})[function] = None


def expressions_of(spark: SparkSession) -> tuple[str, ...]:
    """Returns the functions that were noted, in the order in which they were first built."""
    return tuple(_built.get(spark, ()))


def forget_expressions(spark: SparkSession) -> None:
    """Forgets the functions of a session."""
    _built.pop(spark, None)
