"""The table of the values that a body may return, against PySpark's own conversion."""

from __future__ import annotations

import copy
import datetime
import decimal
import math
import types

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import Row

import gpuspark as gs
from gpuspark.columns import types as column_types
from gpuspark.columns.values import from_python, same, to_python
from gpuspark.errors import ResultError
from gpuspark.spark import arrow_types

VALUES = (
    True, False, 0, 1, -1, 127, 128, 300, 2**24, 2**24 + 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**70,
    0.0, -0.0, 1.0, 1.5, -1.9, 300.7, 9.3e18, 1e300, math.nan, math.inf, "3", "x", None,
    datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3), np.float64(1.5), np.int64(3), np.bool_(True),
    decimal.Decimal("1.25"), decimal.Decimal("-7"),
)  # fmt: skip
DECLARED = ("boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "date", "string")


def _ours(value, declared: str):
    column = column_types.parse(declared)
    arrow = pa.string() if declared == "string" else pa.type_for_alias(column.arrow)
    try:
        return to_python(from_python([value], column, arrow))[0]
    except ResultError:
        return ResultError


def _comparable(declared: str) -> list:
    """Returns the values for which PySpark is an oracle.

    Unlike gpuspark it converts numbers to dates and strings to numbers, and it formats floats and NumPy scalars in
    its own way.
    """
    if declared == "string":
        return [v for v in VALUES if type(v).__module__ != "numpy" and not isinstance(v, float)]
    if declared == "date":
        return [v for v in VALUES if isinstance(v, datetime.date | None)]
    return [v for v in VALUES if not isinstance(v, str | datetime.date | np.bool_)]


@pytest.mark.parametrize("declared", DECLARED)
def test_accepted_values_become_what_pyspark_makes_of_them(spark, declared: str) -> None:
    from pyspark.sql import functions

    accepted = [v for v in _comparable(declared) if _ours(v, declared) is not ResultError]
    for python_type in {type(v) for v in accepted} - {type(None)}:  # in PySpark, values of a batch affect each other
        values = [v for v in accepted if type(v) in (python_type, type(None))]
        plain = functions.udf(lambda n, values=values: values[n], declared, useArrow=True)
        theirs = [row[0] for row in spark.range(len(values)).coalesce(1).select(plain("id")).collect()]
        for value, expected in zip(values, theirs, strict=True):
            assert same(_ours(value, declared), expected), f"{value!r} for {declared}: PySpark gives {expected!r}"


@pytest.mark.parametrize("declared", DECLARED)
def test_refused_values_are_refused_by_pyspark(spark, declared: str) -> None:
    from pyspark.errors import PythonException
    from pyspark.sql import functions

    refused = [v for v in _comparable(declared) if _ours(v, declared) is ResultError]
    for value in refused[:: max(1, len(refused) // 3)]:  # each needs its own Spark job, which costs a worker
        plain = functions.udf(lambda _, v=value: v, declared, useArrow=True)
        with pytest.raises(PythonException):
            spark.range(1).select(plain("id")).collect()
    assert refused or declared in ("string", "date")


def test_a_mismatch_names_value_type_and_row() -> None:
    with pytest.raises(ResultError, match=r"'3' \(str\).*bigint.*Declare another type") as error:
        from_python([1, "3"], column_types.parse("bigint"), pa.int64())
    assert error.value.row == 1


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**53), 2**53), st.booleans())))
def test_numbers_survive_as_doubles(values) -> None:
    back = to_python(from_python(values, column_types.parse("double"), pa.float64()))
    assert all(same(b, None if v is None else float(v)) for v, b in zip(values, back, strict=True))


D = decimal.Decimal
NESTED: dict[str, tuple[list, list]] = {
    "decimal(10,2)": ([D("1.25"), D("1.235"), D("1.245"), D("-1E-5"), D("NaN")], [1, 1.5, "1", D("1E9")]),
    "array<int>": ([[1, None, 3], [], [2.5], (1, 2)], ["ab", 3]),
    "array<decimal(5,1)>": ([[D("1.25"), None]], [[1]]),
    "map<string,int>": ([{"a": 1, "b": None}, {}], [[("a", 1)], 3]),
    "struct<a:int,b:double>": (
        [(1, 2.5), (2.5, 1), {"a": 1}, {"b": 1.0, "c": 3}, Row(b=1, a=2.0), types.SimpleNamespace(a=1, b=None)],
        [(1,), (1, 2, 3), 7],
    ),
    "array<struct<a:int,b:array<string>>>": ([[(1, ["x", True]), None]], [[3]]),
    "binary": ([b"ab", bytearray(b"cd"), b""], ["ab"]),
}


@pytest.mark.parametrize("declared", NESTED)
def test_other_types_accept_what_pyspark_accepts_and_no_more(spark, declared: str) -> None:
    """Compared with PySpark's udf over the same values in the same order."""
    from pyspark.errors import PythonException
    from pyspark.sql import functions

    spark.conf.set("spark.gpuspark.fallback", "silent")
    accepted, refused = NESTED[declared]
    values = [*accepted, None]
    ours, theirs = (
        [row.v for row in spark.range(len(values)).coalesce(1).select(udf("id").alias("v")).collect()]
        for udf in (
            gs.udf(declared)(lambda n: copy.copy(values[n])),
            functions.udf(lambda n: copy.copy(values[n]), declared, useArrow=True),
        )
    )
    assert ours == theirs
    for value in refused:
        column, arrow = column_types.parse(declared), arrow_types.arrow_type(declared)
        with pytest.raises(ResultError):
            from_python([value], column, arrow)
    plain = functions.udf(lambda _: refused[0], declared, useArrow=True)
    with pytest.raises(PythonException):
        spark.range(1).select(plain("id")).collect()


def test_same_distinguishes_signs_and_types() -> None:
    assert same(math.nan, math.nan)
    assert not same(0.0, -0.0)
    assert not same(1, 1.0)
    assert not same(True, 1)
    assert same(1.0, math.nextafter(1.0, 2), ulp=1)
    assert not same(1.0, 1.0 + 4e-16, ulp=1)
    assert not same(None, 0.0)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.7976931348623157e308, -math.inf, math.nan])
def test_infinity_equals_only_itself_within_any_ulp(value: float) -> None:
    assert same(math.inf, math.inf, ulp=8)
    assert not same(math.inf, value, ulp=8)
    assert not same(value, math.inf, ulp=8)
