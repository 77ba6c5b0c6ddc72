"""pandas' Series with the checks that a series body on cuDF has (:mod:`gpuspark.columns.cudf_meaning`), so that
``gpuspark check`` finds what is left to pandas there. pandas computes: that cuDF has another type for a result is not
seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from gpuspark.columns.cudf_meaning import cudf_meaning, guard


@cache
def checked_class() -> type[pd.Series[Any]]:
    """Returns the class, a subclass of pandas' Series that has what of cuDF's interface the checks use.

    >>> from gpuspark.columns.cudf_meaning import pandas_meaning
    >>> x = checked_class()([3, 1, 2])
    >>> with pandas_meaning(checked_class()):
    ...     total = int((x * 2).sum())
    >>> total
    12
    >>> with pandas_meaning(checked_class()):
    ...     x.rank()
    Traceback (most recent call last):
    gpuspark.columns.cudf_operations.Different: cuDF's Series.rank is not known to give pandas' values
    """

    class Checked(pd.Series):  # type: ignore[misc]
        str = property(lambda self: _Accessor(Checked, self, "str"))
        dt = property(lambda self: _Accessor(Checked, self, "dt"))

        @property
        def _constructor(self) -> Callable[..., Any]:
            return Checked

        @property
        def null_count(self) -> int:
            """The number of nulls: those of numbers are NaN by then."""
            return 0 if self.dtype.kind == "f" else int(pd.Series(self).isna().sum())

        def to_pandas(self) -> pd.Series[Any]:
            return pd.Series(self)

        def to_arrow(self) -> Any:
            import pyarrow as pa

            return pa.Array.from_pandas(pd.Series(self))

        def __array_function__(self, function: Any, _types: Any, arguments: Any, named: Any) -> Any:
            with cudf_meaning():
                result = function(*_plain(arguments), **dict(zip(named, _plain(named.values()), strict=True)))
                return Checked(result) if isinstance(result, np.ndarray | pd.Series) else result

    guard(Checked)
    return Checked


class _Accessor:
    """``series.str`` or ``series.dt``, whose results are checked Series too."""

    def __init__(self, series_class: Any, series: Any, name: str) -> None:
        self._class, self._accessor = series_class, getattr(pd.Series(series), name)

    def __getitem__(self, key: Any) -> Any:
        return self._class(self._accessor[key])

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._accessor, name)
        if not callable(attribute):
            return self._class(attribute)
        return lambda *arguments, **named: self._class(attribute(*_plain(arguments), **named))

    def byte_count(self) -> Any:
        """Returns the bytes of each text, which pandas has no method for."""
        return self._class(self._accessor.encode("utf-8").str.len())


def _plain(values: Any) -> list[Any]:
    """Returns values with pandas' own Series in place of checked ones, in lists and tuples too."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return _plain(value)
        return pd.Series(value) if isinstance(value, pd.Series) else value

    return list(map(plain, values))
