"""A compiler that does not start, for whatever cause, is a reason and a fallback, never an error.

Each case runs in a process of its own, in which a stand-in on PYTHONPATH, or a line of the program, breaks a package.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpuspark.compiler import toolchain
from gpuspark.compiler.source import CannotCompile

ROOT = Path(__file__).parents[1]

JOB = """
import json
import math
import sys

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark.tools.check import check
from gpuspark.compiler.toolchain import start
from gpuspark.config import Config
from gpuspark.spark.session import configured


@gs.udf("double")
def scaled(x):
    return x * 2.5 + 1.0 + math.erf(0.0)  # which has no Spark expression


@gs.array_function
def doubled(i, x, out):
    out[i] = 2 * x[i]


if __name__ == "__main__":
    exec(sys.argv[1])
    outcomes = {}
    for device in ("cpu", "emulated"):
        with configured(Config(device=device, fallback="silent")):
            rows = scaled(pa.array([1.0, None, 3.0])).to_pylist()
            items = doubled(3, np.array([1.0, 2.0, 3.0]), gs.Out("float64", 3)).tolist()
            function = scaled.scalar_function(("x",))
            from gpuspark.columns.types import parse
            from gpuspark.execution.placement import decide
            from gpuspark.execution.runner import PlacedScalar

            config = Config(device=device)
            outcomes[device] = [rows, items, str(decide(PlacedScalar(function, [parse("double")], config), config))]
    outcomes["explained"] = str(scaled.explain())
    outcomes["checked"] = "; ".join(map(str, check(__file__)))
    outcomes["info"] = gs.info().devices
    print(json.dumps(outcomes))
"""

LOST_LIBRARY = """
from cuda import pathfinder
from cuda.pathfinder._dynamic_libs import load_dl_common
load = pathfinder.load_nvidia_dynamic_lib
def lost(name, *rest):
    if name in LOST:
        raise load_dl_common.DynamicLibNotFoundError(f"{name} is not to be found")
    return load(name, *rest)
pathfinder.load_nvidia_dynamic_lib = lost
"""
"""Code that hides CUDA's libraries from an installed numba-cuda."""

LIBRARIES = ("cudart", "nvrtc", "nvvm")
CPU, PTX = "Numba, the compiler,", "NVIDIA's compiler"
OTHER_NUMPY = "vars(np).pop('row_stack', None)"
"""NumPy 2.5 lacks a name that numba-cuda 0.30 and older Numbas use, some of them only when they first compile."""

BROKEN = {
    "NumPy is too new for Numba": (CPU, "AttributeError", "", "", OTHER_NUMPY),
    "NumPy is too new for numba-cuda": (PTX, "AttributeError", "", "", f"start('cpu'); {OTHER_NUMPY}"),
    "the tool kit's libraries are lost": (PTX, "DynamicLibNotFoundError", "", "", f"LOST = {LIBRARIES}{LOST_LIBRARY}"),
    "libNVVM is lost": (PTX, "DynamicLibNotFoundError", "", "", f"LOST = 'nvvm'{LOST_LIBRARY}"),
    "NVRTC is lost": (PTX, "DynamicLibNotFoundError", "", "", f"LOST = 'nvrtc'{LOST_LIBRARY}"),
    "numba-cuda lacks a part": (PTX, "ImportError", "numba_cuda/numba/cuda/__init__.py", "'no part'", ""),
    "the bindings do not load": (PTX, "OSError", "cuda.py", "'libcudart: cannot open'", ""),
    "Numba was made for another NumPy": (CPU, "ValueError", "numba.py", "'numpy.dtype size changed'", ""),
    "llvmlite is missing": (CPU, "ModuleNotFoundError", "llvmlite.py", "'no llvmlite'", ""),
    "llvmlite does not load": (CPU, "OSError", "llvmlite.py", "'libllvmlite.so: failed to map segment'", ""),
    "there is no memory": (CPU, "MemoryError", "llvmlite.py", "", ""),
}
"""For each case: the compiler that does not start, the error in its reason, the file that raises that error with these
arguments, and a line that the program runs first."""


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_start_is_a_reason(case: str, tmp_path: Path) -> None:
    culprit, error, file, arguments, line = BROKEN[case]
    job = tmp_path / "job.py"
    job.write_text(JOB)
    if file:
        standin = tmp_path / file
        standin.parent.mkdir(parents=True, exist_ok=True)
        standin.write_text(f"raise {error}({arguments})\n")
        if "/" in file:
            (tmp_path / file.partition("/")[0] / "__init__.py").touch()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "GPUSPARK_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, str(job), line]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    broken = ("cpu", "emulated") if culprit == CPU else ("emulated",)
    for device in ("cpu", "emulated"):
        rows, items, plan = outcomes[device]
        assert rows == [3.5, None, 8.5]
        assert items == [2.0, 4.0, 6.0]
        if device in broken:
            assert re.search(rf"not on {device}: ({culprit}|llvmlite).* does not start \({error}", plan), plan
            assert re.match(rf"not used: .* does not start \({error}", outcomes["info"][device])
        else:
            assert plan == "scaled runs on cpu"
            assert outcomes["info"][device].startswith("here: ")
    assert "does not run on a GPU" in outcomes["checked"]
    assert error in outcomes["checked"]
    assert outcomes["explained"].startswith(f"scaled runs on {'python' if culprit == CPU else 'cpu'}")
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert len(kept) == (0 if culprit == CPU else 2)  # the programs for the CPU, and no refusal


@pytest.mark.parametrize("part", toolchain.NEEDED_BYTES)
def test_a_limit_on_memory_that_leaves_too_little_is_a_reason_that_names_its_key(part, monkeypatch) -> None:
    import resource

    def taken() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    def leave(spare: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (taken() + spare, taken() + spare))

    monkeypatch.setattr(toolchain, "_started", {})
    attempt = toolchain.processor if part == "llvmlite" else lambda: toolchain.start(part)
    for too_little in (0, toolchain.NEEDED_BYTES[part] - (32 << 20)):
        leave(too_little)
        with pytest.raises(CannotCompile, match=r"address space .* Raise spark\.executor\.pyspark\.memory") as refused:
            attempt()
        assert not refused.value.lasting
    leave(toolchain.NEEDED_BYTES[part] + (32 << 20))
    attempt()


def test_the_processor_that_code_is_made_for_may_be_named(monkeypatch) -> None:
    from llvmlite import binding

    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert toolchain.processor() == (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert toolchain.processor() == ("generic", "")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse4.2")
    assert toolchain.processor() == ("generic", "+sse4.2")


LIMITED = """
import sys

import gpuspark as gs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.linear_model import LinearRegression

key = "spark.executor.pyspark.memory"
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config(key, "400m")
spark = builder.getOrCreate()
spark.conf.set("spark.gpuspark.device", "cpu")


def inc(x):
    return x + 1.0


df = spark.range(2).selectExpr("cast(id as double) x", "string(id) s").coalesce(1)
model = LinearRegression().fit([[0.0], [1.0]], [1.0, 2.0])
scored = gs.score(df, model, ["x"])
ours = gs.udf(inc, "double")("x"), gs.functions.levenshtein("s", F.lit("1"))
computed = scored.select(F.udf(inc, "double")("x"), *ours, "prediction")
print([tuple(row) for row in computed.collect()])
print(sorted({reason for record in gs.ledger(spark).records for reason in record.reasons}))
spark.stop()
"""


@pytest.mark.slow
def test_where_spark_limits_a_workers_memory_what_plain_pyspark_computes_is_computed() -> None:
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    values, reasons = done.stdout.splitlines()
    assert [row for line in ast.literal_eval(values) for row in line] == pytest.approx([1, 1, 1, 1, 2, 2, 0, 2])
    assert "419,430,400 bytes of address space" in reasons
    assert "Raise spark.executor.pyspark.memory" in reasons
