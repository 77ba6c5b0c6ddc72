"""Converts Arrow values to the Python values that a scalar body gets, and its results back to Arrow.

The arguments are PySpark's: ``int``, ``float``, ``bool``, ``datetime`` objects (a ``timestamp`` naive, in the
worker's local time), ``Decimal``, ``list``, ``dict``, ``Row``. The table says what a body may return for each
declared type, on every device and PySpark version. The column holds what PySpark 4.3 makes of an accepted value:

=====================  =============================================================================
declared               accepted (``None`` is null everywhere)
=====================  =============================================================================
``boolean``            ``bool``; a number of 64 bits (true unless zero)
``tinyint`` … bigint   ``int`` in range; a finite ``float`` or ``Decimal``, truncated; not ``bool``
``float``, ``double``  ``float``; ``bool``; finite ``Decimal``; ``int`` that the type holds exactly (to 2**24, 2**53)
``date``               ``date``
``timestamp``          ``datetime``: naive is the worker's local time
``timestamp_ntz``      naive ``datetime``
``interval``, ``time`` ``timedelta``, ``time``
``string``             ``str``; anything else as ``str()`` gives it, ``true`` and ``false`` for ``bool``
``decimal(p, s)``      ``Decimal``, rounded half to even to ``s`` places; NaN is null
``binary``             ``bytes``, ``bytearray``
``array``              ``list``, ``array.array``; also ``tuple`` if Arrow takes the elements unconverted, and
                       one-dimensional NumPy arrays if they are numbers
``map``                ``dict``
``struct``             ``tuple`` and ``Row`` by position; ``dict``, and the attributes of objects, by name
``variant``            ``VariantVal``; ``geometry`` and ``geography``: ``Geometry`` and ``Geography``
=====================  =============================================================================

Nested values follow the same table, and may be null only if the declared type allows it. Anything else raises
:class:`~gpuspark.errors.ResultError`; PySpark 4.3 accepts some of it: numbers from ``str``, dates from numbers.
NumPy's booleans and numbers of up to 64 bits count as the Python value they hold, except when converted to ``string``.
In types with a map, which Arrow cannot infer, PySpark refuses booleans from numbers and floats from ``Decimal``;
gpuspark accepts them.
"""

from __future__ import annotations

import array
import datetime
import decimal
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.columns.types import ColumnType, of_arrow
from gpuspark.errors import ResultError
from gpuspark.spark.arrow_types import read_marked, write_marked
from gpuspark.spark.session import binary_as_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime.date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (datetime.date.min - _EPOCH).days + 1, (datetime.date.max - _EPOCH).days - 1


def to_python(array: pa.Array) -> list[Any]:
    """Returns the values of a column as PySpark passes them to a plain ``udf``; nulls are ``None``."""
    convert = _reader(array.type)
    values: list[Any] = array.to_pylist()
    return values if convert is None else [None if v is None else convert(v) for v in values]


def near_the_calendars_ends(column: pa.Array) -> bool:
    """Returns whether a column has dates or timestamps outside the years 1 to 9999, or within a day of their ends.

    Python has no other years, and near the ends the time zone decides. Such a batch runs in plain Python, which
    converts each value before the body runs and so raises or computes as PySpark does.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    is_date = pa.types.is_date32(column.type)
    if not is_date and not pa.types.is_timestamp(column.type):
        return False
    a_day = 1 if is_date else 86_400_000_000
    ends = pc.min_max(column.view(pa.int32() if is_date else pa.int64()))
    first, last = ends["min"].as_py(), ends["max"].as_py()
    return first is not None and not (_FIRST_DAY * a_day < first and last < _LAST_DAY * a_day)


def _reader(arrow: pa.DataType) -> Callable[[Any], Any] | None:
    """Returns the conversion from Arrow's Python value to PySpark's, or ``None`` if they are the same."""
    import pyarrow.types as is_

    if is_.is_timestamp(arrow) and arrow.tz is not None:
        return lambda moment: moment.astimezone().replace(tzinfo=None)
    if is_.is_list(arrow) or is_.is_large_list(arrow):
        inner = _reader(arrow.value_type)
        return None if inner is None else lambda items: [None if v is None else inner(v) for v in items]
    if is_.is_map(arrow):
        key, item = (_reader(t) or (lambda v: v) for t in (arrow.key_type, arrow.item_type))
        return lambda pairs: {key(k): None if v is None else item(v) for k, v in pairs}
    if is_.is_binary(arrow) or is_.is_large_binary(arrow):
        return None if binary_as_bytes() else bytearray
    if is_.is_struct(arrow):
        return read_marked(arrow) or _row_reader(arrow)
    return None


def _row_reader(arrow: pa.DataType) -> Callable[[Any], Any]:
    from pyspark.sql import Row

    names = [arrow.field(n).name for n in range(arrow.num_fields)]
    readers = [_reader(arrow.field(n).type) or (lambda v: v) for n in range(arrow.num_fields)]
    row_class = Row(*names)

    def read(record: dict[str, Any]) -> Any:
        return row_class(*(None if record[n] is None else r(record[n]) for n, r in zip(names, readers, strict=True)))

    return read


def from_python(values: Sequence[Any], declared: ColumnType, arrow: pa.DataType) -> pa.Array:
    """Returns the Arrow column of a body's results, by the table above; ``arrow`` is the declared type in Arrow.

    Raises :class:`~gpuspark.errors.ResultError`, whose ``row`` is the position of the first invalid value.
    """
    import pyarrow as pa

    write = _writer(declared, arrow)
    written: list[Any] = []
    for row, value in enumerate(values):
        try:
            written.append(None if value is None else write(value))
        except (TypeError, ValueError, OverflowError, ArithmeticError):
            raise _mismatch(value, declared, row) from None
    if declared.kind == "float" and declared.bits == 32:
        return pa.array(written, pa.float64()).cast(arrow, safe=False)
    try:
        return pa.array(written, arrow)
    except (ValueError, TypeError, pa.ArrowException, OverflowError) as error:
        raise ResultError(f"the body's results do not make a column of {declared}: {error}") from None


def _mismatch(value: Any, declared: ColumnType, row: int) -> ResultError:
    error = ResultError(
        f"the body returned {reprlib.repr(value)} ({type(value).__name__}), which a column of {declared} cannot hold. "
        "Declare another type, or convert the value in the body."
    )
    error.row = row  # type: ignore[attr-defined]
    return error


def _plain(value: Any) -> Any:
    """Returns NumPy's booleans and numbers of up to 64 bits as Python values, and anything else unchanged."""
    dtype = getattr(value, "dtype", None)
    if type(value).__module__ != "numpy" or dtype is None or type(value).__name__ == "ndarray":
        return value
    return value.item() if _holds_plain_values(dtype) else value


def _holds_plain_values(dtype: Any) -> bool:
    return dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def _writer(declared: ColumnType, arrow: pa.DataType) -> Callable[[Any], Any]:
    """Returns the conversion of a value other than ``None`` for Arrow; it raises for values that are not accepted."""
    import pyarrow.types as is_

    if is_.is_string(arrow) or is_.is_large_string(arrow):
        return _text
    write = _number_writer(declared if declared.kind != "other" else of_arrow(arrow), arrow) or _other_writer(arrow)
    return lambda value: write(_plain(value))


def _number_writer(declared: ColumnType, arrow: pa.DataType) -> Callable[[Any], Any] | None:
    match declared.kind:
        case "boolean":
            return _boolean
        case "integer":
            return _integer(declared.bits)
        case "float":
            return _float(2**24 if declared.bits == 32 else 2**53)
        case "date":
            return _date
        case "timestamp":
            return _local_to_utc if arrow.tz else _naive
        case "interval":
            return _microseconds
    return None


def _other_writer(arrow: pa.DataType) -> Callable[[Any], Any]:
    import pyarrow.types as is_

    if is_.is_decimal(arrow):
        return _decimal(arrow.precision, arrow.scale)
    if is_.is_binary(arrow) or is_.is_large_binary(arrow):
        return lambda value: bytes(_expect(bytes | bytearray)(value))
    if is_.is_time(arrow):
        return _expect(datetime.time)
    if is_.is_null(arrow):
        return _expect(type(None))
    if is_.is_map(arrow):
        return _map(arrow)
    if is_.is_list(arrow) or is_.is_large_list(arrow):
        return _list(arrow)
    if is_.is_struct(arrow):
        return write_marked(arrow) or _struct(arrow)
    return lambda value: value


def _nested(field: pa.Field) -> Callable[[Any], Any]:
    """Returns the writer of a nested value, which may be null if the field is nullable."""
    write = _writer(of_arrow(field.type), field.type)

    def check(value: Any) -> Any:
        if value is None and not field.nullable:
            raise TypeError
        return None if value is None else write(value)

    return check


def _expect(accepted: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, accepted):
            raise TypeError
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool | int | float):
        raise TypeError
    return bool(_integer(64)(value)) if isinstance(value, int) and not isinstance(value, bool) else bool(value)


def _integer(bits: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
            raise TypeError
        whole = int(value)
        if not -(1 << bits - 1) <= whole < 1 << bits - 1:
            raise OverflowError
        return whole

    return check


def _float(exact: int) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if not isinstance(value, int | float | decimal.Decimal):
            raise TypeError
        if isinstance(value, int) and abs(value) > exact:
            raise OverflowError
        if isinstance(value, decimal.Decimal) and not value.is_finite():
            raise ValueError
        return float(value)

    return check


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.datetime):
        return value.date()
    if not isinstance(value, datetime.date):
        raise TypeError
    return value


def _local_to_utc(value: Any) -> datetime.datetime:
    if not isinstance(value, datetime.datetime):
        raise TypeError
    return value.astimezone(datetime.UTC)


def _naive(value: Any) -> datetime.datetime:
    if not isinstance(value, datetime.datetime) or value.tzinfo is not None:
        raise TypeError
    return value


def _microseconds(value: Any) -> int:
    if not isinstance(value, datetime.timedelta):
        raise TypeError
    return value // datetime.timedelta(microseconds=1)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decimal(precision: int, scale: int) -> Callable[[Any], decimal.Decimal | None]:
    places = decimal.Decimal(f"1E-{scale}")
    context = decimal.Context(prec=precision, rounding=decimal.ROUND_HALF_EVEN)

    def check(value: Any) -> decimal.Decimal | None:
        if not isinstance(value, decimal.Decimal):
            raise TypeError
        return None if value.is_nan() else value.quantize(places, context=context)

    return check


def _list(arrow: pa.DataType) -> Callable[[Any], list[Any]]:
    write = _nested(arrow.value_field)
    element = of_arrow(arrow.value_type).kind
    unconverted = _is_passed_unconverted(arrow)
    accepted: Any = (list, tuple) if unconverted else (list,)
    if element != "boolean":
        accepted += (array.array,)

    def check(value: Any) -> list[Any]:
        if type(value).__name__ == "ndarray" and element in ("boolean", "integer", "float") and unconverted:
            if value.ndim != 1 or not _holds_plain_values(value.dtype):
                raise TypeError
            value = value.tolist()
        if not isinstance(value, accepted):
            raise TypeError
        return [write(item) for item in value]

    return check


def _is_passed_unconverted(arrow: pa.DataType) -> bool:
    """Returns whether PySpark passes arrays of this type to Arrow unconverted, which accepts any sequence."""
    import pyarrow.types as is_

    inner = arrow.value_type
    if is_.is_list(inner):
        return bool(arrow.value_field.nullable) and _is_passed_unconverted(inner)
    plain = of_arrow(inner).kind not in ("other", "timestamp") or is_.is_time(inner)
    return bool(arrow.value_field.nullable) and plain


def _map(arrow: pa.DataType) -> Callable[[Any], list[tuple[Any, Any]]]:
    key, item = _nested(arrow.key_field), _nested(arrow.item_field)
    return lambda value: [(key(k), item(v)) for k, v in _expect(dict)(value).items()]


def _struct(arrow: pa.DataType) -> Callable[[Any], dict[str, Any]]:
    names = [arrow.field(n).name for n in range(arrow.num_fields)]
    writers = [_nested(arrow.field(n)) for n in range(arrow.num_fields)]
    if len(set(names)) < len(names):
        raise ResultError(f"a struct of fields {', '.join(names)} was declared: give each field a name of its own")

    def check(value: Any) -> dict[str, Any]:
        if isinstance(value, tuple):
            values = list(value)
        else:
            attributes = value if isinstance(value, dict) else vars(value)
            values = [attributes.get(name) for name in names]
        if len(values) != len(names):
            raise ValueError
        return {name: write(v) for name, write, v in zip(names, writers, values, strict=True)}

    return check


def same(left: Any, right: Any, ulp: int = 0) -> bool:
    """Returns whether two results have the same type and value.

    NaN equals NaN, -0.0 differs from 0.0, and floats may differ by ``ulp`` units in the last place.

    >>> same(float("nan"), float("nan")), same(0.0, -0.0), same(1, 1.0), same(1.0, 1.0000000000000002, ulp=1)
    (True, False, False, True)
    """
    if type(left) is not type(right):
        return False
    if not isinstance(left, float):
        return bool(left == right)
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    if left == right:
        return math.copysign(1, left) == math.copysign(1, right)
    if math.isinf(left) or math.isinf(right):
        return False
    return bool(abs(left - right) <= ulp * max(math.ulp(left), math.ulp(right)))
