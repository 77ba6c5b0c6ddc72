"""``Batch`` and ``Column``: the columns of one of Spark's Arrow batches, for bodies that do not ask which
device they run on.

A column's data is Arrow's. ``values`` views it as an array of the batch's array module (NumPy, or CuPy on
a GPU), without a copy where Arrow's layout allows it: booleans are unpacked from their bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    import pyarrow as pa

    from gpuspark.plan import DeviceName


class Column:
    """One column. Speaks Arrow's C interface, DLPack and the array interfaces, so that PyTorch, CuPy,
    pyarrow and Numba kernels take it as it is."""

    def __init__(self, array: pa.Array, device: DeviceName = "cpu") -> None:
        self._array = array
        self.device = device

    def __len__(self) -> int:
        return len(self._array)

    def __repr__(self) -> str:
        return f"<gpuspark Column of {len(self)} {self.type} on {self.device}>"

    @property
    def type(self) -> pa.DataType:
        """The column's Arrow type."""
        return self._array.type

    @property
    def null_count(self) -> int:
        return int(self._array.null_count)

    @property
    def values(self) -> Any:
        """The values as an array; what stands at nulls is unspecified (:attr:`validity` tells which).

        Dates come as ``datetime64[D]``, timestamps as ``datetime64[us]`` in UTC. Strings and nested types
        have no such array: a ``TypeError`` says so.
        """
        return self._on_device(_host_values(self._array))

    @property
    def validity(self) -> Any:
        """A boolean array, true where there is a value; ``None`` if there is no null."""
        if not self._array.null_count:
            return None
        return self._on_device(self._array.is_valid().to_numpy(zero_copy_only=False))

    def to_arrow(self) -> pa.Array:
        return self._array

    def to_pylist(self) -> list[Any]:
        """The values as Python objects, ``None`` for null."""
        found: list[Any] = self._array.to_pylist()
        return found

    def _on_device(self, host: Any) -> Any:
        return _array_module(self.device).asarray(host) if self.device == "cuda" else host

    # How other libraries take a column.

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        found: tuple[object, object] = self._array.__arrow_c_array__(requested_schema)
        return found

    def __dlpack__(self, **options: Any) -> Any:
        values = self._without_nulls("DLPack")
        if self.device != "cuda" and options.get("max_version") is None:
            values = values.copy()  # before version 1, DLPack could not say that memory is read-only
        return values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if self.device == "cuda":
            raise AttributeError("a column on a GPU has __cuda_array_interface__")
        found: dict[str, Any] = self._without_nulls("the array interface").__array_interface__
        return found

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device != "cuda":
            raise AttributeError("a column in host memory has __array_interface__")
        found: dict[str, Any] = self._without_nulls("the CUDA array interface").__cuda_array_interface__
        return found

    def _without_nulls(self, protocol: str) -> Any:
        if self._array.null_count:
            raise ValueError(
                f"{protocol} has no nulls, and the column has {self._array.null_count}: use .values and .validity"
            )
        return self.values


class Batch:
    """The columns of one Arrow batch, by name.

    >>> import pyarrow as pa
    >>> batch = Batch.from_arrow(pa.record_batch({"a": [1.0, 2.0]}))
    >>> batch.with_column("b", batch["a"].values * 2).to_arrow().to_pydict()
    {'a': [1.0, 2.0], 'b': [2.0, 4.0]}
    """

    def __init__(self, columns: dict[str, Column], num_rows: int, device: DeviceName = "cpu") -> None:
        self._columns = columns
        self.num_rows = num_rows
        self.device = device

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch, device: DeviceName = "cpu") -> Batch:
        names = batch.schema.names
        columns = {name: Column(batch.column(n), device) for n, name in enumerate(names)}
        if len(columns) < len(names):
            raise CallError(f"two columns of one name among {names}: rename one with df.toDF(...)")
        return cls(columns, batch.num_rows, device)

    @classmethod
    def from_frame(cls, frame: Any) -> Batch:
        """From a pandas or cuDF DataFrame; its index is left out."""
        import pyarrow as pa

        if type(frame).__module__.startswith("cudf"):
            table = frame.to_arrow(preserve_index=False)
            return cls.from_arrow(table.combine_chunks().to_batches()[0], "cuda")
        return cls.from_arrow(pa.RecordBatch.from_pandas(frame, preserve_index=False))

    def __getitem__(self, name: str) -> Column:
        try:
            return self._columns[name]
        except KeyError:
            raise CallError(f"there is no column {name!r}. {nearest(name, self._columns)}") from None

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"<gpuspark Batch of {self.num_rows} rows on {self.device}: {', '.join(self._columns)}>"

    @property
    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(name, column.type) for name, column in self._columns.items()])

    @property
    def xp(self) -> ModuleType:
        """The array module of the batch's device: ``numpy`` or ``cupy``."""
        return _array_module(self.device)

    def to_arrow(self) -> pa.RecordBatch:
        import pyarrow as pa

        arrays = [column.to_arrow() for column in self._columns.values()]
        if not arrays:
            return pa.RecordBatch.from_arrays([], names=[])
        return pa.RecordBatch.from_arrays(arrays, names=list(self._columns))

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame``, or a ``cudf.DataFrame`` on a GPU."""
        if self.device == "cuda":
            from gpuspark.devices.rapids import frame_from_arrow

            return frame_from_arrow(self.to_arrow())
        return self.to_arrow().to_pandas()

    def with_column(self, name: str, column: Any) -> Batch:
        """With ``column`` (a :class:`Column`, array or Series of as many rows) added, or put in place of
        the one of that name. NaN in an array is a value; in a pandas Series it is null."""
        made = _column_of(column, self.device)
        if len(made) != self.num_rows:
            raise CallError(f"column {name!r} has {len(made)} rows and the batch {self.num_rows}")
        return Batch({**self._columns, name: made}, self.num_rows, self.device)

    def select(self, names: Sequence[str]) -> Batch:
        """The columns of these names, in this order."""
        return Batch({name: self[name] for name in names}, self.num_rows, self.device)


def _array_module(device: DeviceName) -> ModuleType:
    if device == "cuda":
        from gpuspark.devices.rapids import cupy_module

        return cupy_module()
    import numpy as np

    return np


def _host_values(array: pa.Array) -> Any:
    """A column's values in host memory."""
    import numpy as np
    import pyarrow.types as is_

    kind, buffer = array.type, array.buffers()[1] if len(array.buffers()) == 2 else None
    if is_.is_boolean(kind):
        return array.fill_null(False).to_numpy(zero_copy_only=False)
    if is_.is_date32(kind):
        days = np.frombuffer(buffer or b"", np.int32)[array.offset : array.offset + len(array)]
        return days.astype("datetime64[D]")
    if is_.is_timestamp(kind) or is_.is_duration(kind):
        width: Any = f"{'M8' if is_.is_timestamp(kind) else 'm8'}[us]"
    elif is_.is_integer(kind) or is_.is_floating(kind):
        width = kind.to_pandas_dtype()
    else:
        raise TypeError(f"a column of {kind} is no array: use .to_arrow(), .to_pylist() or batch.to_frame()")
    view = np.frombuffer(buffer or b"", width)[array.offset : array.offset + len(array)]
    view.flags.writeable = False  # other readers may share Arrow's buffers
    return view


def _column_of(value: Any, device: DeviceName) -> Column:
    import pyarrow as pa

    if isinstance(value, Column):
        return value
    if isinstance(value, pa.ChunkedArray):
        return Column(value.combine_chunks(), device)
    if isinstance(value, pa.Array):
        return Column(value, device)
    if type(value).__module__.startswith("cudf"):
        return Column(value.to_arrow(), device)
    if type(value).__module__.startswith("cupy"):
        value = value.get()
    return Column(pa.array(value, from_pandas=hasattr(value, "iloc")), device)
