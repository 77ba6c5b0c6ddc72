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
WATCHED = ("STUB_", "CUDA_", "GPUSPARK_")


def build(folder: Path) -> Path:
    """Compiles the stub into ``folder`` with the system's C compiler."""
    library = folder / "libcuda.so.1"
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    sources = [str(HERE / "stub.c"), "-o", str(library), "-ldl", "-lpthread"]
    subprocess.run([*command, *sources], check=True, timeout=120)
    return library


def version() -> str:
    """The CUDA version that a driver as new as the installed packages supports, as the stub is told."""
    return f"{cuda.bindings.__version__.partition('.')[0]}090"


@functools.cache
def open_stage() -> Stage:
    """The one stage of this process, whose server is started once. It is swept at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gpuspark-stage-"))
    atexit.register(shutil.rmtree, folder)
    return Stage(build(folder), folder / "cache")


class Stage:
    """Plays scenes. Each has a process of its own, in which CUDA was imported but not called, with the
    folder of ``library`` first on the library path and only the given ``STUB_*`` and ``CUDA_*`` settings.
    """

    def __init__(self, library: Path, cache: Path) -> None:
        self._cache = cache
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["stub_driver.scenes"])
        paths = {"LD_LIBRARY_PATH": str(library.parent), "PYTHONPATH": os.pathsep.join(sys.path)}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in paths.items():
                patch.setenv(name, value)
            self.play(os.getpid)  # starts the server, which keeps the paths

    def play(self, scene: Callable[..., object], /, *arguments: object, **settings: str) -> None:
        """Runs ``scene(*arguments)``; what it raises is raised here, with its traceback."""
        environment = {"GPUSPARK_CACHE_DIR": str(self._cache)} | settings
        environment.setdefault("STUB_VERSION", version())
        with ProcessPoolExecutor(1, mp_context=self._context) as process:
            process.submit(_perform, scene, arguments, environment).result()


def _perform(scene: Callable[..., object], arguments: tuple[object, ...], environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(WATCHED)]:
        del os.environ[name]
    os.environ.update(environment)
    faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)  # a scene that hangs is a broken process
    scene(*arguments)
    faulthandler.cancel_dump_traceback_later()
