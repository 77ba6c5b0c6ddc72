"""``spark.gpuspark.verify.fraction``: wrong results of a device are found, and correct ones pass."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.accounting.work import Work
from gpuspark.columns.types import of_arrow
from gpuspark.config import Config
from gpuspark.errors import VerificationError
from gpuspark.execution.runner import Runner
from gpuspark.execution.verify import verify


@gs.udf("double")
def curve(a):
    return math.exp(-a * a)


def checked(column: pa.Array, wrong: dict[int, float | None], first_row: int = 0, **flags) -> None:
    """Verifies the function's results, after replacing those of some rows."""
    config = Config(**{"device": "cpu", "fallback": "raise", "verify_fraction": 1.0, **flags})
    runner = Runner(curve.scalar_function(["a"]), [of_arrow(column.type)], config)
    values = runner.run([column], Work()).to_pylist()
    for row, value in wrong.items():
        values[row] = value
    verify(runner.function, [column], pa.array(values, pa.float64()), runner.plan.device, config, first_row)


COLUMN = pa.array([None if n % 10 == 0 else n / 100 for n in range(1000)])


def test_correct_results_pass() -> None:
    checked(COLUMN, {})


@pytest.mark.parametrize("value", [0.0, None, math.nan, math.inf])
def test_one_wrong_row_is_found_and_named(value) -> None:
    expected = r"curve gave .* on cpu and 0\.3\d* in Python for row 5104\..*spark\.gpuspark\.device=python"
    with pytest.raises(VerificationError, match=expected):
        checked(COLUMN, {104: value}, first_row=5000)


def test_a_value_where_null_belongs_is_found() -> None:
    with pytest.raises(VerificationError, match="None in Python for row 10"):
        checked(COLUMN, {10: 1.0})


def test_only_differences_beyond_the_last_bits_of_libm_count() -> None:
    value = math.exp(-1.01 * 1.01)
    checked(COLUMN, {101: value + 2 * math.ulp(value)})
    with pytest.raises(VerificationError):
        checked(COLUMN, {101: value + 100 * math.ulp(value)})


@pytest.mark.parametrize(
    "flags", [{"verify_fraction": 0.0}, {"device": "python"}, {"arithmetic": "native"}], ids=lambda flags: str(flags)
)
def test_configurations_without_a_comparison(flags) -> None:
    checked(COLUMN, {104: 0.0}, **flags)


def test_the_fraction_of_batches_is_verified() -> None:
    result = 0
    for batch in range(400):
        try:
            checked(pa.array([1.0]), {0: 0.0}, first_row=batch * 1000, verify_fraction=0.25)
        except VerificationError:
            result += 1
    assert 60 <= result <= 140


def test_a_wrong_program_fails_the_spark_job(spark, monkeypatch) -> None:
    """Plain Python is patched to answer differently from the program that was compiled from the body."""
    spark.conf.set("spark.gpuspark.device", "cpu")
    wrong = gs.udf("double")(lambda a: a + 1.0)
    plain = wrong.__gpuspark_body__

    function = wrong.scalar_function(["a"])
    lying = type(function)(**{**vars(function), "function": lambda a: plain(a) + 1e-3})
    monkeypatch.setattr(wrong, "_prepared", {("a",): lying}, raising=False)
    frame = spark.range(10).selectExpr("cast(id as double) a")
    assert frame.select(wrong("a")).count() == 10
    spark.conf.set("spark.gpuspark.verify.fraction", "1")
    with pytest.raises(Exception, match=r"VerificationError.*for row"):
        frame.select(wrong("a")).collect()
