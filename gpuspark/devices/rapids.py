"""cuDF, CuPy and RMM, for the bodies that ask for them; nothing else in gpuspark imports them.

Importing them costs seconds and hundreds of megabytes of host memory, so it happens late, in the worker
that needs them, after a fork and after the task has selected its device.

**None of this has run on a device yet.** It is written against the public names of cuDF 26.10.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuspark.devices.protocol import Device
from gpuspark.disk_cache import private_folder
from gpuspark.errors import DeviceUnavailable

if TYPE_CHECKING:
    import pyarrow as pa

_CACHE_FOLDERS = {
    "CUPY_CACHE_DIR": "cupy",
    "LIBCUDF_KERNEL_CACHE_PATH": "libcudf",
    "CUDA_CACHE_PATH": "cuda",
    "NUMBA_CACHE_DIR": "numba",
}


_shared: set[tuple[int, str]] = set()
"""The GPUs whose pool RAPIDS uses already, by process."""


class Rapids(NamedTuple):
    """The modules, imported."""

    cudf: ModuleType
    cupy: ModuleType
    rmm: ModuleType


def set_cache_folders() -> None:
    """Points the kernel caches of RAPIDS and CUDA into gpuspark's private folder, unless they are set.

    They hold code that is loaded and run, and by default lie where others may write, or where a worker
    without a home folder cannot. Must come before the first import of RAPIDS.
    """
    for variable, name in _CACHE_FOLDERS.items():
        if variable not in os.environ:
            folder = private_folder(name)
            if folder is not None:
                os.environ[variable] = str(folder)


def import_rapids() -> Rapids:
    """cuDF, CuPy and RMM, with their caches in the private folder.

    Raises :class:`~gpuspark.errors.DeviceUnavailable` with the reason where an import fails, for whatever
    reason that may be: not installed, a library that cannot be loaded, memory, mismatched versions.
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


def share_allocator(device: Device) -> None:
    """Makes cuDF and CuPy allocate from the pool that gpuspark's own memory on this GPU comes from.

    So memory that one of them gave back serves the others, and :meth:`CudaDevice.trim` empties it. Done once for
    each GPU of a process. Raises :class:`~gpuspark.errors.DeviceUnavailable` where the GPU has no memory pool.
    """
    if (os.getpid(), device.identity) in _shared:
        return
    rapids = import_rapids()
    from cuda.bindings import driver
    from rmm.allocators.cupy import rmm_cupy_allocator

    code, ordinal = driver.cuCtxGetDevice()
    if not code:
        code, pool = driver.cuDeviceGetMemPool(ordinal)
    if code:
        raise DeviceUnavailable(f"GPU {device.identity} has no memory pool to share with RAPIDS ({code.name})")
    rapids.rmm.mr.set_current_device_resource(rapids.rmm.mr.CudaAsyncViewMemoryResource(pool))
    rapids.cupy.cuda.set_allocator(rmm_cupy_allocator)
    _shared.add((os.getpid(), device.identity))


def cupy_module() -> ModuleType:
    """CuPy: what ``Batch.xp`` is on a GPU."""
    return import_rapids().cupy


def series_from_pandas(series: Any, *, nan_as_null: bool) -> Any:
    """A ``cudf.Series`` on the current device with the values, name and index of a pandas one."""
    return import_rapids().cudf.Series.from_pandas(series, nan_as_null=nan_as_null)


def series_from_arrow(array: pa.Array | pa.ChunkedArray) -> Any:
    """A ``cudf.Series`` on the current device with the values and nulls of ``array``."""
    return import_rapids().cudf.Series.from_arrow(array)


def series_to_arrow(series: Any) -> pa.Array:
    """The values and nulls of a ``cudf.Series``, on the host. Its index is left out."""
    return series.to_arrow()


def frame_from_arrow(data: pa.RecordBatch | pa.Table) -> Any:
    """A ``cudf.DataFrame`` on the current device with the columns of ``data``."""
    import pyarrow as pa

    table = pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data
    return import_rapids().cudf.DataFrame.from_arrow(table)


def frame_to_arrow(frame: Any) -> pa.Table:
    """The columns of a ``cudf.DataFrame``, on the host. Its index is left out."""
    return frame.to_arrow(preserve_index=False)


def _import_failures() -> tuple[type[Exception], ...]:
    """What importing RAPIDS raises when it fails. cuDF's own error, of a GPU or driver that it does not
    support, has no base among the others and is known only once cuDF is half imported."""
    failures: list[type[Exception]] = [ImportError, OSError, RuntimeError, MemoryError, AttributeError]
    errors = sys.modules.get("cudf.errors")
    if errors is not None:
        failures.append(errors.UnsupportedCUDAError)
    return tuple(failures)
