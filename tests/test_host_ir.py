"""The programs that CUDA gets, compiled for this processor with NVIDIA's own mathematics library: bit for bit what
the emulator makes of their PTX, and over millions of rows what the CPU's programs give.

Each body is tried on its first types; where ``GPUSPARK_EXAMPLES`` is set (`make properties`), on all of them.
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
    """Columns of moderate numbers, edges and nulls."""
    random = np.random.default_rng(seed)
    made = []
    for name in types:
        arrow = pa.type_for_alias(parse(name).arrow)
        mask = random.random(rows) < nulls
        if name == "boolean":
            made.append(pa.array(random.random(rows) < 0.5, mask=mask))
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
        places = random.random(rows) < 0.2
        values[places] = random.choice(edges, places.sum())
        made.append(pa.array(values, mask=mask).cast(arrow))
    return made


def bits(column: pa.Array) -> tuple[bytes, bytes]:
    """Validity and values, bit for bit; what lies under a null is no matter."""
    valid = column.is_valid()
    if pa.types.is_boolean(column.type):
        return valid.to_numpy(zero_copy_only=False).tobytes(), column.fill_null(False).to_string().encode()
    width = column.type.bit_width // 8
    values = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    rows = values.reshape(-1, width).copy()
    rows[~valid.to_numpy(zero_copy_only=False)] = 0
    if pa.types.is_floating(column.type):  # a NaN is a NaN: the bits under it are not part of the answer
        rows[np.isnan(rows.view(f"f{width}")[:, 0])] = 255
    return valid.to_numpy(zero_copy_only=False).tobytes(), rows.tobytes()


FIRST_OF_EACH = list({case.f.__name__: case for case in reversed(CASES)}.values())[::-1]


@pytest.mark.parametrize("case", CASES if os.environ.get("GPUSPARK_EXAMPLES") else FIRST_OF_EACH, ids=str)
def test_it_is_the_emulator_bit_for_bit(case: Case) -> None:
    names = tuple(case.f.signature.parameters)[: len(case.types)]
    function, types = case.f.scalar_function(names), [parse(name) for name in case.types]
    device, emulated = on_host(function, types), EmulatedDevice(1 << 24)
    for seed in range(3):
        given = columns(case.types, 200, seed)
        if case.f.__name__ == "may_raise" and seed:
            given = [column.slice(seed) for column in given]
        here, there = results(function, types, given, device), results(function, types, given, emulated)
        assert (here.error, here.reasons) == (there.error, there.reasons)
        if here.column is not None and there.column is not None:
            assert here.column.type == there.column.type
            assert bits(here.column) == bits(there.column)


def _selected(a, b, c):
    a = ((c << (c & 3)) | abs(a)) if (b > b and c >= a) else -(10)
    return (a - 7) + min(a, c)


OVERFLOWS = (
    lambda a: a - 7, lambda a: a + 7, lambda a: a * 3, lambda a: -a, lambda a: abs(a), lambda a: a**3,
    lambda a: a << 3, lambda a: 63 // (a * a), lambda a: a // -1, lambda a: (a * a) % (a * a * 2),
    lambda a: -(a - 1) + abs(a - 2),
)  # fmt: skip


@pytest.mark.parametrize("place", range(len(OVERFLOWS)))
def test_no_optimiser_removes_the_check_for_overflow(place: int) -> None:
    """LLVM may take it that a signed sum does not overflow, and drop what looks whether it did, unless it is told
    that sums wrap. Each number goes alone, since the first one that raises would hide the others."""
    function, types = gs.udf(OVERFLOWS[place], "bigint").scalar_function(("a",)), [parse("bigint")]
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
            expected = (OVERFLOWS[place](number), "")
        except ArithmeticError as error:
            expected = (None, type(error).__name__)
        if expected[0] is not None and not -(2**63) <= expected[0] < 2**63:
            expected = (None, "ResultError")
        for device in devices:
            found = results(function, types, [column], device)
            value = found.column[0].as_py() if found.column is not None else None
            assert (value, found.error.partition(":")[0]) == expected, (number, device.name, found)


def test_a_check_survives_among_branches() -> None:
    function = gs.udf(_selected, "double").scalar_function("abc")
    types, given = (
        [parse("smallint"), parse("double"), parse("bigint")],
        columns(("smallint", "double", "bigint"), 150, 744),
    )
    errors = {results(function, types, given, d).error for d in (on_host(function, types), CpuDevice())}
    assert len(errors) == 1
    assert "-9223372036854775825 (int)" in errors.pop()


@gs.udf("double")
def option_value(spot, strike, years):
    """A call without dividends, by F. Black and M. Scholes, 1973, at 5 % and a volatility of 0.2."""
    spread = 0.2 * math.sqrt(years)
    d = (math.log(spot / strike) + (0.05 + 0.02) * years) / spread
    within = 0.5 * (1 + math.erf(d / math.sqrt(2.0)))
    return spot * within - strike * math.exp(-0.05 * years) * 0.5 * (1 + math.erf((d - spread) / math.sqrt(2.0)))


@gs.udf("bigint")
def mixed_up(n, m):
    """Whole numbers: a few rounds of a hash, with divisions by what may be zero or negative."""
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
    given = []
    for low, high in ranges:
        values = random.uniform(low, high, ROWS) if name == "double" else random.integers(low, high, ROWS)
        given.append(pa.array(values, mask=random.random(ROWS) < 0.01))
    function, types = f.scalar_function(tuple(f.signature.parameters)), [parse(name)] * len(given)
    here = results(function, types, given, on_host(function, types, block))
    there = results(function, types, given, CpuDevice())
    assert here.column is not None
    assert there.column is not None
    assert here.error == there.error == ""
    assert here.column.is_valid().equals(there.column.is_valid())
    found, expected = (c.drop_null().to_numpy(zero_copy_only=False) for c in (here.column, there.column))
    assert len(found) > 0.9 * ROWS
    if name == "bigint":
        np.testing.assert_array_equal(found, expected)
    else:  # an option's value is a difference of nearly equal numbers: the last bits of its terms weigh more
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)
