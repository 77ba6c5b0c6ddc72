"""Public assertions that a function gives the same result on every device.

For tests of your own functions; they need neither Spark nor a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.work import Work
from gpuspark.columns.types import of_arrow
from gpuspark.columns.values import same, to_python
from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.errors import DeviceError, GpusparkError
from gpuspark.execution.runner import Runner
from gpuspark.execution.verify import tolerance
from gpuspark.spark.session import configured

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Outcome:
    """The result of a function over a table: a column, or the error that it raised."""

    values: list[Any] | None
    """The column's Python values; ``None`` after an error."""
    arrow: str
    """The column's Arrow type."""
    error: str
    """The type and text of the error; empty without one."""

    def __str__(self) -> str:
        return self.error or f"{self.arrow} {self.values}"


def run_on(device: DeviceName, f: ScalarUDF, table: pa.Table | pa.RecordBatch, **flags: Any) -> Outcome:
    """Runs ``f`` on ``device`` with the columns of ``table`` as its arguments, in order; returns the outcome.

    ``flags`` are fields of :class:`~gpuspark.config.Config`. Device errors and fallbacks are raised; errors of
    the body or of its results are returned in the outcome.
    """
    columns = [_one_array(table.column(n)) for n in range(table.num_columns)]
    names = tuple(f.signature.parameters)[: len(columns)]
    runner = Runner(f.scalar_function(names), [of_arrow(c.type) for c in columns], _config(device, flags))
    try:
        result = runner.run(columns, Work())
    except DeviceError:
        raise
    except Exception as error:
        if isinstance(error, GpusparkError) and not isinstance(error, ValueError):
            raise
        return Outcome(None, "", f"{type(error).__name__}: {error} {getattr(error, '__notes__', '')}")
    return Outcome(to_python(result), str(result.type), "")


def on_device(device: DeviceName, **flags: Any) -> AbstractContextManager[None]:
    """Context manager in which kernels and array functions called outside Spark run on ``device``, or raise.

    ``flags`` are fields of :class:`~gpuspark.config.Config`.

    >>> from gpuspark import kernels
    >>> import pyarrow as pa
    >>> with on_device("cpu"):
    ...     kernels.haversine(pa.array([0.0]), 0.0, 0.0, 0.0).to_pylist()
    [0.0]
    """
    return configured(_config(device, flags))


def assert_same_on_all_devices(
    f: ScalarUDF,
    table: pa.Table | pa.RecordBatch,
    *,
    devices: Sequence[DeviceName] = ("cpu", "emulated"),
    ulp: int | None = None,
    **flags: Any,
) -> Outcome:
    """Asserts that ``f`` gives the same values, nulls, types and errors on ``devices`` as in plain Python.

    Floats may differ by ``ulp`` units in the last place; by default by a few if the body calls mathematical
    functions, and not at all otherwise. Returns plain Python's outcome.

    Raises ``AssertionError`` at the first difference, and :class:`~gpuspark.errors.FallbackError` if a device
    cannot run the function.

    >>> import pyarrow as pa, gpuspark as gs
    >>> f = gs.udf("double")(lambda a: a * 2)
    >>> print(assert_same_on_all_devices(f, pa.table({"a": [1.0, None]}), devices=["cpu"]))
    double [2.0, None]
    """
    expected = run_on("python", f, table, **flags)
    if ulp is None:
        ulp = tolerance(f.scalar_function(tuple(f.signature.parameters)[: table.num_columns]))
    for device in devices:
        actual = run_on(device, f, table, **flags)
        assert actual.error == expected.error, f"{f.__name__} on {device}: {actual}\nin Python: {expected}"
        assert actual.arrow == expected.arrow, f"{f.__name__} on {device}: {actual.arrow}, in Python {expected.arrow}"
        for row, (value, wanted) in enumerate(zip(actual.values or [], expected.values or [], strict=True)):
            assert same(value, wanted, ulp), (
                f"{f.__name__} on {device}, row {row} {_row(table, row)}: {value!r}, in Python {wanted!r}"
            )
    return expected


def _config(device: DeviceName, flags: dict[str, Any]) -> Config:
    return Config(**{"device": device, "fallback": "raise", **flags})


def _row(table: pa.Table | pa.RecordBatch, row: int) -> dict[str, Any]:
    values: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
    return values


def _one_array(column: Any) -> pa.Array:
    import pyarrow as pa

    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
