"""What plain PySpark answers, beside gpuspark's answer: rows, or an error."""

from __future__ import annotations

from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

Answer = tuple[Any, ...] | str


def told(frame: DataFrame) -> Answer:
    """The types and rows of ``frame``; or the class and the text of the error that ends it, if one does."""
    try:
        return frame.schema.simpleString(), *map(repr, frame.collect())
    except PySparkException as error:
        lines = [line for line in str(error).splitlines() if "Error" in line and not line.startswith(" ")]
        return (lines or [type(error).__name__])[-1].removeprefix("pyspark.errors.exceptions.base.")
