"""The program that scenes run (``sample.ptx``), its inputs and its expected results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.cuda import CudaDevice
from gpuspark.devices.protocol import Pointer, Program

PTX = (Path(__file__).parent / "sample.ptx").read_bytes()
SAMPLE = Program("ptx", PTX, re.findall(r"\.entry\s+(\w+)", PTX.decode())[0], key="sample")

SIZES = (0, 1, 31, 32, 33, 255, 256, 257, 1000, 4097)

Doubles = NDArray[np.float64]


def raw(values: np.ndarray[tuple[int], np.dtype[np.float64]] | Doubles) -> NDArray[np.uint8]:
    """Returns the bytes of ``values``."""
    return values.view(np.uint8)


def inputs(count: int) -> tuple[Doubles, Doubles]:
    """Returns two columns, with special values such as NaN among them."""
    random = np.random.default_rng(count)
    a, b = random.uniform(0, 1e6, count), random.normal(0, 1e6, count)
    special = [0.0, -0.0, np.inf, np.nan, 5e-324, 1.7e308, -1.0]
    a[: len(special)] = special[:count]
    return a, b


def expected(a: Doubles, b: Doubles) -> Doubles:
    """Returns what ``SAMPLE`` computes, from NumPy."""
    with np.errstate(all="ignore"):
        return np.sqrt(a) * a + b


def run_sample(device: CudaDevice, count: int) -> tuple[Doubles, NDArray[np.uint8]]:
    """Runs ``SAMPLE`` over ``count`` rows; returns its results and the status of each row."""
    handles = [device.copy_in(raw(column)) for column in inputs(count)]
    out, status = device.allocate(count * 8), device.copy_in(np.full(count, 9, np.uint8))
    columns = [Pointer(handle) for handle in handles]
    device.launch(SAMPLE, [*columns, Pointer(out), Pointer(status)], count)
    device.synchronize()
    results = device.copy_out(out).view(np.float64), device.copy_out(status)
    for handle in (*handles, out, status):
        device.free(handle)
    return results
