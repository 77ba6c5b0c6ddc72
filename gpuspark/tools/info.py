"""``gs.info()``: the devices and packages of this machine, and why a GPU is or is not used."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from gpuspark.devices.protocol import DeviceName
from gpuspark.spark.session import active_session, driver_config
from gpuspark.versions import installed

_PACKAGES = (
    "gpuspark pyspark pyarrow pandas numpy numba llvmlite numba-cuda cuda-core cuda-bindings "
    "nvidia-nvjitlink-cu12 nvidia-nvjitlink cudf cudf-cu12 cudf-cu13"
).split()


@dataclass(frozen=True)
class Info:
    """The facts about this machine, with a readable ``str``."""

    devices: dict[str, str]
    """The facts about each device, or the reason why it is not used."""
    packages: dict[str, str]
    """The versions of the packages that gpuspark uses."""
    java: str
    cache: str
    """The folder of compiled programs, or why there is none."""
    flags: dict[str, Any]
    """The configuration: the active session's, or the defaults."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the facts as a dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        lines = ["devices"]
        lines += [f"  {name:9} {text}" for name, text in self.devices.items()]
        lines += ["packages", "  " + ", ".join(f"{name} {version}" for name, version in self.packages.items())]
        lines += [f"java       {self.java}", f"cache      {self.cache}", "configuration (spark.gpuspark.*)"]
        width = max(map(len, self.flags))
        return "\n".join(lines + [f"  {key:{width}} {value}" for key, value in self.flags.items()])

    __repr__ = __str__


def info() -> Info:
    """Returns the facts about this machine. Queries the CUDA driver and loads the compilers, but starts neither Spark
    nor a GPU context.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value in the active
    session.
    """
    from dataclasses import fields

    from gpuspark.compiler.toolchain import problem
    from gpuspark.devices.discover import discover
    from gpuspark.disk_cache import describe
    from gpuspark.execution.scalar import TARGETS

    config = driver_config(active_session())
    discovered = discover()
    devices: dict[str, str] = {}
    names: tuple[DeviceName, ...] = ("cuda", "emulated", "cpu", "python")
    for name in names:
        presence = getattr(discovered, name)
        facts = ", ".join(f"{key} {value}" for key, value in presence.facts.items())
        reason = presence.reason or (problem(TARGETS[name]) if name in TARGETS else None)
        devices[name] = f"not used: {reason}" if reason else f"here: {facts}"
    flags = {f.metadata["key"]: getattr(config, f.name) for f in fields(config)}
    return Info(devices, {"python": platform.python_version(), **installed(_PACKAGES)}, _java(), describe(), flags)


def _java() -> str:
    """Returns the path and version of the Java that Spark starts, or what is wrong with it."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    if java is None:
        return "none found: install OpenJDK 17 or newer, or set JAVA_HOME"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return f"{java} does not exist or is not a program: JAVA_HOME must name a folder of OpenJDK 17 or newer"
    first = next(iter(done.stderr.splitlines()), "")
    return f"{java} does not start: {first}" if done.returncode else f"{java}: {first}"
