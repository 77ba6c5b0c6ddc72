"""Stage `facts`: what the node is, whether its packages fit the project's pins, and one function on the GPU."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MORE = "torch cupy-cuda13x llvmlite cuda-toolkit cuda-pathfinder nvidia-cuda-nvrtc nvidia-cuda-runtime".split()
ASKED = ("nvidia-smi", "nvidia-smi -L", "nvcc --version", "compute-sanitizer --version", "df -h /tmp")


def told(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"{command[0]}: not on the path"
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout.strip()


def pins() -> list[str]:
    """The project's requirements against what is installed: a line for each that does not hold, one for the others."""
    from packaging.requirements import Requirement

    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines, fitting = [], []
    for text in [*project["dependencies"], *extras["cuda13"], *extras["bench"], *extras["test"]]:
        wanted = Requirement(text)
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            found = ""
        if wanted.name == "gpuspark":
            continue
        if found and wanted.specifier.contains(found, prereleases=True):
            fitting.append(f"{wanted.name} {found}")
        else:
            lines.append(f"  {'MISFIT' if found else 'absent'} {wanted.name} {found} ({wanted.specifier})")
    return [*sorted(lines), "  fit: " + ", ".join(fitting)]


def first_function() -> None:
    """Plan, compile, load, copy, launch and back, each with its seconds, in the order in which a task does it."""
    import pyarrow as pa

    import gpuspark as gs
    from gpuspark.compiler.build import baseline
    from gpuspark.config import Config
    from gpuspark.devices import open_device
    from gpuspark.testing import on_device

    @gs.udf("double")
    def halved(x, y):
        return x / 2 + y

    start = time.perf_counter()
    device = open_device("cuda", Config(device="cuda"))
    print(f"device opened in {time.perf_counter() - start:.2f} s: {device.memory()}")
    print(f"PTX is made for {baseline()}")
    given = [pa.array([1.0, None, 3.0]), pa.array([0.5, 0.5, 0.5])]
    for attempt in ("first", "second"):
        start = time.perf_counter()
        with on_device("cuda"):
            found = halved(*given).to_pylist()
        print(f"{attempt} call {time.perf_counter() - start:.3f} s: {found}")
    assert found == [1.0, None, 2.0]


def main() -> None:
    print(f"python {sys.version} at {sys.executable}, {platform.platform()}, {os.cpu_count()} cores")
    spaces, files = map(resource.getrlimit, (resource.RLIMIT_AS, resource.RLIMIT_NOFILE))
    print(f"limits: address space {spaces}, files {files}")
    print(f"CUDA_HOME {os.environ.get('CUDA_HOME')}, JAVA_HOME {os.environ.get('JAVA_HOME')}")
    for command in ASKED:
        print(f"$ {command}\n{told(*command.split())}")
    print("packages:\n" + "\n".join(pins()))
    print("  and " + ", ".join(f"{name} {version(name)}" for name in MORE if _has(name)))
    import numpy as np

    print(f"numpy {np.__version__} at {np.__file__}")
    import gpuspark

    print(gpuspark.info())
    first_function()
    print("ALL WELL: a compiled function ran on the GPU")


def _has(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    main()
