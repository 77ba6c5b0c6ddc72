"""Finds out which devices can be used on this machine: for each of the four its facts, or the reason why not.

Importing this module does not start CUDA, because Spark forks its workers afterwards; only :func:`discover` does. Its
result is cached per process, never across a fork.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gpuspark.devices.cuda_errors import CudaUnavailable
from gpuspark.devices.protocol import DeviceName


@dataclass(frozen=True)
class Presence:
    """One device: its facts if it is present, or the reason why it cannot be used."""

    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reason: str | None = None
    busy: bool = False
    """Whether another process has the device exclusively at the moment, so that waiting may help."""

    @property
    def present(self) -> bool:
        """Whether the device can be used."""
        return self.reason is None


@dataclass(frozen=True)
class Capability:
    """The presence of the four devices on this machine, for this process."""

    cuda: Presence
    emulated: Presence
    cpu: Presence
    python: Presence

    def absent(self) -> dict[DeviceName, str]:
        """Returns the devices that cannot be used, each with its reason."""
        names: tuple[DeviceName, ...] = ("cuda", "emulated", "cpu", "python")
        reasons = {name: getattr(self, name).reason for name in names}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def __str__(self) -> str:
        return "\n".join(
            f"{name:9} " + (f"not here: {presence.reason}" if presence.reason else f"{dict(presence.facts)}")
            for name, presence in ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        )


_discovered: dict[int, Capability] = {}


def discover() -> Capability:
    """Returns which devices can be used here. Asks the CUDA driver, without making a context.

    The result is cached for this process, unless the GPU is busy.
    """
    if os.getpid() in _discovered:
        return _discovered[os.getpid()]
    capability = Capability(_cuda(), _emulated(), _cpu(), Presence({"version": platform.python_version()}))
    if not capability.cuda.busy:
        _discovered[os.getpid()] = capability
    return capability


def missing_rapids() -> str | None:
    """Returns which RAPIDS packages are missing and how to install them; ``None`` if all are installed."""
    missing = [name for name in ("cudf", "cupy", "rmm") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)}, which are not installed here (environment.yml)" if missing else None


def _cuda() -> Presence:
    """Returns the facts of the driver and its GPUs, or the reason why CUDA cannot be used."""
    obstacle = _limited_address_space() or _missing_ptx_compiler()
    if obstacle:
        return Presence(reason=obstacle)
    from gpuspark.devices import cuda

    try:
        detected = cuda.detect()
    except CudaUnavailable as error:
        return Presence(reason=str(error), busy=error.busy)
    return Presence(
        {
            "driver": "{}.{}".format(*detected.driver),
            "gpus": [dataclasses.asdict(gpu) for gpu in detected.gpus],
        }
    )


def _emulated() -> Presence:
    return Presence({"runs": "PTX"}, _missing_ptx_compiler())


def _cpu() -> Presence:
    missing = _missing("numba", "Numba, the CPU compiler,", "pip install gpuspark")
    return Presence({"cores": os.cpu_count(), "machine": platform.machine()}, missing)


def _missing_ptx_compiler() -> str | None:
    """Returns how to install the compiler to PTX; ``None`` if it is installed."""
    return _missing("numba_cuda", "numba-cuda, the compiler to PTX,", "pip install gpuspark[cuda12]")


def _missing(module: str, description: str, command: str) -> str | None:
    """Returns how to install ``module``; ``None`` if it is installed."""
    if importlib.util.find_spec(module):
        return None
    return f"{description} is not installed. Install it with: {command}"


def _limited_address_space() -> str | None:
    """Returns a reason if the address space is limited: CUDA maps all GPUs' and the host's memory into it."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return (
        f"this process may use {limit:,} bytes of address space, and CUDA needs it without a limit. "
        "Unset spark.executor.pyspark.memory, which sets the limit, to use a GPU"
    )
