"""Random programs over random batches: plain Python, the CPU, the emulated device and the host's compiler agree.

``GPUSPARK_PROGRAMS`` is how many (`make programs` for the long run). The emulator and the host's compiler are
given the same code and must agree bit for bit; they and the CPU differ from Python by a few units in the last
place where functions of mathematics are called, and by what a body makes of such differences: a function of
numbers that are off by 1e-15 may be off by more. So where the plain comparison fails, the rows are looked at
again: a difference counts unless Python's own answer moves as much when each function of mathematics in the body
is moved by a few units in the last place.
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.config import Config
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import Device
from gpuspark.rowwise import interpret
from gpuspark.scalar import ScalarFunction
from gpuspark.types import ColumnType, parse
from gpuspark.values import same, to_python
from gpuspark.verify import LIBM_ULP, tolerance
from tests.host_ir import on_host, results
from tests.programs import Maker, written
from tests.test_host_ir import bits, columns

PROGRAMS = int(os.environ.get("GPUSPARK_PROGRAMS", "12"))
EACH = 12
ROWS = 150


@pytest.mark.parametrize("first", range(0, PROGRAMS, EACH))
def test_every_device_gives_pythons_answer(first: int, tmp_path: Path) -> None:
    for maker, body in written(range(first, min(first + EACH, PROGRAMS)), tmp_path):
        compare(maker, body, first)


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
            close = same(one, other, tolerance(function)) or excused(function.function, row, one, other)
            assert close, f"{told} on {device}: {one!r} for {row}, in Python {other!r}"
    return not error


def plain(function: Any, given: list[pa.Array]) -> tuple[list[Any], str]:
    try:
        return to_python(interpret(function, given)), ""
    except (ArithmeticError, ValueError) as error:
        return [], f"{type(error).__name__}: {error}"


class Moved(types.ModuleType):
    """``math`` whose functions are off by so many units in the last place."""

    def __init__(self, ulp: int) -> None:
        super().__init__("math")
        self._ulp = ulp

    def __getattr__(self, name: str) -> Any:
        function = getattr(math, name)
        exact = name in ("sqrt", "floor", "fabs", "copysign", "degrees")
        return function if exact or not callable(function) else lambda *values: self._move(function(*values))

    def _move(self, value: float) -> float:
        for _ in range(abs(self._ulp)):
            value = math.nextafter(value, math.copysign(math.inf, self._ulp))
        return value


def excused(body: Callable[..., Any], row: tuple[Any, ...], found: Any, expected: Any) -> bool:
    """Whether the answer hangs on the last bits of a function of mathematics."""
    answers = [expected]
    for ulp in (-LIBM_ULP, -1, 1, LIBM_ULP):
        moved = types.FunctionType(body.__code__, {**body.__globals__, "math": Moved(ulp)})
        try:
            answers.append(moved(*row))
        except (ArithmeticError, ValueError):
            return True  # on the edge of an error
    if any(type(answer) is not type(expected) for answer in answers):
        return True
    if not isinstance(expected, float):
        return len(set(answers)) > 1
    spread = max(answers) - min(answers)
    return len({math.isnan(answer) for answer in answers}) > 1 or bool(abs(found - expected) <= 4 * spread)


CONFIG = Config(device="cpu")
