"""A folder of parquet files as a table: schema, partition columns and files as Spark resolves them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpuspark.errors import CallError
from gpuspark.scans.footers import footers_of
from gpuspark.scans.partitions import absolute, check_path, partition_values, path_of
from gpuspark.scans.table import INSTEAD, Table, check_settings, readable_columns, table_of
from gpuspark.spark.session import working_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def parquet_table(spark: SparkSession, path: str, with_bounds: Sequence[str] = ()) -> Table:
    """Returns the table at ``path``, with statistics of the columns ``with_bounds``. A Spark job reads the footers.

    Raises :class:`~gpuspark.errors.CallError` for a path, a partition column or a setting of Spark that scans do not
    support, and PySpark's ``AnalysisException`` for a path that is not there.
    """
    check_path(path)
    check_settings(spark)
    frame = spark.read.parquet(path)
    declared = frame.schema
    paths = sorted(file for address in frame.inputFiles() if _holds_rows(file := path_of(address)))
    named = absolute(path, working_folder(spark))
    root = os.path.dirname(named) if named in paths else named
    texts = {file: partition_values(root, file) for file in paths}
    columns = _partition_columns(declared, texts)
    readable, _ = readable_columns(declared)
    numbered = {f"partition {n}": name for n, name in enumerate(columns) if name in readable.names}
    footers = footers_of(_typed(spark, texts, numbered, declared), with_bounds)
    files = (
        (file, footer, {name: others[number] for number, name in numbered.items()}) for file, footer, others in footers
    )
    table = table_of(spark, path, declared, columns, files)
    _check_stored(table)
    return table


def _check_stored(table: Table) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a column that neither the files nor their folders hold: Spark has
    it from somewhere else."""
    for name in table.schema.names:
        if table.files and name not in table.partition_columns and not any(name in f.stored for f in table.files):
            raise CallError(f"no file of {table.path} holds {name!r}, nor does the name of a folder. {INSTEAD}")


def _holds_rows(path: str) -> bool:
    """Returns whether Spark reads rows of a file: not if its name marks it as one of a writer's own, such as a summary
    of footers."""
    return not os.path.basename(path).startswith(("_", "."))


def _partition_columns(declared: StructType, texts: Mapping[str, Mapping[str, str | None]]) -> tuple[str, ...]:
    """Returns the names of the partition columns, which Spark puts behind the others."""
    names = {tuple(values) for values in texts.values()}
    if len(names) > 1:
        raise CallError(f"the folders of the table name different partition columns: {sorted(names)}")
    columns = next(iter(names), ())
    if columns and tuple(declared.names[-len(columns) :]) != columns:
        raise CallError(
            f"scans do not support partition columns that files hold too: the folders name {list(columns)}, "
            f"and Spark reads {declared.names}. {INSTEAD}"
        )
    return columns


def _typed(
    spark: SparkSession,
    texts: Mapping[str, Mapping[str, str | None]],
    numbered: Mapping[str, str],
    declared: StructType,
) -> DataFrame:
    """Returns a frame of the files' paths and partition values, which Spark converts from the folders' texts."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType, StructField, StructType

    text_schema = StructType([StructField(name, StringType()) for name in ("path", *numbered)])
    rows = [(file, *(values[name] for name in numbered.values())) for file, values in texts.items()]
    converted = [F.col(number).cast(declared[name].dataType).alias(number) for number, name in numbered.items()]
    return spark.createDataFrame(rows, text_schema).select("path", *converted)
