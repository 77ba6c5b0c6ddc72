"""What devices are on this machine, and why not: facts or a reason for each of the four.

Nothing is looked for before :func:`discover` is called, so importing this module does not start CUDA
(Spark forks its workers after that). Answers are remembered by process, never across a fork.
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
    """One device: its facts where it is present, or the reason why it cannot be used."""

    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reason: str | None = None
    busy: bool = False
    """It is there, and another process has it for now: waiting helps."""

    @property
    def present(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class Capability:
    """The four devices as they are on this machine, for this process."""

    cuda: Presence
    emulated: Presence
    cpu: Presence
    python: Presence

    def absent(self) -> dict[DeviceName, str]:
        """The devices that cannot be used, each with its reason."""
        names: tuple[DeviceName, ...] = ("cuda", "emulated", "cpu", "python")
        found = {name: getattr(self, name).reason for name in names}
        return {name: reason for name, reason in found.items() if reason is not None}

    def __str__(self) -> str:
        return "\n".join(
            f"{name:9} " + (f"not here: {presence.reason}" if presence.reason else f"{dict(presence.facts)}")
            for name, presence in ((one.name, getattr(self, one.name)) for one in dataclasses.fields(self))
        )


_discovered: dict[int, Capability] = {}


def discover() -> Capability:
    """What can be used here. The first call in a process asks the CUDA driver, and makes no context.

    The answer is remembered for this process, but for a busy GPU, which is asked again.
    """
    if os.getpid() in _discovered:
        return _discovered[os.getpid()]
    found = Capability(_cuda(), _emulated(), _cpu(), Presence({"version": platform.python_version()}))
    if not found.cuda.busy:
        _discovered[os.getpid()] = found
    return found


def missing_rapids() -> str | None:
    """Which packages of RAPIDS are not installed here, and where they come from; ``None`` where all are."""
    missing = [name for name in ("cudf", "cupy", "rmm") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)}, which are not installed here (environment.yml)" if missing else None


def _cuda() -> Presence:
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
    return _missing("numba_cuda", "numba-cuda, the compiler to PTX,", "pip install gpuspark[cuda12]")


def _missing(module: str, what: str, command: str) -> str | None:
    if importlib.util.find_spec(module):
        return None
    return f"{what} is not installed. Install it with: {command}"


def _limited_address_space() -> str | None:
    """CUDA maps the memory of every GPU and the host into one address space, far more than any limit."""
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
