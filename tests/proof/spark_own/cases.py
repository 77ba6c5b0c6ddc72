"""Which of Spark's own tests run on gpuspark, which ways, and under which settings.

Left out: variants of a class that change how PySpark's own conversion goes, which ours does not use (the legacy and
sliced forms of Arrow's), tests of ``mapInPandas`` and of ``arrow_udf``, which gpuspark does not have, and tests of
golden files, which tell what types PySpark makes of each value (docs/results.md tells ours). Spark Connect's classes
are the same tests again.
"""

from __future__ import annotations

TESTS = "pyspark.sql.tests"
PANDAS = (
    f"{TESTS}.pandas.test_pandas_udf",
    f"{TESTS}.pandas.test_pandas_udf_scalar",
    f"{TESTS}.pandas.test_pandas_udf_grouped_agg",
    f"{TESTS}.pandas.test_pandas_udf_window",
    f"{TESTS}.pandas.test_pandas_udf_typehints",
    f"{TESTS}.pandas.test_pandas_udf_typehints_with_future_annotations",
)
OTHERS = (
    f"{TESTS}.test_udf",
    f"{TESTS}.test_unified_udf",
    f"{TESTS}.test_udf_combinations",
    f"{TESTS}.test_udf_profiler",
    "pyspark.tests.test_memory_profiler",
    f"{TESTS}.arrow.test_arrow_map:MapInArrowTests.*",
    f"{TESTS}.arrow.test_arrow_python_udf:ArrowPythonUDFTests.*",
)

LEFT_OUT = "*.test_timeout_util_with_udf"
"""Whether it passes depends on where a second ends."""

PLAIN = "pyspark"
WAYS = {
    PLAIN: (*PANDAS, *OTHERS),
    "cpu": (*PANDAS, *OTHERS),
    "cuda": PANDAS[:2],  # columns travel as Arrow, which they do for these forms only; without a GPU, pandas computes
}
"""What runs each way, plainly and on a device of gpuspark: modules, or ``module:pattern`` of ``Class.test``."""

MASTER = "local[1]"
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.python.daemon.module": "tests.proof.spark_own.daemon",
}


def submit_arguments(way: str) -> str:
    """What ``PYSPARK_SUBMIT_ARGS`` says for this way."""
    ours = {} if way == PLAIN else {"spark.gpuspark.device": way, "spark.gpuspark.fallback": "silent"}
    return " ".join([*(f"--conf {key}={value}" for key, value in (SETTINGS | ours).items()), "pyspark-shell"])
