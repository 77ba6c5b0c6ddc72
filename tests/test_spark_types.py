"""The arguments and results of a body for every type of Spark, against PySpark's own conversion, value by value: an
accepted result gives the same column, and gpuspark refuses every result that PySpark refuses."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import math
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import Row
from pyspark.sql import types as t

from gpuspark.columns import types
from gpuspark.columns.values import from_python, to_python
from gpuspark.errors import ResultError
from gpuspark.spark.arrow_types import arrow_type


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    A = "a"


class Price(decimal.Decimal):
    pass


class Length(float):
    def __str__(self) -> str:
        return "long"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Holder:
    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


Pair = collections.namedtuple("Pair", "a b")
EAST = datetime.timezone(datetime.timedelta(hours=-5))
D = decimal.Decimal
SINGLE = [
    None, True, False, 0, 3, 300, -1, 2**24 + 1, 2**53 + 1, 2**63, 0.0, -0.0, 1.5, 2.5, -1.9, math.nan, math.inf, 1e39,
    "3", "x", "true", "", "2020-01-02", Text("s"), Word.A, b"ab", bytearray(b"cd"), Colour.RED, Length(1.5), 1 + 0j,
    np.bool_(True), np.bool_(False), np.int8(3), np.int64(300), np.uint64(2**63), np.float16(1.5), np.float32(0.1),
    np.float64(1.5), np.longdouble(1.5), np.str_("3"), np.bytes_(b"ab"), np.complex128(1), np.array(5),
    np.datetime64("2020-01-02"), np.datetime64("2020-01-02T03:04:05.000001"), np.datetime64("2020-01-02T03", "ns"),
    np.datetime64("NaT"), np.timedelta64(5, "s"), np.timedelta64(5, "us"), np.timedelta64(5, "ns"),
    D("1.25"), D("3"), D("NaN"), D("Infinity"), D("1e30"), Price("1.25"), fractions.Fraction(1, 2), uuid.UUID(int=5),
    datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3), datetime.datetime(2020, 1, 2, 23, tzinfo=EAST),
    datetime.time(1, 2), datetime.timedelta(seconds=5), pd.Timestamp("2020-01-02 03:00"), pd.NaT, pd.NA,
    pd.Timedelta("5s"), np.array([1, 2]), np.array([1.5, np.nan]), np.array([True]), np.array([0.1], np.float32),
    np.array([2**63], np.uint64), np.array([1.5], np.float16), np.array([[1]]), np.array(["a"]),
    np.array([1, None], object), np.array([]),
    array.array("i", [1]), array.array("d", [2.5]), {1}, range(2), Pair(1, 2), Row(a=1, b=2), Row(b=1, a=2), Row(1, 2),
    (1, "x"), (1,), (), [], {}, {"a": 1, "b": None}, {"b": 1.5, "c": 3}, Holder(a=1), Holder(a=None, b=2), [("a", 1)],
    collections.OrderedDict(a=1), t.VariantVal(b"\x0c\x01", b"\x01\x00\x00"), Row(value=b"a", metadata=b"b"),
]  # fmt: skip
NOT_NULL = t.StructType().add("a", t.IntegerType(), nullable=False).add("b", t.StringType())
PAIR = t.StructType().add("a", t.IntegerType()).add("b", t.IntegerType())
ELEMENTS: list[t.DataType] = [
    t.BooleanType(), t.ByteType(), t.IntegerType(), t.LongType(), t.FloatType(), t.DoubleType(), t.DateType(),
    t.TimestampType(), t.TimestampNTZType(), t.DayTimeIntervalType(), t.DayTimeIntervalType(0, 0), t.StringType(),
    t.BinaryType(), t.DecimalType(10, 2), t.NullType(), t.VariantType(), PAIR, NOT_NULL,
]  # fmt: skip
DECLARED = [
    *ELEMENTS,
    *(t.ArrayType(element) for element in ELEMENTS),
    *(t.MapType(t.StringType(), element) for element in ELEMENTS),
    t.ArrayType(t.IntegerType(), False),
    t.ArrayType(t.ArrayType(t.IntegerType())),
    t.ArrayType(t.ArrayType(PAIR)),
    t.MapType(t.IntegerType(), t.StringType(), False),
    t.StructType().add("a", t.ArrayType(t.VariantType())),
]


def values_for(declared: t.DataType) -> list[object]:
    """Returns single values and, for nested types, values that contain them."""
    if not isinstance(declared, t.ArrayType | t.MapType | t.StructType):
        return SINGLE
    keys = [v for v in SINGLE if isinstance(v, str | int | float | None)]
    nested: list[object] = [[v] for v in SINGLE] + [[v, None] for v in SINGLE] + [(v,) for v in SINGLE]
    nested += [{"a": v} for v in SINGLE] + [{v: 1} for v in keys] + [(v, v) for v in SINGLE] + [[[v]] for v in SINGLE]
    return SINGLE + nested


def _read(column: pa.Array, declared: t.DataType) -> object:
    from pyspark.sql.conversion import ArrowTableToRowsConversion

    return ArrowTableToRowsConversion._create_converter(declared)(column.to_pylist()[0])


def _pysparks(value: object, declared: t.DataType, arrow: pa.DataType) -> object:
    """Converts ``value`` like PySpark's worker for an Arrow-optimised udf; raises if PySpark refuses it."""
    from pyspark.sql.conversion import LocalDataToArrowConversion

    convert = LocalDataToArrowConversion._create_converter(declared)
    converted = [convert(value)]
    try:
        column = pa.array(converted, arrow)
    except pa.ArrowInvalid:
        column = pa.array(converted).cast(arrow, safe=True)
    return _read(column, declared)


@pytest.mark.filterwarnings("ignore")  # NumPy warns when PySpark converts complex numbers
@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: str(declared.simpleString()))
def test_a_result_is_pysparks_or_refused(declared: t.DataType) -> None:
    column, arrow = types.of_spark(declared), arrow_type(declared)
    accepted = 0
    for value in values_for(declared):
        try:
            ours = _read(from_python([value], column, arrow), declared)
        except ResultError:
            continue
        accepted += 1
        try:
            theirs = _pysparks(value, declared, arrow)
        except pa.ArrowTypeError as error:  # a map that Arrow would have to infer
            assert isinstance(declared, t.MapType)
            assert "Expected bytes" in str(error)
            continue
        assert repr(ours) == repr(theirs), f"{value!r} for {declared.simpleString()}"
    assert accepted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: str(declared.simpleString()))
def test_a_body_gets_the_same_arguments_as_in_pyspark(declared: t.DataType) -> None:
    from pyspark.sql.conversion import LocalDataToArrowConversion

    convert, arrow = LocalDataToArrowConversion._create_converter(declared), arrow_type(declared)
    compared = 0
    for value in values_for(declared):
        try:
            column = pa.array([convert(value)], arrow)
            theirs = _read(column, declared)
        except (TypeError, ValueError, AssertionError, ArithmeticError, pa.ArrowException, AttributeError):
            continue
        compared += 1
        assert repr(to_python(column)) == repr([theirs])
    assert compared


@pytest.mark.parametrize("value", [[None], {"a": None}, (None, "b"), {None: 1}])
def test_nested_nulls_are_refused_unless_the_declared_type_allows_them(value: object) -> None:
    for declared in (t.ArrayType(t.StringType(), False), t.MapType(t.StringType(), t.StringType(), False), NOT_NULL):
        with pytest.raises(ResultError):
            from_python([value], types.of_spark(declared), arrow_type(declared))


def test_a_struct_with_two_fields_of_the_same_name_is_refused() -> None:
    declared = t.StructType().add("v", t.IntegerType()).add("v", t.IntegerType())
    with pytest.raises(ResultError, match=r"fields v, v .* a name of its own"):
        from_python([(1, 2)], types.of_spark(declared), arrow_type(declared))
