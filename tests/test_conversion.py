"""The columns that functions and kernels accept when they are called directly: NumPy arrays among them, but no
collection of which each row would get all values. Compared with the body called row by row."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyspark.sql import types as T

import gpuspark as gs
from gpuspark import kernels
from gpuspark.columns.values import same
from gpuspark.errors import CallError, ResultError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES


@gs.udf("double")
def ratio(a, b):
    return b / (a + 0.5)


@gs.udf("bigint")
def day_of_month(day):
    return day.day


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=12)
@given(
    data=st.data(),
    rows=st.integers(0, 20),
    dtypes=st.sampled_from([("bool", "int16"), ("int64", "float32"), ("float64", "int8"), ("int32", "bool")]),
)
def test_an_array_is_a_column_of_its_elements(
    device: str, data: st.DataObject, rows: int, dtypes: tuple[str, str]
) -> None:
    finite = {"elements": {"allow_nan": False, "allow_infinity": False, "min_value": -100, "max_value": 100}}
    a, b = (data.draw(arrays.arrays(dtype, rows, **(finite if dtype.startswith("float") else {}))) for dtype in dtypes)
    a = a[a != -0.5]
    b = b[: len(a)]
    expected = [ratio.__gpuspark_body__(*row) for row in zip(a.tolist(), b.tolist(), strict=True)]
    with on_device(device):
        arrays_only = ratio(a, b)
        column = gs.Batch.from_arrow(pa.record_batch({"a": a}))["a"]
        mixed = ratio(a, pa.array(b)), ratio(pa.array(a), b), ratio(column, b)
        series = ratio(pd.Series(a, name="a"), b)
    assert isinstance(arrays_only, np.ndarray)
    for actual in (arrays_only.tolist(), *(column.to_pylist() for column in mixed), series.tolist()):
        assert len(actual) == len(a)
        assert all(map(same, actual, expected))


@pytest.mark.parametrize("device", DEVICES)
def test_an_array_is_divided_as_python_divides(device: str) -> None:
    quotient = gs.udf(lambda a, k: k / a, "double")
    with on_device(device), pytest.raises(ZeroDivisionError):
        quotient(np.array([0.0, 1.0]), 2.0)


@pytest.mark.parametrize("device", DEVICES)
def test_arrays_of_other_types_are_the_columns_that_spark_would_send(device: str) -> None:
    days = np.array(["2020-02-29", "1969-12-31"], "datetime64[D]")
    doubled = gs.udf(lambda x: x * 2, "double")
    spelled = gs.udf(lambda s: s + "!", "string")
    later = gs.udf(lambda t: t > datetime.datetime(2020, 1, 1), "boolean")
    with on_device(device):
        assert doubled(np.array([1.5, math.nan], np.float16)).tolist() == pytest.approx([3.0, math.nan], nan_ok=True)
        assert doubled(np.array([1, 2], ">i4")).tolist() == [2.0, 4.0]
    with on_device(device, fallback="silent"):
        assert day_of_month(days).tolist() == [29, 31]
        assert doubled(np.array([1, 2, 3], np.uint8)[::2]).tolist() == [2.0, 6.0]
        assert spelled(np.array(["a", "b"])).tolist() == ["a!", "b!"]
        assert later(np.array(["2020-02-29", "1969-12-31"], "datetime64[s]")).tolist() == [True, False]


def test_nulls_of_a_result_are_nan_or_refused() -> None:
    x = np.array([1.0, -1.0])
    assert gs.udf(lambda x: x if x > 0 else None, "double")(x).tolist() == pytest.approx([1.0, math.nan], nan_ok=True)
    whole = gs.udf(lambda x: 1 if x > 0 else None, "bigint")
    with pytest.raises(CallError, match="gave null for 1 of 2 rows, and a NumPy array of int64 has no null"):
        whole(x)
    assert whole(pa.array(x)).to_pylist() == [1, None]


def test_chunked_columns_are_taken() -> None:
    assert ratio(pa.chunked_array([[1.0], [2.0, 3.0]]), 1.5).to_pylist() == [1.0, 0.6, 1.5 / 3.5]


REFUSED = {
    "a list": [1.0, 2.0, 3.0],
    "a tuple": (1.0, 2.0, 3.0),
    "a range": range(3),
    "a set": {1.0, 2.0, 3.0},
    "a RangeIndex": pd.RangeIndex(3),
    "a DataFrame": pd.DataFrame({"x": [1.0, 2.0, 3.0]}),
    "a RecordBatch": pa.record_batch({"x": [1.0, 2.0, 3.0]}),
    "a Table": pa.table({"x": [1.0, 2.0, 3.0]}),
    "an array of 2 dimensions": np.ones((3, 1)),
    "an array of 0 dimensions": np.array(1.0),
    "an array of object": np.array([1.0, None, 2.0]),
    "an array of complex128": np.ones(3, complex),
    r"an array of \[\('a'": np.zeros(3, [("a", "f8")]),
    "a masked array": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
    "a NumpyExtensionArray|a FloatingArray": pd.array([1.0, 2.0, 3.0], "Float64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_collections_that_are_not_columns_are_refused(name: str) -> None:
    value = REFUSED[name]
    for column in (pa.array([1.0, 2.0, 3.0]), pd.Series([1.0, 2.0, 3.0]), np.ones(3)):
        with pytest.raises(CallError, match=rf"ratio was given ({name}).* for b, which is not a column"):
            ratio(column, value)
        with pytest.raises(CallError, match=rf"haversine was given ({name}).* for lat2, which is not a column"):
            kernels.haversine(column, 0.0, value, 1.0)
    if hasattr(value, "dtype") or hasattr(value, "schema"):
        with pytest.raises(CallError, match=name):
            ratio(1.0, value)


def test_a_device_array_is_refused() -> None:
    class OnDevice:
        __cuda_array_interface__: Any = {}  # noqa: RUF012

    with pytest.raises(CallError, match="was given a OnDevice"):
        ratio(pa.array([1.0]), OnDevice())


def test_single_values_are_repeated_and_a_call_without_columns_is_plain_python() -> None:
    for value in (2, 2.0, np.float64(2.0), np.int32(2), True):
        assert ratio(np.array([0.5, 1.5]), value).tolist() == [float(value), float(value) / 2]
    assert gs.udf(lambda v: sum(v), "double")([1.0, 2.0]) == 3.0
    assert kernels.levenshtein(np.array(["abc", "abd"]), np.array(["abc", "abc"])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        (T.ArrayType(T.DoubleType()), np.array([1.5, math.nan]), [1.5, math.nan]),
        (T.ArrayType(T.DoubleType()), np.array([1, 2]), [1.0, 2.0]),
        (T.ArrayType(T.FloatType()), np.array([1.1]), [1.100000023841858]),
        (T.ArrayType(T.IntegerType()), np.array([1.5, 2.0]), [1, 2]),
        (T.ArrayType(T.LongType()), np.array([1, 2], np.uint8), [1, 2]),
        (T.ArrayType(T.BooleanType()), np.array([True, False]), [True, False]),
        (T.ArrayType(T.DoubleType()), np.array([]), []),
        (T.ArrayType(T.ArrayType(T.DoubleType())), [np.array([1.0, 2.0])], [[1.0, 2.0]]),
    ],
)
def test_an_array_column_accepts_numpy_arrays_as_in_pyspark(
    declared: T.DataType, value: Any, expected: list[Any]
) -> None:
    """The expected values are those of ``pyspark.sql.functions.udf(..., useArrow=True)`` of PySpark 4.3."""
    [actual] = gs.udf(lambda x: value, declared)(pa.array([1.0])).to_pylist()
    assert repr(actual) == repr(expected)


@pytest.mark.parametrize(
    "value", [np.array([[1.0]]), np.array(1.0), np.ma.array([1.0]), np.array(["a"]), np.array([1.0, None])]
)
def test_an_array_column_refuses_other_arrays(value: Any) -> None:
    with pytest.raises(ResultError, match="which a column of array<double> cannot hold"):
        gs.udf(lambda x: value, T.ArrayType(T.DoubleType()))(pa.array([1.0]))


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(CallError, match=r"different lengths: \{'a': 2, 'b': 3\}"):
        ratio(np.ones(2), np.ones(3))
