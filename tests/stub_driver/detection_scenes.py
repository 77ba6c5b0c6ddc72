"""Scenes of finding, selecting and starting CUDA devices, and of forks. Each is run in its own process."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import cuda.bindings
import cuda.core
import pytest

from gpuspark.devices import cuda as cuda_device
from gpuspark.devices import discover
from gpuspark.devices.cuda_errors import CudaUnavailable
from stub_driver import scenes
from stub_driver.control import Stub, calls
from stub_driver.scenes import UUIDS

DRIVER = int(cuda.bindings.__version__.split(".")[0]), 9
"""The CUDA version that the stub's driver supports: as new as the installed packages."""


def nothing_is_called_before_use() -> None:
    """The modules are imported, the driver is not even loaded."""
    assert cuda.core.Device is not None
    assert "libcuda.so" not in Path("/proc/self/maps").read_text()
    assert calls() == []


def detection_finds_the_devices_and_makes_no_context() -> None:
    detected = cuda_device.detect()
    assert detected.driver == DRIVER
    assert [(gpu.ordinal, gpu.name, gpu.uuid) for gpu in detected.gpus] == [
        (0, "Stub 0", UUIDS[0]),
        (1, "Stub 1", UUIDS[1]),
    ]
    assert {(gpu.arch, gpu.memory) for gpu in detected.gpus} == {("80", 1 << 30)}
    assert "cuDevicePrimaryCtxRetain" not in calls()
    asked = len(calls())
    assert cuda_device.detect() == detected
    assert len(calls()) == asked


def cuda_is_unavailable(code: int | None, reason: str, busy: bool = False) -> None:
    with pytest.raises(CudaUnavailable, match=reason) as caught:
        cuda_device.detect()
    assert (caught.value.code, caught.value.busy) == (code, busy)
    presence = discover.discover().cuda
    assert not presence.present
    assert presence.reason == str(caught.value)
    assert presence.busy == busy


def a_busy_gpu_can_be_had_later() -> None:
    stub = Stub()
    stub.fail("cuDevicePrimaryCtxRetain", 46)
    for _ in range(2):
        with pytest.raises(CudaUnavailable, match="busy: another process has it") as caught:
            cuda_device.select()
        assert caught.value.busy
    stub.heal()
    scenes.copies_come_back(cuda_device.select())


def selected(address: str | None, uuid: str) -> None:
    """``address`` leads to the device with ``uuid``, for the module and for the driver."""
    device = cuda_device.select(address)
    assert device.gpu.uuid == uuid
    assert device.gpu.uuid == uuid
    handle = device.allocate(1)
    assert Stub().live(device.gpu.ordinal) == 1
    device.free(handle)


def no_such_address(address: str) -> None:
    with pytest.raises(CudaUnavailable, match=f"'{address}' names 0 of the GPUs.*nvidia-smi -L"):
        cuda_device.select(address)


def the_order_of_the_devices_can_be_chosen() -> None:
    """Who sets CUDA_DEVICE_ORDER keeps it: the stub then counts the other way round."""
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert [gpu.uuid for gpu in cuda_device.detect().gpus] == UUIDS[::-1]


def forked(function: Callable[[], bool]) -> bool:
    """What ``function`` answers in a fork of this process, which ends with it."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def cuda_was_started_before_the_fork() -> bool:
    try:
        cuda_device.detect()
    except CudaUnavailable as error:
        return error.code == 3 and "forked" in str(error)
    return False


def a_fork_after_cuda_started_is_a_reason() -> None:
    device = cuda_device.select()
    assert forked(cuda_was_started_before_the_fork)
    scenes.copies_come_back(device)


def device_works() -> bool:
    scenes.copies_come_back(cuda_device.select())
    return True


def a_fork_before_cuda_started_is_fine() -> None:
    assert forked(device_works)
    scenes.copies_come_back(cuda_device.select("1"))


def discovery_is_not_remembered_across_a_fork() -> None:
    assert discover.discover().cuda.present
    assert forked(lambda: "forked" in discover.discover().absent()["cuda"])


def a_limited_address_space_is_a_reason() -> None:
    """The limit is far above what this process uses, and CUDA is not even asked."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 45, resource.RLIM_INFINITY))
    capability = discover.discover()
    assert "spark.executor.pyspark.memory" in capability.absent()["cuda"]
    assert capability.emulated.present
    assert calls() == []


def missing_packages_are_a_reason(module: str) -> None:
    sys.modules[module] = None  # type: ignore[assignment]  # how Python marks what cannot be imported
    reason = discover.discover().absent()["cuda"]
    assert re.match(rf"the Python packages for CUDA are missing or broken \(.*{module}.*gpuspark\[cuda12\]", reason)


def discovery_is_remembered() -> None:
    first = discover.discover()
    assert first.cuda.present
    assert first.cuda.facts["driver"] == "{}.{}".format(*DRIVER)
    assert [gpu["uuid"] for gpu in first.cuda.facts["gpus"]] == UUIDS
    asked = len(calls())
    assert discover.discover() is first
    assert len(calls()) == asked


def a_busy_driver_is_asked_again() -> None:
    stub = Stub()
    stub.fail("cuInit", 46)
    assert discover.discover().cuda.busy
    stub.heal()
    assert discover.discover().cuda.present
