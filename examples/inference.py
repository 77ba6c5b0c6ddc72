"""Inference with another framework: ONNX Runtime over the batches of a frame, its network loaded once per worker.

The network is made here, by hand; yours comes from a file, as this one does for the workers. With PyTorch, on the GPU
where the batch is there, ``network`` and the lines of ``infer`` that use it become::

    torch.jit.load(SparkFiles.get(FILE), device).eval()
    x = torch.stack([torch.from_dlpack(batch[name]) for name in FEATURES], dim=1)

Run it: python examples/inference.py (it needs the packages onnx and onnxruntime)
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession

import gpuspark as gs

FEATURES = ("width", "height")
FILE = "network.onnx"


def weights() -> dict[str, np.ndarray]:
    """Two layers: two features, eight hidden values, one score."""
    random = np.random.default_rng(0)
    shapes = {"first": (2, 8), "bias": (8,), "second": (8, 1)}
    return {name: random.normal(size=shape) for name, shape in shapes.items()}


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the network's file lies, for as long as this program runs: workers fetch it from here."""
    made = tempfile.TemporaryDirectory()
    onnx.save(model(), str(Path(made.name, FILE)))
    return made


def model() -> onnx.ModelProto:
    """The network in ONNX's form."""
    layers = [
        helper.make_node("MatMul", ["x", "first"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["score"]),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ["rows", len(FEATURES)])
    score = helper.make_tensor_value_info("score", onnx.TensorProto.DOUBLE, ["rows", 1])
    constants = [numpy_helper.from_array(value, name) for name, value in weights().items()]
    graph = helper.make_graph(layers, "two layers", [x], [score], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@functools.cache
def network() -> tuple[onnxruntime.InferenceSession, int]:
    """The network, and the process that loaded it: once for as long as the worker's process lives, since workers
    import this module, and so share its cache. One thread: Spark runs a task on each core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(SparkFiles.get(FILE), options, providers=["CPUExecutionProvider"])
    return session, os.getpid()


def infer(batches: Iterator[gs.Batch]) -> Iterator[gs.Batch]:
    session, loaded_by = network()
    for batch in batches:
        x = np.stack([np.from_dlpack(batch[name]) for name in FEATURES], axis=1)
        [score] = session.run(["score"], {"x": x})
        scored = batch.select(["id"]).with_column("score", score[:, 0])
        yield scored.with_column("loaded_by", np.full(len(x), loaded_by))


def build(spark: SparkSession) -> DataFrame:
    spark.sparkContext.addFile(str(Path(folder().name, FILE)))
    shapes = spark.range(10_000).selectExpr("id", "sin(id) as width", "cos(id) as height")
    return gs.map_in_arrow(shapes, infer, "id bigint, score double, loaded_by bigint")


if __name__ == "__main__":
    import inference  # this file as a module: a function of __main__ travels to each task anew, its cache with it

    spark = SparkSession.builder.master("local[2]").getOrCreate()
    spark.sparkContext.addPyFile(__file__)
    inference.build(spark).orderBy("id").show(5)
    print(gs.ledger(spark))
    spark.stop()
