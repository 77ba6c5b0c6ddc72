"""What the real packages raise where there is no GPU: each probe runs in a process of its own, first without a
driver, then with one that is older than RAPIDS wants. Our stub of the driver is such a one: it lacks what CUDA's
runtime library asks for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stub_driver import build

PROBES = {
    "cudf: a series of a list": "import cudf; cudf.Series([1])",
    "cudf: a series of Arrow": "import cudf, pyarrow; cudf.Series.from_arrow(pyarrow.array([1]))",
    "cudf: a frame of Arrow": "import cudf, pyarrow; cudf.DataFrame.from_arrow(pyarrow.table({'a': [1]}))",
    "pylibcudf: a column of Arrow": "import pylibcudf, pyarrow; pylibcudf.Column.from_arrow(pyarrow.array([1]))",
    "cupy: an array of NumPy": "import cupy, numpy; cupy.asarray(numpy.ones(1))",
    "cupy: empty memory": "import cupy; cupy.empty(1)",
    "cupy: the device": "import cupy; cupy.cuda.Device().compute_capability",
    "rmm: memory": "import rmm; rmm.DeviceBuffer(size=1)",
    "rmm: the current resource": "import rmm; rmm.mr.get_current_device_resource()",
    "rmm: its own pool": "import rmm; rmm.mr.CudaAsyncMemoryResource()",
    "cuda-bindings: start": "from cuda.bindings import driver; driver.cuInit(0)",
    "cuda-bindings: the pool": "from cuda.bindings import driver; driver.cuDeviceGetMemPool(0)",
    "cuda-core: the device": "from cuda.core import Device; Device(0)",
    "cudf: imported in 2 GiB": "limit(2 << 30); import cudf",
    "cudf: imported in 1 GiB": "limit(1 << 30); import cudf",
    "cupy: imported in 256 MiB": "limit(256 << 20); import cupy",
}
"""By what is tried, its code. ``limit(bytes)`` bounds the address space, as ``spark.executor.pyspark.memory`` does."""

_RUN = """
import json, re, resource, sys
def limit(nbytes): resource.setrlimit(resource.RLIMIT_AS, (nbytes, nbytes))
try:
    exec(sys.argv[1])
except BaseException as error:
    kinds = [f"{k.__module__}.{k.__qualname__}" for k in type(error).__mro__ if k not in (object, BaseException)]
    status = getattr(error, "status", None)
    text = re.sub(r"/[^ :]*/", "", " ".join(str(error).split()))[:300]  # without folders of this machine
    print("FOUND", json.dumps({"kinds": kinds, "text": text, "status": status if status is None else int(status)}))
else:
    print("FOUND null")
"""


@contextmanager
def old_driver() -> Iterator[dict[str, str]]:
    """The environment of processes that find the stub driver, of CUDA 12.9."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        yield os.environ | {"LD_LIBRARY_PATH": str(library.parent), "STUB_VERSION": "12090"}


def probed(code: str, environment: dict[str, str] | None = None) -> dict[str, Any] | None:
    """What ``code`` raises: the classes, from its own to ``Exception``, its words, and its ``status``."""
    command = [sys.executable, "-c", _RUN, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    told = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not told:
        raise RuntimeError(f"{code}\nended with {done.returncode}: {done.stderr}")
    result: dict[str, Any] | None = json.loads(told[-1].removeprefix("FOUND "))
    return result


def all_failures() -> dict[str, dict[str, dict[str, Any]]]:
    """By driver and what is tried. What raises nothing is left out."""
    without = {what: probed(code) for what, code in PROBES.items()}
    with old_driver() as environment:
        old = {what: probed(code, environment) for what, code in PROBES.items() if "imported" not in what}
    by_driver = {"no driver": without, "an old driver": old}
    return {driver: {what: one for what, one in result.items() if one} for driver, result in by_driver.items()}
