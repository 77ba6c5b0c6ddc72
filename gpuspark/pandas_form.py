"""The form in which PySpark gives columns to pandas UDFs, and the way back: PySpark's own converters.

Where the series dialect travels as Arrow (:mod:`gpuspark.series`), these make of it what a pandas UDF would have
been given: nullable integers as floats with NaN, timestamps naive in the session's time zone, structs as frames.
PySpark does the work, so the values are its own; its private names differ by version, and are called here only.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.session import TIME_ZONE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType


@dataclass(frozen=True)
class Conversion:
    """The session's settings of the conversion, as the driver saw them. Picklable."""

    time_zone: str
    safe: bool = False
    """Whether a value that its declared type cannot hold is an error."""
    by_name: bool = True
    """Whether the columns of a frame are matched with the declared struct's by name."""
    int_to_decimal: bool = False
    extension_integers: bool = False
    """Whether integers with nulls stay integers, in pandas' own nullable type. Since PySpark 4.2."""
    large_types: bool = False

    @classmethod
    def of(cls, spark: SparkSession) -> Conversion:
        """The settings of ``spark`` now, under the keys that PySpark's workers read."""
        return cls(
            spark.conf.get(TIME_ZONE) or "UTC",
            _is_true(spark, "spark.sql.execution.pandas.convertToArrowArraySafely"),
            _is_true(spark, "spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName", "true"),
            _is_true(spark, "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled"),
            _is_true(spark, "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype"),
            _is_true(spark, "spark.sql.execution.arrow.useLargeVarTypes"),
        )

    def in_zone(self, time_zone: str | None) -> Conversion:
        """The same in another time zone, where one is given: it may have changed since the column was built."""
        return dataclasses.replace(self, time_zone=time_zone) if time_zone else self


def _is_true(spark: SparkSession, key: str, default: str = "false") -> bool:
    return str(spark.conf.get(key, default)).lower() == "true"


def to_pandas(columns: Sequence[pa.Array], conversion: Conversion) -> list[Any]:
    """A pandas Series for each column, a DataFrame for a struct, as PySpark gives them to a pandas UDF."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_arrays(list(columns), [f"_{n}" for n in range(len(columns))])
    transformer = getattr(importlib.import_module("pyspark.sql.conversion"), "ArrowBatchTransformer", None)
    if transformer is None:
        serializer = _serializer_of_4_1(conversion)
        table = pa.Table.from_batches([batch])
        return [serializer.arrow_to_pandas(column, n) for n, column in enumerate(table.itercolumns())]
    found: list[Any] = transformer.to_pandas(
        batch,
        timezone=conversion.time_zone,
        struct_in_pandas="dict",
        prefer_int_ext_dtype=conversion.extension_integers,
        df_for_struct=True,
    )
    return found


def from_pandas(result: Any, declared: DataType, conversion: Conversion) -> pa.Array:
    """The Arrow column of a body's result: a Series, or a DataFrame where ``declared`` is a struct.

    Raises PySpark's own errors for a result of another kind, or values that ``declared`` cannot hold.
    """
    from pyspark.errors import PySparkTypeError, PySparkValueError
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import StructField, StructType

    is_struct = isinstance(declared, StructType)
    if not hasattr(result, "__len__"):
        said = {"expected": f"pandas.{'DataFrame' if is_struct else 'Series'}", "actual": type(result).__name__}
        raise PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters=said)
    if is_struct and not hasattr(result, "columns"):
        raise PySparkValueError(
            "Invalid return type. Please make sure that the UDF returns a pandas.DataFrame when the specified "
            "return type is StructType."
        )
    converter = getattr(importlib.import_module("pyspark.sql.conversion"), "PandasToArrowConversion", None)
    if converter is None:
        batch = _serializer_of_4_1(conversion)._create_batch([(result, to_arrow_type(declared), declared)])  # noqa: SLF001
        return batch.column(0)
    return converter.convert(
        [result],
        StructType([StructField("_0", declared)]),
        timezone=conversion.time_zone,
        safecheck=conversion.safe,
        arrow_cast=True,
        prefers_large_types=conversion.large_types,
        assign_cols_by_name=conversion.by_name,
        int_to_decimal_coercion_enabled=conversion.int_to_decimal,
    ).column(0)


def _serializer_of_4_1(conversion: Conversion) -> Any:
    """PySpark 4.1 has the converters as methods of what its workers read and write with."""
    serializers: Any = importlib.import_module("pyspark.sql.pandas.serializers")
    return serializers.ArrowStreamPandasUDFSerializer(
        conversion.time_zone,
        conversion.safe,
        conversion.by_name,
        df_for_struct=True,
        arrow_cast=True,
        int_to_decimal_coercion_enabled=conversion.int_to_decimal,
    )
