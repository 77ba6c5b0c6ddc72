"""The form that a series body's columns take on a GPU, and the way back: cuDF Series that mean what PySpark's
pandas Series mean.

Null becomes NaN, an integer column with nulls one of doubles, timestamps are naive in the session's time zone.
A column without such a form (:func:`obstacle`) keeps its body on pandas. With ``missing="cudf"`` the body sees
cuDF's own nulls instead. On the way back a result becomes a pandas one, which PySpark's converters take.

Nothing here has run on a device (docs/evidence.md).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Missing = Literal["pandas", "cudf"]
WITHOUT_EQUAL_FORM = ("decimal", "date", "array", "map", "struct", "binary", "interval", "variant", "void", "time")
"""Beginnings of Spark's names of the types that cuDF has not, or has with another meaning. ``timestamp`` is none."""


def type_obstacle(name: str) -> str | None:
    """Why columns of the Spark type ``name`` never go to cuDF, if so."""
    alone = name.split("(")[0].split("<")[0].split()[0]
    return f"a column of {name} has no equal cuDF form" if alone in WITHOUT_EQUAL_FORM else None


def obstacle(column: Any, missing: Missing) -> str | None:
    """Why ``column``, Arrow's or pandas', has no equal cuDF form, if so."""
    return _pandas_obstacle(column, missing) if hasattr(column, "iloc") else _arrow_obstacle(column, missing)


def _arrow_obstacle(column: pa.Array, missing: Missing) -> str | None:
    import pyarrow.types as is_

    kind = column.type
    if is_.is_integer(kind) or is_.is_floating(kind):
        return None
    if not (is_.is_boolean(kind) or is_.is_string(kind) or is_.is_large_string(kind) or is_.is_timestamp(kind)):
        return f"a column of {kind} has no equal cuDF form"
    return _null_obstacle(str(kind)) if missing == "pandas" and column.null_count else None


def _pandas_obstacle(column: Any, missing: Missing) -> str | None:
    if hasattr(column, "columns"):
        return "a column of struct has no equal cuDF form"
    if column.dtype.kind in "iuf":
        return None
    known = next((value for value in column if value is not None), None) if column.dtype.kind == "O" else None
    if known is not None and not isinstance(known, str | bool):
        return f"a column of {type(known).__name__} has no equal cuDF form"
    kind = type(known).__name__ if known is not None else str(column.dtype)
    return _null_obstacle(kind) if missing == "pandas" and column.isna().any() else None


def _null_obstacle(kind: str) -> str:
    return f'a column of {kind} with nulls, which cuDF compares otherwise than pandas (missing="cudf" allows it)'


def to_device(column: Any, missing: Missing, time_zone: str) -> Any:
    """A cuDF Series of a column without obstacle, Arrow's or pandas'."""
    from gpuspark.devices import rapids

    if hasattr(column, "iloc"):
        return rapids.series_from_pandas(column, nan_as_null=missing == "cudf")
    return rapids.series_from_arrow(_as_pandas_means(column, missing, time_zone))


def _as_pandas_means(column: pa.Array, missing: Missing, time_zone: str) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as is_

    if is_.is_timestamp(column.type):
        zoned = column.cast(pa.timestamp(column.type.unit, time_zone)) if column.type.tz else None
        return (column if zoned is None else pc.local_timestamp(zoned)).cast(pa.timestamp("ns"))
    if missing == "pandas" and column.null_count:
        wide = column.cast(pa.float64(), safe=False) if is_.is_integer(column.type) else column
        return pc.fill_null(wide, float("nan"))
    return column


def to_host(result: Any) -> Any:
    """A body's result as a pandas Series, DataFrame or scalar."""
    return result.to_pandas() if hasattr(result, "to_pandas") else result


REFUSALS = (NotImplementedError, AttributeError, TypeError)
"""What cuDF raises where it lacks what it is asked for."""


def refused(error: BaseException) -> bool:
    """Whether cuDF said that it lacks what the body asked for: the innermost frame is cuDF's, so the body itself
    did nothing wrong."""
    last = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        last = frame
    module = str(last.f_globals.get("__name__", "")) if last is not None else ""
    return isinstance(error, REFUSALS) and module.split(".")[0] in ("cudf", "pylibcudf")


def place(error: BaseException, body: Callable[..., Any]) -> str:
    """``file.py, line 12``: the last line of ``body``'s file that ``error`` came through."""
    name = getattr(getattr(body, "__code__", None), "co_filename", "")
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == name]
    return f"{name.rsplit('/', 1)[-1]}, line {lines[-1] if lines else '?'}"
