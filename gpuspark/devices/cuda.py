"""A CUDA GPU as a :class:`~gpuspark.devices.protocol.Device`, on the CUDA driver (cuda-core and cuda-bindings) alone.

This module is kept small, because only a GPU can test it fully; it is rehearsed on a stand-in for the driver
(``tests/stub_driver``). It imports nothing from CUDA and calls no driver before :func:`detect` or :func:`select`:
Spark forks its workers, and a process that has started CUDA must not fork.

Its rules:

* Each task selects its device: the next task of a reused worker may have another GPU. Device, context and loaded
  programs are cached per process and device.
* Everything runs on the legacy default stream. Memory comes from the driver's stream-ordered allocator. None is
  reserved in advance, none is managed memory, host buffers are never registered, and :meth:`CudaDevice.trim` returns
  the allocator's unused memory.
* After an error that breaks the context, the device is lost for this process: every later call raises
  :class:`~gpuspark.errors.DeviceLost` without a driver call.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from gpuspark.devices import nvjitlink
from gpuspark.devices.cuda_errors import (
    DRIVER_TOO_OLD,
    CudaUnavailable,
    translated,
    unavailable,
)
from gpuspark.devices.kept import Kept
from gpuspark.devices.permits import permit
from gpuspark.devices.protocol import Bytes, Handle, Memory, Pointer, Program, Target
from gpuspark.disk_cache import default_cache
from gpuspark.errors import DeviceError, DeviceFault, DeviceLost, DeviceUnavailable, loading

THREADS_PER_BLOCK = 256


@dataclass(frozen=True)
class Gpu:
    """One GPU that this process sees. ``memory`` is in bytes; ``arch`` is the compute capability, such as ``"80"``."""

    ordinal: int
    name: str
    uuid: str
    arch: str
    memory: int


@dataclass(frozen=True)
class Detected:
    """What the driver reports. ``driver`` is the newest CUDA version that it supports."""

    driver: tuple[int, int]
    gpus: tuple[Gpu, ...]


_detected: dict[int, Detected] = {}
_selected: dict[tuple[int, int], CudaDevice] = {}


def detect() -> Detected:
    """Returns the driver's version and GPUs, cached for this process. Makes no context and uses no device memory.

    Raises :class:`CudaUnavailable` with the reason where CUDA cannot be used.
    """
    if os.getpid() not in _detected:
        _detected[os.getpid()] = _ask_driver()
    return _detected[os.getpid()]


def select(address: str | None = None) -> CudaDevice:
    """Returns the device at ``address``, by default the first one, and makes it current for the calling thread.

    Must be called first in every task, with the address that Spark assigned to the task: an index or a UUID, see
    :func:`ordinal_of`. Raises :class:`CudaUnavailable` where the device cannot be used (if it is ``busy``, waiting may
    help), :class:`~gpuspark.errors.DeviceLost` where this process has lost it.
    """
    detected = detect()
    ordinal = ordinal_of(address, [gpu.uuid for gpu in detected.gpus], os.environ.get("CUDA_VISIBLE_DEVICES"))
    key = os.getpid(), ordinal
    if key not in _selected:
        _selected[key] = CudaDevice(detected.gpus[ordinal])
    device = _selected[key]
    device.make_current()
    return device


def ordinal_of(address: str | None, uuids: Sequence[str], visible: str | None) -> int:
    """Returns the position of ``address`` among the GPUs with ``uuids``, which are in the driver's order.

    ``address`` is ``GPU-…``, ``MIG-…`` (or a unique prefix of one), or an index. An index is looked up in ``visible``
    (``CUDA_VISIBLE_DEVICES``) first, as the number that nvidia-smi shows; one that is not listed there counts the
    visible GPUs. Only UUIDs are unambiguous. Raises :class:`CudaUnavailable` unless exactly one GPU matches.

    >>> ordinal_of("3", ["GPU-a", "GPU-b"], visible="2,3")
    1
    >>> ordinal_of("GPU-b", ["GPU-a", "GPU-b"], visible=None)
    1
    """
    if address is None:
        return 0
    listed = [word.strip() for word in visible.split(",")][: len(uuids)] if visible else []
    if address in listed:
        return listed.index(address)
    if address.isdecimal():
        ordinals = [int(address)] if int(address) < len(uuids) else []
    else:
        prefix = _digits(address)
        ordinals = [n for n, uuid in enumerate(uuids) if prefix and _digits(uuid).startswith(prefix)]
    if len(ordinals) != 1:
        raise CudaUnavailable(
            f"The GPU address {address!r} names {len(ordinals)} of the GPUs that this process sees "
            f"({', '.join(uuids)}; CUDA_VISIBLE_DEVICES={visible}). "
            "Let the GPU discovery script print the UUIDs that `nvidia-smi -L` shows."
        )
    return ordinals[0]


class CudaDevice:
    """One GPU in one process. Made by :func:`select`."""

    name: Literal["cpu", "cuda", "emulated"] = "cuda"
    target: Target = "ptx"

    def __init__(self, gpu: Gpu) -> None:
        from cuda.core import Device

        self.gpu = gpu
        self._device = Device(gpu.ordinal)
        self._kernels: dict[str, Any] = {}
        self.loader: str | None = None
        """What assembled the last program that was loaded: nvJitLink, or the driver's compiler."""
        self._lost: str | None = None
        self._abandoned: list[Any] = []
        self._kept = Kept(self.copy_in, self.free)

    @contextmanager
    def turn(self, most: int) -> Iterator[float]:
        """Holds one of this GPU's ``most`` permits, and trims the memory before it returns the permit."""
        with permit(self.gpu.uuid, most) as waited:
            try:
                yield waited
            finally:
                if not self._lost:
                    self.trim()

    def make_current(self) -> None:
        """Makes the device's context the calling thread's."""
        with self._doing("selecting the device"):
            pass

    def allocate(self, nbytes: int) -> Handle:
        """Returns uninitialised device memory."""
        from cuda.core import LEGACY_DEFAULT_STREAM

        with self._doing(f"allocating {nbytes:,} bytes"):
            buffer = self._device.memory_resource.allocate(max(nbytes, 1), stream=LEGACY_DEFAULT_STREAM)
        return Handle(_Allocation(self, buffer, nbytes))

    def copy_in(self, host: Bytes) -> Handle:
        """Returns device memory that holds a copy of ``host``."""
        from cuda.bindings import driver

        handle = self.allocate(host.nbytes)
        if host.nbytes:
            try:
                with self._doing(f"copying {host.nbytes:,} bytes in"):
                    _call(driver.cuMemcpyHtoD, self._address(Pointer(handle)), host.ctypes.data, host.nbytes)
            except DeviceError:
                self.free(handle)
                raise
        return handle

    def launch(self, program: Program, arguments: Sequence[Pointer | int], count: int) -> None:
        """Runs ``program`` over ``count`` rows. Its parameters are ``arguments`` and ``count``, 64 bits each."""
        from cuda.core import LEGACY_DEFAULT_STREAM, LaunchConfig, launch

        words = [self._address(word) if isinstance(word, Pointer) else int(word) for word in arguments]
        with self._doing(f"launching {program.entry} over {count:,} rows"):
            kernel = self._kernel(program)
            if count:
                config = LaunchConfig(grid=-(-count // THREADS_PER_BLOCK), block=THREADS_PER_BLOCK)
                launch(LEGACY_DEFAULT_STREAM, config, kernel, *words, count)

    def synchronize(self) -> None:
        """Waits until all launched work is done, and raises the errors of that work."""
        from cuda.core import LEGACY_DEFAULT_STREAM

        with self._doing("running programs"):
            LEGACY_DEFAULT_STREAM.sync()

    def copy_out(self, handle: Handle) -> Bytes:
        """Returns the contents of ``handle``, after waiting for all work launched before."""
        from cuda.bindings import driver

        host = np.empty(cast(_Allocation, handle).nbytes, np.uint8)
        if host.nbytes:
            with self._doing(f"copying {host.nbytes:,} bytes out"):
                _call(driver.cuMemcpyDtoH, host.ctypes.data, self._address(Pointer(handle)), host.nbytes)
        return host

    def free(self, handle: Handle) -> None:
        """Returns device memory to the allocator; on a lost device, only invalidates the handle."""
        from cuda.core import LEGACY_DEFAULT_STREAM

        self._address(Pointer(handle))
        allocation = cast(_Allocation, handle)
        buffer, allocation.buffer = allocation.buffer, None
        if self._lost:
            self._abandoned.append(buffer)  # its destructor would call the driver
            return
        with self._doing("freeing memory"):
            buffer.close(LEGACY_DEFAULT_STREAM)

    def keep(self, digest: str, host: Bytes) -> Handle:
        """Returns device memory that holds ``host`` until this process ends, or :meth:`forget` is called."""
        return self._kept.keep(digest, host)

    def forget(self) -> None:
        """Frees everything that :meth:`keep` returned."""
        self._kept.forget()

    def memory(self) -> Memory:
        """Returns the free memory, including the allocator's unused memory, and the capacity."""
        from cuda.bindings import driver

        with self._doing("asking for free memory"):
            free, total = _call(driver.cuMemGetInfo)
            if self._has_pool:
                pool = self._device.memory_resource.attributes
                free += pool.reserved_mem_current - pool.used_mem_current
        return Memory(free, total)

    def trim(self) -> None:
        """Waits for launched work, then returns the allocator's unused memory to the GPU."""
        from cuda.bindings import driver

        self.synchronize()
        if self._has_pool:
            with self._doing("trimming memory"):
                _call(driver.cuMemPoolTrimTo, self._device.memory_resource.handle, 0)

    @property
    def _has_pool(self) -> bool:
        """Whether the GPU has memory pools (stream-ordered allocation); some virtual GPUs lack them."""
        return bool(self._device.properties.memory_pools_supported)

    def _kernel(self, program: Program) -> Any:
        """Returns the kernel of ``program``, which is loaded at its first launch."""
        if program.key not in self._kernels:
            if program.target != self.target:
                raise ValueError(f"A program for {program.target} cannot run on {self.name}.")
            self._kernels[program.key] = self._load(program)
        return self._kernels[program.key]

    def _load(self, program: Program) -> Any:
        """Loads machine code from nvJitLink; the driver's PTX compiler is the last resort."""
        from cuda.core import ObjectCode

        try:
            cubin = nvjitlink.assemble(program.code, self.gpu.arch, default_cache())
            self.loader = nvjitlink.version()
        except DeviceUnavailable as reason:
            self.loader = f"the driver's PTX compiler, because: {reason}"
            return ObjectCode.from_ptx(nvjitlink.lowered(program.code)).get_kernel(program.entry)
        return ObjectCode.from_cubin(cubin).get_kernel(program.entry)

    def _address(self, pointer: Pointer) -> int:
        """Returns the address of device memory. Raises :class:`~gpuspark.errors.DeviceFault` for an invalid handle."""
        allocation = cast(_Allocation, pointer.handle)
        if allocation.device is not self or allocation.buffer is None:
            raise DeviceFault(
                "This handle was freed, or belongs to another device. Use a handle only with the device that made it."
            )
        return int(allocation.buffer.handle)

    @contextmanager
    def _doing(self, operation: str) -> Iterator[None]:
        """Context manager that makes this device current and translates CUDA's errors into gpuspark's."""
        if self._lost:
            raise DeviceLost(self._lost)
        try:
            self._device.set_current()
            yield
        except _cuda_error() as error:
            where = f"{operation} on {self.gpu.name} ({self.gpu.uuid})"
            ours = translated(_code_of(error), str(error).rstrip("."), where)
            if isinstance(ours, DeviceLost):
                self._lost = str(ours)
            raise ours from error


@dataclass(eq=False)
class _Allocation:
    """What a handle of this device refers to."""

    device: CudaDevice
    buffer: Any
    """The ``Buffer`` of cuda-core; ``None`` after it was freed."""
    nbytes: int


def _ask_driver() -> Detected:
    """Starts CUDA and returns the driver's version and GPUs."""
    try:
        ctypes.CDLL("libcuda.so.1")  # before the slow imports below, useless without a driver
    except OSError as missing:
        raise CudaUnavailable(f"there is no NVIDIA driver on this machine ({missing})") from missing
    with loading(_packages_missing):
        from cuda import bindings
        from cuda.bindings import driver
        from cuda.core import Device
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts; read by cuInit
    with _starting():
        version = divmod(_call(driver.cuDriverGetVersion) // 10, 100)
    _check_version(version, int(bindings.__version__.split(".")[0]))
    with _starting():
        _call(driver.cuInit, 0)
        devices = [Device(ordinal) for ordinal in range(_call(driver.cuDeviceGetCount))]
        gpus = [
            Gpu(device.device_id, device.name, device.uuid, device.arch, _call(driver.cuDeviceTotalMem, ordinal))
            for ordinal, device in enumerate(devices)
        ]
    return Detected(version, tuple(gpus))


def _packages_missing(why: str) -> CudaUnavailable:
    return CudaUnavailable(
        f"the Python packages for CUDA are missing or broken ({why}). Install them with: pip install gpuspark[cuda12]"
    )


def _check_version(version: tuple[int, int], packages: int) -> None:
    """Raises :class:`CudaUnavailable` where the packages are for a newer CUDA than the driver's ``version``."""
    if version[0] < packages:
        raise CudaUnavailable(
            f"the NVIDIA driver supports CUDA {version[0]}.{version[1]}, and the installed packages are for "
            f"CUDA {packages}. Update the driver, or: pip install gpuspark[cuda{version[0]}]",
            DRIVER_TOO_OLD,
        )


@contextmanager
def _starting() -> Iterator[None]:
    """Context manager for driver calls that start CUDA: a failure raises :class:`CudaUnavailable` with its reason."""
    try:
        yield
    except _cuda_error() as error:
        raise unavailable(_code_of(error), str(error)) from error
    except RuntimeError as error:  # the driver lacks a function that the bindings call
        raise CudaUnavailable(
            f"the NVIDIA driver is too old for the installed packages. Update it ({error})", DRIVER_TOO_OLD
        ) from error


def _cuda_error() -> type[Exception]:
    """Returns the error class of cuda-core, which its public modules do not export."""
    from cuda.core._utils.cuda_utils import CUDAError

    return cast(type[Exception], CUDAError)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of cuda-bindings and returns its value or values.

    Raises a failing result code as cuda-core does."""
    try:
        code, *values = function(*arguments)
    except ValueError as error:  # a code that these bindings do not know
        raise _cuda_error()(f"unknown result: {error}") from error
    if code:
        raise _cuda_error()(code.name)
    return values[0] if len(values) == 1 else values


def _code_of(error: Exception) -> int | None:
    """Returns the driver's result code, which an error of cuda-core has only in its message."""
    from cuda.bindings import driver

    name = re.search(r"CUDA_ERROR_\w+|\d+", str(error))
    if name is None:
        return None
    return int(name[0]) if name[0].isdecimal() else int(getattr(driver.CUresult, name[0], 0)) or None


def _digits(uuid: str) -> str:
    """Returns the hexadecimal digits of ``GPU-12345678-90ab…``."""
    return re.sub(r"^(GPU|MIG)-|-", "", uuid).lower()
