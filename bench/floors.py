"""What no program on this machine can beat: the bandwidth of its memory and its rate of arithmetic.

The bandwidth is that of STREAM's triad (J. D. McCalpin, Memory Bandwidth and Machine Balance in Current High
Performance Computers, IEEE TCCA Newsletter, 1995) by one thread for each core; the rate that of chains of double
multiplications and additions that depend on nothing but themselves. Together they are the two roofs of S. Williams,
A. Waterman, D. Patterson, Roofline, CACM 52 (4), 2009. Of a GPU: how fast its memory is filled and read from here, and
what the smallest call takes.
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

_ELEMENTS = 4_000_000  # of each of three arrays and each thread: 96 MB, beyond every cache
_CHAINS, _STEPS = 2_000, 10_000
_ROUNDS = 5
_COPIED = 64 * 2**20
_CALLS = 100


@dataclass(frozen=True)
class Floors:
    """Of all cores together: bytes a second to and from memory, and double operations a second."""

    bandwidth: float
    operations: float
    cores: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DeviceFloors:
    """Of one task on a device: bytes a second into its memory and out of it, and seconds of a call that computes one
    number and brings it back."""

    copy_in: float
    copy_out: float
    call: float

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


def measure() -> Floors:
    """Takes about two seconds. The best of some rounds: floors are what a quiet machine can do."""
    cores = os.cpu_count() or 1
    moved = cores * _ELEMENTS * 8 * 4  # two arrays read; the sum written, and read before it is written
    operations = cores * _CHAINS * _STEPS * 8
    return Floors(moved / _best(_triad, cores), operations / _best(_arithmetic, cores), cores)


def gpu() -> DeviceFloors | None:
    """Of the GPU that is here, if there is one. In a process of its own, which leaves the GPU to Spark's workers."""
    if "cuda" in discover().absent():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(of_device, "cuda").result()


def of_device(name: DeviceName) -> DeviceFloors:
    """Opens the device in this process. The best of some rounds."""
    device, host = open_device(name, Config()), np.ones(_COPIED, np.uint8)
    copied_in, copied_out = [], []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        handle = device.copy_in(host)
        device.synchronize()
        between = time.perf_counter()
        device.copy_out(handle)
        copied_out.append(time.perf_counter() - between)
        copied_in.append(between - start)
        device.free(handle)
    with on_device(name):
        taken = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            _chains(1, 1, Out("float64", 1))
            taken.append(time.perf_counter() - start)
    return DeviceFloors(_COPIED / min(copied_in), _COPIED / min(copied_out), min(taken))


def _best(work: Callable[[], Callable[[], Any]], cores: int) -> float:
    """Seconds of the quickest round, of one piece of work on each core at once."""
    pieces = [work() for _ in range(cores)]
    with ThreadPoolExecutor(cores) as pool:
        taken = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            list(pool.map(lambda piece: piece(), pieces))
            taken.append(time.perf_counter() - start)
    return min(taken)


def _triad() -> Callable[[], Any]:
    a, b = np.ones(_ELEMENTS), np.ones(_ELEMENTS)
    total = np.ones(_ELEMENTS)
    return lambda: np.add(a, b, out=total)


def _arithmetic() -> Callable[[], Any]:
    def run() -> None:
        with on_device("cpu"):
            _chains(_CHAINS, _STEPS, Out("float64", _CHAINS))

    run()  # compiles
    return run
