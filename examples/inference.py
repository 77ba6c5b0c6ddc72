"""Inference with another framework: a small network over the batches of a frame, its weights loaded once per worker.

NumPy stands for the framework, since it speaks DLPack too. With PyTorch, ``np`` is ``torch``: it takes a column by
``torch.from_dlpack`` as it is, on the GPU where the batch is there.

Run it: python examples/inference.py
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

import gpuspark as gs

FEATURES = ("width", "height")


@functools.cache
def network() -> tuple[Any, ...]:
    """The weights. Kept for as long as the worker's process lives: workers import this module, and so share its cache.
    A network of yours is read from a file here, and sent to its device: ``torch.jit.load(path, device).eval()``."""
    random = np.random.default_rng(0)
    return random.normal(size=(2, 8)), random.normal(size=8), random.normal(size=(8, 1)), np.array([os.getpid()])


def infer(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    first, bias, second, loaded_by = network()
    for batch in batches:
        x = np.stack([np.from_dlpack(batch[name]) for name in FEATURES], axis=1)
        hidden = np.maximum(x @ first + bias, 0)
        score = (hidden @ second)[:, 0]
        yield batch.select(["id"]).with_column("score", score).with_column("loaded_by", loaded_by.repeat(len(x)))


def build(spark: SparkSession) -> DataFrame:
    shapes = spark.range(10_000).selectExpr("id", "sin(id) as width", "cos(id) as height")
    return gs.map_in_arrow(shapes, infer, "id bigint, score double, loaded_by bigint")


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    build(spark).orderBy("id").show(5)
    print(gs.ledger(spark))
    spark.stop()
