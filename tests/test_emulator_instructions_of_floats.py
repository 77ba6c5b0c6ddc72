"""The PTX instructions on floating-point numbers, against Python and NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from gpuspark.devices.emulator.syntax import DTYPES
from tests.support.ptx_instructions import PAIRS, check, compute, unordered


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def single(value: float) -> float:
    return float(np.float32(value))


def least(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    return min((a, b), key=lambda v: (v, math.copysign(1, v)))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_least_and_greatest(dtype: str) -> None:
    sources = [p.astype(DTYPES[dtype]) for p in PAIRS]
    for name, sign in (("min", 1), ("max", -1)):
        got = compute(f"{name}.{dtype} %out, %a0, %a1;", dtype, *sources)
        for g, a, b in zip(got.tolist(), *(s.tolist() for s in sources), strict=True):
            wanted = sign * least(sign * a, sign * b)
            assert repr(g) == repr(wanted), (name, a, b, g, wanted)
        check(
            f"{name}.NaN.{dtype} %out, %a0, %a1;",
            dtype,
            sources,
            lambda a, b, s=sign: math.nan if unordered(a, b) else s * least(s * a, s * b),
        )


@pytest.mark.parametrize(
    ("name", "function"),
    [("add.rn", np.add), ("sub.rn", np.subtract), ("mul.rn", np.multiply), ("div.rn", np.divide)],
)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_ieee_arithmetic(name: str, function: np.ufunc, dtype: str) -> None:
    sources = [p.astype(DTYPES[dtype]) for p in PAIRS]
    with np.errstate(all="ignore"):
        wanted = function(*sources)
    np.testing.assert_array_equal(compute(f"{name}.{dtype} %out, %a0, %a1;", dtype, *sources), wanted)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_signs_roots_and_reciprocals(dtype: str) -> None:
    values = [np.array([0.0, -0.0, 1.0, -2.0, 4.0, 3.0, math.inf, -math.inf, math.nan], DTYPES[dtype])]
    with np.errstate(all="ignore"):
        cases = {
            "abs": np.abs(values[0]),
            "neg": -values[0],
            "sqrt.rn": np.sqrt(values[0]),
            "rcp.rn": 1 / values[0],
        }
    for name, wanted in cases.items():
        got = compute(f"{name}.{dtype} %out, %a0;", dtype, *values)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(np.signbit(got[:-1]), np.signbit(wanted[:-1]))
    signs = np.array([-1.0, 1.0, -0.0, 0.0, math.inf, -5.0, 1.0, 1.0, -1.0], DTYPES[dtype])
    got = compute(f"copysign.{dtype} %out, %a0, %a1;", dtype, signs, *values)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(signs))


def test_properties_of_a_number() -> None:
    values = [np.array([0.0, 1.0, -math.inf, math.nan, 5e-324, 2.0**-1022])]
    tests: dict[str, list[int]] = {
        "finite": [1, 1, 0, 0, 1, 1],
        "infinite": [0, 0, 1, 0, 0, 0],
        "number": [1, 1, 1, 0, 1, 1],
        "notanumber": [0, 0, 0, 1, 0, 0],
        "normal": [0, 1, 0, 0, 0, 1],
        "subnormal": [0, 0, 0, 0, 1, 0],
    }
    for name, wanted in tests.items():
        got = compute(f"testp.{name}.f64 %p, %a0; selp.u32 %out, 1, 0, %p;", "u32", *values)
        assert got.tolist() == wanted, name


def test_flushing_of_subnormal_floats() -> None:
    tiny = np.array([1e-40, -1e-40, 1e-30], np.float32)
    assert compute("add.ftz.f32 %out, %a0, 0f00000000;", "f32", tiny).tolist() == [0, 0, single(1e-30)]
    assert compute("add.f32 %out, %a0, 0f00000000;", "f32", tiny).tolist() == tiny.tolist()
    product = compute("mul.rn.ftz.f32 %out, %a0, %a0;", "f32", np.array([1e-20, -1e-20], np.float32))
    assert product.tolist() == [0, 0]
    assert compute("set.gt.ftz.u32.f32 %out, %a0, 0f00000000;", "u32", tiny).tolist() == [0, 0, 2**32 - 1]


def test_saturation_between_zero_and_one() -> None:
    values = np.array([-1.0, 0.25, 3.0, math.nan], np.float32)
    assert compute("add.sat.f32 %out, %a0, 0f00000000;", "f32", values).tolist() == [0, 0.25, 1, 0]


@pytest.mark.parametrize("name", ["rcp", "rsqrt"])
def test_upper_half_of_a_double(name: str) -> None:
    """The ISA: the result has 20 bits of fraction and depends on those of the argument only."""
    values = np.exp(np.random.default_rng(0).uniform(-300, 300, 2000))
    exact = 1 / values if name == "rcp" else values**-0.5
    got = compute(f"{name}.approx.ftz.f64 %out, %a0;", "f64", values)
    assert (got.view(np.uint64) & np.uint64(0xFFFFFFFF) == 0).all()
    assert (np.abs(got / exact - 1) < 2.0**-19).all()
    edges = compute(f"{name}.approx.ftz.f64 %out, %a0;", "f64", np.array([0.0, -0.0, math.inf, math.nan, 5e-324]))
    np.testing.assert_array_equal(edges, [math.inf, -math.inf, 0.0, math.nan, math.inf])


@pytest.mark.parametrize(
    ("name", "low", "high", "function", "absolute", "relative"),
    [
        ("rcp.approx", 1e-30, 1e30, lambda x: 1 / x, 0, 2.0**-23),
        ("rsqrt.approx", 1e-30, 1e30, lambda x: 1 / math.sqrt(x), 0, 2.0**-22.9),
        ("sqrt.approx", 1e-30, 1e30, math.sqrt, 0, 2.0**-23),
        ("ex2.approx", -100, 100, lambda x: 2.0**x, 0, 2.0**-22),
        ("lg2.approx", 1e-3, 1e3, math.log2, 2.0**-22.6, 2.0**-22.6),
        ("sin.approx", -math.pi, math.pi, math.sin, 2.0**-20.9, 0),
        ("cos.approx", -math.pi, math.pi, math.cos, 2.0**-20.9, 0),
        ("tanh.approx", -5, 5, math.tanh, 0, 2.0**-11),
    ],
)
def test_approximate_floats(
    name: str, low: float, high: float, function: Callable[[float], float], absolute: float, relative: float
) -> None:
    values = np.random.default_rng(0).uniform(low, high, 500).astype(np.float32)
    got = compute(f"{name}.f32 %out, %a0;", "f32", values)
    wanted = [function(v) for v in values.tolist()]
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=relative, atol=absolute)


def test_fused_multiply_add_rounds_once() -> None:
    a = np.array([1 + 2.0**-30])
    assert compute("fma.rn.f64 %out, %a0, %a0, 0dBFF0000000000000;", "f64", a)[0] == 2.0**-29 + 2.0**-60
    b = np.array([1 + 2.0**-20], np.float32)
    assert compute("fma.rn.f32 %out, %a0, %a0, 0fBF800000;", "f32", b)[0] == np.float32(2.0**-19 + 2.0**-40)
    assert compute("add.rz.f64 %out, %a0, 0d3CA0000000000000;", "f64", np.array([1.5]))[0] == 1.5
    assert compute("add.rp.f64 %out, %a0, 0d3CA0000000000000;", "f64", np.array([1.5]))[0] == 1.5 + 2.0**-52
