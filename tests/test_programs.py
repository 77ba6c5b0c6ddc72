"""Random programs over random batches: plain Python, the CPU, the emulated device and the host's compiler agree.

``GPUSPARK_PROGRAMS`` is how many (`make programs` for the long run). The emulator and the host's compiler are
given the same code and must agree bit for bit; they and the CPU differ from Python by a few units in the last
place where functions of mathematics are called, and by what a body makes of such differences
(:mod:`tests.support.last_bits`).

The wider programs (:mod:`tests.support.wider_programs`) use more of Python; many are refused, and are only counted.
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
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import Device, DeviceName
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import tolerance
from tests.support import wider_programs
from tests.support.host_ir import on_host, results
from tests.support.last_bits import Answer, answer, excused
from tests.support.programs import Maker, written
from tests.support.row_by_row import columns_of, compare_rows
from tests.test_host_ir import bits, columns

PROGRAMS = int(os.environ.get("GPUSPARK_PROGRAMS", "12"))
EACH = 12
ROWS = 150
WIDER = 4 * EACH
"""So many of the wider programs are one test."""
SHARE = 0.2
"""The share of these that compiles, at least: the others are refused, and nothing is compared."""
CONFIG = Config(device="cpu")


@pytest.mark.parametrize("first", range(0, PROGRAMS, EACH))
def test_every_device_gives_pythons_answer(first: int, tmp_path: Path) -> None:
    for maker, body in written(range(first, min(first + EACH, PROGRAMS)), tmp_path):
        compare(maker, body, first)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, max(PROGRAMS, WIDER), WIDER))
def test_wider_programs_give_pythons_answers_or_are_refused(first: int, tmp_path: Path) -> None:
    seeds = range(first, first + WIDER)
    programs = written(seeds, tmp_path, wider_programs.Maker, wider_programs.HEAD)
    compiled = [compare_wider(seed, *program) for seed, program in zip(seeds, programs, strict=True)]
    assert sum(compiled) >= SHARE * WIDER


def compare_wider(seed: int, maker: wider_programs.Maker, body: Callable[..., Any]) -> bool:
    """Whether the program compiles; then each row is compared on the CPU, and of some programs, on the emulator."""
    function = gs.udf(maker.result)(body).scalar_function("abc")
    kinds = [parse(name) for name in maker.types]
    devices: dict[DeviceName, Device] = {"cpu": CpuDevice()}
    if seed % 6 == 0:
        devices["emulated"] = EmulatedDevice(1 << 24)
    if any(function.obstacles(kinds, CONFIG, list(devices)).values()):
        return False
    rows = list(zip(*map(to_python, columns(tuple(maker.types), 60, seed)), strict=True))
    known = [(row, answer(function, columns_of(kinds, [row]))) for row in rows]
    for name, device in devices.items():
        found = compare_rows(function, kinds, known if name == "cpu" else known[:20], device)
        assert found.differences == [], f"{name}, seed {seed}: {maker.types} -> {maker.result}\n{maker.text}"
    return True


def compare(maker: Maker, body: Callable[..., Any], seed: int) -> None:
    """All rows; and where Python raises at one of them, also those at which it does not."""
    function = gs.udf(maker.result)(body).scalar_function("abc")
    kinds = [parse(name) for name in maker.types]
    refused = function.obstacles(kinds, CONFIG, ["cpu"])["cpu"]
    assert not refused, (body.__name__, refused)
    told = f"{body.__name__} of seed {seed}, {maker.types} -> {maker.result}"
    given = columns(tuple(maker.types), ROWS, seed)
    devices = {"host": on_host(function, kinds), "emulated": EmulatedDevice(1 << 24), "cpu": CpuDevice()}
    if not agree(told, function, kinds, given, devices):
        fine = [n for n in range(ROWS) if not plain(function, [column.slice(n, 1) for column in given])[1]]
        assert agree(told, function, kinds, [column.take(pa.array(fine, pa.int64())) for column in given], devices)


def agree(
    told: str, function: ScalarFunction, kinds: list[ColumnType], given: list[pa.Array], devices: dict[str, Device]
) -> bool:
    """Asserts that all devices agree; whether that is on values, not on an error."""
    found = {name: results(function, kinds, given, device) for name, device in devices.items()}
    host, emulated = found["host"], found["emulated"]
    assert host.error == emulated.error, told
    if host.column is not None and emulated.column is not None:
        assert bits(host.column) == bits(emulated.column), told
    expected, error = plain(function, given)
    for device in ("cpu", "emulated"):
        result = found[device]
        kind = result.error.partition(":")[0]
        assert kind == error.partition(":")[0], f"{told} on {device}: {kind or 'no error'}, Python: {error or 'none'}"
        if result.column is None:
            continue
        rows = list(zip(*map(to_python, given), strict=True))
        for row, one, other in zip(rows, to_python(result.column), expected, strict=True):
            close = same(one, other, tolerance(function)) or excused(
                function, columns_of(kinds, [row]), Answer(one), Answer(other)
            )
            assert close, f"{told} on {device}: {one!r} for {row}, in Python {other!r}"
    return not error


def plain(function: Any, given: list[pa.Array]) -> tuple[list[Any], str]:
    try:
        return to_python(interpret(function, given)), ""
    except (ArithmeticError, ValueError) as error:
        return [], f"{type(error).__name__}: {error}"
