"""Dates, timestamps and time differences at the limits of Python's types. PySpark converts every value of a batch
before it calls the body, so a value outside the years 1 to 9999 raises an error, whether the body uses it or not."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.config import Config
from gpuspark.spark.session import configured
from tests.support.devices import DEVICES

EPOCH = datetime.datetime(1970, 1, 1)
DAY = 86_400_000_000
FIRST, LAST = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31 in days
DAYS = st.one_of(
    st.sampled_from((FIRST - 1, FIRST, FIRST + 1, LAST - 1, LAST, LAST + 1, -(2**31), 2**31 - 1)),
    st.integers(FIRST, LAST),
    st.integers(-20_000, 20_000),
)
MICROSECONDS = st.one_of(
    st.sampled_from((FIRST * DAY - 1, FIRST * DAY, (LAST + 1) * DAY - 1, (LAST + 1) * DAY, -(2**63), 2**63 - 1)),
    st.integers(FIRST * DAY, LAST * DAY),
)


def outcome(f, *columns: pa.Array) -> object:
    """Returns the result of ``f``, or the type of its error."""
    try:
        return f(*columns).to_pylist()
    except (OverflowError, ValueError) as error:
        return type(error)


def as_pyspark(body, *columns: list[int | None], unit: datetime.timedelta) -> object:
    """Converts every value to Python first, like PySpark, then runs the body over the rows without a null."""
    try:
        converted = [[None if n is None else EPOCH + n * unit for n in column] for column in columns]
    except OverflowError as error:
        return type(error)
    return [None if None in row else body(*row) for row in zip(*converted, strict=True)]


def difference(a, b):
    return (b - a).days


def unused(a, b):
    return 1


def later(a, b):
    return b >= a


BODIES = [(difference, gs.udf("int")(difference)), (unused, gs.udf("int")(unused)), (later, gs.udf("boolean")(later))]


@pytest.mark.parametrize("device", DEVICES)
@given(st.lists(st.tuples(st.none() | DAYS, st.none() | DAYS), min_size=1, max_size=5))
def test_dates_outside_pythons_range_raise_on_every_device(device, rows) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    dates = [pa.array(column, pa.int32()).cast(pa.date32()) for column in columns]
    with configured(Config(device=device, fallback="raise")):
        for body, function in BODIES:
            assert outcome(function, *dates) == as_pyspark(body, *columns, unit=datetime.timedelta(days=1))


@pytest.mark.parametrize("device", DEVICES)
@given(st.lists(st.tuples(st.none() | MICROSECONDS, st.none() | MICROSECONDS), min_size=1, max_size=5))
def test_timestamps_outside_pythons_range_raise_on_every_device(device, rows) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    moments = [pa.array(column, pa.timestamp("us")) for column in columns]
    with configured(Config(device=device, fallback="raise")):
        for body, function in BODIES:
            assert outcome(function, *moments) == as_pyspark(body, *columns, unit=datetime.timedelta(microseconds=1))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("moment", [FIRST * DAY, (LAST + 1) * DAY - 1])
def test_at_the_ends_of_the_calendar_the_time_zone_decides(device, zone, moment) -> None:
    """Compared with Arrow's conversion: some zones lack the first or last hours of UTC."""
    column = pa.array([moment], pa.timestamp("us", zone))
    with configured(Config(device=device, fallback="raise")):
        ours = outcome(gs.udf(lambda a: 1, "int"), column)
    try:
        column.to_pylist()
        assert ours == [1]
    except OverflowError:
        assert ours is OverflowError


def parts_of_a_date(a):
    return ((a.year * 12 + a.month) * 31 + a.day) * 100 + a.weekday() * 10 + a.isoweekday() + a.toordinal() * 10**9


def parts_of_a_time(a):
    return (((a.hour * 60 + a.minute) * 60 + a.second) * 10**6 + a.microsecond) * 8 + a.weekday()


PARTS = [
    (parts_of_a_date, gs.udf("bigint")(parts_of_a_date), pa.date32(), DAY, EPOCH.date()),
    (parts_of_a_date, gs.udf("bigint")(parts_of_a_date), pa.timestamp("us"), 1, EPOCH),
    (parts_of_a_time, gs.udf("bigint")(parts_of_a_time), pa.timestamp("us"), 1, EPOCH),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", PARTS, ids=["date", "date_of_timestamp", "time_of_timestamp"])
@given(data=st.data())
def test_the_parts_of_dates_and_timestamps_are_pythons(device, case, data) -> None:
    body, function, arrow, unit, epoch = case
    one = st.integers(FIRST * DAY // unit, (LAST + 1) * DAY // unit - 1) | st.integers(-20_000, 20_000)
    numbers = data.draw(st.lists(one | st.none(), min_size=1, max_size=20))
    column = pa.array(numbers, pa.int32() if unit == DAY else pa.int64()).cast(arrow)
    with configured(Config(device=device, fallback="raise")):
        assert function(column).to_pylist() == [
            None if n is None else body(epoch + n * datetime.timedelta(microseconds=unit)) for n in numbers
        ]


def test_every_day_of_four_centuries_has_pythons_parts() -> None:
    """Compared with Python's calendar on the CPU: each leap year's rule, and each end of a month."""
    days = range(-146_097, 146_097)
    with configured(Config(device="cpu", fallback="raise")):
        parts = gs.udf("bigint")(parts_of_a_date)(pa.array(days, pa.int32()).cast(pa.date32())).to_pylist()
    assert parts == [parts_of_a_date(EPOCH.date() + datetime.timedelta(days=n)) for n in days]


def test_a_date_has_no_time_of_day() -> None:
    """As in Python."""
    with pytest.raises(AttributeError, match="hour"):
        gs.udf(lambda a: a.hour, "int")(pa.array([0], pa.int32()).cast(pa.date32()))


def opposite(a):
    return -a


def half(a):
    return (-a).days // 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", [-(2**63), -(2**63) + 1, 2**63 - 1, 0])
def test_negating_the_longest_difference_is_as_in_python(device, length) -> None:
    column = pa.array([length], pa.duration("us"))
    value = datetime.timedelta(microseconds=length)
    with configured(Config(device=device, fallback="raise")):
        assert gs.udf(half, "bigint")(column).to_pylist() == [half(value)]
        if -length < 2**63:
            assert gs.udf(opposite, "interval day to second")(column).to_pylist() == [-value]
        else:
            with pytest.raises(gs.errors.ResultError):
                gs.udf(opposite, "interval day to second")(column)


def test_spark_raises_too(spark) -> None:
    from pyspark.errors import PythonException
    from pyspark.sql import functions

    spark.conf.set("spark.gpuspark.device", "cpu")
    column = "date_from_unix_date(-735000 + cast(id as int)) a"
    for make in (gs.udf, functions.udf):
        with pytest.raises(PythonException, match="date value out of range"):
            spark.range(1).selectExpr(column).select(make(lambda a: 1, "int")("a")).collect()
