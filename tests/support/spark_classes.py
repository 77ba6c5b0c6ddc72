"""``python -m tests.support.spark_classes``: writes an archive of the classes that Spark loads, beside the environment.

Loading classes from 300 jars is half of what a short job costs, and the tests start dozens of Sparks. With the archive
(``-XX:SharedArchiveFile``, JEP 350) Java maps them into memory instead. It is of one Java and one PySpark: Java
ignores it with others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ARCHIVE = Path(sys.prefix, "spark.jsa")
OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Jobs of tests are short, so Java that starts quickly beats Java that runs quickly."""
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"
"""Nothing is said on the standard output of Sparks that cannot use the archive, such as those with more jars."""


def java_options() -> str:
    """Returns the options of Java for the Sparks of tests."""
    return f"{OPTIONS} -XX:SharedArchiveFile={ARCHIVE} {QUIET}" if ARCHIVE.exists() else OPTIONS


def main() -> None:
    """Runs some usual queries and lets Java write the archive at its end. Does nothing if there is one."""
    if ARCHIVE.exists():
        return
    written = ARCHIVE.with_suffix(".written")
    os.environ["SPARK_SUBMIT_OPTS"] = f"{OPTIONS} -XX:ArchiveClassesAtExit={written} {QUIET}"

    from pyspark.sql import SparkSession, functions, types

    import gpuspark as gs

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    half = functions.udf(lambda number: number / 2, types.DoubleType())
    third = gs.udf("double")(lambda number: number / 3)
    numbers = spark.range(1000).select("id", half("id").alias("half"), third("id").alias("third"))
    numbers.groupBy((numbers.id % 7).alias("rest")).agg(functions.sum("half")).orderBy("rest").collect()
    spark.createDataFrame([(1, "a", [1.0])], "id int, name string, list array<double>").join(numbers, "id").toArrow()
    gs.ledger(spark).summary()
    java: Any = spark.sparkContext._gateway
    spark.stop()
    java.proc.stdin.close()  # ends Java
    java.proc.wait()
    if written.exists():
        written.replace(ARCHIVE)
    else:
        print("Java wrote no archive of Spark's classes: the tests take longer.", file=sys.stderr)


if __name__ == "__main__":
    main()
