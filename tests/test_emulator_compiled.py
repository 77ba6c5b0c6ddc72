"""PTX from the CUDA compiler, with NVIDIA's mathematics library, against mpmath and Python.

The bounds are NVIDIA's, in units of the last place (CUDA C++ Programming Guide, mathematical functions).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from gpuspark.devices.emulated import EmulatedDevice
from gpuspark.devices.protocol import Pointer, Program

Array = NDArray[Any]
Body = Callable[..., Any]


@contextlib.contextmanager
def no_driver_needed() -> Iterator[None]:
    """Context manager that answers numba-cuda's question for the current device, which it asks while it compiles."""
    from numba.cuda import dispatcher

    known = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(7, 5))
    try:
        yield
    finally:
        dispatcher.get_current_device = known


@cache
def compiled(body: Body, kinds: tuple[str, ...], result: str, optimise: int = 3) -> Program:
    """Returns a kernel that computes ``out[i] = body(a[i], ...)`` over raw pointers."""
    from numba import cuda
    from numba.cuda import compiler, types

    names = [f"a{i}" for i in range(len(kinds))]
    rows = ", ".join(f"{name}[i]" for name in names)
    source = f"def kernel({', '.join(names)}, out, n):\n    i = cuda.grid(1)\n    if i < n: out[i] = body({rows})"
    scope: dict[str, Any] = {"cuda": cuda, "body": cuda.jit(device=True)(body)}
    exec(source, scope)
    pointers = [types.CPointer(getattr(types, kind)) for kind in (*kinds, result)]
    with no_driver_needed():
        made = compiler.compile_cuda(
            scope["kernel"],
            types.void,
            (*pointers, types.int64),
            nvvm_options={"opt": optimise, "fma": False},
            cc=(7, 5),
        )
        entry = made.fndesc.llvm_func_name
        made.library._entry_name = entry
        compiler.kernel_fixup(made.library.get_function(entry), False)
        text = made.library.get_asm_strs(cc=(7, 5))[0]
    return Program("ptx", text.encode(), entry, f"{entry}-{optimise}")


def run(body: Body, columns: Sequence[Array], result: str, optimise: int = 3) -> Array:
    program = compiled(body, tuple(str(c.dtype) for c in columns), result, optimise)
    device = EmulatedDevice(1 << 26)
    handles = [device.copy_in(np.ascontiguousarray(c).view(np.uint8)) for c in columns]
    count = len(columns[0])
    target = device.allocate(count * np.dtype(result).itemsize)
    device.launch(program, [*map(Pointer, handles), Pointer(target)], count)
    return device.copy_out(target).view(result)


EDGES = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 5e-324, -5e-324, 2.0**-1022, 1e-300, 1e300, -1e300, 2.0**53, 1e15, 1e22,
    math.pi, math.pi / 2, 709.7, -745.1, 1 + 2.0**-52, 1 - 2.0**-53, 1e-8, -1e-17, 88.7, -103.9, 3.5,
    math.inf, -math.inf, math.nan,
]  # fmt: skip


def spread(dtype: str, seed: int = 0) -> Array:
    """Returns small, medium and widely spread numbers, and special values."""
    random = np.random.default_rng(seed)
    wide = np.exp(random.uniform(-150, 150, 100) if dtype == "float64" else random.uniform(-40, 40, 100))
    parts = [
        random.uniform(-1, 1, 150),
        random.standard_normal(150) * 30,
        wide * random.choice([-1, 1], 100),
        EDGES,
    ]
    with np.errstate(over="ignore"):
        return np.concatenate(parts).astype(dtype)


def unary(name: str) -> Body:
    scope: dict[str, Any] = {"math": math}
    exec(f"def body(x):\n    return math.{name}(x)", scope)
    return scope["body"]  # type: ignore[no-any-return]


def binary(name: str) -> Body:
    scope: dict[str, Any] = {"math": math}
    exec(f"def body(x, y):\n    return math.{name}(x, y)", scope)
    return scope["body"]  # type: ignore[no-any-return]


MP: dict[str, Callable[..., Any]] = {
    "lgamma": lambda x: mpmath.loggamma(x).real,
    "gamma": mpmath.gamma,
    "log2": lambda x: mpmath.log(x, 2),
    "exp2": lambda x: mpmath.power(2, x),
    "pow": mpmath.power,
    "degrees": mpmath.degrees,
    "radians": mpmath.radians,
    "fabs": mpmath.fabs,
}


def exact(name: str, values: Sequence[float], dtype: str) -> np.floating:
    """Returns the function's exact value, rounded once: from mpmath, or from C (through NumPy) where that has none."""
    kind: Callable[[Any], np.floating] = np.dtype(dtype).type
    finite = all(map(math.isfinite, values))
    far = name == "erfc" and abs(values[0]) > 40
    special = not finite or far or (name in ("lgamma", "gamma") and values[0] <= 0 and values[0] == int(values[0]))
    with np.errstate(all="ignore"):
        if special or all(v == 0 for v in values) or name in ("atan2", "pow"):
            return kind(_special(name, values))
        with mpmath.workprec(300):
            made = MP.get(name, getattr(mpmath, name, None))(*map(mpmath.mpf, values))  # type: ignore[misc]
            if isinstance(made, mpmath.mpc):
                return kind(math.nan)
            return kind(mpmath.mpf(made)) if dtype == "float64" else _to_float(made)


def _to_float(number: Any) -> np.floating:
    """Returns mpmath's number, which mpmath rounds to 24 bits itself, so that nothing is rounded twice."""
    with mpmath.workprec(24):
        return np.float32(float(+number))


def _special(name: str, values: Sequence[float]) -> float:
    import scipy.special

    functions = {"lgamma": scipy.special.gammaln, "erf": scipy.special.erf, "erfc": scipy.special.erfc}
    renamed = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "acosh": "arccosh", "asinh": "arcsinh",
               "atanh": "arctanh", "atan2": "arctan2", "pow": "power"}  # fmt: skip
    if name == "gamma":
        return _gamma_at_a_pole_or_beyond(values[0])
    function = functions.get(name) or getattr(np, renamed.get(name, name))
    return float(function(*np.array(values)))


def _gamma_at_a_pole_or_beyond(x: float) -> float:
    """Returns C's tgamma: infinite at zero, NaN at the other poles."""
    if x == 0:
        return math.copysign(math.inf, x)
    return math.inf if x == math.inf else math.nan


def assert_within(name: str, got: Array, columns: Sequence[Array], ulps: float) -> None:
    """Asserts that ``got`` differs from the exact values by at most ``ulps`` units in the last place."""
    dtype = str(got.dtype)
    for g, row in zip(got, zip(*(c.tolist() for c in columns), strict=True), strict=True):
        wanted = exact(name, row, dtype)
        if np.isnan(wanted) or np.isinf(wanted) or wanted == 0:
            same = g == wanted or (np.isnan(g) and np.isnan(wanted))
            near_limit = np.isinf(wanted) and abs(float(g)) >= float(np.finfo(dtype).max) * (1 - 1e-6)
            assert same or near_limit, (name, row, g, wanted)
        else:
            assert abs(float(g) - float(wanted)) <= ulps * float(np.spacing(abs(wanted))), (
                name,
                row,
                g,
                wanted,
            )


DOUBLE_ULPS = {
    "acos": 2, "acosh": 3, "asin": 2, "asinh": 3, "atan": 2, "atanh": 2, "cos": 2, "cosh": 1, "degrees": 2,
    "erf": 2, "erfc": 5, "exp": 1, "exp2": 1, "expm1": 1, "fabs": 0, "gamma": 10, "log": 1, "log10": 1, "log1p": 1,
    "log2": 1, "radians": 2, "sin": 2, "sinh": 2, "sqrt": 0, "tan": 2, "tanh": 2,
}  # fmt: skip
FLOAT_ULPS = {
    "acos": 2, "acosh": 4, "asin": 2, "asinh": 3, "atan": 2, "atanh": 3, "cos": 2, "cosh": 2, "erf": 2, "erfc": 4,
    "exp": 2, "exp2": 2, "expm1": 1, "fabs": 0, "gamma": 5, "log": 1, "log10": 2, "log1p": 1, "log2": 1,
    "sin": 2, "sinh": 3, "sqrt": 0, "tan": 4, "tanh": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(DOUBLE_ULPS))
def test_functions_of_a_double(name: str) -> None:
    values = [spread("float64")]
    assert_within(name, run(unary(name), values, "float64"), values, DOUBLE_ULPS[name])


@pytest.mark.parametrize("name", sorted(FLOAT_ULPS))
def test_functions_of_a_float(name: str) -> None:
    values = [spread("float32")]
    assert_within(name, run(unary(name), values, "float32"), values, FLOAT_ULPS[name])


@pytest.mark.parametrize(("dtype", "ulps"), [("float64", 4), ("float32", 6)])
def test_lgamma_outside_its_difficult_interval(dtype: str, ulps: float) -> None:
    values = spread(dtype)
    easy = [values[~((values > -10.1) & (values < -2.2))]]
    assert_within("lgamma", run(unary("lgamma"), easy, dtype), easy, ulps)


@pytest.mark.parametrize(
    ("name", "dtype", "ulps"),
    [("atan2", "float64", 2), ("atan2", "float32", 3), ("hypot", "float64", 2), ("hypot", "float32", 3),
     ("pow", "float64", 2), ("fmod", "float64", 0), ("copysign", "float64", 0)],
)  # fmt: skip
def test_functions_of_two(name: str, dtype: str, ulps: float) -> None:
    columns = [spread(dtype), np.random.default_rng(1).permutation(spread(dtype, seed=2))]
    if name == "pow":
        columns[0][::2] = np.abs(columns[0][::2])
        columns[1] = np.clip(columns[1], -60, 60)
    got = run(binary(name), columns, dtype)
    if name in ("fmod", "copysign"):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, getattr(np, name)(*columns))
    else:
        assert_within(name, got, columns, ulps)


def test_rounding_to_integers() -> None:
    values = spread("float64")
    values = values[np.abs(values) < 2.0**62]
    for name in ("ceil", "floor", "trunc"):
        assert run(unary(name), [values], "int64").tolist() == [getattr(math, name)(v) for v in values.tolist()]


def test_questions_about_a_number() -> None:
    values = spread("float64")
    for name in ("isnan", "isinf", "isfinite"):
        assert run(unary(name), [values], "uint8").tolist() == [getattr(math, name)(v) for v in values.tolist()]


# ---- integers

INTEGER_BODIES: dict[str, Body] = {
    "floordiv": lambda x, y: x // y if y != 0 else 0,
    "mod": lambda x, y: x % y if y != 0 else 0,
    "shifts": lambda x, y: (x << (y & 15)) ^ (x >> (y & 15)),
    "bits": lambda x, y: (x & y) | (x ^ ~y),
    "compare": lambda x, y: (x < y) + 2 * (x == y) + 4 * (x >= y),
    "extremes": lambda x, y: max(x, y) - min(x, y),
}


@pytest.mark.parametrize("name", sorted(INTEGER_BODIES))
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integers(name: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    random = np.random.default_rng(0)
    ends = np.array([info.min + 1, info.max, 0, 1, -1], dtype)
    columns = [
        np.concatenate([random.integers(info.min + 1, info.max, 400, dtype=dtype), np.repeat(ends, 5)]),
        np.concatenate([random.integers(-20, 20, 400, dtype=dtype), np.tile(ends, 5)]),
    ]
    rows = zip(*(c.tolist() for c in columns), strict=True)
    wanted = [(INTEGER_BODIES[name](*row) + 2**63) % 2**64 - 2**63 for row in rows]
    assert run(INTEGER_BODIES[name], columns, "int64").tolist() == wanted


def test_integers_to_floats_and_back() -> None:
    values = np.random.default_rng(0).integers(-(2**62), 2**62, 500)
    assert run(lambda x: float(x), [values], "float64").tolist() == [float(v) for v in values.tolist()]
    doubles = spread("float64")[:400]
    doubles = doubles[np.abs(doubles) < 2.0**62]
    assert run(lambda x: int(x), [doubles], "int64").tolist() == [int(v) for v in doubles.tolist()]


def test_division_of_integers_is_true_division() -> None:
    columns = [np.arange(-50, 50), np.resize(np.array([3, -7, 11]), 100)]
    got = run(lambda x, y: x / y, columns, "float64")
    np.testing.assert_array_equal(got, columns[0] / columns[1])


# ---- control flow

SQUARES = np.arange(100, dtype=np.float64) ** 2


def looking_up(x: float) -> float:
    pair = (SQUARES[int(x * 10) % 100], x)
    return float(pair[0] * 2 + pair[1])


def escaping(x: float, y: float) -> int:
    real = imaginary = 0.0
    steps = 0
    while steps < 60 and real * real + imaginary * imaginary < 4.0:
        real, imaginary = real * real - imaginary * imaginary + x, 2 * real * imaginary + y
        steps += 1
    return steps


def choosing(x: int) -> int:
    case = x % 5
    if case == 0:
        return x * 3
    if case == 1:
        return x + 7 if x > 50 else x - 7
    if case == 2:
        total = 0
        for i in range(case + x % 7):
            if i == 4:
                continue
            total += i * x
        return total
    return -x if case == 3 else x * x


@pytest.mark.parametrize("optimise", [0, 3])
def test_control_flow(optimise: int) -> None:
    """The values are the same however the compiler arranges calls, registers and local memory."""
    random = np.random.default_rng(0)
    x, y = random.uniform(-2, 2, (2, 600))
    positive = np.abs(x) * 5
    whole = random.integers(0, 200, 600)
    assert run(escaping, [x, y], "int64", optimise).tolist() == [escaping(*r) for r in zip(x, y, strict=True)]
    assert run(looking_up, [positive], "float64", optimise).tolist() == [looking_up(v) for v in positive]
    assert run(choosing, [whole], "int64", optimise).tolist() == [choosing(int(v)) for v in whole]


@pytest.mark.parametrize("name", ["sin", "exp", "lgamma", "erf"])
def test_optimisation_changes_no_bit(name: str) -> None:
    values = [spread("float64")]
    fast, slow = (run(unary(name), values, "float64", optimise) for optimise in (3, 0))
    np.testing.assert_array_equal(fast, slow)
