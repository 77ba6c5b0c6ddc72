"""Random functions over random batches: plain Python, the CPU, the emulated device (or a GPU) and the host's compiler
agree.

``GPUSPARK_PROGRAMS`` is their number (``make programs`` for the long run). The emulator and the host's compiler run the
same code and must agree bit for bit. They, a GPU and the CPU may differ from Python by a few units in the last place of
mathematical functions, and by what a body makes of such differences (:mod:`tests.support.last_bits`).

The wider programs (:mod:`tests.support.wider_programs`) use more of Python; many are refused, and only counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.columns.types import ColumnType, parse
from gpuspark.columns.values import same, to_python
from gpuspark.config import Config
from gpuspark.devices import open_device
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import Device, DeviceName
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import tolerance
from tests.support import wider_programs
from tests.support.devices import CUDA
from tests.support.host_ir import on_host, results
from tests.support.last_bits import Answer, answer, excused
from tests.support.programs import Maker, load_programs
from tests.support.row_by_row import columns_of, compare_rows
from tests.test_host_ir import bits, columns

PROGRAMS = int(os.environ.get("GPUSPARK_PROGRAMS", "12"))
EACH = 12
ROWS = 150
WIDER = 4 * EACH
"""The number of wider programs in one test."""
SHARE = 0.2
"""The least share of these that must compile; the others are refused, and nothing is compared."""
CONFIG = Config(device="cpu")
PTX = pytest.mark.parametrize("device", ["emulated", CUDA])


@PTX
@pytest.mark.parametrize("first", range(0, PROGRAMS, EACH))
def test_every_device_gives_pythons_answer(first: int, device: DeviceName, tmp_path: Path) -> None:
    for maker, body in load_programs(range(first, min(first + EACH, PROGRAMS)), tmp_path):
        compare(maker, body, first, device)


@PTX
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, max(PROGRAMS, WIDER), WIDER))
def test_wider_programs_give_pythons_answers_or_are_refused(first: int, device: DeviceName, tmp_path: Path) -> None:
    seeds = range(first, first + WIDER)
    programs = load_programs(seeds, tmp_path, wider_programs.Maker, wider_programs.HEAD)
    compiled = [compare_wider(seed, device, *program) for seed, program in zip(seeds, programs, strict=True)]
    assert sum(compiled) >= SHARE * WIDER


def compare_wider(seed: int, ptx: DeviceName, maker: wider_programs.Maker, body: Callable[..., Any]) -> bool:
    """Compares each row on the CPU, and on ``ptx``, of the emulator for some programs only; returns whether the program
    compiles."""
    function = gs.udf(maker.result)(body).scalar_function("abc")
    types = [parse(name) for name in maker.types]
    devices: dict[DeviceName, Device] = {"cpu": CpuDevice()}
    if ptx == "cuda" or seed % 6 == 0:
        devices[ptx] = opened(ptx)
    if any(function.obstacles(types, CONFIG, list(devices)).values()):
        return False
    rows = list(zip(*map(to_python, columns(tuple(maker.types), 60, seed)), strict=True))
    answers = [(row, answer(function, columns_of(types, [row]))) for row in rows]
    for name, device in devices.items():
        comparison = compare_rows(function, types, answers[:20] if name == "emulated" else answers, device)
        assert comparison.differences == [], f"{name}, seed {seed}: {maker.types} -> {maker.result}\n{maker.text}"
    return True


def opened(name: DeviceName) -> Device:
    """Returns a new emulated device, or the first GPU."""
    return EmulatedDevice(1 << 24) if name == "emulated" else open_device(name, CONFIG)


def compare(maker: Maker, body: Callable[..., Any], seed: int, ptx: DeviceName) -> None:
    """Compares all rows together; if Python raises for one of them, then also the rows for which it does not."""
    function = gs.udf(maker.result)(body).scalar_function("abc")
    types = [parse(name) for name in maker.types]
    refused = function.obstacles(types, CONFIG, ["cpu"])["cpu"]
    assert not refused, (body.__name__, refused)
    label = f"{body.__name__} of seed {seed}, {maker.types} -> {maker.result}"
    batch = columns(tuple(maker.types), ROWS, seed)
    devices = {"host": on_host(function, types), ptx: opened(ptx), "cpu": CpuDevice()}
    if not agree(label, function, types, batch, devices):
        fails = [bool(plain(function, [column.slice(n, 1) for column in batch])[1]) for n in range(ROWS)]
        without_errors = pa.array([n for n in range(ROWS) if not fails[n]], pa.int64())
        assert agree(label, function, types, [column.take(without_errors) for column in batch], devices)


def agree(
    label: str, function: ScalarFunction, types: list[ColumnType], batch: list[pa.Array], devices: dict[str, Device]
) -> bool:
    """Asserts that all devices agree; returns whether they agree on values and not on an error."""
    outcomes = {name: results(function, types, batch, device) for name, device in devices.items()}
    host, emulated = outcomes.pop("host"), outcomes.get("emulated")
    if emulated is not None:
        assert host.error == emulated.error, label
        if host.column is not None and emulated.column is not None:
            assert bits(host.column) == bits(emulated.column), label
    expected, error = plain(function, batch)
    for device, result in outcomes.items():
        error_name = result.error.partition(":")[0]
        difference = f"{label} on {device}: {error_name or 'no error'}, Python: {error or 'none'}"
        assert error_name == error.partition(":")[0], difference
        if result.column is None:
            continue
        rows = list(zip(*map(to_python, batch), strict=True))
        for row, value, python_value in zip(rows, to_python(result.column), expected, strict=True):
            close = same(value, python_value, tolerance(function)) or excused(
                function, columns_of(types, [row]), Answer(value), Answer(python_value)
            )
            assert close, f"{label} on {device}: {value!r} for {row}, in Python {python_value!r}"
    return not error


def plain(function: Any, batch: list[pa.Array]) -> tuple[list[Any], str]:
    """Returns the values that Python gives, or its error."""
    try:
        return to_python(interpret(function, batch)), ""
    except (ArithmeticError, ValueError) as error:
        return [], f"{type(error).__name__}: {error}"
