"""The features that ``gs.score`` accepts (names, Spark columns, every numeric type), against the estimator's own
``predict`` of the same numbers; and the errors for those that it refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import functions as F
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

import gpuspark as gs
from gpuspark.errors import CallError
from gpuspark.models.estimators import read_model
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

SUM = LinearRegression().fit(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 5.0], [4.0, 4.0]]), [10.0, 100.0, 520.0, 440.0])
"""A model of two features that is practically ``10 * a + 100 * b``."""
NAMED = LinearRegression().fit(
    pd.DataFrame({"Width": [1.0, 0.0, 2.0], "petal.length": [0.0, 1.0, 5.0]}), [1.0, 2.0, 3.0]
)
SELECTED = """
    SELECT true AS flag, 1.5D AS `petal.length`, 2.0D AS b, named_struct('length', 7.0D, 'on', false) AS petal,
           2Y AS tiny, 3S AS small, 4 AS whole, 5L AS big, 1.25F AS single, 2.75BD AS exact, null AS nothing,
           3.0D AS `a``b`, 4.0D AS `Sepal.Width`, DATE'2020-01-01' AS day, TIMESTAMP'2020-01-01 00:00:00' AS moment,
           'x' AS word, array(1.0D) AS list, map('k', 1.0D) AS table, X'00' AS bytes
"""


@pytest.fixture
def frame(spark: Any) -> Any:
    return spark.sql(SELECTED)


ACCEPTED: list[tuple[Any, ...]] = [
    ("flag", 1.0), ("petal.length", 1.5), ("`petal.length`", 1.5), ("petal.on", 0.0), ("`petal`.`length`", 7.0),
    ("tiny", 2.0), ("small", 3.0), ("whole", 4.0), ("big", 5.0), ("single", 1.25), ("exact", 2.75), ("a`b", 3.0),
    ("`a``b`", 3.0), ("FLAG", 1.0), ("sepal.width", 4.0), ("`sepal.width`", 4.0), ("Petal.Length", 1.5),
    (F.col, "petal.on", 0.0), (F.col, "`petal.length`", 1.5), (F.expr, "big * 2 + 1", 11.0),
    (F.expr, "single > 1", 1.0),
]  # fmt: skip
"""Features as users write them, and the value of each."""


def test_features_are_resolved_as_users_write_them(frame: Any) -> None:
    scored, expected = frame, []
    for n, (*feature, number) in enumerate(ACCEPTED):
        column = feature[0] if len(feature) == 1 else feature[0](feature[1])
        scored = gs.score(scored, SUM, [column, "b"], name=f"score_{n}")
        expected.append(float(SUM.predict([[number, 2.0]])[0]))
    [row] = scored.select([f"score_{n}" for n in range(len(ACCEPTED))]).collect()
    assert list(row) == pytest.approx(expected, rel=1e-12)


def test_columns_may_be_any_sequence_and_repeat_a_feature(frame: Any) -> None:
    columns = pd.Index(["b", "b"])
    [row] = gs.score(gs.score(frame, SUM, columns), SUM, ("b", F.col("b")), name="again").collect()
    assert (row.prediction, row.again) == pytest.approx((SUM.predict([[2.0, 2.0]])[0],) * 2)


def test_a_column_of_nulls_is_missing(frame: Any) -> None:
    x = [[np.nan, 1.0], [1.0, 2.0], [2.0, 3.0]] * 3
    forest = RandomForestRegressor(2, random_state=0).fit(x, [1.0, 2.0, 3.0] * 3)
    [row] = gs.score(frame, forest, ["nothing", "b"]).collect()
    assert row.prediction == forest.predict([[np.nan, 2.0]])[0]


@pytest.fixture
def case_sensitive(spark: Any) -> Any:
    spark.conf.set("spark.sql.caseSensitive", "true")
    yield
    spark.conf.unset("spark.sql.caseSensitive")


@pytest.mark.usefixtures("case_sensitive")
def test_names_are_compared_as_spark_compares_them(frame: Any) -> None:
    for name in ("FLAG", "sepal.width", "Petal.Length"):
        with pytest.raises(
            CallError, match=f"the feature {re.escape(name)} is not a column of the frame.*Did you mean"
        ):
            gs.score(frame, SUM, [name, "b"])


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("word", "the feature word is a column of string, .*cast it: F.col"),
        ("day", "the feature day is a column of date, .*F.unix_date"),
        ("moment", "the feature moment is a column of timestamp, .*F.unix_micros"),
        ("petal", "the feature petal is a column of struct<length:double,on:boolean>, .*name its fields"),
        ("list", "the feature list is a column of array<double>, .*give its elements"),
        ("table", "the feature table is a column of map<string,double>, .*give its values"),
        ("bytes", "the feature bytes is a column of binary, .*convert it to a number"),
        ("tinny", r"the feature tinny is not a column of the frame, nor a field of one. Did you mean 'tiny'\?"),
        ("petal.width", "the feature petal.width is not a column of the frame, nor a field of one"),
        ("*", r"columns=\['\*', 'b'\] are 20 columns of the frame: name each feature, without \*"),
        (lambda: F.col("nowhere"), "the feature number 1 is not a column of the frame"),
        (3, "the feature number 1 is of type int: give a column's name, or a Spark column"),
    ],
)
def test_the_error_for_a_feature_names_it_and_says_what_to_do(frame: Any, feature: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        gs.score(frame, SUM, [feature() if callable(feature) else feature, "b"])


def test_a_name_of_several_columns_is_refused(spark: Any) -> None:
    twice = spark.sql("SELECT 1.0D AS a, 2.0D AS b, 3.0D AS b")
    with pytest.raises(CallError, match="the feature b is the name of several columns: rename all but one"):
        gs.score(twice, SUM, ["a", "b"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["petal.length", "Width"], "the feature petal.length is given in position 1, but .* in position 2"),
        (["`petal.length`", "b"], r"in another order: give columns=\['Width', 'petal.length'\]"),
        (["b", "WIDTH"], "the feature .* is given in position 2, but .* in position 1"),
        (["b"], r"was fitted to 2 features, and is given 1: give columns=\['Width', 'petal.length'\]"),
        (lambda: F.col("b"), "is one name or column: give a list"),
        ("b", "is one name or column: give a list"),
    ],
)
def test_features_in_another_order_than_the_models_are_refused(frame: Any, columns: Any, message: str) -> None:
    with pytest.raises(CallError, match=message):
        gs.score(frame.withColumn("Width", F.lit(1.0)), NAMED, columns() if callable(columns) else columns)


def test_features_with_other_names_than_the_models_are_matched_by_position(frame: Any) -> None:
    assert gs.score(frame, NAMED, ["b", "Petal.Length"]).columns[-1] == "prediction"
    assert gs.score(frame, NAMED, [F.col("big").alias("width"), "b"]).columns[-1] == "prediction"


@pytest.mark.parametrize("device", DEVICES)
@given(rows=st.lists(st.tuples(st.none() | st.booleans(), st.none() | st.booleans()), min_size=1, max_size=20))
def test_booleans_are_0_and_1_and_a_null_is_refused_by_name(device: str, rows: list[Any]) -> None:
    columns = [pa.array([row[n] for row in rows], pa.bool_()) for n in (0, 1)]
    scorer = read_model(SUM)
    with on_device(device):
        if any(None in row for row in rows):
            with pytest.raises(CallError, match=r"has null or NaN in (one|two)"):
                scorer.compute(columns, ["one", "two"], "prediction")
        else:
            predictions = scorer.compute(columns, ["one", "two"], "prediction").to_pylist()
            assert predictions == pytest.approx(SUM.predict(np.array(rows, float)).tolist())


def test_the_error_in_a_worker_names_the_column() -> None:
    with pytest.raises(CallError, match="the feature two is a column of string"):
        read_model(SUM).compute([pa.array([1.0]), pa.array(["x"])], ["one", "two"], "prediction")
