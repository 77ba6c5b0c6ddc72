"""What a scan reads: files and row groups that the filters do not rule out, in splits for Spark's tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuspark.execution.plan import Plan
from gpuspark.scans.filters import Filters
from gpuspark.scans.pruning import may_hold
from gpuspark.scans.splits import Piece, Split, pack, split_bytes
from gpuspark.scans.table import Table, TableFile
from gpuspark.spark.session import default_parallelism, size_setting

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Reading:
    """The columns and splits to read, and what is left out."""

    columns: tuple[str, ...]
    splits: tuple[Split, ...]
    files_pruned: int
    """The files that are left out for their partition."""
    groups_pruned: int
    """The row groups of other files that are left out for their statistics."""
    rows_pruned: int
    rows: int
    """The rows of the row groups that are read."""


def plan_reading(spark: SparkSession, table: Table, filters: Filters, columns: Sequence[str]) -> Reading:
    """Returns what is read of ``table``'s ``columns``.

    Raises what :meth:`Table.check_columns` raises for columns that are not read exactly.
    """
    table.check_columns(columns)
    files = [file for file in table.files if _partition_may_hold(filters, file, table)]
    pieces, total, rows, groups_pruned = [], 0, 0, 0
    for file in files:
        stored = {name: file.stored.get(name) for name in columns if name not in table.partition_columns}
        partition = {name: file.partition[name] for name in columns if name in table.partition_columns}
        bounds_of = file.bounds if filters.alternatives else lambda _: {}
        for group in file.footer.row_groups:
            if not may_hold(filters, bounds_of(group), group.rows):
                groups_pruned += 1
                continue
            size = sum(group.sizes[there] for there in stored.values() if there is not None)
            piece = Piece(
                file.path, file.footer.size, file.footer.modified, (group.number,), (group.rows,), stored, partition
            )
            pieces.append((piece, size))
            total += size
            rows += group.rows
    most = split_bytes(
        total,
        size_setting(spark, "spark.sql.files.maxPartitionBytes"),
        size_setting(spark, "spark.sql.files.openCostInBytes"),
        default_parallelism(spark),
    )
    splits = tuple(pack(pieces, most))
    pruned = len(table.files) - len(files)
    return Reading(tuple(columns), splits, pruned, groups_pruned, table.rows - rows, rows)


def _partition_may_hold(filters: Filters, file: TableFile, table: Table) -> bool:
    """Returns whether the rows of a file may meet the filters, by its folders' values."""
    import pyarrow as pa

    if not filters.alternatives or not file.partition:
        return True
    known = [tuple(c for c in conditions if c.column in file.partition) for conditions in filters.alternatives]
    if not all(known):
        return True
    row = {name: pa.array([value.as_py()], value.type).cast(table.schema.field(name).type)
           for name, value in file.partition.items()}  # fmt: skip
    return bool(Filters(tuple(known)).wanted(row)[0].as_py())


@dataclass(frozen=True)
class ScanPlan:
    """What a run of a scan reads and leaves out, and its steps."""

    table: Table
    filters: Filters
    reading: Reading
    steps: tuple[str, ...]
    functions: tuple[Plan, ...]
    """Where the compiled functions that the steps call would run on this machine. Batch bodies are not called before
    they run, so that theirs are not among them."""

    def __str__(self) -> str:
        table, reading = self.table, self.reading
        columns = len(table.schema.names) + len(table.unreadable)
        read = ", ".join(reading.columns) or "none: footers tell the rows"
        groups = sum(len(file.footer.row_groups) for file in table.files)
        lines = [
            f"scan of {table.path}: {len(table.files):,} files, {groups:,} row groups, {table.rows:,} rows",
            f"  reads {len(reading.columns)} of {columns} columns: {read}",
        ]
        if self.filters.alternatives:
            lines += [
                f"  filters: {self.filters}",
                f"  leaves out {reading.files_pruned:,} files by their folders",
                f"  leaves out {reading.groups_pruned:,} row groups by their statistics",
            ]
        lines.append(f"  rows of footers {table.rows:,} = left out {reading.rows_pruned:,} + read {reading.rows:,}")
        lines.append(f"  splits, each of one task: {len(reading.splits):,}")
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  {line}" for function in self.functions for line in str(function).splitlines()]
        return "\n".join(lines)

    __repr__ = __str__
