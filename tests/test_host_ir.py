"""CUDA programs compiled for this processor with NVIDIA's own mathematics library give the emulator's results bit for
bit, and over millions of rows those of the CPU programs.

Each body runs with its first column types; with ``GPUSPARK_EXAMPLES`` (``make properties``) with all of them.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark import kernels
from gpuspark.columns.types import parse
from gpuspark.devices.cpu import CpuDevice
from gpuspark.devices.emulated import EmulatedDevice
from tests.support.bodies import CASES
from tests.support.body_cases import Case
from tests.support.host_ir import on_host, results

ROWS = 4_000_000
EDGES = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 1e300, 5e-324, 2.0**53, 709.0, -745.0],
    "i": [0, 1, -1, 2, 3, 7, -100, 2**31 - 1, 2**53 + 1, 2**63 - 1, -(2**63)],
}


def columns(types: tuple[str, ...], rows: int, seed: int, nulls: float = 0.1) -> list[pa.Array]:
    """Returns columns of moderate numbers, edge cases and nulls."""
    random = np.random.default_rng(seed)
    result = []
    for name in types:
        arrow = pa.type_for_alias(parse(name).arrow)
        mask = random.random(rows) < nulls
        if name == "boolean":
            result.append(pa.array(random.random(rows) < 0.5, mask=mask))
            continue
        dtype: Any = np.dtype(
            {"date": "i4", "timestamp_ntz": "i8", "timestamp": "i8"}.get(name) or arrow.to_pandas_dtype()
        )
        if dtype.kind == "f":
            values = random.normal(0, 10, rows).astype(dtype)
            with np.errstate(over="ignore"):
                edges = np.array(EDGES["f"]).astype(dtype)
        else:
            values = random.integers(-120, 121, rows).astype(dtype)
            edges = np.array([v for v in EDGES["i"] if np.iinfo(dtype).min <= v <= np.iinfo(dtype).max], dtype)
        if name in ("date", "timestamp", "timestamp_ntz"):
            edges = edges[np.abs(edges.astype(float)) < 1e5]
        replaced = random.random(rows) < 0.2
        values[replaced] = random.choice(edges, replaced.sum())
        result.append(pa.array(values, mask=mask).cast(arrow))
    return result


def bits(column: pa.Array) -> tuple[bytes, bytes]:
    """Returns the bytes of a column's validity and values; those of nulls are cleared."""
    valid = column.is_valid()
    if pa.types.is_boolean(column.type):
        return valid.to_numpy(zero_copy_only=False).tobytes(), column.fill_null(False).to_string().encode()
    width = column.type.bit_width // 8
    values = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    rows = values.reshape(-1, width).copy()
    rows[~valid.to_numpy(zero_copy_only=False)] = 0
    if pa.types.is_floating(column.type):  # the bits of a NaN are not part of the answer
        rows[np.isnan(rows.view(f"f{width}")[:, 0])] = 255
    return valid.to_numpy(zero_copy_only=False).tobytes(), rows.tobytes()


FIRST_OF_EACH = list({case.f.__name__: case for case in reversed(CASES)}.values())[::-1]


@pytest.mark.parametrize("case", CASES if os.environ.get("GPUSPARK_EXAMPLES") else FIRST_OF_EACH, ids=str)
def test_it_is_the_emulator_bit_for_bit(case: Case) -> None:
    names = tuple(case.f.signature.parameters)[: len(case.types)]
    function, types = case.f.scalar_function(names), [parse(name) for name in case.types]
    device, emulated = on_host(function, types), EmulatedDevice(1 << 24)
    for seed in range(3):
        batch = columns(case.types, 200, seed)
        if case.f.__name__ == "may_raise" and seed:
            batch = [column.slice(seed) for column in batch]
        on_this_host, on_other = results(function, types, batch, device), results(function, types, batch, emulated)
        assert (on_this_host.error, on_this_host.reasons) == (on_other.error, on_other.reasons)
        if on_this_host.column is not None and on_other.column is not None:
            assert on_this_host.column.type == on_other.column.type
            assert bits(on_this_host.column) == bits(on_other.column)


def _selected(a, b, c):
    a = ((c << (c & 3)) | abs(a)) if (b > b and c >= a) else -(10)
    return (a - 7) + min(a, c)


OVERFLOWS = (
    lambda a: a - 7, lambda a: a + 7, lambda a: a * 3, lambda a: -a, lambda a: abs(a), lambda a: a**3,
    lambda a: a << 3, lambda a: 63 // (a * a), lambda a: a // -1, lambda a: (a * a) % (a * a * 2),
    lambda a: -(a - 1) + abs(a - 2),
)  # fmt: skip


@pytest.mark.parametrize("position", range(len(OVERFLOWS)))
def test_no_optimiser_removes_the_check_for_overflow(position: int) -> None:
    """LLVM may assume that a signed sum never overflows, and remove a check of whether it did, unless sums are declared
    to wrap. Each number is a batch of its own, since the first one that raises would hide the others."""
    function, types = gs.udf(OVERFLOWS[position], "bigint").scalar_function(("a",)), [parse("bigint")]
    devices = [on_host(function, types), CpuDevice(), EmulatedDevice(1 << 20)]
    edges = [
        0,
        1,
        -1,
        2,
        7,
        2**31,
        2**32,
        2**61,
        2**62,
        2**63 - 1,
        2**63 - 7,
        -(2**63),
        -(2**63) + 6,
        -(2**62),
        3 << 61,
    ]
    for number in edges:
        column = pa.array([number], pa.int64())
        try:
            expected = (OVERFLOWS[position](number), "")
        except ArithmeticError as error:
            expected = (None, type(error).__name__)
        if expected[0] is not None and not -(2**63) <= expected[0] < 2**63:
            expected = (None, "ResultError")
        for device in devices:
            outcome = results(function, types, [column], device)
            value = outcome.column[0].as_py() if outcome.column is not None else None
            assert (value, outcome.error.partition(":")[0]) == expected, (number, device.name, outcome)


def test_a_check_survives_among_branches() -> None:
    function = gs.udf(_selected, "double").scalar_function("abc")
    types, batch = (
        [parse("smallint"), parse("double"), parse("bigint")],
        columns(("smallint", "double", "bigint"), 150, 744),
    )
    errors = {results(function, types, batch, d).error for d in (on_host(function, types), CpuDevice())}
    assert len(errors) == 1
    assert "-9223372036854775825 (int)" in errors.pop()


@gs.udf("double")
def option_value(spot, strike, years):
    """The price of a call without dividends by F. Black and M. Scholes, 1973, at 5 % and a volatility of 0.2."""
    spread = 0.2 * math.sqrt(years)
    d = (math.log(spot / strike) + (0.05 + 0.02) * years) / spread
    within = 0.5 * (1 + math.erf(d / math.sqrt(2.0)))
    return spot * within - strike * math.exp(-0.05 * years) * 0.5 * (1 + math.erf((d - spread) / math.sqrt(2.0)))


@gs.udf("bigint")
def mixed_up(n, m):
    """A few rounds of an integer hash, with divisions by numbers that may be zero or negative."""
    for _ in range(3):
        n = (n ^ (n >> 7)) * 31 % 1_000_003
        if m % 5:
            n = n + n // m
    return n


@pytest.mark.parametrize(
    ("f", "spread", "block"),
    [
        (option_value, ("double", [(50, 150), (50, 150), (0.1, 3)]), 256),
        (kernels.haversine, ("double", [(-90, 90), (-180, 180), (-90, 90), (-180, 180)]), 64),
        (mixed_up, ("bigint", [(-(10**6), 10**6), (-50, 50)]), 1000),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_millions_of_rows_are_the_cpus(f, spread, block: int) -> None:
    """Twelve million rows in all."""
    name, ranges = spread
    random = np.random.default_rng(block)
    batch = []
    for low, high in ranges:
        values = random.uniform(low, high, ROWS) if name == "double" else random.integers(low, high, ROWS)
        batch.append(pa.array(values, mask=random.random(ROWS) < 0.01))
    function, types = f.scalar_function(tuple(f.signature.parameters)), [parse(name)] * len(batch)
    on_this_host = results(function, types, batch, on_host(function, types, block))
    on_other = results(function, types, batch, CpuDevice())
    assert on_this_host.column is not None
    assert on_other.column is not None
    assert on_this_host.error == on_other.error == ""
    assert on_this_host.column.is_valid().equals(on_other.column.is_valid())
    values, expected = (c.drop_null().to_numpy(zero_copy_only=False) for c in (on_this_host.column, on_other.column))
    assert len(values) > 0.9 * ROWS
    if name == "bigint":
        np.testing.assert_array_equal(values, expected)
    else:  # an option's value is a difference of nearly equal numbers, which magnifies the last bits of its terms
        np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-9)
