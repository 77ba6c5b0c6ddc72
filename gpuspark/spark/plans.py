"""Spark's physical plan of a frame, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuspark.spark.session import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def physical_plan(df: DataFrame) -> str:
    """Returns the plan that ``df.explain()`` prints. Spark plans the query for it, and executes nothing."""
    frame: Any = df
    if is_connect():
        return str(frame._explain_string())  # noqa: SLF001  # explain() itself prints to sys.stdout, which threads share
    return str(frame._jdf.queryExecution().executedPlan().toString())  # noqa: SLF001
