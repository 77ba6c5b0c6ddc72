"""Converts columns to the form that PySpark gives to pandas UDFs, and results back, with PySpark's own converters.

Series bodies whose columns arrive as Arrow (:mod:`gpuspark.dialects.series`) get from here what a pandas UDF would
get: integers with nulls as floats with NaN, timestamps naive in the session's time zone, structs as DataFrames. Since
PySpark converts, the values are the same by construction. Its private names differ by version and are used in this
module only.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.spark.session import TIME_ZONE, running_task

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

_SWITCHES = {
    "safe": "spark.sql.execution.pandas.convertToArrowArraySafely",
    "by_name": "spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName",
    "int_to_decimal": "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled",
    "extension_integers": "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype",
    "large_types": "spark.sql.execution.arrow.useLargeVarTypes",
}
"""Spark's settings that affect the conversion, by the name of their field in :class:`Conversion`."""


@dataclass(frozen=True)
class Conversion:
    """The session's conversion settings; picklable. The defaults apply if this version of Spark lacks a setting."""

    time_zone: str
    safe: bool = False
    """Whether a value that the declared type cannot hold raises an error."""
    by_name: bool = True
    """Whether the columns of a DataFrame are matched with the declared struct's fields by name."""
    int_to_decimal: bool = False
    extension_integers: bool = False
    """Whether integers with nulls use pandas' nullable integer type. Since PySpark 4.2."""
    large_types: bool = False

    @classmethod
    def of(cls, spark: SparkSession) -> Conversion:
        """Returns the current settings of ``spark``, with Spark's own defaults for those never set."""
        texts = {name: _setting(spark, key) for name, key in _SWITCHES.items()}
        switches = {name: _is_true(text) for name, text in texts.items() if text is not None}
        return cls(_setting(spark, TIME_ZONE) or "UTC", **switches)

    def in_task(self) -> Conversion:
        """Returns these settings, updated with those that the running task's session set after building the column."""
        task = running_task()
        if task is None:
            return self
        texts = {name: task.getLocalProperty(key) for name, key in _SWITCHES.items()}
        changed: dict[str, Any] = {name: _is_true(text) for name, text in texts.items() if text is not None}
        return dataclasses.replace(self, time_zone=task.getLocalProperty(TIME_ZONE) or self.time_zone, **changed)


def _setting(spark: SparkSession, key: str) -> str | None:
    """Returns the value of ``key`` or Spark's default; ``None`` if this version of Spark does not know the key.

    A default passed to ``conf.get`` would hide Spark's.
    """
    from pyspark.errors import SparkNoSuchElementException

    try:
        return spark.conf.get(key)
    except SparkNoSuchElementException:
        return None


def _is_true(text: str) -> bool:
    return text.lower() == "true"


def to_pandas(columns: Sequence[pa.Array], conversion: Conversion) -> list[Any]:
    """Returns a pandas Series for each column, a DataFrame for a struct, as PySpark passes them to a pandas UDF."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_arrays(list(columns), [f"_{n}" for n in range(len(columns))])
    transformer = getattr(importlib.import_module("pyspark.sql.conversion"), "ArrowBatchTransformer", None)
    if transformer is None:
        serializer = _serializer_of_4_1(conversion)
        table = pa.Table.from_batches([batch])
        return [serializer.arrow_to_pandas(column, n) for n, column in enumerate(table.itercolumns())]
    series: list[Any] = transformer.to_pandas(
        batch,
        timezone=conversion.time_zone,
        struct_in_pandas="dict",
        prefer_int_ext_dtype=conversion.extension_integers,
        df_for_struct=True,
    )
    return series


def from_pandas(result: Any, declared: DataType, conversion: Conversion, rows: int | None = None) -> pa.Array:
    """Returns a body's result as an Arrow column: of a Series, or of a DataFrame if ``declared`` is a struct.

    Raises PySpark's own errors for a result of another class, for a number of rows other than ``rows`` (if given),
    and for values that ``declared`` cannot hold.
    """
    import pandas as pd
    from pyspark.errors import PySparkTypeError, PySparkValueError
    from pyspark.sql.types import StructType

    is_struct = isinstance(declared, StructType)
    if not hasattr(result, "__len__"):
        parameters = {"expected": f"pandas.{'DataFrame' if is_struct else 'Series'}", "actual": type(result).__name__}
        raise PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters=parameters)
    if rows is not None and len(result) != rows:
        raise _wrong_length(len(result), rows)
    if is_struct and not isinstance(result, pd.DataFrame):
        raise PySparkValueError(
            "Invalid return type. Please make sure that the UDF returns a pandas.DataFrame when the specified "
            "return type is StructType."
        )
    return _converted(result, declared, conversion)


def from_yielded(result: Any, declared: DataType, conversion: Conversion) -> pa.Array:
    """Returns an item that a body over iterators yielded as an Arrow column.

    Stricter than :func:`from_pandas`, like PySpark: the item must be a Series, or a DataFrame with the columns of
    ``declared``.
    """
    import pandas as pd
    from pyspark.sql.types import StructType

    if not isinstance(result, pd.DataFrame if isinstance(declared, StructType) else pd.Series):
        raise _no_iterator_of_columns(f"iterator of {type(result).__name__}", declared)
    worker: Any = importlib.import_module("pyspark.worker")
    worker.verify_pandas_result(result, declared, assign_cols_by_name=True, truncate_return_schema=True)
    return _converted(result, declared, conversion)


def iterator_of(results: Any, declared: DataType) -> Iterator[Any]:
    """Returns the result of a body over iterators as an iterator.

    Raises PySpark's own error for anything but an iterator; PySpark before 4.3 accepts any iterable.
    """
    if isinstance(results, Iterator):
        return results
    if _before_4_3() and hasattr(results, "__iter__"):
        return iter(results)
    raise _no_iterator_of_columns(type(results).__name__, declared)


def _no_iterator_of_columns(actual: str, declared: DataType) -> Exception:
    from pyspark.errors import PySparkTypeError
    from pyspark.sql.types import StructType

    name = "DataFrame" if isinstance(declared, StructType) else "Series"
    parameters = {"expected": f"iterator of pandas.{name}", "actual": actual}
    return PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters=parameters)


def _wrong_length(actual: int, expected: int) -> Exception:
    from pyspark.errors import PySparkRuntimeError

    if _before_4_3():
        parameters = {"udf_type": "pandas_udf", "expected": str(expected), "actual": str(actual)}
        return PySparkRuntimeError(errorClass="SCHEMA_MISMATCH_FOR_PANDAS_UDF", messageParameters=parameters)
    parameters = {"output_length": str(actual), "input_length": str(expected)}
    return PySparkRuntimeError(errorClass="RESULT_ROWS_MISMATCH", messageParameters=parameters)


def _before_4_3() -> bool:
    """Returns whether PySpark checks results as 4.1 and 4.2 do."""
    return not hasattr(importlib.import_module("pyspark.worker"), "verify_return_type")


def _converted(result: Any, declared: DataType, conversion: Conversion) -> pa.Array:
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import StructField, StructType

    converter = getattr(importlib.import_module("pyspark.sql.conversion"), "PandasToArrowConversion", None)
    if converter is None:
        arrow = to_arrow_type(declared, prefers_large_types=conversion.large_types)
        return _serializer_of_4_1(conversion)._create_batch([(result, arrow)]).column(0)  # noqa: SLF001
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
    """Returns PySpark 4.1's serializer, whose methods are the converters."""
    serializers: Any = importlib.import_module("pyspark.sql.pandas.serializers")
    return serializers.ArrowStreamPandasUDFSerializer(
        conversion.time_zone,
        conversion.safe,
        conversion.by_name,
        df_for_struct=True,
        arrow_cast=True,
        int_to_decimal_coercion_enabled=conversion.int_to_decimal,
    )
