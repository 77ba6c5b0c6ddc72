"""The form in which PySpark gives columns to pandas UDFs, and the way back: PySpark's own converters.

Where the columns of the series dialect travel as Arrow (:mod:`gpuspark.dialects.series`), these make of them what a
pandas UDF would have been given: nullable integers as floats with NaN, timestamps naive in the session's time zone,
structs as frames. PySpark does the work, so the values are its own; its private names differ by version, and are
called here only.
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
"""The settings that PySpark's workers convert by, each under the name of its field in :class:`Conversion`."""


@dataclass(frozen=True)
class Conversion:
    """The session's settings of the conversion. Picklable. The defaults are for a Spark that has not the setting."""

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
        """The settings of ``spark`` now; where one was never set, what this version of Spark has registered for it."""
        read = {name: _setting(spark, key) for name, key in _SWITCHES.items()}
        switches = {name: _is_true(text) for name, text in read.items() if text is not None}
        return cls(_setting(spark, TIME_ZONE) or "UTC", **switches)

    def in_task(self) -> Conversion:
        """These settings, with what the session of the running task has set since the column was built."""
        task = running_task()
        if task is None:
            return self
        since = {name: task.getLocalProperty(key) for name, key in _SWITCHES.items()}
        changed: dict[str, Any] = {name: _is_true(text) for name, text in since.items() if text is not None}
        return dataclasses.replace(self, time_zone=task.getLocalProperty(TIME_ZONE) or self.time_zone, **changed)


def _setting(spark: SparkSession, key: str) -> str | None:
    """The value of ``key``, or Spark's own default; ``None`` where this version of Spark does not know it. A default
    given to ``conf.get`` would hide Spark's."""
    from pyspark.errors import SparkNoSuchElementException

    try:
        return spark.conf.get(key)
    except SparkNoSuchElementException:
        return None


def _is_true(text: str) -> bool:
    return text.lower() == "true"


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


def from_pandas(result: Any, declared: DataType, conversion: Conversion, rows: int | None = None) -> pa.Array:
    """The Arrow column of what a body returned: a Series, or a DataFrame where ``declared`` is a struct.

    Raises PySpark's own errors for a result of another class, for another number than ``rows``, where that is told,
    and for values that ``declared`` cannot hold.
    """
    import pandas as pd
    from pyspark.errors import PySparkTypeError, PySparkValueError
    from pyspark.sql.types import StructType

    is_struct = isinstance(declared, StructType)
    if not hasattr(result, "__len__"):
        said = {"expected": f"pandas.{'DataFrame' if is_struct else 'Series'}", "actual": type(result).__name__}
        raise PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters=said)
    if rows is not None and len(result) != rows:
        raise _wrong_length(len(result), rows)
    if is_struct and not isinstance(result, pd.DataFrame):
        raise PySparkValueError(
            "Invalid return type. Please make sure that the UDF returns a pandas.DataFrame when the specified "
            "return type is StructType."
        )
    return _converted(result, declared, conversion)


def from_yielded(result: Any, declared: DataType, conversion: Conversion) -> pa.Array:
    """The Arrow column of one thing that a body over iterators yielded. Stricter, as PySpark is: a Series, or a
    DataFrame with the columns of ``declared``, and nothing like them."""
    import pandas as pd
    from pyspark.sql.types import StructType

    if not isinstance(result, pd.DataFrame if isinstance(declared, StructType) else pd.Series):
        raise _no_iterator_of_columns(f"iterator of {type(result).__name__}", declared)
    worker: Any = importlib.import_module("pyspark.worker")
    worker.verify_pandas_result(result, declared, assign_cols_by_name=True, truncate_return_schema=True)
    return _converted(result, declared, conversion)


def iterator_of(results: Any, declared: DataType) -> Iterator[Any]:
    """What a body over iterators returned, as an iterator. PySpark before 4.3 takes anything to iterate over.

    Raises PySpark's own error for anything else.
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
    said = {"expected": f"iterator of pandas.{name}", "actual": actual}
    return PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters=said)


def _wrong_length(actual: int, expected: int) -> Exception:
    from pyspark.errors import PySparkRuntimeError

    if _before_4_3():
        said = {"udf_type": "pandas_udf", "expected": str(expected), "actual": str(actual)}
        return PySparkRuntimeError(errorClass="SCHEMA_MISMATCH_FOR_PANDAS_UDF", messageParameters=said)
    said = {"output_length": str(actual), "input_length": str(expected)}
    return PySparkRuntimeError(errorClass="RESULT_ROWS_MISMATCH", messageParameters=said)


def _before_4_3() -> bool:
    """Whether PySpark checks what bodies return as 4.1 and 4.2 do."""
    return not hasattr(importlib.import_module("pyspark.worker"), "verify_return_type")


def _converted(result: Any, declared: DataType, conversion: Conversion) -> pa.Array:
    from pyspark.sql.pandas.types import to_arrow_type
    from pyspark.sql.types import StructField, StructType

    converter = getattr(importlib.import_module("pyspark.sql.conversion"), "PandasToArrowConversion", None)
    if converter is None:
        kind = to_arrow_type(declared, prefers_large_types=conversion.large_types)
        return _serializer_of_4_1(conversion)._create_batch([(result, kind)]).column(0)  # noqa: SLF001
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
