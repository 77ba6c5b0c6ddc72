"""``Batch`` and ``Column``: the columns of one of Spark's Arrow batches, for bodies that do not ask which
device they run on.

A column is held as Spark gave it (an Arrow array in host memory) or as a body made it (an array of the
batch's array module: NumPy, or CuPy on a GPU). The other form is made when it is first asked for, without
a copy where both lie in host memory, and kept as long as the column is.

The CuPy and cuDF half has not run on a device.
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
"""DLPack's number of host memory (kDLCPU)."""


class Column:
    """One column. Speaks Arrow's C interface, DLPack and the array interfaces, so that PyTorch, CuPy,
    pyarrow and Numba kernels take it as it is; with nulls, only Arrow's.

    ``data``: an Arrow array, or an array of ``device``'s array module, in which NaN is a value. ``field``: what is
    said of the column in the schema that it came with; else it may have nulls, and there is no metadata.
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
        return 0 if self._arrow is None else int(self._arrow.null_count)

    @cached_property
    def values(self) -> Any:
        """The values as an array: NumPy's, which is read-only, or CuPy's on a GPU. What stands at nulls is
        unspecified; :attr:`validity` tells where they are.

        Dates are whole days since 1970, timestamps and intervals whole microseconds (a ``timestamp``'s since
        1970 in UTC), since neither CuPy nor the array API standard has dates. Booleans are unpacked from
        Arrow's bits. Strings, decimals and nested types have no such array: a ``TypeError`` says so.
        """
        return self._on_device(_view(self._in_arrow()))

    @cached_property
    def validity(self) -> Any:
        """A boolean array, true where there is a value; ``None`` if there is no null."""
        if not self.null_count:
            return None
        return self._on_device(self._in_arrow().is_valid().to_numpy(zero_copy_only=False))

    def to_arrow(self) -> pa.Array:
        """The column in host memory."""
        return self._in_arrow()

    def to_pylist(self) -> list[Any]:
        """The values as Python objects, ``None`` for null."""
        found: list[Any] = self._in_arrow().to_pylist()
        return found

    def _in_arrow(self) -> pa.Array:
        if self._arrow is None:
            import pyarrow as pa

            self._arrow = pa.array(self.values.get())
        return self._arrow

    def _on_device(self, host: Any) -> Any:
        return _array_module(self.device).asarray(host) if self.device == "cuda" else host

    # How other libraries take a column. The arrays given are this column's own: they live as long as it does.

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        found: tuple[object, object] = self._in_arrow().__arrow_c_array__(requested_schema)
        return found

    def __dlpack__(self, **options: Any) -> Any:
        values = self._without_nulls("DLPack")
        asks_old = options.get("max_version") is None and options.get("copy") is not False
        if asks_old and self.device != "cuda":
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
        if self.null_count:
            raise ValueError(
                f"{protocol} has no nulls, and the column has {self.null_count}: use .values and .validity"
            )
        return self.values


class Batch:
    """The columns of one Arrow batch, by name. Never changed: ``with_column`` and ``select`` make new ones,
    which share their columns with the old.

    >>> import pyarrow as pa
    >>> batch = Batch.from_arrow(pa.record_batch({"a": [1.0, 2.0]}))
    >>> batch.with_column("b", batch["a"].values * 2).to_arrow().to_pydict()
    {'a': [1.0, 2.0], 'b': [2.0, 4.0]}
    """

    __iter__: ClassVar[None] = None  # else Python would take batch[0], batch[1], ... for the elements

    def __init__(self, columns: dict[str, Column], num_rows: int, device: DeviceName = "cpu") -> None:
        self._columns = columns
        self.num_rows = num_rows
        self.device = device

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch, device: DeviceName = "cpu") -> Batch:
        """A view of ``batch``. Raises :class:`~gpuspark.errors.CallError` where two columns have one name."""
        names = batch.schema.names
        columns = {name: Column(batch.column(n), device, batch.schema.field(n)) for n, name in enumerate(names)}
        if len(columns) < len(names):
            raise CallError(f"two columns of one name among {names}: rename one with df.toDF(...)")
        return cls(columns, batch.num_rows, device)

    @classmethod
    def from_frame(cls, frame: Any, schema: pa.Schema | None = None) -> Batch:
        """From a pandas or cuDF DataFrame; its index is left out, and NaN in a pandas column is null.

        ``schema``: the columns to take and their Arrow types, for types that pandas does not keep: integers
        with nulls became floats there. ``batch.schema`` of the batch that the frame came from is a good one.
        Raises :class:`pyarrow.ArrowInvalid` for a value that its type cannot hold.
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
        """Names and Arrow types; for columns that came from Spark also their metadata, and whether they may be null."""
        import pyarrow as pa

        columns = self._columns.items()
        return pa.schema([pa.field(name, column.type, column.nullable, column.metadata) for name, column in columns])

    @property
    def xp(self) -> ModuleType:
        """The array module of the batch's device: ``numpy`` or ``cupy``."""
        return _array_module(self.device)

    def to_arrow(self) -> pa.RecordBatch:
        """The batch in host memory."""
        import pyarrow as pa

        if not self._columns:
            rows = pa.StructArray.from_buffers(pa.struct([]), self.num_rows, [None])
            return pa.RecordBatch.from_struct_array(rows)
        arrays = [column.to_arrow() for column in self._columns.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` as Arrow makes it (integers with nulls become floats), or a
        ``cudf.DataFrame`` on a GPU."""
        if self.device == "cuda":
            from gpuspark.devices.rapids import frame_from_arrow

            return frame_from_arrow(self.to_arrow())
        return self.to_arrow().to_pandas()

    def with_column(self, name: str, column: Any) -> Batch:
        """With ``column`` added, or put in place of the one of that name: a :class:`Column`, an Arrow array,
        a list, a Series, or any array that speaks DLPack; of as many rows as the batch. Arrays of numbers are
        taken without a copy. NaN in an array is a value; in a pandas Series it is null."""
        made = as_column(column, self.device)
        if len(made) != self.num_rows:
            raise CallError(f"column {name!r} has {len(made)} rows and the batch {self.num_rows}")
        return Batch({**self._columns, name: made}, self.num_rows, self.device)

    def select(self, names: Sequence[str]) -> Batch:
        """The columns of these names, in this order."""
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
    """The values of an Arrow array as a NumPy array: a read-only view, booleans aside."""
    import numpy as np
    import pyarrow.types as is_

    kind = array.type
    if is_.is_boolean(kind):
        values = array.fill_null(False).to_numpy(zero_copy_only=False)
    else:
        whole: Any = np.frombuffer(array.buffers()[1] or b"", _dtype(kind))
        values = whole[array.offset : array.offset + len(array)]
    values.flags.writeable = False  # others may read the same memory
    return values


def _dtype(kind: pa.DataType) -> Any:
    """NumPy's type of a value in Arrow's data buffer."""
    import numpy as np
    import pyarrow.types as is_

    if is_.is_integer(kind) or is_.is_floating(kind):
        return kind.to_pandas_dtype()
    if is_.is_temporal(kind) and kind.bit_width in (32, 64):
        return np.dtype(f"i{kind.bit_width // 8}")
    raise TypeError(f"a column of {kind} is no array: use .to_arrow(), .to_pylist() or batch.to_frame()")


def as_column(value: Any, device: DeviceName = "cpu") -> Column:
    """A column of what :meth:`Batch.with_column` takes."""
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
    """A pandas Series in Arrow: NaN is null, the index is left out."""
    import pyarrow as pa

    found = pa.Array.from_pandas(series)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
