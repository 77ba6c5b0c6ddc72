"""Series bodies on cuDF, in Spark, compared with PySpark's own ``pandas_udf``. They need a GPU, and RAPIDS.

``spark.gpuspark.fallback=raise`` (tests/conftest.py): a body that runs anywhere else than on cuDF raises.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.columns.values import same
from tests.proof import cudf_meaning

ROWS = 24_000
BODIES = [
    ("double", "x y", lambda x, y: x * 2 + y),
    ("double", "x y", lambda x, y: x / y),
    ("double", "x", lambda x: x.abs().round(1)),
    ("double", "x", lambda x: np.sqrt(x.abs())),
    ("double", "x", lambda x: x.fillna(0.0).clip(lower=1.0)),
    ("double", "x", lambda x: (x - x.mean()) / x.std()),
    ("double", "x", lambda x: x.where(x > 1, 0.0)),
    ("double", "x", lambda x: x.shift(1)),
    ("boolean", "x y", lambda x, y: (x > y) | x.isna()),
    ("bigint", "n", lambda n: n * n - 3),
    ("bigint", "n", lambda n: abs(n).clip(upper=7)),
    ("double", "n", lambda n: n / 7),
    ("string", "s", lambda s: s.str[1:] + "!"),
    ("bigint", "s", lambda s: s.str.len()),
    ("boolean", "s", lambda s: s.str.contains("7")),
    ("boolean", "b", lambda b: ~b),
    ("int", "t", lambda t: t.dt.year * 100 + t.dt.month),
    ("timestamp", "t", lambda t: t + pd.Timedelta(days=1)),
]
pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def frame(spark):
    rows = [
        (
            n - 50, None if n % 5 == 0 else (n - 50) / 7, math.sin(n) * 10, f"s{n}é", n % 3 == 0,
            datetime.datetime(2020, 3, 1 + n % 28, n % 24, n % 60, n % 59, n),
        )
        for n in range(ROWS)
    ]  # fmt: skip
    schema = "n bigint, x double, y double, s string, b boolean, t timestamp"
    return spark.createDataFrame(rows, schema).coalesce(1).cache()


@pytest.fixture(autouse=True)
def on_a_gpu(spark):
    spark.conf.set("spark.gpuspark.device", "cuda")


def compare(frame, build_ours, build_theirs) -> None:
    ours, theirs = ([row.v for row in build(frame).collect()] for build in (build_ours, build_theirs))
    assert len(ours) == len(theirs)
    for row, (value, wanted) in enumerate(zip(ours, theirs, strict=True)):
        # Sums are added in another order, and a difference of sums loses digits.
        close = isinstance(value, float) and isinstance(wanted, float) and math.isclose(value, wanted, rel_tol=1e-9)
        assert close or same(value, wanted, 4), f"row {row}: {value!r}, in PySpark {wanted!r}"


@pytest.mark.parametrize(("result", "names", "body"), BODIES)
def test_a_body_gives_the_values_of_pandas_udf(frame, result, names, body) -> None:
    def of_one(a: pd.Series) -> pd.Series:
        return body(a)

    def of_two(a: pd.Series, b: pd.Series) -> pd.Series:
        return body(a, b)

    columns = names.split()
    with_hints = of_one if len(columns) == 1 else of_two
    compare(
        frame,
        lambda df: df.select(gs.pandas_udf(with_hints, result)(*columns).alias("v")),
        lambda df: df.select(F.pandas_udf(with_hints, result)(*columns).alias("v")),
    )


def test_an_iterator_sees_series_of_cudf(frame) -> None:
    def body(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for batch in batches:
            yield batch * 2 + (1 if type(batch).__module__.startswith("cudf") else 0)

    rows = frame.select(F.col("n"), gs.pandas_udf(body, "bigint", missing="cudf")("n").alias("v")).collect()
    assert [row.v for row in rows] == [row.n * 2 + 1 for row in rows]


def test_an_aggregate_by_group(frame) -> None:
    def mean(x: pd.Series) -> float:
        return x.mean()

    keyed = frame.select(((F.col("n") + 50) % 2).alias("k"), "y")
    compare(
        keyed,
        lambda df: df.groupBy("k").agg(gs.pandas_udf(mean, "double")("y").alias("v")).orderBy("k"),
        lambda df: df.groupBy("k").agg(F.pandas_udf(mean, "double")("y").alias("v")).orderBy("k"),
    )


@pytest.mark.parametrize("body", [lambda x: np.fmod(x, 3.0), lambda x: (x > 0) * 2.5, lambda x: x.rank()])
def test_a_body_with_another_meaning_on_cudf_runs_on_pandas(spark, frame, body) -> None:
    def of_one(a: pd.Series) -> pd.Series:
        return body(a)

    spark.conf.set("spark.gpuspark.fallback", "warn")
    gs.ledger(spark).clear()
    compare(
        frame,
        lambda df: df.select(gs.pandas_udf(of_one, "double")("x").alias("v")),
        lambda df: df.select(F.pandas_udf(of_one, "double")("x").alias("v")),
    )
    work = [record for record in gs.ledger(spark).records if record.function == "of_one"]
    assert {record.device for record in work} == {"cpu"}
    assert any("cuDF" in reason for record in work for reason in record.reasons)


def test_no_body_differs_from_pandas_without_a_reason() -> None:
    assert cudf_meaning.main([]) == 0


def test_the_record_names_the_gpu(spark, frame) -> None:
    @gs.pandas_udf("double")
    def doubled(x: pd.Series) -> pd.Series:
        return x * 2

    gs.ledger(spark).clear()
    frame.select(doubled("y")).collect()
    work = [record for record in gs.ledger(spark).records if record.function == "doubled"]
    assert {record.device for record in work} == {"cuda"}
    assert sum(record.rows for record in work) == ROWS
