"""Scenes: what the CUDA device does, step by step. Each is played in a process of its own.

Those that take a device make no use of the stub, and run on a GPU as they are.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cuda.bindings
import cuda.core
import numpy as np
import pytest
from numpy.typing import NDArray

from gpuspark.devices import cuda as cuda_device
from gpuspark.devices import discover, nvjitlink
from gpuspark.devices.cuda import CudaDevice
from gpuspark.devices.cuda_errors import CudaUnavailable
from gpuspark.devices.protocol import Handle, Pointer, Program
from gpuspark.errors import DeviceError, DeviceFault, DeviceLost, DeviceUnavailable, OutOfMemory
from stub_driver.control import Stub, calls

PTX = (Path(__file__).parent / "sample.ptx").read_bytes()
SAMPLE = Program("ptx", PTX, re.findall(r"\.entry\s+(\w+)", PTX.decode())[0], key="sample")

SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1000, 4097)
UUIDS = ["aabbcc00-1111-2222-3333-444444444444", "aabbcc01-1111-2222-3333-444444444444"]
"""Of the stub's devices, in the order of their PCI buses."""

DRIVER = int(cuda.bindings.__version__.split(".")[0]), 9
"""The CUDA version that the stub's driver supports: as new as the installed packages."""

Doubles = NDArray[np.float64]


def raw(values: np.ndarray[tuple[int], np.dtype[np.float64]] | Doubles) -> NDArray[np.uint8]:
    return values.view(np.uint8)


def inputs(count: int) -> tuple[Doubles, Doubles]:
    """Two columns, with what arithmetic finds special among them."""
    random = np.random.default_rng(count)
    a, b = random.uniform(0, 1e6, count), random.normal(0, 1e6, count)
    special = [0.0, -0.0, np.inf, np.nan, 5e-324, 1.7e308, -1.0]
    a[: len(special)] = special[:count]
    return a, b


def expected(a: Doubles, b: Doubles) -> Doubles:
    with np.errstate(all="ignore"):
        return np.sqrt(a) * a + b


def run_sample(device: CudaDevice, count: int) -> tuple[Doubles, NDArray[np.uint8]]:
    """``SAMPLE`` over ``count`` rows."""
    handles = [device.copy_in(raw(column)) for column in inputs(count)]
    out, status = device.allocate(count * 8), device.copy_in(np.full(count, 9, np.uint8))
    columns = [Pointer(handle) for handle in handles]
    device.launch(SAMPLE, [*columns, Pointer(out), Pointer(status)], count)
    device.synchronize()
    results = device.copy_out(out).view(np.float64), device.copy_out(status)
    for handle in (*handles, out, status):
        device.free(handle)
    return results


# --- on any device -------------------------------------------------------------------------------


def copies_come_back(device: CudaDevice) -> None:
    random = np.random.default_rng(0)
    for size in (*SIZES, 3_000_001):
        host = random.integers(0, 256, size, dtype=np.uint8)
        host.flags.writeable = False
        handle = device.copy_in(host)
        back = device.copy_out(handle)
        assert np.array_equal(back, host)
        back[:] = 0  # the caller's own
        assert np.array_equal(device.copy_out(handle), host)
        device.free(handle)


def a_copy_is_independent_of_its_source(device: CudaDevice) -> None:
    host = np.arange(100, dtype=np.uint8)
    handle = device.copy_in(host)
    host[:] = 0
    assert np.array_equal(device.copy_out(handle), np.arange(100, dtype=np.uint8))
    device.free(handle)


def a_program_computes(device: CudaDevice) -> None:
    for count in SIZES:
        out, status = run_sample(device, count)
        assert np.array_equal(out, expected(*inputs(count)), equal_nan=True), count
        assert not status.any()


def rows_beyond_the_count_are_left_alone(device: CudaDevice) -> None:
    a, b = device.copy_in(raw(np.ones(1000))), device.copy_in(raw(np.ones(1000)))
    out, status = device.copy_in(raw(np.full(1000, 5.0))), device.copy_in(np.full(1000, 9, np.uint8))
    device.launch(SAMPLE, [Pointer(a), Pointer(b), Pointer(out), Pointer(status)], 300)
    assert np.array_equal(device.copy_out(out).view(np.float64), np.repeat([2.0, 5.0], [300, 700]))
    assert np.array_equal(device.copy_out(status), np.repeat([0, 9], [300, 700]))
    for handle in (a, b, out, status):
        device.free(handle)


def too_much_memory_is_refused(device: CudaDevice) -> None:
    with pytest.raises(OutOfMemory, match=r"allocating [\d,]+ bytes.*batch\.targetBytes"):
        device.allocate(device.memory().total + 1)
    handle = device.allocate(1000)
    device.free(handle)


def memory_is_accounted(device: CudaDevice) -> None:
    before = device.memory()
    size = 1 << 24
    handle = device.allocate(size)
    assert before.free - device.memory().free >= size
    device.free(handle)
    device.trim()
    assert device.memory().free >= before.free
    assert device.memory().total == before.total


def a_freed_handle_is_refused(device: CudaDevice) -> None:
    handle = device.allocate(10)
    device.free(handle)
    for use in (device.free, device.copy_out):
        with pytest.raises(DeviceFault, match="was freed"):
            use(handle)


def only_ptx_is_taken(device: CudaDevice) -> None:
    with pytest.raises(ValueError, match="for cpu cannot run on cuda"):
        device.launch(Program("cpu", b"", "f", "k"), [], 1)


ON_ANY_DEVICE: tuple[Callable[[CudaDevice], None], ...] = (
    copies_come_back,
    a_copy_is_independent_of_its_source,
    a_program_computes,
    rows_beyond_the_count_are_left_alone,
    too_much_memory_is_refused,
    memory_is_accounted,
    a_freed_handle_is_refused,
    only_ptx_is_taken,
)


def on_the_stub(check: Callable[[CudaDevice], None]) -> None:
    """``check`` on the stub: it leaves nothing allocated and misuses nothing."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    check(cuda_device.select())
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


# --- starting ------------------------------------------------------------------------------------


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
    copies_come_back(cuda_device.select())


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
    copies_come_back(device)


def device_works() -> bool:
    copies_come_back(cuda_device.select())
    return True


def a_fork_before_cuda_started_is_fine() -> None:
    assert forked(device_works)
    copies_come_back(cuda_device.select("1"))


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


# --- programs ------------------------------------------------------------------------------------


def loads(kind: str) -> int:
    return calls().count(f"cuLibraryLoadData:{kind}")


def a_program_is_loaded_once_by_device() -> None:
    Stub().run_launches_of(SAMPLE)
    for _ in range(3):
        for address in ("0", "1"):
            run_sample(cuda_device.select(address), 10)
    assert (loads("cubin"), loads("ptx")) == (2, 0)


def the_code_is_for_the_architecture(arch: str) -> None:
    """The stub loads machine code only if it is for its own architecture."""
    Stub().run_launches_of(SAMPLE)
    device = cuda_device.select()
    a_program_computes(device)
    assert device.gpu.arch == arch
    assert str(device.loader).startswith("nvJitLink ")


def machine_code_comes_from_the_disk() -> None:
    """A process before this one has assembled the sample."""

    nvjitlink._link = lambda *_: pytest.fail("assembled again")
    on_the_stub(a_program_computes)


def the_drivers_compiler_is_the_last_resort() -> None:
    """nvJitLink does not know the architecture. The stub's compiler takes no PTX newer than 6.3."""
    Stub().run_launches_of(SAMPLE)
    device = cuda_device.select()
    a_program_computes(device)
    assert (loads("cubin"), loads("ptx")) == (0, 1)
    assert re.match("the driver's PTX compiler, because: nvJitLink .*", str(device.loader))


def no_way_to_load_a_program() -> None:
    """The driver takes no PTX of 6.3 either: the reason names both failures."""
    device = cuda_device.select()
    with pytest.raises(CudaUnavailable, match="does not accept this version of PTX") as caught:
        device.launch(SAMPLE, [0, 0, 0, 0], 1)
    assert caught.value.code == 222
    chain: list[BaseException] = [caught.value]
    while chain[-1].__context__:
        chain.append(chain[-1].__context__)
    assert any(isinstance(one, DeviceUnavailable) and "nvJitLink" in str(one) for one in chain)


def blocks_cover_the_rows() -> None:
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    device = cuda_device.select()
    for count in SIZES:
        run_sample(device, count)
    assert stub.geometries == [(-(-count // 256), 256, 0) for count in SIZES if count]


# --- failing -------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[CudaDevice, Handle], object]] = {
    "cuMemAllocFromPoolAsync": lambda device, _: device.allocate(8),
    "cuMemcpyHtoD": lambda device, _: device.copy_in(np.ones(8, np.uint8)),
    "cuMemcpyDtoH": lambda device, handle: device.copy_out(handle),
    "cuLibraryLoadData:cubin": lambda device, handle: launch_sample(device, handle),
    "cuLibraryGetKernel": lambda device, handle: launch_sample(device, handle),
    "cuLaunchKernelEx": lambda device, handle: launch_sample(device, handle),
    "cuStreamSynchronize": lambda device, _: device.synchronize(),
    "cuMemGetInfo": lambda device, _: device.memory(),
    "cuMemPoolGetAttribute": lambda device, _: device.memory(),
    "cuMemPoolTrimTo": lambda device, _: device.trim(),
}
"""A driver call, and what makes it."""


def launch_sample(device: CudaDevice, handle: Handle) -> None:
    device.launch(SAMPLE, [Pointer(handle)] * 4, 1)


def failures_are_told(name: str) -> None:
    """``name`` fails with each kind of code. Until the device is lost it works on, and nothing leaks."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    device, other = cuda_device.select("0"), cuda_device.select("1")
    handle = device.allocate(8)
    for code, kind in ((2, OutOfMemory), (46, CudaUnavailable), (100, CudaUnavailable), (1, DeviceError)):
        a_failure_is_told(stub, device, handle, name, code, kind)
        stub.heal()
        assert stub.live() == 1
    device.free(handle)
    a_program_computes(device)
    assert (stub.live(), stub.misuses()) == (0, 0)
    a_failure_is_told(stub, other, other.allocate(8), name, 700, DeviceLost)


def a_failure_is_told(
    stub: Stub, device: CudaDevice, handle: Handle, name: str, code: int, kind: type[DeviceError]
) -> None:
    stub.fail(name, code)
    with pytest.raises(DeviceError) as caught:
        VERBS[name](device, handle)
    assert type(caught.value) is kind
    assert device.gpu.uuid in str(caught.value)


def a_lost_device_is_left_alone(code: int) -> None:
    stub = Stub()
    device, other = cuda_device.select("0"), cuda_device.select("1")
    handle = device.allocate(8)
    stub.fail("cuStreamSynchronize", code)
    with pytest.raises(DeviceLost, match="cannot use the GPU again"):
        device.synchronize()
    asked = len(calls())
    for use in VERBS.values():
        with pytest.raises(DeviceLost, match="cannot use the GPU again"):
            use(device, handle)
    with pytest.raises(DeviceLost):
        cuda_device.select("0")
    device.free(handle)
    assert len(calls()) == asked
    assert other.gpu.uuid == UUIDS[1]


def a_fault_in_a_program_loses_the_device() -> None:
    """The program writes through an address that is nobody's; what is launched tells it later."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    device = cuda_device.select()
    handle = device.allocate(8)
    device.launch(SAMPLE, [Pointer(handle), Pointer(handle), 12345 * 256, Pointer(handle)], 1)
    with pytest.raises(DeviceLost, match="ILLEGAL_ADDRESS"):
        device.synchronize()
    assert len(stub.failures) == 1


def memory_runs_out_and_comes_back() -> None:
    """A device of 1 MiB."""
    stub = Stub()
    device = cuda_device.select()
    handles = [device.copy_in(np.ones(1 << 18, np.uint8)) for _ in range(4)]
    for attempt in (device.allocate, lambda size: device.copy_in(np.ones(size, np.uint8))):
        with pytest.raises(OutOfMemory):
            attempt(1)
    assert stub.live() == 4
    device.free(handles.pop())
    handles.append(device.copy_in(np.full(1 << 18, 2, np.uint8)))
    assert [int(device.copy_out(handle)[-1]) for handle in handles] == [1, 1, 1, 2]
    for handle in handles:
        device.free(handle)
    assert stub.live() == 0


def an_unknown_result_is_told() -> None:
    """35 is the runtime's code of an old driver: the driver's bindings have no name for it."""
    stub = Stub()
    device = cuda_device.select()
    for name in ("cuMemGetInfo", "cuMemAllocFromPoolAsync"):
        stub.fail(name, 35)
        with pytest.raises(CudaUnavailable, match="driver is too old"):
            VERBS[name](device, Handle(None))


# --- several devices, threads, memory ------------------------------------------------------------


def a_worker_changes_its_device() -> None:
    """Tasks of one worker select different devices; each keeps its own memory and programs."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    held = []
    for turn, address in enumerate(["0", "1", "GPU-" + UUIDS[0], "1"]):
        device = cuda_device.select(address)
        a_program_computes(device)
        held.append((device, device.copy_in(np.full(10, turn, np.uint8))))
    assert held[0][0] is held[2][0]
    assert (stub.live(0), stub.live(1)) == (2, 2)
    for turn, (device, handle) in enumerate(held):  # each device's calls run in its own context
        assert np.array_equal(device.copy_out(handle), np.full(10, turn))
        device.free(handle)
    assert (stub.live(0), stub.live(1), stub.misuses()) == (0, 0, 0)
    assert {device for _, _, device in stub.geometries} == {0, 1}


def a_handle_belongs_to_its_device() -> None:
    stub = Stub()
    one, other = cuda_device.select("0"), cuda_device.select("1")
    handle = one.copy_in(np.ones(10, np.uint8))
    for use in (other.copy_out, other.free, lambda handle: launch_sample(other, handle)):
        with pytest.raises(DeviceFault, match="belongs to another device"):
            use(handle)
    one.free(handle)
    assert (stub.live(0), stub.misuses()) == (0, 0)


def a_device_serves_every_thread() -> None:
    device = cuda_device.select("1")
    failures: list[BaseException] = []

    def use() -> None:
        try:
            copies_come_back(device)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (Stub().live(1), Stub().misuses()) == (0, 0)


def the_allocator_gives_back_what_it_holds() -> None:
    device = cuda_device.select()
    device.free(device.allocate(1 << 20))
    assert device.memory().free == 1 << 30  # what the allocator holds can be had again
    assert "cuMemPoolTrimTo" not in calls()
    device.trim()
    assert calls()[-1] == "cuMemPoolTrimTo"
    assert calls().index("cuStreamSynchronize") < calls().index("cuMemPoolTrimTo")


def a_gpu_without_memory_pools() -> None:
    """Some virtual GPUs have none: memory is then allocated and freed at once."""
    for check in ON_ANY_DEVICE:
        on_the_stub(check)
    assert {"cuMemAlloc", "cuMemFree"} <= set(calls())
    assert not {"cuMemAllocFromPoolAsync", "cuMemPoolTrimTo"} & set(calls())


def no_memory_is_reserved_and_none_is_pinned() -> None:
    """Selecting a device allocates nothing, and the host's buffers are never registered."""
    device = cuda_device.select()
    assert not [name for name in calls() if "Alloc" in name or "PoolCreate" in name]
    copies_come_back(device)
    assert not [name for name in calls() if "Host" in name or "Managed" in name or "StreamCreate" in name]
