"""The table of docs/expressions.md: what the lowering says of each construct."""

from __future__ import annotations

import re

import numpy as np

from gpuspark.columns import types
from gpuspark.compiler.catalyst import expression_of
from gpuspark.compiler.catalyst.operations.registry import lowered_operations
from tests.support.pages import DOCS, section, table

LEVELS = (1.0, 2.5, 4.0)
CONSTRUCTS = (
    ("`a + b`, `a - b`, `a * b`", lambda a, b: (a + b - a) * b, "double double", "double"),
    ("the same", lambda a, b: (a + b - a) * b, "int int", "bigint"),
    ("the same", lambda a, b: a + b, "bigint bigint", "bigint"),
    ("`a * b`", lambda a, b: a * b, "bigint double", "double"),
    ("`a / b`", lambda a, b: a / b, "int int", "double"),
    ("`a // b`, `a % b`", lambda a, b: a // b + a % b, "int int", "bigint"),
    ("the same", lambda a, b: a // b + a % b, "double double", "double"),
    ("`a ** 2`, `a ** 0.5` of what is not negative", lambda a: a**2 + abs(a) ** 0.5, "double", "double"),
    ("`a ** b`", lambda a, b: a**b, "double double", "double"),
    ("`a & b`, `a | b`, `a ^ b`, `~a`, `a << 2`, `a >> 2`", lambda a, b: (a & b | a ^ ~b) + (a << 2) - (a >> 2),
     "int int", "bigint"),
    ("`a < b`, `a == b`, `not`, `and`, `or`", lambda a, b: a < b or not (a == b and b > 1), "double int", "boolean"),
    ("`a < b`", lambda a, b: a * 1.0 < b, "double bigint", "boolean"),
    ("`a if a > b else b`", lambda a, b: a if a - b > 0 else b, "double double", "double"),
    ("`min(a, b)`, `max(a, b)`", lambda a, b: min(a * 1.0, b * 1.0) - max(a, 0.5), "double double", "double"),
    ("`abs(a)`, `int(a)`, `round(a)`, `math.floor(a)`", lambda a: abs(int(a)), "double", "bigint"),
    ("`int(a) + 1`", lambda a: int(a) + 1, "double", "bigint"),
    ("`int(a) % 7`, `a` bounded", lambda a: int(min(max(a, 0.0), 1e6)) % 7, "double", "bigint"),
    ("`round(a, 2)`", lambda a: round(a, 2), "double", "double"),
    ("`a in (1, 2, 3)`", lambda a: a in (1, 2, 3) and a > 0, "int", "boolean"),
    ("`LEVELS[a]`, `LEVELS` a tuple of the module", lambda a: LEVELS[a], "int", "double"),
    ("`s + '!'`, `len(s)`, `s == 'x'`, `'x' in s`, `s.startswith('x')`",
     lambda s: s + "!" if len(s) > 3 and "x" in s and not s.startswith("x") else s, "string", "string"),
    ("`s.upper()`", lambda s: s.upper(), "string", "string"),
    ("`(d - e).days`, `d < e`", lambda d, e: (d - e).days if d < e else 0, "date date", "bigint"),
    ("`d.year`, `d.month`, `d.day`, `d.weekday()`, `d.isoweekday()`, `d.toordinal()`",
     lambda d: d.year * 100 + d.month + d.day * d.weekday() - d.isoweekday() + d.toordinal(), "date", "bigint"),
    ("`d < e`", lambda d, e: d < e, "timestamp timestamp", "boolean"),
    ("`np.maximum(a, b)`", lambda a, b: np.maximum(a, b), "double double", "double"),
    ("`np.maximum(a, 1.0)`, `np.minimum(a, 1.0)`", lambda a: np.maximum(np.minimum(a, 1.0), 0.5), "double", "double"),
    ("`~np.isnan(a)`", lambda a: ~np.isnan(a) and a > 0, "double", "boolean"),
)  # fmt: skip


def raised(a):
    if a < 0:
        raise ValueError("negative")
    return a


def looped(a):
    total = 0.0
    for n in range(4):
        total += a * n
    return total


def waited(a):
    while a > 1:
        a /= 2
    return a


def tried(a):
    try:
        return 1 / a
    except ZeroDivisionError:
        return 0.0


STATEMENTS = (
    ("`raise ValueError('negative')`", raised, "double", "double"),
    ("`for n in range(4)`", looped, "double", "double"),
    ("`while`", waited, "double", "double"),
    ("`try`", tried, "double", "double"),
)


def verdict(function, columns: str, declared: str) -> str:
    """Returns whether the function has an expression for columns of these types, or why not."""
    names = list(function.__code__.co_varnames[: function.__code__.co_argcount])
    by_name = dict(zip(names, columns.split(), strict=True))
    expression = expression_of(function, names, nullable=False, result=types.parse(declared), hints={})
    refusals = expression.refusals_for(by_name)
    return "yes" if not refusals else re.sub(r" \(\w+\.py, line \d+\)", "", refusals[0])


def test_the_table_is_what_the_lowering_says() -> None:
    rows = [
        [construct, columns.replace(" ", ", "), verdict(function, columns, declared)]
        for construct, function, columns, declared in (*CONSTRUCTS, *STATEMENTS)
    ]
    rows.append(["functions of `math`", "double", f"yes: {', '.join(_functions_of_math())}"])
    section(DOCS / "expressions.md", "expressions", table(["construct", "columns", "has an expression"], rows))


def _functions_of_math() -> list[str]:
    """Returns the functions of ``math`` that have a lowering, as the page writes them."""
    names = sorted(name.removeprefix("math_") for name in lowered_operations() if name.startswith("math_"))
    return [f"`{name}`" for name in names]
