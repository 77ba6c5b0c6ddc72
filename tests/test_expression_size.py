"""How long the Java code of an expression is, by Spark's own count, against the bound that the plan uses."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpuspark as gs
from gpuspark.bench.cases import mathematics, scalar
from gpuspark.bench.option_value import value
from gpuspark.dialects.expression_column import most_bytes

LINES = {
    "quotients": "x = x * 1.5 + s / (k + {n})",
    "branches": "if s > {n}.5:\n        x = x + k / {n}",
    "trigonometry": "x = x + math.sin(s + {n}) * math.cos(k) / (t + {n})",
    "limits": "if x > {n}.0:\n        x = {n}.0\n    x = x * 1.01 + s",
    "integers": "x = x + s * {n} - abs(k)",
}


def of_lines(folder: Path, line: str, count: int) -> Callable[..., Any]:
    """Returns a function with ``count`` lines like ``line``, from a file of its own."""
    body = "\n    ".join(line.format(n=number) for number in range(2, count + 2))
    file = folder / "body.py"
    file.write_text(f"import math\n\n\ndef body(s, k, t):\n    x = t\n    {body}\n    return x\n")
    spec = importlib.util.spec_from_file_location("body", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.body  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def rows(spark, tmp_path_factory):
    """Returns rows from a file: their columns may be null, for all that Spark knows."""
    file = str(tmp_path_factory.mktemp("rows") / "rows.parquet")
    spark.range(10).selectExpr("id + 1.5D AS s", "id + 2.5D AS k", "id + 0.5D AS t", "int(id) AS i").write.parquet(file)
    return spark.read.parquet(file)


def bytes_of(rows, f: Callable[..., Any], *columns: str) -> int:
    """Returns the bytes of the longest method that Spark makes to compute ``f``."""
    plan = rows.select(f(*columns))._jdf.queryExecution().executedPlan()
    debug = getattr(rows.sparkSession._jvm.org.apache.spark.sql.execution.debug, "package$")
    parts = getattr(debug, "MODULE$").codegenStringSeq(plan)
    return max(parts.apply(n)._3().maxMethodCodeSize() for n in range(parts.size()))


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        *((name, count) for name in ("quotients", "trigonometry", "limits", "integers") for count in (2, 9)),
        *(("branches", count) for count in (1, 3)),
        ("mathematics", 8),
        ("option", 1),
        ("light", 1),
    ],
)
def test_the_bound_holds(spark, rows, tmp_path: Path, lines: str, count: int) -> None:
    spark.conf.set("spark.gpuspark.device", "sql")
    own = {"mathematics": lambda: mathematics.with_calls(count), "option": lambda: value, "light": lambda: scalar.light}
    body = own[lines]() if lines in own else of_lines(tmp_path, LINES[lines], count)
    f = gs.udf("bigint" if lines == "integers" else "double")(body)
    columns = ("i", "i", "i") if lines == "integers" else ("s", "k", "t")
    assert "PythonUDF" not in rows.select(f(*columns))._jdf.queryExecution().optimizedPlan().toString()
    bound = most_bytes(f.expression(("s", "k", "t")))
    assert bytes_of(rows, f, *columns) <= bound <= 8_000


def test_a_long_method_is_left_to_a_compiled_program(spark, rows) -> None:
    f = gs.udf("double")(mathematics.with_calls(24))
    spark.conf.set("spark.gpuspark.device", "sql")
    assert bytes_of(rows, f, "s", "k", "t") > 8_000
    spark.conf.set("spark.gpuspark.device", "auto")
    plan = f.explain("s double, k double, t double")
    assert plan.device == "cpu"
    assert "its Java method may exceed 8,000 bytes" in str(plan)
    assert gs.udf("double")(mathematics.with_calls(20)).explain("s double, k double, t double").device == "sql"
