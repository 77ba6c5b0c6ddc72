"""The PTX conversions between types (``cvt``), against Python and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gpuspark.devices.emulator.syntax import DTYPES
from tests.support.ptx_instructions import INTEGER_TYPES, bits_of, check, compute, integers


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


ROUND: dict[str, Callable[[float], int]] = {
    "rni": round,
    "rzi": math.trunc,
    "rmi": math.floor,
    "rpi": math.ceil,
}
FLOATS = np.concatenate(
    [
        np.array([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e10, -1e10, 2.0**31, 2.0**63, -(2.0**63), 2.0**64, 1e300]),
        np.array([math.inf, -math.inf, math.nan, 127.5, 255.5, -129.0, 65535.5, 2147483647.5, 4294967295.5]),
        np.random.default_rng(0).standard_normal(200) * 300,
    ]
)


@pytest.mark.parametrize("rounding", sorted(ROUND))
@pytest.mark.parametrize("to", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_floats_to_integers_clamp(rounding: str, to: str, source: str) -> None:
    info = np.iinfo(DTYPES[to])

    def expected(value: float) -> int:
        if math.isnan(value):
            return 1 << (bits_of(to) - 1) if source == "f64" or bits_of(to) == 64 else 0
        if math.isinf(value):
            return int(info.max if value > 0 else info.min)
        return min(max(ROUND[rounding](value), int(info.min)), int(info.max))

    with np.errstate(over="ignore"):
        values = FLOATS.astype(DTYPES[source])
    check(f"cvt.{rounding}.{to}.{source} %out, %a0;", to, [values], expected)


@pytest.mark.parametrize("source", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("to", ["f32", "f64"])
def test_integers_to_floats(source: str, to: str) -> None:
    values = integers(source)
    got = compute(f"cvt.rn.{to}.{source} %out, %a0;", to, values)
    for exact, near in zip(values.tolist(), got, strict=True):
        if to == "f64":
            assert near == float(exact)
        else:
            below, above = np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))
            distance = abs(int(near) - exact)
            assert distance <= abs(int(below) - exact)
            assert distance <= abs(int(above) - exact)
    down = compute(f"cvt.rm.{to}.{source} %out, %a0;", to, values)
    up = compute(f"cvt.rp.{to}.{source} %out, %a0;", to, values)
    for exact, low, high in zip(values.tolist(), down, up, strict=True):
        assert int(low) <= exact <= int(high)
        assert low == high or np.nextafter(low, high) == high


@pytest.mark.parametrize("source", ["s8", "u8", *INTEGER_TYPES])
@pytest.mark.parametrize("to", ["s8", "u8", *INTEGER_TYPES])
def test_integers_to_integers(source: str, to: str) -> None:
    info = np.iinfo(DTYPES[to])
    check(f"cvt.{to}.{source} %out, %a0;", to, [integers(source)], lambda a: a)
    check(
        f"cvt.sat.{to}.{source} %out, %a0;", to, [integers(source)], lambda a: min(max(a, int(info.min)), int(info.max))
    )


@pytest.mark.parametrize("rounding", sorted(ROUND))
def test_floats_to_whole_floats(rounding: str) -> None:
    values = FLOATS[np.isfinite(FLOATS)]
    check(f"cvt.{rounding}.f64.f64 %out, %a0;", "f64", [values], lambda a: float(ROUND[rounding](a)))


def test_doubles_to_floats() -> None:
    values = np.array([1.1, -1.1, 1e300, -1e300, 1e-46, 3e-39, math.inf, math.nan])
    with np.errstate(all="ignore"):
        nearest = values.astype(np.float32)
    np.testing.assert_array_equal(compute("cvt.rn.f32.f64 %out, %a0;", "f32", values), nearest)
    down = compute("cvt.rm.f32.f64 %out, %a0;", "f32", values[:6])
    up = compute("cvt.rp.f32.f64 %out, %a0;", "f32", values[:6])
    toward_zero = compute("cvt.rz.f32.f64 %out, %a0;", "f32", values[:6])
    assert (down.astype(float) <= values[:6]).all()
    assert (up.astype(float) >= values[:6]).all()
    np.testing.assert_array_equal(np.nextafter(down, up), up)
    np.testing.assert_array_equal(toward_zero, np.where(values[:6] > 0, down, up))
    assert compute("cvt.rn.ftz.f32.f64 %out, %a0;", "f32", values[4:6]).tolist() == [0, 0]
    np.testing.assert_array_equal(compute("cvt.f64.f32 %out, %a0;", "f64", nearest), nearest.astype(float))


def test_halves() -> None:
    values = np.array([1.0, 65504.0, 1e9, 1e-8, 0.1], np.float32)
    with np.errstate(all="ignore"):
        wanted = values.astype(np.float16)
    got = compute("cvt.rn.f16.f32 %h0, %a0; mov.b16 %out, %h0;", "u16", values)
    assert got.tolist() == wanted.view(np.uint16).tolist()
    np.testing.assert_array_equal(compute("cvt.f32.f16 %out, %a0;", "f32", wanted.view(np.uint16)), wanted)
