"""Spark's experiment that turns plain UDFs into expressions: why gpuspark registers no transpiler of its own with it.

If one of these tests fails, Spark has changed, and docs/expressions.md gives reasons that no longer hold.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from pyspark.sql import functions as F
from pyspark.sql.transpile import AbstractTranspiler
from pyspark.sql.types import DataType

RATE = 2.5


def times_rate(x):
    return x * RATE


class Recorder(AbstractTranspiler):
    """A transpiler that notes what it is given, and declines."""

    variety = "recorder"
    asked: ClassVar[list[tuple[Any, ...]]] = []

    def _transpile_from_ast(self, *arguments: Any, **named: Any) -> None:
        self.asked.append((*arguments, *named.values()))


@pytest.fixture
def recorder(spark) -> Iterator[type[Recorder]]:
    spark.conf.set("spark.sql.ansi.enabled", "true")
    spark.conf.set("spark.sql.experimental.optimizer.transpilePyUDFs", "true")
    spark.conf.set("spark.sql.experimental.optimizer.pyTranspilers", Recorder.variety)
    Recorder.register()
    Recorder.asked.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Spark's, that it could not transpile
        yield Recorder
    del AbstractTranspiler.varieties[Recorder.variety]


def test_spark_asks_no_transpiler_about_a_udf_that_uses_arrow_as_all_do_by_default(spark, recorder) -> None:
    assert spark.conf.get("spark.sql.execution.pythonUDF.arrow.enabled") == "true"
    F.udf(times_rate, "double")
    assert recorder.asked == []


def test_spark_gives_a_transpiler_the_syntax_tree_and_not_the_function(recorder) -> None:
    """So it cannot tell what RATE is."""
    F.udf(times_rate, "double", useArrow=False)
    assert recorder.asked
    for given in recorder.asked:
        assert not any(callable(one) for one in given)
        assert all(one is None or isinstance(one, str | ast.AST | list | dict | DataType) for one in given)
