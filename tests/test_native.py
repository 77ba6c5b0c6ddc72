"""``arithmetic=native``, case by case: docs/native-arithmetic.md shows what these programs do.

``GPUSPARK_WRITE_DOCS=1 pytest tests/test_native.py`` writes the page; without it the test compares.
"""

from __future__ import annotations

import ast
import inspect
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.testing import run_on
from tests.support.devices import CUDA

PAGE = Path(__file__).parent.parent / "docs" / "native-arithmetic.md"
BIG, MIN = 2**62, -(2**63)

# Each body with its result type and one row of arguments for which Python and the processor differ.
CASES: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("bigint", lambda a, b: a + b, (BIG, BIG)),
    ("bigint", lambda a, b: a - b, (MIN, 1)),
    ("bigint", lambda a, b: a * b, (BIG, 3)),
    ("bigint", lambda a: -a, (MIN,)),
    ("bigint", lambda a: abs(a), (MIN,)),
    ("bigint", lambda a, b: a // b, (7, 0)),
    ("bigint", lambda a, b: a % b, (7, 0)),
    ("bigint", lambda a, b: a // b, (MIN, -1)),
    ("bigint", lambda a, b: a**b, (10, 30)),
    ("bigint", lambda a, b: a**b, (2, -1)),
    ("bigint", lambda a, b: a << b, (1, 70)),
    ("bigint", lambda a, b: a >> b, (8, -1)),
    ("double", lambda a, b: a / b, (1.0, 0.0)),
    ("double", lambda a, b: a / b, (-1.0, 0.0)),
    ("double", lambda a, b: a / b, (0.0, 0.0)),
    ("double", lambda a, b: a / b, (1, 0)),
    ("double", lambda a, b: a / b, (2**62 + 1, 3)),
    ("double", lambda a, b: a // b, (1.0, 0.0)),
    ("double", lambda a, b: a % b, (1.0, 0.0)),
    ("double", lambda a, b: a**b, (-8.0, 1 / 3)),
    ("double", lambda a, b: a**b, (0.0, -1.0)),
    ("double", lambda a, b: a**b, (10.0, 400.0)),
    ("double", lambda a: math.sqrt(a), (-1.0,)),
    ("double", lambda a: math.log(a), (0.0,)),
    ("double", lambda a: math.log(a), (-1.0,)),
    ("double", lambda a: math.exp(a), (1000.0,)),
    ("double", lambda a: math.asin(a), (2.0,)),
    ("double", lambda a, b: math.fmod(a, b), (1.0, 0.0)),
    ("bigint", lambda a: int(a), (math.nan,)),
    ("bigint", lambda a: int(a), (1e300,)),
    ("bigint", lambda a: round(a), (math.inf,)),
    ("boolean", lambda a, b: a < b, (2**53 + 1, 2.0**53 + 2)),
    ("boolean", lambda a, b: a == b, (2**53 + 1, 2.0**53)),
]


def _expression(body: Callable[..., Any]) -> str:
    lines = inspect.getsource(body).strip().rstrip(",")
    tree = next(n for n in ast.walk(ast.parse(f"[{lines}]")) if isinstance(n, ast.Lambda))
    return ast.unparse(tree.body)


def _table(arguments: tuple[Any, ...]) -> pa.Table:
    return pa.table({name: pa.array([value]) for name, value in zip("ab", arguments, strict=False)})


def _shown(outcome: Any) -> str:
    return outcome.error.split(":")[0] if outcome.error else repr(outcome.values[0])


def _rows() -> list[str]:
    rows = []
    for declared, body, arguments in CASES:
        f, table = gs.udf(body, declared), _table(arguments)
        answers = [_shown(run_on("cpu", f, table, arithmetic=mode)) for mode in ("python", "native")]
        values = ", ".join(f"{n} = {v!r}" for n, v in zip("ab", arguments, strict=False))
        rows.append(f"| `{_expression(body)}` | {values} | {declared} | {answers[0]} | {answers[1]} |")
    return rows


HEAD = """# Native arithmetic

With `spark.gpuspark.arithmetic=native`, compiled functions do not check for the cases in which Python would raise an
error or return a larger whole number: 64-bit integers wrap around, and floats follow IEEE 754. In all other cases the
two modes return equal values. Errors that a function raises with `raise` are raised in both modes. The setting has no
effect on the `python` device.

Each row below was computed by a compiled function. `tests/test_native.py` writes this page and fails when
it is out of date.

| body | values | result | `python` (the default) | `native` |
|---|---|---|---|---|
"""


def test_the_page_is_what_the_programs_do() -> None:
    page = HEAD + "\n".join(_rows()) + "\n"
    if os.environ.get("GPUSPARK_WRITE_DOCS"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)
    assert PAGE.read_text() == page


@pytest.mark.parametrize("case", CASES, ids=lambda c: _expression(c[1]))
@pytest.mark.parametrize("device", ["emulated", CUDA])
def test_other_devices_do_the_same(case, device) -> None:
    declared, body, arguments = case
    f, table = gs.udf(body, declared), _table(arguments)
    cpu, other = (run_on(name, f, table, arithmetic="native") for name in ("cpu", device))
    assert repr(cpu.values) == repr(other.values)


@pytest.mark.parametrize("case", CASES, ids=lambda c: _expression(c[1]))
def test_pythons_column_is_pythons(case) -> None:
    declared, body, arguments = case
    ours = run_on("cpu", gs.udf(body, declared), _table(arguments))
    try:
        expected = body(*arguments)
    except (ArithmeticError, ValueError) as error:
        assert ours.error.startswith(type(error).__name__)
    else:
        if declared == "bigint" and isinstance(expected, float):
            expected = int(expected)
        fits = isinstance(expected, bool | float) or (isinstance(expected, int) and MIN <= expected < 2**63)
        assert ours.values == [expected] if fits else ours.error.startswith("ResultError")
