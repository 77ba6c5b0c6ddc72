"""``gs.pandas_udf`` compared with PySpark's own in Spark Connect, with both transports of columns."""

from __future__ import annotations

import pandas as pd
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.columns import pandas_form
from tests.support.told import told


def halves(v: pd.Series) -> pd.Series:
    return v * 0.5


def mean(v: pd.Series) -> float:
    return v.mean()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_results_names_and_sql_equal_pysparks(connect, device) -> None:
    connect.conf.set("spark.gpuspark.device", device)
    connect.conf.set("spark.gpuspark.fallback", "silent")
    frame = connect.range(0, 3, 1, 1)
    for declared in ("double", "int"):  # halves are not integers: an error since Spark 4.3
        ours, theirs = (make(halves, declared) for make in (gs.pandas_udf, F.pandas_udf))
        assert told(frame.select(ours(v="id"))) == told(frame.select(theirs(v="id")))
    for body in (halves, mean):
        results = []
        for make in (gs.pandas_udf, F.pandas_udf):
            connect.udf.register("registered", make(body, "double"))
            results.append(told(connect.sql("select registered(id) v from range(0, 3, 1, 1)")))
        assert results[0] == results[1]


def test_settings_and_misuse_are_handled_as_in_pyspark(connect) -> None:
    conversion = pandas_form.Conversion.of(connect)
    for field, key in pandas_form._SWITCHES.items():
        known = pandas_form._setting(connect, key)
        assert known is None or getattr(conversion, field) == (known == "true"), key
    assert pandas_form._setting(connect, "spark.sql.no.such.setting") is None
    with pytest.raises(PySparkException):
        gs.pandas_udf(lambda: 1, "double")
