"""A compiled function, or a kernel, called on columns: it computes them now, where the task runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.batch import Column
from gpuspark.config import Config
from gpuspark.errors import CallError
from gpuspark.rowwise import Work
from gpuspark.session import task_config
from gpuspark.types import of_arrow
from gpuspark.worker import Runner

if TYPE_CHECKING:
    import pyarrow as pa

    from gpuspark.scalar_udf import ScalarUDF

_Key = tuple[tuple[str, ...], tuple[Any, ...], Config]


def apply_now(function: ScalarUDF, columns: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The results as a column of the kind that was given: gpuspark's, Arrow's, or a Series (whose index
    is kept; NaN counts as null there, as in PySpark's pandas form). Numbers among them stand for every row.

    Raises :class:`~gpuspark.errors.CallError` for columns of different lengths.
    """
    bound = function.bind(columns, named)
    first = next(value for value in bound.values() if _length(value) is not None)
    lengths = {name: _length(value) for name, value in bound.items() if _length(value) is not None}
    if len(set(lengths.values())) > 1:
        raise CallError(f"{function.__name__} was given columns of different lengths: {lengths}")
    arrays = [_arrow(value, len(first)) for value in bound.values()]
    runner = _runner(function, tuple(bound), arrays)
    return _like(first, runner.run(arrays, Work()))


def _runner(function: ScalarUDF, names: tuple[str, ...], arrays: Sequence[pa.Array]) -> Runner:
    """Remembered with the function: the plan is made once for column types and flags."""
    config = task_config()
    key: _Key = (names, tuple(array.type for array in arrays), config)
    known: dict[_Key, Runner] = function.__dict__.setdefault("_runners", {})
    if key not in known:
        known[key] = Runner(function.scalar_function(names), [of_arrow(a.type) for a in arrays], config)
    return known[key]


def _length(value: Any) -> int | None:
    return len(value) if hasattr(value, "__arrow_c_array__") or hasattr(value, "iloc") else None


def _arrow(value: Any, rows: int) -> pa.Array:
    import pyarrow as pa

    if isinstance(value, Column):
        return value.to_arrow()
    if isinstance(value, pa.Array):
        return value
    if hasattr(value, "to_arrow"):
        return value.to_arrow()
    if hasattr(value, "iloc"):
        return pa.Array.from_pandas(value)
    if hasattr(value, "__arrow_c_array__"):
        return pa.array(value)
    return pa.repeat(pa.scalar(value), rows)


def _like(given: Any, result: pa.Array) -> Any:
    if isinstance(given, Column):
        return Column(result, given.device)
    if type(given).__module__.startswith("cudf"):
        from gpuspark.devices.rapids import series_from_arrow

        series = series_from_arrow(result)
        series.index = given.index
        return series
    if hasattr(given, "iloc"):
        return result.to_pandas().set_axis(given.index)
    return result
