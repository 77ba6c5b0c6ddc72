"""A Delta table, whose log the package ``deltalake`` reads: its files, schema and partition values at one version."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gpuspark.errors import CallError, ScanError, loading
from gpuspark.scans.footers import footers_of
from gpuspark.scans.partitions import check_path, path_of, without_scheme
from gpuspark.scans.table import INSTEAD, Table, check_settings, table_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEEDS = "scans of Delta tables need the package deltalake: pip install 'gpuspark[delta]'"
_READ = ("timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "columnMapping")
"""The features of Delta's protocol that change nothing for a scan: that columns are mapped, the configuration says."""
_LATEST_READER = 3


def delta_table(spark: SparkSession, path: str, version: int | None = None, with_bounds: Sequence[str] = ()) -> Table:
    """Returns the Delta table at ``path`` as it was at ``version``, by default the latest.

    This process reads the table's log; a Spark job reads the footers, with statistics of the columns ``with_bounds``.

    Raises :class:`~gpuspark.errors.CallError` for a path or a setting of Spark that scans do not support, and for a
    table with deletion vectors, mapped columns or other features that change what its files mean; and
    :class:`~gpuspark.errors.ScanError` if there is no such table or version, or ``deltalake`` is not installed.
    """
    from pyspark.sql.types import StringType, StructField, StructType

    check_path(path)
    check_settings(spark)
    if version is not None and (not isinstance(version, int) or isinstance(version, bool)):
        raise CallError(f"version={version!r} is not the number of a version")
    log = _log(os.path.abspath(without_scheme(path)), version)
    _check_features(path, log)
    declared = StructType.fromJson(json.loads(log.schema().to_json()))
    columns = tuple(log.metadata().partition_columns)
    partitions = _partitions(log)
    frame = spark.createDataFrame([(file,) for file in partitions], StructType([StructField("path", StringType())]))
    files = ((file, footer, partitions[file]) for file, footer, _ in footers_of(frame, with_bounds))
    return table_of(spark, path, declared, columns, files)


def _log(path: str, version: int | None) -> Any:
    with loading(lambda reason: ScanError(f"{_NEEDS} ({reason})")):
        import deltalake
        from deltalake.exceptions import DeltaError
    try:
        return deltalake.DeltaTable(path, version=version)
    except DeltaError as error:
        at = "" if version is None else f" at version {version}"
        raise ScanError(f"there is no Delta table that can be read at {path}{at}: {error}") from error


def _check_features(path: str, log: Any) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for a table whose files do not hold its rows as they are."""
    protocol = log.protocol()
    if protocol.min_reader_version > _LATEST_READER:
        raise CallError(f"scans do not read Delta tables of reader version {protocol.min_reader_version}: {path}")
    unknown = sorted(set(protocol.reader_features or ()) - set(_READ))
    if unknown:
        raise CallError(f"scans do not read Delta tables with {', '.join(unknown)}, such as {path}. {INSTEAD}")
    mapped = log.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapped != "none":
        raise CallError(f"scans do not read Delta tables with delta.columnMapping.mode={mapped}: {path}. {INSTEAD}")


def _partitions(log: Any) -> dict[str, dict[str, Any]]:
    """Returns the partition values of each file, as Arrow scalars."""
    import pyarrow as pa

    added = pa.table(log.get_add_actions(flatten=False))
    folder = path_of(log.table_uri) if "://" in log.table_uri else log.table_uri
    has_partitions = "partition" in added.column_names
    values = added["partition"] if has_partitions else [{}] * added.num_rows
    return {
        path_of(path) if "://" in path else os.path.join(folder, unquote(path)): dict(value.items())
        if has_partitions
        else {}
        for path, value in zip(added["path"].to_pylist(), values, strict=True)
    }
