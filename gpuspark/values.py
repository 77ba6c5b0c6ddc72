"""Between Arrow and Python's own values: what a scalar body is given, and what it may return.

The values given are PySpark's: ``int``, ``float``, ``bool``, ``datetime`` objects (a ``timestamp`` in the
worker's local time, naive), ``Decimal``, ``list``, ``dict``, ``Row``. What a body may return for each
declared type is one table, the same on every device and PySpark version; where it accepts a value, the column
holds what PySpark 4.3 makes of it:

=====================  =============================================================================
declared               accepted (``None`` is null everywhere)
=====================  =============================================================================
``boolean``            ``bool``; a number of 64 bits (true unless zero)
``tinyint`` … bigint   ``int`` in range; a finite ``float`` or ``Decimal``, cut towards zero; no ``bool``
``float``, ``double``  ``float``; ``bool``; ``Decimal``; ``int`` that the type holds exactly (to 2**24, 2**53)
``date``               ``date``
``timestamp``          ``datetime``: naive is the worker's local time
``string``             ``str``; anything else as ``str()`` gives it, ``true`` and ``false`` for ``bool``
``decimal(p, s)``      ``Decimal``, rounded half to even to ``s`` places; NaN is null
``binary``             ``bytes``, ``bytearray``
``array``              ``list``, ``tuple``, ``array.array``; NumPy's of numbers, of one dimension
``map``                ``dict``
``struct``             ``tuple`` and ``Row`` by place; ``dict``, and objects by their attributes, by name
=====================  =============================================================================

What is nested follows the same table. Anything else is a :class:`~gpuspark.errors.ResultError`; PySpark 4.3 takes some
of it (numbers out of ``str``, dates out of numbers), and refuses tuples for some arrays. NumPy scalars count as the
number they hold.
"""

from __future__ import annotations

import array
import datetime
import decimal
import math
import reprlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import ResultError
from gpuspark.types import ColumnType, of_arrow

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime.date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (datetime.date.min - _EPOCH).days + 1, (datetime.date.max - _EPOCH).days - 1


def to_python(array: pa.Array) -> list[Any]:
    """The values of a column as PySpark gives them to a plain ``udf``; nulls are ``None``."""
    convert = _reader(array.type)
    values: list[Any] = array.to_pylist()
    return values if convert is None else [None if v is None else convert(v) for v in values]


def near_the_calendars_ends(column: pa.Array) -> bool:
    """Whether a column of dates or timestamps reaches beyond the years 1 to 9999 that Python has, or within a day of
    their ends, where a zone decides. Python, which converts each value before a body runs, then raises or answers."""
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
    """The conversion from Arrow's idea of a value to PySpark's, where they differ."""
    import pyarrow.types as is_

    if is_.is_timestamp(arrow) and arrow.tz is not None:
        return lambda moment: moment.astimezone().replace(tzinfo=None)
    if is_.is_list(arrow) or is_.is_large_list(arrow):
        inner = _reader(arrow.value_type)
        return None if inner is None else lambda items: [None if v is None else inner(v) for v in items]
    if is_.is_map(arrow):
        key, item = (_reader(t) or (lambda v: v) for t in (arrow.key_type, arrow.item_type))
        return lambda pairs: {key(k): None if v is None else item(v) for k, v in pairs}
    if is_.is_struct(arrow):
        return _row_reader(arrow)
    return None


def _row_reader(arrow: pa.DataType) -> Callable[[Any], Any]:
    from pyspark.sql import Row

    names = [arrow.field(n).name for n in range(arrow.num_fields)]
    readers = [_reader(arrow.field(n).type) or (lambda v: v) for n in range(arrow.num_fields)]
    make = Row(*names)

    def read(record: dict[str, Any]) -> Any:
        return make(*(None if record[n] is None else r(record[n]) for n, r in zip(names, readers, strict=True)))

    return read


def from_python(values: Sequence[Any], declared: ColumnType, arrow: pa.DataType) -> pa.Array:
    """A column of what a body returned, by the table above. ``arrow`` is the declared type in Arrow.

    Raises :class:`~gpuspark.errors.ResultError`, whose ``row`` is the place of the first value in the way.
    """
    import pyarrow as pa

    write = _writer(declared, arrow)
    written: list[Any] = []
    for row, value in enumerate(values):
        try:
            written.append(None if value is None else write(_plain(value)))
        except (TypeError, ValueError, OverflowError, ArithmeticError):
            raise _mismatch(value, declared, row) from None
    if declared.kind == "float" and declared.bits == 32:
        return pa.array(written, pa.float64()).cast(arrow, safe=False)
    try:
        return pa.array(written, arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise ResultError(f"the body's results do not make a column of {declared}: {error}") from None


def _mismatch(value: Any, declared: ColumnType, row: int) -> ResultError:
    error = ResultError(
        f"the body returned {reprlib.repr(value)} ({type(value).__name__}), which a column of {declared} cannot hold. "
        "Declare another type, or convert the value in the body."
    )
    error.row = row  # type: ignore[attr-defined]
    return error


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python value it holds."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _writer(declared: ColumnType, arrow: pa.DataType) -> Callable[[Any], Any]:
    import pyarrow.types as is_

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
            return _local_to_utc if arrow.tz else _expect(datetime.datetime)
        case "interval":
            return _microseconds
    if is_.is_string(arrow) or is_.is_large_string(arrow):
        return _text
    if is_.is_decimal(arrow):
        return _decimal(arrow.precision, arrow.scale)
    if is_.is_binary(arrow) or is_.is_large_binary(arrow):
        return lambda value: bytes(_expect(bytes | bytearray)(value))
    if is_.is_map(arrow):
        return _map(arrow)
    if is_.is_list(arrow) or is_.is_large_list(arrow):
        return _list(arrow)
    if is_.is_struct(arrow):
        return _struct(arrow)
    return lambda value: value


def _part(arrow: pa.DataType) -> Callable[[Any], Any]:
    """The writer of a nested value, which may be null."""
    write = _writer(of_arrow(arrow), arrow)
    return lambda value: None if value is None else write(_plain(value))


def _expect(kind: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
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
    write = _part(arrow.value_type)
    return lambda value: [write(item) for item in _items(value)]


def _items(value: Any) -> Any:
    """What an array is made of: PySpark's Arrow conversion takes NumPy arrays of one dimension, too."""
    if type(value).__name__ == "ndarray" and type(value).__module__ == "numpy":
        if value.ndim != 1 or value.dtype.kind not in "biufO":
            raise TypeError
        return value
    return _expect(list | tuple | array.array)(value)


def _map(arrow: pa.DataType) -> Callable[[Any], list[tuple[Any, Any]]]:
    key, item = _writer(of_arrow(arrow.key_type), arrow.key_type), _part(arrow.item_type)
    return lambda value: [(key(_plain(k)), item(v)) for k, v in _expect(dict)(value).items()]


def _struct(arrow: pa.DataType) -> Callable[[Any], dict[str, Any]]:
    names = [arrow.field(n).name for n in range(arrow.num_fields)]
    writers = [_part(arrow.field(n).type) for n in range(arrow.num_fields)]

    def check(value: Any) -> dict[str, Any]:
        if isinstance(value, tuple):
            given = list(value)
        else:
            found = value if isinstance(value, dict) else vars(value)
            given = [found.get(name) for name in names]
        if len(given) != len(names):
            raise ValueError
        return {name: write(v) for name, write, v in zip(names, writers, given, strict=True)}

    return check


def same(one: Any, other: Any, ulp: int = 0) -> bool:
    """Whether two results are one answer: equal type and value, NaN equal to NaN, -0.0 unlike 0.0; floats
    may differ by ``ulp`` units in the last place.

    >>> same(float("nan"), float("nan")), same(0.0, -0.0), same(1, 1.0), same(1.0, 1.0000000000000002, ulp=1)
    (True, False, False, True)
    """
    if type(one) is not type(other):
        return False
    if not isinstance(one, float):
        return bool(one == other)
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if one == other:
        return math.copysign(1, one) == math.copysign(1, other)
    if math.isinf(one) or math.isinf(other):
        return False
    return bool(abs(one - other) <= ulp * max(math.ulp(one), math.ulp(other)))
