"""Reads splits inside Spark's tasks: Arrow batches of the table's columns, filtered, every row accounted for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gpuspark.accounting.entries import entry
from gpuspark.errors import ScanError
from gpuspark.scans.filters import Filters
from gpuspark.scans.splits import Piece, Split
from gpuspark.spark.session import task_config

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT_BYTES = 32
"""Bytes that a string is taken for when the length of a batch is chosen."""
_AGAIN = "Build the scan again, to read the files as they are now."


class SplitReader:
    """What a task needs to read splits. ``schema``: the columns to read, those of ``filters`` among them."""

    def __init__(self, name: str, call: str, schema: pa.Schema, filters: Filters) -> None:
        self.name, self.call, self.schema, self.filters = name, call, schema, filters

    def read(self, splits: Iterable[Split]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of ``splits`` that the filters want. The time that this takes is what the steps wait for, and
        is accounted there.

        Raises :class:`~gpuspark.errors.ScanError` for a file that changed since the scan was planned, and for one that
        is damaged.
        """
        account = entry(self.name, self.call, self)
        for split in splits:
            for piece in split:
                for batch in self._piece(piece):
                    kept = self._wanted(batch)
                    account.add(
                        device="cpu", rows=batch.num_rows, bytes_in=batch.nbytes, bytes_out=kept.nbytes, seconds={}
                    )
                    yield kept

    def _wanted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.filters.alternatives:
            return batch
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        return batch.filter(self.filters.wanted(columns))

    def _piece(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        """Yields all rows of ``piece``, in batches of about ``spark.gpuspark.batch.targetBytes``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = list(dict.fromkeys(there for there in piece.stored.values() if there is not None))
        most_rows = max(1, task_config().target_bytes // max(1, sum(_row_bytes(field.type) for field in self.schema)))
        group = piece.groups[0]
        _check_unchanged(piece)
        if not names:
            yield from self._without_columns(piece, most_rows)
            return
        try:
            with pq.ParquetFile(piece.path, coerce_int96_timestamp_unit="us") as file:
                for group, rows in zip(piece.groups, piece.rows, strict=True):
                    read = 0
                    batches = file.iter_batches(most_rows, row_groups=[group], columns=names, use_threads=False)
                    for batch in batches:
                        read += batch.num_rows
                        yield self._as_table(batch, piece)
                    if read != rows:
                        raise ScanError(
                            f"{piece.path}, row group {group}: {read} rows were read, the footer has {rows}. {_AGAIN}"
                        )
        except (ScanError, MemoryError):
            raise
        except (OSError, pa.ArrowException) as error:
            _check_unchanged(piece)
            raise ScanError(
                f"{piece.path}, row group {group}, cannot be read exactly: {error}. Write the file again."
            ) from error

    def _without_columns(self, piece: Piece, most_rows: int) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a file of which no column is read: as many as its footer says."""
        for rows in piece.rows:
            for start in range(0, rows, most_rows):
                yield self._batch({}, piece, min(most_rows, rows - start))

    def _as_table(self, batch: pa.RecordBatch, piece: Piece) -> pa.RecordBatch:
        return self._batch(dict(zip(batch.schema.names, batch.columns, strict=True)), piece, batch.num_rows)

    def _batch(self, stored: dict[str, pa.Array], piece: Piece, rows: int) -> pa.RecordBatch:
        """Returns a batch of the table's columns: the file's, in the table's types; those of the folders; and null for
        what the file lacks."""
        import pyarrow as pa

        arrays = []
        for field in self.schema:
            if field.name in piece.partition:
                arrays.append(pa.repeat(piece.partition[field.name], rows).cast(field.type))
            elif (there := piece.stored[field.name]) is None:
                arrays.append(pa.nulls(rows, field.type))
            else:
                arrays.append(stored[there].cast(field.type))
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), rows, [None]))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _check_unchanged(piece: Piece) -> None:
    """Raises :class:`~gpuspark.errors.ScanError` if a file is not the one that the scan was planned with."""
    try:
        status = os.stat(piece.path)
    except OSError as error:
        raise ScanError(f"{piece.path} was there when the scan was planned, and is not: {error}. {_AGAIN}") from error
    if (status.st_size, status.st_mtime_ns) != (piece.size, piece.modified):
        raise ScanError(
            f"{piece.path} changed since the scan was planned: it had {piece.size} bytes and has {status.st_size}, "
            f"or it was written again. {_AGAIN}"
        )


def _row_bytes(column: pa.DataType) -> int:
    import pyarrow.types as is_

    return max(1, column.bit_width // 8) if is_.is_primitive(column) or is_.is_decimal(column) else _TEXT_BYTES
