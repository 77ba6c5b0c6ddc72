"""Near-duplicates among texts: signatures, a join on their bands, and the exact similarity of the pairs that met.

The texts are what pandas, NumPy and PySpark say of their public functions: many say the same in almost the same words.

Run it: python examples/near_duplicates.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pandas as pd
import pyspark.sql.functions
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark import functions

HOMES = (pd, pd.DataFrame, pd.Series, pd.Index, np, np.ndarray, pyspark.sql.functions)
SIMILAR = 0.7
"""Pairs from here on. With 32 bands of 4 numbers, one of this similarity is missed in a case of 5,000."""


def documented(home: ModuleType | type) -> Iterator[tuple[str, str]]:
    """The public functions of a module or a class, and what is said of them, in one spacing and one case."""
    for name, function in inspect.getmembers(home, callable):
        text = inspect.getdoc(function) or ""
        if not name.startswith("_") and not isinstance(function, type) and len(text) > 200:
            yield f"{home.__name__}.{name}", " ".join(text.lower().split())


def build(spark: SparkSession) -> DataFrame:
    rows = [row for home in HOMES for row in documented(home)]
    texts = spark.createDataFrame(rows, "name string, text string").dropDuplicates(["text"])
    keys = functions.lsh_bands(functions.minhash("text"), bands=32)
    banded = texts.select("name", "text", F.explode(keys).alias("band"))
    left, right = banded.alias("left"), banded.alias("right")
    met = left.join(right, (F.col("left.band") == F.col("right.band")) & (F.col("left.name") < F.col("right.name")))
    pairs = met.select(
        F.col("left.name").alias("name"),
        F.col("right.name").alias("like"),
        F.col("left.text").alias("text"),
        F.col("right.text").alias("text_like"),
    ).dropDuplicates(["name", "like"])
    similarity = functions.jaccard("text", "text_like").alias("similarity")
    return pairs.select("name", "like", similarity).where(F.col("similarity") >= SIMILAR)


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    build(spark).orderBy(F.desc("similarity"), "name", "like").show(20, truncate=False)
    print(gs.ledger(spark))
    spark.stop()
