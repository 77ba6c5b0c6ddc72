"""A folder of parquet files as a table: schema, partition columns and files as Spark resolves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpuspark.errors import CallError
from gpuspark.scans.footers import footers_of
from gpuspark.scans.partitions import check_path, partition_values, path_of, root_of
from gpuspark.scans.table import INSTEAD, Table, check_settings, table_of

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
    paths = sorted(path_of(address) for address in frame.inputFiles())
    root = root_of(path, paths)
    texts = {file: partition_values(root, file) for file in paths}
    columns = _partition_columns(declared, texts)
    numbered = {f"partition {n}": name for n, name in enumerate(columns)}
    footers = footers_of(_typed(spark, texts, numbered, declared), with_bounds)
    files = (
        (file, footer, {name: others[number] for number, name in numbered.items()}) for file, footer, others in footers
    )
    return table_of(spark, path, declared, columns, files)


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
    rows = [(file, *values.values()) for file, values in texts.items()]
    converted = [F.col(number).cast(declared[name].dataType).alias(number) for number, name in numbered.items()]
    return spark.createDataFrame(rows, text_schema).select("path", *converted)
