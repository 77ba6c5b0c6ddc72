"""What no program on this machine can exceed: its memory bandwidth and its rate of arithmetic.

The bandwidth is that of STREAM's triad (J. D. McCalpin, Memory Bandwidth and Machine Balance in Current High
Performance Computers, IEEE TCCA Newsletter, 1995), with one thread per core. The rate is that of independent chains of
double multiplications and additions. They are the two roofs of the roofline model (S. Williams, A. Waterman, D.
Patterson, Roofline, CACM 52 (4), 2009). For a GPU: the bandwidth of copies to and from its memory, and the time of
the smallest call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.discover import discover
from gpuspark.devices.protocol import DeviceName
from gpuspark.execution.array_arguments import Out
from gpuspark.execution.arrays import array_function
from gpuspark.testing import on_device

_TRIAD_ELEMENTS = 4_000_000  # in each of three arrays of each thread: 96 MB, larger than any cache
_CHAINS, _STEPS = 2_000, 10_000
_ROUNDS = 5
_COPY_BYTES = 64 * 2**20
_CALLS = 100


@dataclass(frozen=True)
class MachineLimits:
    """Limits of all cores together."""

    bandwidth: float
    """Bytes per second to and from memory."""
    operations: float
    """Double operations per second."""
    cores: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DeviceLimits:
    """Limits of one task on a device."""

    copy_in: float
    """Bytes per second into the device's memory."""
    copy_out: float
    """Bytes per second out of the device's memory."""
    call: float
    """Seconds of a call that computes one number and copies it back."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@array_function
def _chains(chain, steps, out):
    a = 1.0 + chain
    b = 2.0 + chain
    c = 3.0 + chain
    d = 4.0 + chain
    for _ in range(steps):
        a = a * 0.999999 + 1e-9
        b = b * 0.999999 + 1e-9
        c = c * 0.999999 + 1e-9
        d = d * 0.999999 + 1e-9
    out[chain] = a + b + c + d


def measure_machine() -> MachineLimits:
    """Returns this machine's limits, from the best of several rounds; takes about two seconds."""
    cores = os.cpu_count() or 1
    bytes_moved = cores * _TRIAD_ELEMENTS * 8 * 4  # two arrays are read; the sum is read into the cache and written
    operations = cores * _CHAINS * _STEPS * 8
    return MachineLimits(
        bandwidth=bytes_moved / _best_seconds(_triad, cores),
        operations=operations / _best_seconds(_arithmetic, cores),
        cores=cores,
    )


def measure_gpu() -> DeviceLimits | None:
    """Returns the limits of this machine's GPU, or ``None`` without one.

    A process of its own measures them, so that the GPU is free for Spark's workers afterwards.
    """
    if "cuda" in discover().absent():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_device, "cuda").result()


def measure_device(name: DeviceName) -> DeviceLimits:
    """Opens a device in this process and returns its limits, from the best of several rounds."""
    device, host = open_device(name, Config()), np.ones(_COPY_BYTES, np.uint8)
    seconds_in, seconds_out = [], []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        handle = device.copy_in(host)
        device.synchronize()
        copied = time.perf_counter()
        device.copy_out(handle)
        seconds_out.append(time.perf_counter() - copied)
        seconds_in.append(copied - start)
        device.free(handle)
    with on_device(name):
        call_seconds = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            _chains(1, 1, Out("float64", 1))
            call_seconds.append(time.perf_counter() - start)
    return DeviceLimits(
        copy_in=_COPY_BYTES / min(seconds_in), copy_out=_COPY_BYTES / min(seconds_out), call=min(call_seconds)
    )


def _best_seconds(make_work: Callable[[], Callable[[], Any]], cores: int) -> float:
    """Returns the seconds of the fastest round, with one piece of work running on each core."""
    pieces = [make_work() for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        seconds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            list(pool.map(lambda piece: piece(), pieces))
            seconds.append(time.perf_counter() - start)
    return min(seconds)


def _triad() -> Callable[[], Any]:
    a, b = np.ones(_TRIAD_ELEMENTS), np.ones(_TRIAD_ELEMENTS)
    total = np.ones(_TRIAD_ELEMENTS)
    return lambda: np.add(a, b, out=total)


def _arithmetic() -> Callable[[], Any]:
    def run() -> None:
        with on_device("cpu"):
            _chains(_CHAINS, _STEPS, Out("float64", _CHAINS))

    run()  # compiles
    return run
