"""Every example runs as a program, as its docstring says; what they compute is asserted in ``test_docs.py``."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.own_spark import quick_environment

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

TOLD = {
    "batch": "nearest_city",
    "forecasting": "27,634",
    "inference": "infer",
    "near_duplicates": "jaccard",
    "scalar": "months_to_repay",
    "series": "root_mean_square",
}
"""What the ledger says at the end: a function, or the rows that it was given."""


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_runs_as_its_docstring_says(file: Path, tmp_path: Path) -> None:
    [said] = re.findall(r"^Run it: python (examples/\w+\.py)", file.read_text(), re.M)
    assert ROOT / said == file
    command, environment = [sys.executable, str(file)], quick_environment()
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert TOLD[file.stem] in done.stdout


def test_the_inference_example_loads_its_network_once_per_process(spark) -> None:
    inference: Any = importlib.import_module("examples.inference")
    spark.conf.set("spark.gpuspark.device", "cpu")
    rows = [row for _ in range(2) for row in inference.build(spark).orderBy("id").collect()]
    layers = inference.weights()
    ids = np.array([row.id for row in rows])
    x = np.stack([np.sin(ids), np.cos(ids)], axis=1)
    wanted = np.maximum(x @ layers["first"] + layers["bias"], 0) @ layers["second"]
    np.testing.assert_allclose([row.score for row in rows], wanted[:, 0], rtol=1e-9, atol=1e-12)
    processes = {row.loaded_by for row in rows}
    assert len(processes) <= spark.sparkContext.defaultParallelism
    assert os.getpid() not in processes
