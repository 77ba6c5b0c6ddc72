"""Results of series bodies: they give PySpark's result or PySpark's error, with both transports of columns."""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.columns import pandas_form
from gpuspark.dialects.series_transport import nbytes
from tests.conftest import EXAMPLES
from tests.support.told import told

TRANSPORTS = {"pandas": "cpu", "arrow": "cuda"}
"""The device that selects each transport. Without a GPU, the body runs on pandas with either."""
SAFELY = "spark.sql.execution.pandas.convertToArrowArraySafely"

RESULTS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda v: v,
    "halves": lambda v: v * 0.5,
    "too wide for a byte": lambda v: v + 300,
    "too wide for a long": lambda v: v.astype("uint64") + np.uint64(2**63),
    "with a gap": lambda v: v.where(v > 0),
    "NaN and infinity": lambda v: pd.Series([np.nan, np.inf, 1.0][: len(v)]),
    "booleans": lambda v: v > 0,
    "texts": lambda v: v.astype(str),
    "texts and numbers": lambda v: pd.Series([1, "a", None][: len(v)], dtype=object),
    "decimals": lambda v: pd.Series([decimal.Decimal("1.25"), decimal.Decimal(1000), None][: len(v)]),
    "dates": lambda v: pd.Series([datetime.date(2020, 1, 1)] * len(v)),
    "moments": lambda v: pd.to_datetime(pd.Series(["2020-01-01 12:00:00.123456789"] * len(v))),
    "moments of a zone": lambda v: pd.to_datetime(pd.Series(["2020-01-01"] * len(v))).dt.tz_localize("Asia/Tokyo"),
    "spans": lambda v: pd.to_timedelta(v, unit="s"),
    "lists": lambda v: pd.Series([[1, 300]] * len(v)),
    "bytes": lambda v: pd.Series([b"a"] * len(v)),
    "categories": lambda v: v.astype(str).astype("category"),
    "nullable integers": lambda v: v.astype("Int64").where(v > 0),
    "too short": lambda v: v.head(1),
    "an index": lambda v: pd.Index(v + 1),
    "moments as an index": lambda v: pd.to_datetime(v.to_numpy(), unit="D"),
    "spans as an index": lambda v: pd.to_timedelta(v.to_numpy(), unit="s"),
    "an index of pairs": lambda v: pd.MultiIndex.from_arrays([v, v]),
    "a range": lambda v: pd.RangeIndex(len(v)),
    "a categorical": lambda v: pd.Categorical(v.astype(str)),
    "a pandas array": lambda v: pd.array([1] * len(v), dtype="Int64"),
    "a NumPy array": lambda v: v.to_numpy() + 1,
    "a matrix": lambda v: pd.DataFrame({"a": v, "b": v}).to_numpy(),
    "a list": list,
    "a tuple": tuple,
    "a dict": lambda v: dict.fromkeys(range(len(v)), 1),
    "a text": lambda v: "abc"[: len(v)],
    "an Arrow array": lambda v: pa.array(list(v)),
    "an Arrow table": lambda v: pa.table({"p": list(v), "q": list(v)}),
    "a frame": lambda v: pd.DataFrame({"p": v, "q": v}),
    "a frame, turned": lambda v: pd.DataFrame({"q": v, "p": v * 0.5}),
    "a frame without names": lambda v: pd.DataFrame({0: v, 1: v}),
    "a frame with a column more": lambda v: pd.DataFrame({"p": v, "q": v, "r": v}),
    "a frame of another name": lambda v: pd.DataFrame({"p": v, "x": v}),
    "a frame without columns": lambda v: pd.DataFrame(index=v.index),
    "nothing": lambda v: None,
    "a number": lambda v: 3,
}
TYPES = (
    "tinyint", "int", "bigint", "float", "double", "decimal(5,1)", "string", "boolean", "date", "timestamp",
    "timestamp_ntz", "interval day to second", "binary", "array<tinyint>", "p tinyint, q double",
)  # fmt: skip
CASES = list(itertools.product(RESULTS, TYPES))
LIKELY = [
    ("halves", "int"), ("too wide for a byte", "tinyint"), ("too wide for a long", "bigint"), ("an index", "bigint"),
    ("spans as an index", "interval day to second"), ("nothing", "bigint"), ("too short", "double"),
    ("a frame, turned", "p tinyint, q double"), ("with a gap", "int"), ("a list", "bigint"),
]  # fmt: skip


def yielding(body: Callable[[Any], Any]) -> Callable[[Iterator[pd.Series]], Iterator[pd.Series]]:
    def each(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        for batch in batches:
            yield body(batch)

    return each


def answers(spark, body: Callable[..., Any], declared: str) -> None:
    """Checks that gpuspark's result equals PySpark's, with both transports."""
    frame = spark.range(0, 3, 1, 1)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    expected = told(frame.select(F.pandas_udf(body, declared)("id").alias("v")))
    for transport, device in TRANSPORTS.items():
        spark.conf.set("spark.gpuspark.device", device)
        assert told(frame.select(gs.pandas_udf(body, declared)("id").alias("v"))) == expected, transport


@pytest.mark.parametrize(("result", "declared"), LIKELY)
@pytest.mark.parametrize("form", [lambda body: body, yielding], ids=["once", "iterator"])
def test_results_are_converted_as_in_pyspark(spark, form, result, declared) -> None:
    answers(spark, form(RESULTS[result]), declared)


@settings(max_examples=int(EXAMPLES or 20), phases=(Phase.generate,))  # no shrinking: an example is three jobs
@given(case=st.sampled_from(CASES), form=st.sampled_from([lambda body: body, yielding]), safe=st.booleans())
def test_any_result_of_any_type_is_converted_as_in_pyspark(spark, case, form, safe) -> None:
    result, declared = case
    before = spark.conf.get(SAFELY)
    spark.conf.set(SAFELY, str(safe).lower())
    try:
        answers(spark, form(RESULTS[result]), declared)
    finally:
        spark.conf.set(SAFELY, before)


def a_list(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    return list(batches)  # type: ignore[return-value]


def nothing(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    return None  # type: ignore[return-value]


def one_too_many(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    for batch in batches:
        yield batch
        yield batch


def the_first_only(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    yield next(batches).head(2)


def mapped(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    return map(abs, batches)


@pytest.mark.parametrize("body", [a_list, nothing, one_too_many, the_first_only, mapped])
def test_results_of_iterator_bodies_are_checked_as_in_pyspark(spark, body) -> None:
    answers(spark, body, "bigint")


@pytest.mark.parametrize("safe", ["true", "false"])
def test_a_setting_of_the_conversion_that_changes_after_the_column_was_built_is_used(spark, safe) -> None:
    before = spark.conf.get(SAFELY)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    spark.conf.set("spark.gpuspark.device", "cuda")
    halves = [make(lambda v: v * 0.5, "int")("id").alias("v") for make in (gs.pandas_udf, F.pandas_udf)]
    ours, theirs = (spark.range(0, 3, 1, 1).select(column) for column in halves)
    try:
        spark.conf.set(SAFELY, safe)
        assert told(ours) == told(theirs)
    finally:
        spark.conf.set(SAFELY, before)


def test_conversion_settings_default_to_sparks_own(spark) -> None:
    conversion = pandas_form.Conversion.of(spark)
    for field, key in pandas_form._SWITCHES.items():
        known = pandas_form._setting(spark, key)
        assert known is None or getattr(conversion, field) == (spark.conf.get(key) == "true"), key
    assert pandas_form._setting(spark, "spark.sql.no.such.setting") is None


@pytest.mark.parametrize("key", [key for key in pandas_form._SWITCHES.values() if key != SAFELY])
def test_conversion_settings_act_as_in_pyspark(spark, key) -> None:
    before = pandas_form._setting(spark, key)
    frame = spark.sql("select * from values (1L), (null), (3L) t(v)").coalesce(1)
    spark.conf.set("spark.gpuspark.fallback", "silent")
    spark.conf.set("spark.gpuspark.device", "cuda")
    turned = lambda v: pd.DataFrame({"q": v, "p": v * 2})  # noqa: E731
    whole = lambda v: pd.Series([7, 8, 9], dtype=object)  # noqa: E731
    kind = lambda v: pd.Series([str(v.dtype)] * len(v))  # noqa: E731
    try:
        for value in ("true", "false"):
            spark.conf.set(key, value)
            for body, declared in ((turned, "p bigint, q double"), (whole, "decimal(10,2)"), (kind, "string")):
                made = [make(body, declared)("v").alias("r") for make in (gs.pandas_udf, F.pandas_udf)]
                results = [told(frame.select(column)) for column in made]
                assert results[0] == results[1], (key, value, declared)
    finally:
        spark.conf.unset(key) if before is None else spark.conf.set(key, before)


@pytest.mark.parametrize("result", RESULTS)
def test_nbytes_accepts_whatever_a_body_returns(result) -> None:
    value = RESULTS[result](pd.Series([0, 1, 2]))
    counts = isinstance(value, pd.Series | pd.DataFrame | pa.Array)
    assert (nbytes(value) > 0) == (counts and result != "a frame without columns")


NESTED = {
    "array<timestamp>": "array(t)",
    "map<string,timestamp>": "map('a', t)",
    "array<date>": "array(t::date)",
    "t timestamp, n array<timestamp>": "struct(t, array(t) n)",
    "array<struct<t:timestamp>>": "array(struct(t))",
    "variant": "parse_json('[1, 2]')",
    "array<decimal(5,2)>": "array(1.25::decimal(5,2))",
}


@pytest.mark.parametrize("declared", NESTED)
def test_nested_types_pass_as_in_pyspark(spark, declared) -> None:
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    spark.conf.set("spark.gpuspark.fallback", "silent")
    frame = spark.sql(f"select {NESTED[declared]} v from values (timestamp'2020-03-08 12:00') s(t)").coalesce(1)
    try:
        for body, wanted in ((lambda v: v, declared), (lambda v: pd.Series([str(list(v))]), "string")):
            expected = told(frame.select(F.pandas_udf(body, wanted)("v").alias("v")))
            for device in TRANSPORTS.values():
                spark.conf.set("spark.gpuspark.device", device)
                assert told(frame.select(gs.pandas_udf(body, wanted)("v").alias("v"))) == expected, device
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
