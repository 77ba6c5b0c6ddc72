"""Translates the CUDA driver's result codes to errors: recoverable, device lost, or device unavailable."""

from __future__ import annotations

from gpuspark.errors import DeviceError, DeviceLost, DeviceUnavailable, OutOfMemory

DRIVER_TOO_OLD = 35
_OUT_OF_MEMORY = 2
_BUSY = 46

_UNAVAILABLE = {
    3: "CUDA was started before this process was forked. Start it only inside tasks",
    34: "the libcuda.so.1 that was found is the tool kit's stub. Install the NVIDIA driver",
    35: "the NVIDIA driver is too old for the installed CUDA packages. Update the driver",
    36: "the NVIDIA driver is too old for the installed CUDA packages. Update the driver",
    46: "the GPU is busy: another process has it exclusively. Wait, or set its compute mode to DEFAULT",
    100: "the driver finds no GPU. See nvidia-smi and CUDA_VISIBLE_DEVICES",
    101: "the driver does not know this GPU any more. See nvidia-smi",
    102: "the GPU has no valid licence",
    209: "the program holds no code for this GPU's architecture",
    221: "the driver's PTX compiler is not installed",
    222: "the driver does not accept this version of PTX. Update the driver, or install nvJitLink",
    223: "the driver's PTX compiler is switched off (CUDA_DISABLE_PTX_JIT)",
    802: "the system is not ready to use CUDA. See the fabric manager's log",
    803: "the kernel's driver and libcuda.so.1 are of different versions. Restart, or reinstall the driver",
    804: "the CUDA forward compatibility package does not support this GPU",
    805: "the connection to the MPS daemon failed. See the MPS control log",
    807: "the MPS daemon is not ready. See the MPS control log",
    808: "the MPS daemon has reached its maximum number of clients. Lower the number of tasks on this GPU",
}
"""The codes that mean that CUDA cannot be used here, each with its reason and advice."""
_LOST = frozenset(
    # Memory errors of the hardware, a destroyed context, faults inside a kernel, a dead MPS client, unknown.
    {4, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 806, 810, 999}
)
"""The codes after which a process can no longer use the device."""


class CudaUnavailable(DeviceUnavailable):
    """CUDA cannot be used here, for the reason in the message. ``code`` is the driver's result code, if any."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def busy(self) -> bool:
        """Whether another process has the GPU exclusively at the moment, so that waiting may help."""
        return self.code == _BUSY


def unavailable(code: int | None, text: str) -> CudaUnavailable:
    """Returns the error for a failure to start CUDA."""
    return CudaUnavailable(f"{_UNAVAILABLE.get(code or 0, 'the driver does not start')} ({text})", code)


def translated(code: int | None, text: str, where: str) -> DeviceError:
    """Returns the error for a failed use of a device: out of memory, device lost, unavailable, or a bug."""
    if code == _OUT_OF_MEMORY:
        hint = "Lower spark.gpuspark.batch.targetBytes, or let fewer tasks share this GPU."
        return OutOfMemory(f"{where}: {text}. {hint}")
    if code in _LOST:
        hint = "This process cannot use the GPU again; the next worker process can."
        return DeviceLost(f"{where}: {text}. {hint}")
    if code in _UNAVAILABLE:
        return CudaUnavailable(f"{where}: {_UNAVAILABLE[code or 0]} ({text})", code)
    return DeviceError(f"{where}: {text}. Please report this, with what `gpuspark info` prints.")
