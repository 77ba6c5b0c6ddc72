"""``Batch`` and ``Column``: the columns of one of Spark's Arrow batches, for device-neutral bodies.

A column holds the Arrow array that Spark sent, in host memory, or the array that a body made with the batch's
array module: NumPy, or CuPy on a GPU. The other form is made at its first use, without a copy if both are in host
memory, and kept with the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from gpuspark.errors import CallError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    import pyarrow as pa

    from gpuspark.devices.protocol import DeviceName

_HOST = 1
"""DLPack's device type of host memory (kDLCPU)."""


class Column:
    """One column of a batch.

    Implements Arrow's C interface, DLPack and the array interfaces, so PyTorch, CuPy, pyarrow and Numba kernels accept
    it directly; a column with nulls, only through Arrow's.

    ``data`` is an Arrow array, or an array of the device's array module, in which NaN is a value. ``field`` is the
    column's field in the schema that it came with; without it the column is nullable and has no metadata.
    """

    def __init__(self, data: Any, device: DeviceName = "cpu", field: pa.Field | None = None) -> None:
        import pyarrow as pa

        self.device = device
        self.nullable = field is None or bool(field.nullable)
        self.metadata: dict[bytes, bytes] | None = None if field is None else field.metadata
        self._arrow: pa.Array | None = None
        if isinstance(data, pa.Array):
            self._arrow = data
        elif device == "cuda":
            self.values = data
        else:
            self._arrow = pa.array(data)

    def __len__(self) -> int:
        return len(self.values if self._arrow is None else self._arrow)

    def __repr__(self) -> str:
        return f"<gpuspark Column of {len(self)} {self.type} on {self.device}>"

    @property
    def type(self) -> pa.DataType:
        """The column's Arrow type."""
        if self._arrow is not None:
            return self._arrow.type
        import pyarrow as pa

        return pa.from_numpy_dtype(self.values.dtype)

    @property
    def null_count(self) -> int:
        """The number of nulls."""
        return 0 if self._arrow is None else int(self._arrow.null_count)

    @cached_property
    def values(self) -> Any:
        """The values as a read-only NumPy array, or as a CuPy array on a GPU.

        The values at nulls are unspecified; :attr:`validity` says where they are. Dates are whole days since
        1970, timestamps and intervals whole microseconds (a ``timestamp``'s since 1970 in UTC), because neither
        CuPy nor the array API standard has dates. Booleans are unpacked from Arrow's bits. Raises ``TypeError``
        for strings, decimals and nested types.
        """
        return self._on_device(_view(self._in_arrow()))

    @cached_property
    def validity(self) -> Any:
        """A boolean array, true at values and false at nulls; ``None`` if there are no nulls."""
        if not self.null_count:
            return None
        return self._on_device(self._in_arrow().is_valid().to_numpy(zero_copy_only=False))

    def to_arrow(self) -> pa.Array:
        """Returns the column as an Arrow array in host memory."""
        return self._in_arrow()

    def to_pylist(self) -> list[Any]:
        """Returns the values as Python objects, ``None`` for null."""
        values: list[Any] = self._in_arrow().to_pylist()
        return values

    def _in_arrow(self) -> pa.Array:
        if self._arrow is None:
            import pyarrow as pa

            self._arrow = pa.array(self.values.get())
        return self._arrow

    def _on_device(self, host: Any) -> Any:
        return _array_module(self.device).asarray(host) if self.device == "cuda" else host

    # The protocols for other libraries. They share this column's memory, which lives as long as the column does.

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        capsules: tuple[object, object] = self._in_arrow().__arrow_c_array__(requested_schema)
        return capsules

    def __dlpack__(self, **options: Any) -> Any:
        values = self._without_nulls("DLPack")
        old_consumer = options.get("max_version") is None and options.get("copy") is not False
        if old_consumer and self.device != "cuda":
            values = values.copy()  # before version 1, DLPack could not mark memory as read-only
        return values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if self.device == "cuda":
            raise AttributeError("a column on a GPU has __cuda_array_interface__")
        interface: dict[str, Any] = self._without_nulls("the array interface").__array_interface__
        return interface

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.device != "cuda":
            raise AttributeError("a column in host memory has __array_interface__")
        interface: dict[str, Any] = self._without_nulls("the CUDA array interface").__cuda_array_interface__
        return interface

    def _without_nulls(self, protocol: str) -> Any:
        if self.null_count:
            raise ValueError(
                f"{protocol} has no nulls, and the column has {self.null_count}: use .values and .validity"
            )
        return self.values


class Batch:
    """The columns of one Arrow batch, by name.

    Immutable: ``with_column`` and ``select`` return new batches that share columns with the old one.

    >>> import pyarrow as pa
    >>> batch = Batch.from_arrow(pa.record_batch({"a": [1.0, 2.0]}))
    >>> batch.with_column("b", batch["a"].values * 2).to_arrow().to_pydict()
    {'a': [1.0, 2.0], 'b': [2.0, 4.0]}
    """

    __iter__: ClassVar[None] = None  # otherwise Python would iterate over batch[0], batch[1], ...

    def __init__(self, columns: dict[str, Column], num_rows: int, device: DeviceName = "cpu") -> None:
        self._columns = columns
        self.num_rows = num_rows
        self.device = device

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch, device: DeviceName = "cpu") -> Batch:
        """Returns a view of ``batch``. Raises :class:`~gpuspark.errors.CallError` if two columns have the same name."""
        names = batch.schema.names
        columns = {name: Column(batch.column(n), device, batch.schema.field(n)) for n, name in enumerate(names)}
        if len(columns) < len(names):
            raise CallError(f"two columns have the same name among {names}: rename one with df.toDF(...)")
        return cls(columns, batch.num_rows, device)

    @classmethod
    def from_frame(cls, frame: Any, schema: pa.Schema | None = None) -> Batch:
        """Returns the columns of a pandas or cuDF DataFrame without its index; NaN in a pandas column becomes null.

        ``schema`` selects the columns and restores the Arrow types that pandas loses: integers with nulls are
        floats there. Pass the ``schema`` of the batch that the frame was made from. Raises
        :class:`pyarrow.ArrowInvalid` for a value that its type cannot hold.
        """
        import pyarrow as pa

        if not type(frame).__module__.startswith("cudf"):
            return cls.from_arrow(pa.RecordBatch.from_pandas(frame, schema=schema, preserve_index=False))
        from gpuspark.devices.rapids import frame_to_arrow

        table = frame_to_arrow(frame)
        if schema is not None:
            table = table.select(schema.names).cast(schema)
        whole = table.to_struct_array().combine_chunks()
        return cls.from_arrow(pa.RecordBatch.from_struct_array(whole), "cuda")

    def __getitem__(self, name: str) -> Column:
        try:
            return self._columns[name]
        except KeyError:
            raise CallError(f"there is no column {name!r}. {nearest(str(name), self._columns)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"<gpuspark Batch of {self.num_rows} rows on {self.device}: {', '.join(self._columns)}>"

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema; the nullability and metadata of columns that came from Spark are kept."""
        import pyarrow as pa

        columns = self._columns.items()
        return pa.schema([pa.field(name, column.type, column.nullable, column.metadata) for name, column in columns])

    @property
    def xp(self) -> ModuleType:
        """The array module of the batch's device: ``numpy`` or ``cupy``."""
        return _array_module(self.device)

    def to_arrow(self) -> pa.RecordBatch:
        """Returns the batch as an Arrow record batch in host memory."""
        import pyarrow as pa

        if not self._columns:
            rows = pa.StructArray.from_buffers(pa.struct([]), self.num_rows, [None])
            return pa.RecordBatch.from_struct_array(rows)
        arrays = [column.to_arrow() for column in self._columns.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame, in which integers with nulls become floats, or a cuDF DataFrame on a GPU."""
        if self.device == "cuda":
            from gpuspark.devices.rapids import frame_from_arrow

            return frame_from_arrow(self.to_arrow())
        return self.to_arrow().to_pandas()

    def with_column(self, name: str, column: Any) -> Batch:
        """Returns a batch with ``column`` added, or replacing the column of that name.

        ``column`` is a :class:`Column`, an Arrow array, a list, a Series, or an array that implements DLPack, with
        as many rows as the batch. Numeric arrays are not copied. NaN in an array is a value, in a pandas Series null.
        """
        added = as_column(column, self.device)
        if len(added) != self.num_rows:
            raise CallError(f"column {name!r} has {len(added)} rows and the batch {self.num_rows}")
        return Batch({**self._columns, name: added}, self.num_rows, self.device)

    def select(self, names: Sequence[str]) -> Batch:
        """Returns a batch of the named columns, in this order."""
        if isinstance(names, str):
            raise CallError(f"select takes a list of names: batch.select([{names!r}])")
        return Batch({name: self[name] for name in names}, self.num_rows, self.device)


def _array_module(device: DeviceName) -> ModuleType:
    if device == "cuda":
        from gpuspark.devices.rapids import cupy_module

        return cupy_module()
    import numpy as np

    return np


def _view(array: pa.Array) -> Any:
    """Returns the values of an Arrow array as a read-only NumPy array: a view, except for booleans."""
    import numpy as np
    import pyarrow.types as is_

    if is_.is_boolean(array.type):
        values = array.fill_null(False).to_numpy(zero_copy_only=False)
    else:
        buffer: Any = np.frombuffer(array.buffers()[1] or b"", _dtype(array.type))
        values = buffer[array.offset : array.offset + len(array)]
    values.flags.writeable = False  # others may read the same memory
    return values


def _dtype(arrow: pa.DataType) -> Any:
    """Returns the NumPy type of the values in an Arrow data buffer."""
    import numpy as np
    import pyarrow.types as is_

    if is_.is_integer(arrow) or is_.is_floating(arrow):
        return arrow.to_pandas_dtype()
    if is_.is_temporal(arrow) and arrow.bit_width in (32, 64):
        return np.dtype(f"i{arrow.bit_width // 8}")
    raise TypeError(f"a column of {arrow} is not an array: use .to_arrow(), .to_pylist() or batch.to_frame()")


def as_column(value: Any, device: DeviceName = "cpu") -> Column:
    """Returns a column of anything that :meth:`Batch.with_column` accepts."""
    import numpy as np
    import pyarrow as pa

    if isinstance(value, Column):
        return value
    if isinstance(value, pa.ChunkedArray):
        return Column(value.combine_chunks(), device)
    if isinstance(value, pa.Array):
        return Column(value, device)
    if type(value).__module__.startswith("cudf"):
        return Column(value.to_arrow(), device)
    if hasattr(value, "iloc"):
        return Column(series_to_arrow(value), device)
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        if value.__dlpack_device__()[0] == _HOST:  # CuPy refuses these
            return Column(_array_module(device).asarray(np.from_dlpack(value)), device)
        return Column(_array_module(device).from_dlpack(value), device)
    return Column(pa.array(value), device)


def series_to_arrow(series: Any) -> pa.Array:
    """Returns a pandas Series as an Arrow array without its index; NaN becomes null."""
    import pyarrow as pa

    array = pa.Array.from_pandas(series)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
