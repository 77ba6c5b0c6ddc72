"""The only module that imports cuDF, CuPy and RMM, for the functions that use them.

Importing them takes seconds and hundreds of megabytes of host memory. So it happens only in a worker that needs them,
after the fork and after the task has selected its device.

It is written against the public names of cuDF 26.10, and has run with it on one GPU (docs/evidence.md).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuspark.devices.cuda_errors import translated
from gpuspark.disk_cache import private_folder
from gpuspark.errors import DeviceError, DeviceUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

    from gpuspark.devices.cuda import CudaDevice

_OUT_OF_MEMORY = 2  # CUDA's result code
_CACHE_FOLDERS = {
    "CUPY_CACHE_DIR": "cupy",
    "LIBCUDF_KERNEL_CACHE_PATH": "libcudf",
    "CUDA_CACHE_PATH": "cuda",
    "NUMBA_CACHE_DIR": "numba",
}

ERRORS = {
    "cupy_backends.cuda.api.runtime.CUDARuntimeError": "code",
    "cupy_backends.cuda.api.driver.CUDADriverError": "code",
    "rmm._cuda.gpu.CUDARuntimeError": "code",
    "rmm._cuda.gpu.CUDADriverError": "code",
    "cupy.cuda.memory.OutOfMemoryError": "memory",
    "cuda.pathfinder._dynamic_libs.load_dl_common.DynamicLibNotFoundError": "driver",
}
"""The classes of device errors in RAPIDS' packages, and what each means: ``code``, CUDA's result code is in its
``status``; ``memory``, out of memory; ``driver``, there is no driver. ``make contracts`` checks that they exist."""

_shared: set[tuple[int, str]] = set()
"""The process ids and GPUs whose memory pool RAPIDS uses already."""


class Rapids(NamedTuple):
    """The imported modules."""

    cudf: ModuleType
    cupy: ModuleType
    rmm: ModuleType


def set_cache_folders() -> None:
    """Moves the kernel caches of RAPIDS and CUDA to gpuspark's private folder, unless their variables are set.

    The caches hold code that is loaded and executed. By default they are where others may be able to write, or in a
    home folder that a worker may lack. Must be called before the first import of RAPIDS.
    """
    for variable, name in _CACHE_FOLDERS.items():
        if variable not in os.environ:
            folder = private_folder(name)
            if folder is not None:
                os.environ[variable] = str(folder)


def import_rapids() -> Rapids:
    """Imports and returns cuDF, CuPy and RMM, with their caches in the private folder.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` with the reason where an import fails, for any reason: a missing
    package, a library that cannot be loaded, lack of memory, mismatched versions.
    """
    set_cache_folders()
    try:
        import cudf
        import cupy
        import rmm
    except _import_failures() as error:
        raise DeviceUnavailable(
            f"RAPIDS cannot be imported ({type(error).__name__}: {error}). Install cuDF, CuPy and RMM of one "
            "release (environment.yml), and unset spark.executor.pyspark.memory"
        ) from error
    return Rapids(cudf, cupy, rmm)


@contextmanager
def device_errors(operation: str) -> Iterator[None]:
    """Context manager and decorator that translates RAPIDS' device errors into gpuspark's.

    The driver's result codes keep their meaning (:mod:`gpuspark.devices.cuda_errors`): out of memory, device lost, or
    device unavailable. Other errors, such as those of the user's function, are not changed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        translation = device_error(error, operation)
        if translation is None:
            raise
        raise translation from error


def device_error(error: Exception, operation: str) -> DeviceError | None:
    """Translates ``error``, raised during ``operation``; returns ``None`` if it is not an error of the device."""
    where, text = f"{operation} with RAPIDS", str(error).rstrip(".")
    if isinstance(error, DeviceError):
        return None  # translated already
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__]
    meaning = next((ERRORS[name] for name in names if name in ERRORS), None)
    if meaning == "driver":
        return DeviceUnavailable(f"{where}: there is no NVIDIA driver on this machine ({text})")
    if meaning == "memory" or (isinstance(error, MemoryError) and re.search(r"out_of_memory|CUDA|RMM", text)):
        return translated(_OUT_OF_MEMORY, text, where)
    code = getattr(error, "status", None) if meaning == "code" else _code_in(text)
    if code is not None:
        return translated(int(code), text, where)
    if re.match(r"RMM failure at.*not supported with this CUDA driver", text):
        return DeviceUnavailable(
            f"{where}: the NVIDIA driver is too old for RAPIDS, or the GPU has no memory pools. Update the driver "
            f"({text})"
        )
    return None


@device_errors("sharing memory")
def share_allocator(device: CudaDevice) -> None:
    """Makes cuDF and CuPy allocate from the memory pool of this GPU that gpuspark uses.

    Memory that one of them frees is then available to the others, and
    :meth:`~gpuspark.devices.cuda.CudaDevice.trim` returns it to the GPU. Does nothing after the first call for a GPU in
    a process. Raises :class:`~gpuspark.errors.DeviceUnavailable` where the GPU has no memory pool.
    """
    if (os.getpid(), device.gpu.uuid) in _shared:
        return
    rapids = import_rapids()
    from cuda.bindings import driver
    from rmm.allocators.cupy import rmm_cupy_allocator

    code, ordinal = driver.cuCtxGetDevice()
    if not code:
        code, pool = driver.cuDeviceGetMemPool(ordinal)
    if code:
        raise DeviceUnavailable(f"GPU {device.gpu.uuid} has no memory pool to share with RAPIDS ({code.name})")
    rapids.rmm.mr.set_current_device_resource(rapids.rmm.mr.CudaAsyncViewMemoryResource(pool))
    rapids.cupy.cuda.set_allocator(rmm_cupy_allocator)
    _shared.add((os.getpid(), device.gpu.uuid))


def cupy_module() -> ModuleType:
    """Returns the module CuPy, which ``Batch.xp`` is on a GPU."""
    return import_rapids().cupy


@device_errors("copying a column in")
def series_from_pandas(series: Any, *, nan_as_null: bool) -> Any:
    """Returns a ``cudf.Series`` on the current device with the values, name and index of a pandas Series."""
    return import_rapids().cudf.Series(series, nan_as_null=nan_as_null)


@device_errors("copying a column in")
def series_from_arrow(array: pa.Array | pa.ChunkedArray) -> Any:
    """Returns a ``cudf.Series`` on the current device with the values and nulls of ``array``."""
    return import_rapids().cudf.Series.from_arrow(array)


@device_errors("copying a column out")
def series_to_arrow(series: Any) -> pa.Array:
    """Returns the values and nulls of a ``cudf.Series`` as an Arrow array, without its index."""
    return series.to_arrow()


@device_errors("copying columns in")
def frame_from_arrow(data: pa.RecordBatch | pa.Table) -> Any:
    """Returns a ``cudf.DataFrame`` on the current device with the columns of ``data``."""
    import pyarrow as pa

    table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
    return import_rapids().cudf.DataFrame.from_arrow(table)


@device_errors("copying columns out")
def frame_to_arrow(frame: Any) -> pa.Table:
    """Returns the columns of a ``cudf.DataFrame`` as an Arrow table, without its index."""
    return frame.to_arrow(preserve_index=False)


def _code_in(text: str) -> int | None:
    """Returns CUDA's result code in a message of pylibcudf, libcudf or RMM: a number or a name, such as
    ``cudaErrorIllegalAddress``."""
    number = re.match(r"Failed to initialize CUDA context: (\d+)", text)
    if number is not None:
        return int(number[1])
    name = re.search(r"\bcudaError\w+", text)
    if name is None:
        return None
    from cuda.bindings import runtime

    return int(getattr(runtime.cudaError_t, name[0], 0)) or None


def _import_failures() -> tuple[type[Exception], ...]:
    """Returns the errors that importing RAPIDS raises.

    cuDF's own error, for a GPU or driver that it does not support, is derived from none of the others, and can be
    looked up only after cuDF was partly imported."""
    failures: list[type[Exception]] = [ImportError, OSError, RuntimeError, MemoryError, AttributeError]
    errors = sys.modules.get("cudf.errors")
    if errors is not None:
        failures.append(errors.UnsupportedCUDAError)
    return tuple(failures)
