"""PySpark's functions for the cases' paths."""

from __future__ import annotations

from typing import Any


def untyped_functions() -> Any:
    """Returns ``pyspark.sql.functions`` without its types: PySpark's stubs lack its newer functions."""
    from pyspark.sql import functions

    return functions
