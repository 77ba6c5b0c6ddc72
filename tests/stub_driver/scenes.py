"""Scenes: what the CUDA device does, step by step. Each is run in its own process.

Those that take a device do not use the stub, and run on a GPU unchanged.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import numpy as np
import pytest

from gpuspark.devices import cuda as cuda_device
from gpuspark.devices import nvjitlink
from gpuspark.devices.cuda import CudaDevice
from gpuspark.devices.cuda_errors import CudaUnavailable
from gpuspark.devices.protocol import Handle, Pointer, Program
from gpuspark.errors import DeviceError, DeviceFault, DeviceLost, DeviceUnavailable, OutOfMemory
from stub_driver.control import Stub, calls
from stub_driver.sample import SAMPLE, SIZES, expected, inputs, raw, run_sample

UUIDS = ["aabbcc00-1111-2222-3333-444444444444", "aabbcc01-1111-2222-3333-444444444444"]
"""The UUIDs of the stub's devices, in the order of their PCI buses."""


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
    """Runs ``check`` on the stub, and asserts that it leaves nothing allocated and misuses nothing."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    check(cuda_device.select())
    assert (stub.live(), stub.misuses(), stub.failures) == (0, 0, [])


# --- programs ------------------------------------------------------------------------------------


def loads(code_format: str) -> int:
    """Returns how many programs were loaded as ``cubin`` or ``ptx``."""
    return calls().count(f"cuLibraryLoadData:{code_format}")


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
    assert any(isinstance(error, DeviceUnavailable) and "nvJitLink" in str(error) for error in chain)


def blocks_cover_the_rows() -> None:
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    device = cuda_device.select()
    for count in SIZES:
        run_sample(device, count)
    assert stub.geometries == [(-(-count // 256), 256, 0) for count in SIZES if count]


# --- failing -------------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[CudaDevice, Handle], object]] = {
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
"""Driver calls, each with a use of the device that makes it."""


def launch_sample(device: CudaDevice, handle: Handle) -> None:
    """Launches the sample over one row, with ``handle`` for each of its columns."""
    device.launch(SAMPLE, [Pointer(handle)] * 4, 1)


def failures_are_reported(name: str) -> None:
    """The driver call ``name`` fails with each kind of code. Until the device is lost it works on, without leaks."""
    stub = Stub()
    stub.run_launches_of(SAMPLE)
    device, other = cuda_device.select("0"), cuda_device.select("1")
    handle = device.allocate(8)
    for code, error in ((2, OutOfMemory), (46, CudaUnavailable), (100, CudaUnavailable), (1, DeviceError)):
        assert_failure(stub, device, handle, name, code, error)
        stub.heal()
        assert stub.live() == 1
    device.free(handle)
    a_program_computes(device)
    assert (stub.live(), stub.misuses()) == (0, 0)
    assert_failure(stub, other, other.allocate(8), name, 700, DeviceLost)


def assert_failure(
    stub: Stub, device: CudaDevice, handle: Handle, name: str, code: int, error: type[DeviceError]
) -> None:
    """Asserts that the driver call ``name`` that fails with ``code`` raises ``error``."""
    stub.fail(name, code)
    with pytest.raises(DeviceError) as caught:
        OPERATIONS[name](device, handle)
    assert type(caught.value) is error
    assert device.gpu.uuid in str(caught.value)


def a_lost_device_is_left_alone(code: int) -> None:
    stub = Stub()
    device, other = cuda_device.select("0"), cuda_device.select("1")
    handle = device.allocate(8)
    stub.fail("cuStreamSynchronize", code)
    with pytest.raises(DeviceLost, match="cannot use the GPU again"):
        device.synchronize()
    asked = len(calls())
    for use in OPERATIONS.values():
        with pytest.raises(DeviceLost, match="cannot use the GPU again"):
            use(device, handle)
    with pytest.raises(DeviceLost):
        cuda_device.select("0")
    device.free(handle)
    assert len(calls()) == asked
    assert other.gpu.uuid == UUIDS[1]


def a_fault_in_a_program_loses_the_device() -> None:
    """The program writes to an address without memory; the error is reported at the next synchronisation."""
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


def an_unknown_result_is_reported() -> None:
    """35 is the runtime's code for an old driver: the driver's bindings do not know it."""
    stub = Stub()
    device = cuda_device.select()
    for name in ("cuMemGetInfo", "cuMemAllocFromPoolAsync"):
        stub.fail(name, 35)
        with pytest.raises(CudaUnavailable, match="driver is too old"):
            OPERATIONS[name](device, Handle(None))


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
    device, other = cuda_device.select("0"), cuda_device.select("1")
    handle = device.copy_in(np.ones(10, np.uint8))
    for use in (other.copy_out, other.free, lambda handle: launch_sample(other, handle)):
        with pytest.raises(DeviceFault, match="belongs to another device"):
            use(handle)
    device.free(handle)
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
