"""How columns travel between Spark and a series body: as pandas Series, or as Arrow arrays.

A transport is pickled with the worker. Both have the same methods, so the worker need not know which it has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

    from gpuspark.columns.pandas_form import Conversion


class PandasTransport:
    """The transport of PySpark's pandas UDF: PySpark itself converts columns to pandas and results from it."""

    is_arrow = False
    time_zone = "UTC"
    """Unused: timestamps arrive in the session's time zone already."""

    def in_task(self) -> PandasTransport:
        """Returns this transport."""
        return self

    def to_pandas(self, columns: Sequence[Any]) -> Sequence[Any]:
        """Returns ``columns`` unchanged."""
        return columns

    def from_result(self, result: Any, columns: Sequence[Any]) -> Any:  # noqa: ARG002  # as in ArrowTransport
        """Returns ``result`` unchanged."""
        return result

    def from_yielded(self, result: Any) -> Any:
        """Returns ``result`` unchanged."""
        return result

    def iterator_of(self, results: Any) -> Any:
        """Returns ``results`` unchanged: PySpark checks what an iterator body returned."""
        return results


@dataclass(frozen=True)
class ArrowTransport:
    """The transport of PySpark's Arrow UDF: columns and results are Arrow arrays, and gpuspark converts them."""

    declared: DataType
    """The declared type of the result."""
    conversion: Conversion
    """The session's settings that PySpark converts by."""

    is_arrow = True

    @property
    def time_zone(self) -> str:
        """The session's time zone."""
        return self.conversion.time_zone

    def in_task(self) -> ArrowTransport:
        """Returns this transport with the settings of the running task."""
        return replace(self, conversion=self.conversion.in_task())

    def to_pandas(self, columns: Sequence[Any]) -> Sequence[Any]:
        """Returns ``columns`` as pandas Series, and structs as DataFrames, as a pandas UDF gets them."""
        from gpuspark.columns.pandas_form import to_pandas

        return to_pandas(columns, self.conversion)

    def from_result(self, result: Any, columns: Sequence[Any]) -> Any:
        """Returns the Arrow array of a result that was computed from ``columns``. Raises PySpark's own errors."""
        from gpuspark.columns.pandas_form import from_pandas

        return from_pandas(result, self.declared, self.conversion, len(columns[0]) if columns else None)

    def from_yielded(self, result: Any) -> Any:
        """Returns the Arrow array of a result that an iterator body yielded. Raises PySpark's own errors."""
        from gpuspark.columns.pandas_form import from_yielded

        return from_yielded(result, self.declared, self.conversion)

    def iterator_of(self, results: Any) -> Any:
        """Returns what an iterator body returned as an iterator. Raises PySpark's own error for anything else."""
        from gpuspark.columns.pandas_form import iterator_of

        return iterator_of(results, self.declared)


Transport = PandasTransport | ArrowTransport


def nbytes(value: Any) -> int:
    """Returns the bytes of an Arrow array, or those that pandas counts for a Series or DataFrame; 0 for others."""
    if isinstance(value, _loaded_classes("pandas", "Series", "DataFrame")):
        used = value.memory_usage(index=False)
        return int(used if isinstance(used, int) else used.sum())
    return int(value.nbytes) if isinstance(value, _loaded_classes("pyarrow", "Array", "ChunkedArray")) else 0


def _loaded_classes(module: str, *names: str) -> tuple[type[Any], ...]:
    """Returns the classes ``names`` of ``module``; none if the module is not loaded."""
    loaded = sys.modules.get(module)
    return tuple(getattr(loaded, name) for name in names) if loaded is not None else ()
