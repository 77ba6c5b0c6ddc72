"""One function, every device, one answer: generated batches through every compiled device and plain Python.

``GPUSPARK_EXAMPLES`` is the number of batches in all (CONTRIBUTING has the command for the long run), which are then
new ones in each run. Plain Python is our own ``python`` device there; inside Spark it is PySpark's own UDF.
"""

from __future__ import annotations

import os

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gpuspark.columns.values import from_python, same, to_python
from gpuspark.devices.protocol import DeviceName
from gpuspark.dialects.scalar import _NullForNull
from gpuspark.execution.verify import tolerance
from gpuspark.testing import assert_same_on_all_devices
from tests.support.bodies import CASES
from tests.support.body_cases import Case
from tests.support.devices import ANY_COMPILED
from tests.support.strategies import tables

EXAMPLES = int(os.environ.get("GPUSPARK_EXAMPLES", "1000"))


@ANY_COMPILED
@pytest.mark.parametrize("case", CASES, ids=str)
@settings(
    max_examples=-(-EXAMPLES // len(CASES)),
    deadline=None,
    derandomize="GPUSPARK_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_every_device_gives_pythons_answer(case: Case, devices: tuple[DeviceName, ...], data: st.DataObject) -> None:
    names = tuple(case.f.signature.parameters)[: len(case.types)]
    assert_same_on_all_devices(case.f, data.draw(tables(names, case.types)), devices=devices)


@pytest.mark.parametrize("columns", sorted({case.types for case in CASES}), ids="-".join)
@settings(
    max_examples=max(1, EXAMPLES // 5000),
    deadline=None,
    derandomize="GPUSPARK_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(data=st.data())
def test_inside_spark_answers_are_those_of_pysparks_own_udf(spark, columns: tuple[str, ...], data) -> None:
    """Every body on these types, over one table of generated rows, less those on which the body raises."""
    from pyspark.sql import functions as F

    names = tuple("abcdefgh"[: len(columns)])
    table = data.draw(tables(names, columns, (120,)))
    if "timestamp" in columns:
        table = table.cast(pa.schema([(n, _zoned(t)) for n, t in zip(names, table.schema.types, strict=True)]))
    spark.conf.set("spark.gpuspark.device", "cpu")
    for f in [case.f for case in CASES if case.types == columns]:
        answered = table.filter(pa.array(_answers(f, table), pa.bool_()))
        body = f.__gpuspark_body__
        theirs = F.udf(_NullForNull(body) if f.nulls == "propagate" else body, f.declared)
        frame = spark.createDataFrame(answered).coalesce(1)
        ulp = tolerance(f.scalar_function(tuple(f.signature.parameters)[: len(columns)]))
        for row in frame.select("*", f(*names).alias("ours"), theirs(*names).alias("theirs")).collect():
            assert same(row.ours, row.theirs, ulp), f"{f.__name__}: {row}"


def _answers(f, table: pa.Table) -> list[bool]:
    """Where the body has an answer that its declared type can hold."""
    arrow = f.scalar_function(tuple(f.signature.parameters)).arrow
    result = []
    for values in zip(*(to_python(column) for column in table.columns), strict=True):
        try:
            answer = None if f.nulls == "propagate" and None in values else f.__gpuspark_body__(*values)
            from_python([answer], f.result, arrow)
            result.append(True)
        except (ArithmeticError, ValueError, TypeError, AssertionError, LookupError, NameError):
            result.append(False)
    return result


def _zoned(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind
