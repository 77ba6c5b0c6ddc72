"""The emulated device behind the device protocol, running PTX that our compiler made (tests/data)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.emulator.interpreter import THREADS_AT_ONCE
from gpuspark.devices.protocol import Device, Handle, Pointer, Program
from gpuspark.errors import DeviceFault, OutOfMemory

DATA = Path(__file__).parent / "data"

SIZES = [
    1,
    7,
    8,
    9,
    31,
    32,
    33,
    255,
    256,
    257,
    1000,
    THREADS_AT_ONCE - 1,
    THREADS_AT_ONCE,
    THREADS_AT_ONCE + 1,
    40_000,
]


def sample(name: str) -> Program:
    return Program("ptx", (DATA / f"{name}.ptx").read_bytes(), "kernel", name)


def run(device: Device, name: str, columns: list[NDArray[Any]], dtype: str) -> NDArray[Any]:
    count = len(columns[0])
    inputs = [device.copy_in(column.view(np.uint8)) for column in columns]
    output = device.allocate(count * np.dtype(dtype).itemsize)
    device.launch(sample(name), [*map(Pointer, inputs), Pointer(output)], count)
    device.synchronize()
    result = device.copy_out(output).view(dtype)
    for handle in (*inputs, output):
        device.free(handle)
    return result


def nested(x: float, y: float) -> float:
    """Returns what tests/data/nested_branches_*.ptx computes, which was compiled from this function."""
    if not -1e3 < x < 1e3:
        return y
    if x > 0:
        if y > 0:
            return x + y
        return x * y if y > -1 else x - y
    if y > x:
        return math.sqrt(y - x)
    total = 0.0
    for i in range(int(abs(x)) + 1):
        total += y * i
    return total


@pytest.mark.parametrize("size", SIZES)
def test_every_row_of_a_batch_is_computed_once(size: int) -> None:
    """Branches and loops, for sizes around that of a block and the number of threads that run together."""
    random = np.random.default_rng(size)
    columns = [random.uniform(-20, 20, size), random.uniform(-20, 20, size)]
    columns[0][0] = 1e9
    expected = [nested(x, y) for x, y in zip(*(c.tolist() for c in columns), strict=True)]
    result = run(EmulatedDevice(1 << 24), "nested_branches_cuda12", columns, "f8")
    np.testing.assert_array_equal(result, expected)


def test_both_toolkits_agree() -> None:
    edges = np.array([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 999.9, -999.9, -1.0, 0.5])
    columns = [np.repeat(edges, len(edges)), np.tile(edges, len(edges))]
    expected = [nested(x, y) for x, y in zip(*(c.tolist() for c in columns), strict=True)]
    for toolkit in ("cuda12", "cuda13"):
        result = run(EmulatedDevice(1 << 24), f"nested_branches_{toolkit}", columns, "f8")
        np.testing.assert_array_equal(result, expected)


def test_constant_arrays_that_a_body_captured() -> None:
    values = np.random.default_rng(0).uniform(-100, 100, 1000)
    indices = (np.abs(values) * 10).astype(int) % 100
    expected = indices.astype(float) ** 2 + indices % 50 * 3
    device = EmulatedDevice(1 << 20)
    np.testing.assert_array_equal(run(device, "captured_arrays_cuda12", [values], "f8"), expected)


def test_code_that_was_not_optimised() -> None:
    """Calls of device functions, and variables in local memory through generic addresses."""
    random = np.random.default_rng(0)
    columns = [random.integers(-(2**62), 2**62, 3000), random.integers(-1000, 1000, 3000)]
    result = run(EmulatedDevice(1 << 20), "gcd_unoptimised_cuda12", columns, "i8")
    np.testing.assert_array_equal(result, np.gcd(*columns))


def test_an_empty_batch_runs_nothing() -> None:
    device = EmulatedDevice(1 << 20)
    empty = np.empty(0)
    assert len(run(device, "nested_branches_cuda12", [empty, empty], "f8")) == 0


def test_programs_are_read_once() -> None:
    device = EmulatedDevice(1 << 20)
    for _ in range(3):
        run(device, "captured_arrays_cuda12", [np.ones(3)], "f8")
    run(device, "nested_branches_cuda12", [np.ones(3), np.ones(3)], "f8")
    assert len(device._programs) == 2


def test_all_memory_comes_back() -> None:
    device = EmulatedDevice(1 << 20)
    assert (device.memory().free, device.memory().total) == (1 << 20, 1 << 20)
    handle = device.allocate(1000)
    assert device.memory().free == (1 << 20) - 1000
    device.free(handle)
    run(device, "captured_arrays_cuda12", [np.ones(3)], "f8")
    assert device.memory().free == 1 << 20


def test_what_does_not_fit_is_out_of_memory() -> None:
    device = EmulatedDevice(1000)
    handle = device.allocate(600)
    with pytest.raises(OutOfMemory, match="no room for 500 bytes"):
        device.copy_in(np.zeros(500, np.uint8))
    device.free(handle)
    device.copy_in(np.zeros(500, np.uint8))


def test_a_copy_is_the_caller_s_own() -> None:
    device = EmulatedDevice(1 << 20)
    host = np.arange(10, dtype=np.uint8)
    handle = device.copy_in(host)
    host[:] = 0
    first = device.copy_out(handle)
    assert first.tolist() == list(range(10))
    first[:] = 9
    assert device.copy_out(handle).tolist() == list(range(10))


def launch_with(rows: int) -> None:
    device = EmulatedDevice(1 << 20)
    source, target = device.copy_in(np.zeros(80, np.uint8)), device.allocate(80)
    device.launch(sample("captured_arrays_cuda12"), [Pointer(source), Pointer(target)], rows)


def test_one_row_too_many_is_a_fault() -> None:
    launch_with(10)
    with pytest.raises(DeviceFault) as raised:
        launch_with(11)
    message = str(raised.value)
    assert "kernel: no memory for 8 bytes" in message
    assert "0 bytes after the end of an input of 80 bytes" in message
    assert "ld.global.f64" in message
    assert "block (0, 0, 0), thread (10, 0, 0)" in message


def test_memory_that_was_freed_is_a_fault() -> None:
    device = EmulatedDevice(1 << 20)
    source, target = device.copy_in(np.zeros(80, np.uint8)), device.allocate(80)
    device.free(source)
    with pytest.raises(DeviceFault, match="it was freed: an input"):
        device.launch(sample("captured_arrays_cuda12"), [Pointer(source), Pointer(target)], 10)


def test_swapped_arguments_are_a_fault() -> None:
    device = EmulatedDevice(1 << 20)
    source, target = device.copy_in(np.zeros(80, np.uint8)), device.allocate(80)
    with pytest.raises(DeviceFault, match="that nothing has written"):
        device.launch(sample("captured_arrays_cuda12"), [Pointer(target), Pointer(source)], 10)


def test_it_runs_no_code_for_another_device() -> None:
    device = EmulatedDevice(1 << 20)
    with pytest.raises(ValueError, match="runs PTX, not code for 'cpu'"):
        device.launch(Program("cpu", b"", "kernel", "k"), [], 1)


def test_it_is_a_device() -> None:
    device: Device = EmulatedDevice(1 << 20)
    handle: Handle = device.allocate(1)
    assert (device.name, device.target) == ("emulated", "ptx")
    device.free(handle)
