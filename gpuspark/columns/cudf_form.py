"""Converts the columns of a series body to cuDF Series with the meaning of PySpark's pandas Series, and results back.

Null becomes NaN, an integer column with nulls becomes one of doubles, and timestamps are naive in the session's time
zone. A column for which that is impossible (:func:`obstacle`) keeps its body on pandas. With ``missing="cudf"`` the
body gets cuDF's own nulls instead. Results are converted to pandas, which PySpark's converters accept.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from gpuspark.columns.cudf_meaning import cudf_meaning
from gpuspark.columns.cudf_operations import Different

if TYPE_CHECKING:
    import pyarrow as pa

Missing = Literal["pandas", "cudf"]
WITHOUT_EQUAL_FORM = ("decimal", "date", "array", "map", "struct", "binary", "interval", "variant", "void", "time")
"""First words of the names of the Spark types that cuDF lacks, or has with another meaning."""


def type_obstacle(name: str) -> str | None:
    """Returns why columns of the Spark type ``name`` cannot go to cuDF, or ``None`` if they can."""
    first_word = name.split("(")[0].split("<")[0].split()[0]
    return f"a column of {name} has no equal cuDF form" if first_word in WITHOUT_EQUAL_FORM else None


def obstacle(column: Any, missing: Missing) -> str | None:
    """Returns why an Arrow or pandas column has no equal cuDF form, or ``None`` if it has one."""
    return _pandas_obstacle(column, missing) if hasattr(column, "iloc") else _arrow_obstacle(column, missing)


def _arrow_obstacle(column: pa.Array, missing: Missing) -> str | None:
    import pyarrow.types as is_

    arrow = column.type
    if is_.is_integer(arrow) or is_.is_floating(arrow):
        return None
    if not (is_.is_boolean(arrow) or is_.is_string(arrow) or is_.is_large_string(arrow) or is_.is_timestamp(arrow)):
        return f"a column of {arrow} has no equal cuDF form"
    return _null_obstacle(str(arrow)) if missing == "pandas" and column.null_count else None


def _pandas_obstacle(column: Any, missing: Missing) -> str | None:
    if hasattr(column, "columns"):
        return "a column of struct has no equal cuDF form"
    if column.dtype.kind in "iuf":
        return None
    example = next((value for value in column if value is not None), None) if column.dtype.kind == "O" else None
    if example is not None and not isinstance(example, str | bool):
        return f"a column of {type(example).__name__} has no equal cuDF form"
    type_name = type(example).__name__ if example is not None else str(column.dtype)
    return _null_obstacle(type_name) if missing == "pandas" and column.isna().any() else None


def _null_obstacle(type_name: str) -> str:
    return f'a column of {type_name} with nulls, which cuDF compares differently from pandas (missing="cudf" allows it)'


def to_device(column: Any, missing: Missing, time_zone: str) -> Any:
    """Returns the cuDF Series of an Arrow or pandas column that has no :func:`obstacle`."""
    from gpuspark.devices import rapids

    with cudf_meaning():
        if hasattr(column, "iloc"):
            return rapids.series_from_pandas(column, nan_as_null=missing == "cudf")
        return rapids.series_from_arrow(_with_pandas_meaning(column, missing, time_zone))


def _with_pandas_meaning(column: pa.Array, missing: Missing, time_zone: str) -> pa.Array:
    """Returns ``column`` with naive local timestamps and, for ``missing="pandas"``, NaN in place of nulls."""
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
    """Returns a body's result as a pandas Series, DataFrame or scalar."""
    with cudf_meaning():
        return result.to_pandas() if hasattr(result, "to_pandas") else result


REFUSALS = (NotImplementedError, AttributeError, TypeError)
"""The errors that cuDF raises for what it does not support."""


def refused(error: BaseException) -> bool:
    """Returns whether ``error`` says that cuDF does not support something, or has another result than pandas.

    The innermost frame must be cuDF's: otherwise the error may be the body's own.
    """
    if isinstance(error, Different):
        return True
    innermost = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        innermost = frame
    module = str(innermost.f_globals.get("__name__", "")) if innermost is not None else ""
    return isinstance(error, REFUSALS) and module.split(".")[0] in ("cudf", "pylibcudf")


def place(error: BaseException, body: Callable[..., Any]) -> str:
    """Returns ``file.py, line 12``: the last line of ``body``'s file in the traceback of ``error``."""
    name = getattr(getattr(body, "__code__", None), "co_filename", "")
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == name]
    return f"{name.rsplit('/', 1)[-1]}, line {lines[-1] if lines else '?'}"
