"""Rehearsals of the CUDA device on a stand-in for the driver: see README.md."""

from __future__ import annotations

import atexit
import faulthandler
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cuda.bindings
import pytest

HERE = Path(__file__).parent
LONGEST_SECONDS = 1200  # of a scene that hangs; on a busy machine a sound one took more than 240
CONTROLLED_PREFIXES = ("STUB_", "CUDA_", "GPUSPARK_")
"""The environment variables that only a scene's settings may set."""


def build(folder: Path) -> Path:
    """Compiles the stub into ``folder`` with the system's C compiler; returns the library."""
    library = folder / "libcuda.so.1"
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    sources = [str(HERE / "stub.c"), "-o", str(library), "-ldl", "-lpthread"]
    subprocess.run([*command, *sources], check=True, timeout=120)
    return library


def version() -> str:
    """Returns the CUDA version of a driver as new as the installed packages, as a value of ``STUB_VERSION``."""
    return f"{cuda.bindings.__version__.partition('.')[0]}090"


@functools.cache
def open_stage() -> Stage:
    """Returns the one stage of this process. Its files are deleted at exit."""
    folder = Path(tempfile.mkdtemp(prefix="gpuspark-stage-"))
    atexit.register(shutil.rmtree, folder)
    return Stage(build(folder), folder / "cache")


class Stage:
    """Runs scenes, each in its own process.

    In that process CUDA was imported but not called, the folder of ``library`` is first on the library path, and only
    the scene's settings of ``STUB_*``, ``CUDA_*`` and ``GPUSPARK_*`` are in the environment.
    """

    def __init__(self, library: Path, cache: Path) -> None:
        self._cache = cache
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.support.warm_compilers", "stub_driver.detection_scenes"])
        paths = {"LD_LIBRARY_PATH": str(library.parent), "PYTHONPATH": os.pathsep.join(sys.path)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in paths.items():
                patch.setenv(name, value)
            self.play(os.getpid)  # starts the fork server, which keeps the paths

    def play(self, scene: Callable[..., object], /, *arguments: object, **settings: str) -> None:
        """Runs ``scene(*arguments)`` and raises its error, with its traceback."""
        environment = {"GPUSPARK_CACHE_DIR": str(self._cache)} | settings
        environment.setdefault("STUB_VERSION", version())
        with ProcessPoolExecutor(1, mp_context=self._context) as process:
            process.submit(_perform, scene, arguments, environment).result()


def _perform(scene: Callable[..., object], arguments: tuple[object, ...], environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(CONTROLLED_PREFIXES)]:
        del os.environ[name]
    os.environ.update(environment)
    faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)  # ends a scene that hangs
    scene(*arguments)
    faulthandler.cancel_dump_traceback_later()
