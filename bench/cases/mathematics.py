"""Functions with more and more calls of mathematics: from how many on a compiled program is faster than a Spark
expression, whose functions are Java's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpuspark.bench.cases import EXPRESSION, Case, as_expression
from gpuspark.bench.cases.scalar import column_hook, option_rows, sql

CALLS = (4, 8, 16, 32, 64)
"""The numbers of calls."""


def with_calls(calls: int) -> Callable[..., Any]:
    """Returns a function of ``s``, ``k`` and ``t`` with so many calls: half of ``exp``, half of ``log``."""
    turns = calls // 2

    def mathematics(s, k, t):
        total = k
        for n in range(turns):
            total = total + math.exp(-t * n) * math.log(s + n + 1.0)
        return total

    return mathematics


def as_sql(calls: int) -> str:
    """Returns the same formula in SQL."""
    return " + ".join(["k", *(f"exp(-t * {n}) * ln(s + {n} + 1.0D)" for n in range(calls // 2))])


def case(calls: int) -> Case:
    gpuspark = column_hook(with_calls(calls))
    return Case(
        name=f"mathematics_{calls}",
        data=option_rows,
        elements=1_000_000,
        unit=f"rows of three doubles, {calls} calls of exp and log",
        paths={"gpuspark": gpuspark, EXPRESSION: as_expression(gpuspark), "Spark SQL": sql(as_sql(calls))},
        oracle="Spark SQL",
        bytes_in=24,
        bytes_out=8,
        operations=20 * calls,
        along=("calls of mathematics", calls),
    )


CASES = [case(calls) for calls in CALLS]
