"""What the footers of parquet files say, read inside Spark's tasks: they see the files wherever the driver is."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.errors import ScanError
from gpuspark.scans.stored_types import StoredType, stored_type

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_WRITER_KEYS = ("org.apache.spark.version", "org.apache.spark.legacyDateTime", "org.apache.spark.legacyINT96")
_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"
_DEFAULT = "EXISTS_DEFAULT"


@dataclass(frozen=True)
class Bounds:
    """The statistics of a column in a row group. What the file does not tell is ``None``."""

    smallest: Any
    largest: Any
    nulls: int | None


@dataclass(frozen=True)
class RowGroup:
    """One row group of a file."""

    number: int
    rows: int
    sizes: Mapping[str, int]
    """Compressed bytes, by the column's name in the file."""
    bounds: Mapping[str, Bounds]
    """The statistics of the columns that were asked for, by the column's name in the file."""


@dataclass(frozen=True)
class Footer:
    """The footer of one file, and what identifies the file's content."""

    size: int
    """Bytes of the file."""
    modified: int
    """Nanoseconds since 1970, as the file system says."""
    columns: Mapping[str, StoredType]
    """The types of columns that are not nested, by name."""
    nested: frozenset[str]
    """The names of nested columns."""
    repeated: frozenset[str]
    """The names that several columns have."""
    with_default: frozenset[str]
    """The names of columns that Spark reads as a default, not as null, where another file lacks them."""
    writer: Mapping[str, str]
    """What Spark wrote about itself, if Spark wrote the file: its version, and marks of legacy calendars."""
    row_groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.row_groups)


def read_footer(path: str, with_bounds: Iterable[str]) -> Footer | None:
    """Returns the footer of the file ``path``, with statistics of the columns ``with_bounds``, in lower case; ``None``
    for a file without a byte, which Spark leaves out.

    Raises :class:`~gpuspark.errors.ScanError` if the file is missing or is no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        status = os.stat(path)
        if not status.st_size:
            return None
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ScanError(f"the footer of {path} cannot be read: {error}. Write the file again, or remove it.") from error
    schema = metadata.schema
    names = Counter(schema.column(n).path for n in range(metadata.num_columns))
    numbers = {schema.column(n).name: n for n in range(metadata.num_columns) if _is_flat(schema.column(n))}
    wanted = set(with_bounds)
    bounded = {name: n for name, n in numbers.items() if name.lower() in wanted}
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        sizes = {name: group.column(n).total_compressed_size for name, n in numbers.items()}
        bounds = {name: _bounds(group.column(n).statistics) for name, n in bounded.items()}
        groups.append(RowGroup(number, group.num_rows, sizes, bounds))
    everything = metadata.metadata or {}
    return Footer(
        size=status.st_size,
        modified=status.st_mtime_ns,
        columns={name: stored_type(schema.column(n)) for name, n in numbers.items()},
        nested=frozenset(schema.column(n).path.split(".")[0] for n in range(metadata.num_columns)) - set(numbers),
        repeated=frozenset(name for name, count in names.items() if count > 1),
        with_default=_with_default(everything),
        writer={key: everything[key.encode()].decode() for key in _WRITER_KEYS if key.encode() in everything},
        row_groups=tuple(groups),
    )


def _with_default(metadata: Mapping[bytes, bytes]) -> frozenset[str]:
    """Returns the names of the columns that have a default, by the schema that Spark writes into its files."""
    if _SPARK_SCHEMA not in metadata:
        return frozenset()
    fields = json.loads(metadata[_SPARK_SCHEMA])["fields"]
    return frozenset(field["name"] for field in fields if _DEFAULT in field.get("metadata", {}))


def _is_flat(column: Any) -> bool:
    """Returns whether a leaf of the file's schema is a column of its own: one value for each row."""
    return bool(column.path == column.name and column.max_repetition_level == 0)


def _bounds(statistics: Any) -> Bounds:
    if statistics is None:
        return Bounds(None, None, None)
    nulls = statistics.null_count if statistics.has_null_count else None
    if not statistics.has_min_max:
        return Bounds(None, None, nulls)
    try:
        smallest, largest = statistics.min, statistics.max
    except (ValueError, OverflowError):  # days beyond Python's calendar, text that was cut within a character
        return Bounds(None, None, nulls)
    if any(isinstance(bound, float) and math.isnan(bound) for bound in (smallest, largest)):
        return Bounds(None, None, nulls)
    return Bounds(smallest, largest, nulls)


def footers_of(frame: DataFrame, with_bounds: Sequence[str]) -> Iterator[tuple[str, Footer, dict[str, Any]]]:
    """Yields path, footer and the other columns' values, as Arrow scalars, of each file that ``frame`` names in its
    column ``path``; in the order of the paths. ``with_bounds``: the columns of which statistics are read."""
    from pyspark.sql.types import BinaryType, StructField, StructType

    worker = FooterWorker([name.lower() for name in with_bounds])
    schema = StructType([*frame.schema.fields, StructField("footer", BinaryType())])
    table = frame.mapInArrow(worker, schema).toArrow().sort_by("path")
    others = [name for name in table.column_names if name not in ("path", "footer")]
    for number in range(table.num_rows):
        footer: Footer | None = pickle.loads(table["footer"][number].as_py())
        if footer is None:
            continue
        yield table["path"][number].as_py(), footer, {name: table[name][number] for name in others}


class FooterWorker:
    """The callable that Spark pickles to read footers: batches with a column ``path`` come back with the other columns
    and a column ``footer``."""

    def __init__(self, with_bounds: Sequence[str]) -> None:
        self.with_bounds = tuple(with_bounds)

    # No type hints: PySpark would read them, and cannot for a callable object.
    def __call__(self, batches):  # type: ignore[no-untyped-def]
        import pyarrow as pa

        batch: pa.RecordBatch
        for batch in batches:
            paths = batch.column("path").to_pylist()
            footers = [pickle.dumps(read_footer(path, self.with_bounds)) for path in paths]
            columns = [*batch.columns, pa.array(footers, pa.binary())]
            yield pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, "footer"])
