"""The devices that programs run on: one small protocol, and one file for each device."""

from __future__ import annotations

import os
from functools import cache

from gpuspark.config import Config
from gpuspark.devices.protocol import Device, DeviceName


def open_device(name: DeviceName, config: Config, address: str | None = None) -> Device:
    """Returns the device ``name`` for the running task: one object for all tasks of this process.

    ``address`` is the GPU that Spark assigned to the task. Each task must call this, because a worker process is
    reused by tasks with other addresses.
    """
    if name == "cuda":
        from gpuspark.devices.cuda import select

        return select(address)
    if name == "emulated":
        return _emulated(os.getpid(), config.emulated_memory)
    return _cpu(os.getpid())


def open_for_rapids(address: str | None = None) -> Device:
    """Returns the GPU of the running task, with cuDF and CuPy set up to allocate from the same memory pool.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` where there is no GPU, or RAPIDS cannot be imported.
    """
    from gpuspark.devices.cuda import select
    from gpuspark.devices.rapids import share_allocator

    device = select(address)
    share_allocator(device)
    return device


@cache
def _cpu(_process: int) -> Device:
    from gpuspark.devices.cpu import CpuDevice

    return CpuDevice()


@cache
def _emulated(_process: int, capacity: int) -> Device:
    from gpuspark.devices.emulated import EmulatedDevice

    return EmulatedDevice(capacity)
