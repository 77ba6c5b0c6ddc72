"""What a function of a batch asks for and returns: the driver calls it once, with a batch without rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.columns.batch import Batch, Column, as_column
from gpuspark.errors import CallError, locate
from gpuspark.execution.inside import noted_plans
from gpuspark.execution.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa


class RecordingBatch(Batch):
    """A batch without rows that records the columns that it is asked for."""

    def __init__(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        columns = {field.name: Column(pa.array([], field.type), field=field) for field in schema}
        super().__init__(columns, 0)
        self.asked: dict[str, None] = {}
        """The names of the columns, in the order in which they were first asked for."""

    def __getitem__(self, name: str) -> Column:
        column = super().__getitem__(name)
        self.asked[name] = None
        return column

    def __contains__(self, name: object) -> bool:
        there = super().__contains__(name)
        if there:
            self.asked[str(name)] = None
        return there

    @property
    def schema(self) -> pa.Schema:
        self._ask_for_all()
        return super().schema

    def to_arrow(self) -> pa.RecordBatch:
        self._ask_for_all()
        return super().to_arrow()

    def with_column(self, name: str, column: Any) -> Batch:
        self._ask_for_all()
        return super().with_column(name, column)

    def _ask_for_all(self) -> None:
        self.asked |= dict.fromkeys(self._columns)


@dataclass(frozen=True)
class Asked:
    """What a function of a batch asks for and returns."""

    returns: pa.DataType
    """The type of the column."""
    columns: tuple[str, ...]
    """The columns that it asks for."""
    plans: tuple[Plan, ...]
    """Where the compiled functions that it calls would run on this machine."""


def asked_by(function: Callable[[Batch], Any], schema: pa.Schema, name: str) -> Asked:
    """Returns what ``function`` asks a batch of this schema for, and returns. ``name``: what the function is called in
    messages.

    Raises :class:`~gpuspark.errors.CallError` if it returns no column, or one without a type; and whatever it raises.
    """
    import pyarrow as pa

    batch = RecordingBatch(schema)
    try:
        with noted_plans() as plans:
            result = function(batch)
    except Exception as error:
        locate(error, function=name, rows="none: scans call it once on the driver, to learn its columns and type")
        raise
    returns = column_of(result, batch, name, pa.null()).type
    return Asked(returns, tuple(batch.asked), tuple(plans.values()))


def _as_spark_has_it(column: Column, batch: Batch) -> Column:
    """Returns texts and bytes in the one form that Spark has of Arrow's several."""
    import pyarrow as pa
    import pyarrow.types as is_

    if is_.is_large_string(column.type) or is_.is_string_view(column.type):
        return Column(column.to_arrow().cast(pa.string()), batch.device)
    if is_.is_large_binary(column.type) or is_.is_binary_view(column.type):
        return Column(column.to_arrow().cast(pa.binary()), batch.device)
    return column


def column_of(result: Any, batch: Batch, name: str, untyped: pa.DataType | None = None) -> Column:
    """Returns what a function returned for ``batch`` as a column of it; a number, text or ``None`` is no column.

    Raises :class:`~gpuspark.errors.CallError` for anything else, for another number of rows, and for the type
    ``untyped``.
    """
    if not isinstance(result, Sequence) and not hasattr(result, "__len__"):
        raise CallError(f"{name} returned a {type(result).__name__}, not a column: gpuspark's, Arrow's or an array")
    column = _as_spark_has_it(as_column(result, batch.device), batch)
    if len(column) != batch.num_rows:
        raise CallError(f"{name} returned {len(column)} rows for a batch of {batch.num_rows}")
    if column.type == untyped:
        raise CallError(
            f"{name} returned a column without a type for a batch without rows. Return gpuspark's or Arrow's column, "
            "or a NumPy array, which have one: np.array(values, dtype=...), pa.array(values, type)."
        )
    return column
