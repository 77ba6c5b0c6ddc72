"""Filters as pandas, pyarrow and cuDF write them, with the meaning of Spark's WHERE.

``[("year", "=", 2013), ("origin", "in", ["JFK", "LGA"])]`` asks for rows that meet every condition; a list of such
lists, for rows that meet every condition of one of them. As in Spark, a comparison with null is never true, NaN equals
NaN and is greater than every other number, and -0.0 equals 0.0.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

OPERATORS = ("=", "==", "!=", "<", "<=", ">", ">=", "in", "not in")
_OF_COLLECTIONS = ("in", "not in")


@dataclass(frozen=True)
class Condition:
    """``column operator value``; the value has the column's type, or is a tuple of such values."""

    column: str
    operator: str
    value: Any

    def __str__(self) -> str:
        shown = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"{self.column} {self.operator} {shown!r}"


@dataclass(frozen=True)
class Filters:
    """Conditions joined by AND, in alternatives joined by OR. Without alternatives, every row is wanted."""

    alternatives: tuple[tuple[Condition, ...], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that conditions are about."""
        return tuple(dict.fromkeys(condition.column for conditions in self.alternatives for condition in conditions))

    def __str__(self) -> str:
        joined = [" and ".join(map(str, conditions)) for conditions in self.alternatives]
        return joined[0] if len(joined) == 1 else " or ".join(f"({text})" for text in joined)

    def wanted(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Returns for each row whether it meets the filters: true or false, never null. There must be alternatives."""
        import pyarrow.compute as pc

        each = [
            reduce(pc.and_, [_meets(condition, columns[condition.column]) for condition in conditions])
            for conditions in self.alternatives
        ]
        return reduce(pc.or_, each)


RawConditions = tuple[tuple[tuple[str, str, Any], ...], ...]
"""Conditions as they were given: alternatives of (column, operator, value)."""


def conditions_of(filters: Any) -> RawConditions:
    """Returns the conditions in ``filters``, before the table is known; none for ``None``.

    Raises :class:`~gpuspark.errors.CallError` for what is not a list of conditions, and for an unknown operator.
    """
    if filters is None:
        return ()
    _check_list(filters, f"filters={filters!r}")
    alternatives = [filters] if isinstance(filters[0], tuple) else filters
    for conditions in alternatives:
        _check_list(conditions, repr(conditions))
    return tuple(tuple(map(_raw_condition, conditions)) for conditions in alternatives)


def _check_list(conditions: Any, shown: str) -> None:
    if isinstance(conditions, str) or not isinstance(conditions, Sequence) or not conditions:
        raise CallError(f"{shown} is not a list of conditions: write [('year', '=', 2013)]")


def _raw_condition(entry: Any) -> tuple[str, str, Any]:
    if not isinstance(entry, tuple | list) or len(entry) != 3 or not isinstance(entry[0], str):
        raise CallError(f"{entry!r} is not a condition: write (column, operator, value), such as ('year', '=', 2013)")
    column, operator, value = entry
    if operator not in OPERATORS:
        raise CallError(f"filters: there is no operator {operator!r}. {nearest(str(operator), OPERATORS)}")
    if operator in _OF_COLLECTIONS and (isinstance(value, str | bytes) or not isinstance(value, Iterable)):
        raise CallError(f"filters: {operator!r} takes a list of values for {column!r}, not {value!r}")
    return column, operator, value


def columns_in(conditions: RawConditions) -> tuple[str, ...]:
    """Returns the names of the columns that the conditions are about."""
    return tuple(dict.fromkeys(column for alternative in conditions for column, _, _ in alternative))


def typed(conditions: RawConditions, schema: pa.Schema) -> Filters:
    """Returns the conditions as filters of a table of this schema.

    Raises :class:`~gpuspark.errors.CallError` for an unknown column, and for a value that is not exactly of its type.
    """
    return Filters(tuple(tuple(_condition(*entry, schema) for entry in alternative) for alternative in conditions))


def _condition(column: str, operator: str, value: Any, schema: pa.Schema) -> Condition:
    if column not in schema.names:
        raise CallError(f"filters: there is no column {column!r}. {nearest(column, schema.names)}")
    column_type = schema.field(column).type
    if operator in _OF_COLLECTIONS:
        return Condition(column, operator, tuple(_literal(column, column_type, item) for item in value))
    return Condition(column, "=" if operator == "==" else operator, _literal(column, column_type, value))


def _literal(column: str, column_type: pa.DataType, value: Any) -> Any:
    """Returns ``value`` as the Python value that a column of this type holds."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        raise CallError(
            f"filters: no row of {column!r} equals null, nor differs from it. For rows with or without nulls, use "
            f"where(lambda batch: batch[{column!r}].to_arrow().is_null())."
        )
    needs, convert = _literals_of(column_type)
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError, decimal.InvalidOperation):
        raise CallError(f"filters: {column!r} is compared with {needs}, not with {value!r}") from None


def _literals_of(column_type: pa.DataType) -> tuple[str, Callable[[Any], Any]]:
    """Returns what a column of this type may be compared with, in words, and the function that converts it. The
    function raises for other values."""
    import pyarrow.types as is_

    if is_.is_boolean(column_type):
        return "True or False", _of_class(bool)
    if is_.is_integer(column_type):
        return "a whole number from -2**63 to 2**63 - 1", _integer
    if is_.is_floating(column_type):
        return "a number that a float holds exactly", _float
    if is_.is_decimal(column_type):
        return f"a whole number or a Decimal that fits {column_type}", lambda value: _decimal(value, column_type)
    if is_.is_string(column_type):
        return "a str", _of_class(str)
    if is_.is_binary(column_type):
        return "bytes", _of_class(bytes)
    if is_.is_date(column_type):
        return "a datetime.date without time of day", _date
    if is_.is_timestamp(column_type) and column_type.tz is not None:
        return "a datetime with a time zone, in whole microseconds", lambda value: _datetime(value, aware=True)
    if is_.is_timestamp(column_type):
        return "a datetime without time zone, in whole microseconds", lambda value: _datetime(value, aware=False)
    raise CallError(f"filters: columns of {column_type} cannot be compared; use where(...) with a function")


def _of_class(wanted: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, wanted):
            raise TypeError
        return value

    return convert


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise TypeError
    return value


def _float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or float(value) != value == value:
        raise TypeError
    return float(value)


def _decimal(value: Any, column_type: pa.Decimal128Type) -> decimal.Decimal:
    import pyarrow as pa

    if not isinstance(value, int | decimal.Decimal) or isinstance(value, bool):
        raise TypeError
    exact: decimal.Decimal = pa.scalar(decimal.Decimal(value), column_type).as_py()  # raises if it does not fit
    return exact


def _date(value: Any) -> datetime.date:
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise TypeError
    return value


def _datetime(value: Any, *, aware: bool) -> datetime.datetime:
    if not isinstance(value, datetime.datetime) or (value.tzinfo is not None) != aware:
        raise TypeError
    if getattr(value, "nanosecond", 0):  # pandas'
        raise ValueError
    plain = datetime.datetime.combine(value.date(), value.timetz())
    return plain.astimezone(datetime.UTC) if aware else plain


def _meets(condition: Condition, column: pa.Array) -> pa.Array:
    """Returns for each row of ``column`` whether it meets ``condition``, false for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if condition.value == ():  # of no values, null is not one either
        return pa.repeat(pa.scalar(condition.operator == "not in"), len(column))
    if condition.operator in _OF_COLLECTIONS:
        one_of = _one_of(column, condition.value)
        met = pc.invert(one_of) if condition.operator == "not in" else one_of
    else:
        met = _compared(column, condition.operator, condition.value)
    return pc.and_(pc.fill_null(met, False), column.is_valid())


def _one_of(column: pa.Array, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as is_

    if is_.is_floating(column.type):  # Arrow's is_in tells -0.0 from 0.0
        equals = [_compared(column, "=", value) for value in values]
        return reduce(pc.or_, equals, pa.repeat(pa.scalar(False), len(column)))
    if is_.is_integer(column.type):
        column = column.cast(pa.int64())
    return pc.is_in(column, value_set=pa.array(values, column.type))


def _compared(column: pa.Array, operator: str, value: Any) -> pa.Array:
    """Returns ``column operator value`` for each row, null or anything else for null."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_floating(column.type):
        return _compared_floats(column.cast(pa.float64()), operator, value)
    if is_.is_integer(column.type):
        column = column.cast(pa.int64())
    return _function(operator)(column, pa.scalar(value, column.type))


def _compared_floats(column: pa.Array, operator: str, value: float) -> pa.Array:
    """Returns ``column operator value`` with NaN equal to NaN, and greater than every other number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_nan = pc.is_nan(column)
    if math.isnan(value):
        always = pa.repeat(pa.scalar(True), len(column))
        return {
            "=": is_nan, ">=": is_nan, "!=": pc.invert(is_nan), "<": pc.invert(is_nan), "<=": always,
            ">": pc.invert(always),
        }[operator]  # fmt: skip
    met = _function(operator)(column, pa.scalar(value))
    return pc.or_(met, is_nan) if operator in (">", ">=") else met


def _function(operator: str) -> Callable[[pa.Array, pa.Scalar], pa.Array]:
    import pyarrow.compute as pc

    functions: dict[str, Callable[[pa.Array, pa.Scalar], pa.Array]] = {
        "=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
    }  # fmt: skip
    return functions[operator]
