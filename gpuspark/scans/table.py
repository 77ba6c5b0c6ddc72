"""Parquet files as one table: its schema, its files, and whether they hold its columns exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.errors import CallError, ScanError, nearest
from gpuspark.scans.footers import Bounds, Footer, RowGroup
from gpuspark.scans.stored_types import read_exactly

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructField, StructType

_READABLE = re.compile(
    r"boolean|tinyint|smallint|int|bigint|float|double|string|binary|date|timestamp|timestamp_ntz|decimal\(\d+,\d+\)"
)
_CHAR_PADDING = "__CHAR_VARCHAR_TYPE_STRING"
INSTEAD = "Read it with gs.map_in_arrow(spark.read...)."
_REFUSED_SETTINGS = (
    "spark.sql.files.ignoreCorruptFiles",
    "spark.sql.files.ignoreMissingFiles",
    "spark.sql.parquet.int96TimestampConversion",
)
"""Settings with which Spark reads files otherwise than scans do."""
_REBASE_MODES = ("spark.sql.parquet.datetimeRebaseModeInRead", "spark.sql.parquet.int96RebaseModeInRead")
"""Spark's settings about the calendar of files that Spark did not write: of dates and timestamps, and of INT96."""


@dataclass(frozen=True)
class TableFile:
    """One file of a table."""

    path: str
    footer: Footer
    stored: Mapping[str, str]
    """The names of the columns in the file, by the table's names. A column that the file lacks is null."""
    partition: Mapping[str, Any]
    """The values of the partition columns, as Arrow scalars."""

    def bounds(self, group: RowGroup) -> dict[str, Bounds]:
        """Returns the statistics of a row group, by the table's names."""
        return {name: group.bounds[there] for name, there in self.stored.items() if there in group.bounds}


@dataclass(frozen=True)
class Table:
    """The table at ``path``. ``schema`` has the columns that scans read."""

    path: str
    schema: pa.Schema
    unreadable: Mapping[str, str]
    """The columns that scans do not read, with Spark's names of their types."""
    partition_columns: tuple[str, ...]
    files: tuple[TableFile, ...]
    rebase_modes: Mapping[str, str]
    """Spark's settings about the calendar of files that Spark did not write."""

    @property
    def rows(self) -> int:
        """The rows of all files, as their footers say."""
        return sum(file.footer.rows for file in self.files)

    def check_columns(self, names: Iterable[str]) -> None:
        """Raises :class:`~gpuspark.errors.CallError` for a column that is not in the table, or that scans do not read,
        and :class:`~gpuspark.errors.ScanError` for a file that does not hold one of them exactly."""
        for name in names:
            if name in self.unreadable:
                raise CallError(f"scans do not read columns of {self.unreadable[name]}, such as {name!r}. {INSTEAD}")
            if name not in self.schema.names:
                raise CallError(f"there is no column {name!r} in {self.path}. {nearest(name, self.schema.names)}")
            if name in self.partition_columns:
                continue
            for file in self.files:
                self._check_column(name, file)

    def _check_column(self, name: str, file: TableFile) -> None:
        there = file.stored.get(name)
        if there is None:
            if any(name in other.footer.with_default for other in self.files):
                raise ScanError(f"{file.path} lacks {name!r}, which Spark reads as a default there. {INSTEAD}")
            return
        if there in file.footer.repeated:
            raise ScanError(f"{file.path} has several columns {there!r}. Write it again with different names.")
        column_type = self.schema.field(name).type
        if there in file.footer.nested:
            raise ScanError(
                f"{file.path} holds nested values in {there!r}, where the table has {column_type}. {INSTEAD}"
            )
        stored = file.footer.columns[there]
        if not read_exactly(stored, column_type):
            raise ScanError(
                f"{file.path} holds {there!r} as {stored.name}, which scans do not read as {column_type}. {INSTEAD}"
            )
        legacy = _legacy_calendar(file.footer.writer, stored.int96, self.rebase_modes)
        if legacy and str(column_type).startswith(("date", "timestamp")):
            raise ScanError(f"{file.path} {legacy}, so {there!r} may be of another calendar. {INSTEAD}")


def _legacy_calendar(writer: Mapping[str, str], int96: bool, modes: Mapping[str, str]) -> str:
    """Returns why dates and timestamps of a file may be of the calendar before 1582; an empty string if they are not.

    The rules are those of Spark's ``DataSourceUtils.datetimeRebaseSpec`` and ``int96RebaseSpec``.
    """
    version = writer.get("org.apache.spark.version")
    mark = "org.apache.spark.legacyINT96" if int96 else "org.apache.spark.legacyDateTime"
    if version is None:
        key = _REBASE_MODES[int96]
        return "" if modes[key].upper() == "CORRECTED" else f"is read with {key}={modes[key]}"
    first = (3, 1) if int96 else (3, 0)
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < first:
        return f"was written by Spark {version}"
    return f"has the mark {mark}" if mark in writer else ""


def check_settings(spark: SparkSession) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a setting of Spark with which it reads files otherwise."""
    for key in _REFUSED_SETTINGS:
        if str(spark.conf.get(key, "false")).lower() == "true":
            raise CallError(f"scans do not support {key}=true. Unset it, or use gs.map_in_arrow(spark.read...).")


def table_of(
    spark: SparkSession,
    path: str,
    declared: StructType,
    partition_columns: tuple[str, ...],
    files: Iterable[tuple[str, Footer, dict[str, Any]]],
) -> Table:
    """Returns the table of ``files``: path, footer and partition values of each. ``declared``: the columns as Spark
    resolves them."""
    schema, unreadable = readable_columns(declared)
    stored_columns = [name for name in declared.names if name not in partition_columns]
    folded = _folder(spark)
    held = [
        TableFile(file, footer, _stored_names(file, footer, stored_columns, folded), partition)
        for file, footer, partition in files
    ]
    modes = {key: str(spark.conf.get(key)) for key in _REBASE_MODES}
    return Table(path, schema, unreadable, partition_columns, tuple(held), modes)


def readable_columns(declared: StructType) -> tuple[pa.Schema, dict[str, str]]:
    """Returns the Arrow schema of the columns that scans read, and the type names of the others."""
    import pyarrow as pa

    from gpuspark.spark.arrow_types import arrow_type

    def reads(field: StructField) -> bool:
        return bool(_READABLE.fullmatch(field.dataType.simpleString())) and _CHAR_PADDING not in (field.metadata or {})

    readable = [pa.field(field.name, arrow_type(field.dataType), field.nullable) for field in declared if reads(field)]
    unreadable = {field.name: field.dataType.simpleString() for field in declared if not reads(field)}
    return pa.schema(readable), unreadable


def _folder(spark: SparkSession) -> Callable[[str], str]:
    """Returns the function that makes names equal which Spark takes for one."""
    sensitive = str(spark.conf.get("spark.sql.caseSensitive", "false")).lower() == "true"
    return str if sensitive else str.lower


def _stored_names(file: str, footer: Footer, names: Iterable[str], folded: Callable[[str], str]) -> dict[str, str]:
    """Returns the file's names of the table's columns."""
    there: dict[str, list[str]] = {}
    for name in [*footer.columns, *footer.nested]:
        there.setdefault(folded(name), []).append(name)
    stored = {name: there[folded(name)] for name in names if folded(name) in there}
    for name, several in stored.items():
        if len(several) > 1:
            raise ScanError(
                f"{file} has several columns {name!r}: {sorted(several)}. Set spark.sql.caseSensitive=true."
            )
    return {name: several[0] for name, several in stored.items()}
