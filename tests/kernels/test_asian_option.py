"""Asian options against what is known exactly (Black and Scholes; Kemna and Vorst) and against simulations in NumPy:
one of the same paths, which must agree to rounding, and one of other random numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

ROWS = [
    (100.0, 100.0, 1.0, 0.05, 0.2),
    (100.0, 80.0, 0.25, 0.0, 0.5),
    (90.0, 100.0, 3.0, -0.01, 0.35),
    (1.5, 1.4, 2.0, 0.1, 0.1),
]
ROW = st.tuples(
    st.floats(1, 200),
    st.floats(0, 200),
    st.floats(0, 5),
    st.floats(-0.1, 0.2),
    st.floats(0, 1),
    st.integers(0, 2**63 - 1),
)


def price(rows: Any, **options: Any) -> Any:
    """The kernel's, on the device at hand."""
    return kernels.asian_option(*(pa.array(list(column)) for column in zip(*rows, strict=True)), **options)


def estimated(rows: Any, **options: Any) -> tuple[Any, Any]:
    """Prices and their standard errors, on the CPU."""
    with on_device("cpu"):
        return price(rows, **options).to_numpy(), price(rows, standard_error=True, **options).to_numpy()


def plain_normals(stream: int, seed: int, paths: int, steps: int) -> Any:
    """Normal numbers as documented, by NumPy: the counter is the path, the step and the stream; the key the seed."""
    quads = -(-steps // 4)
    mask, half = np.uint64(2**32 - 1), np.uint64(32)
    path, quad = (part.astype(np.uint64) for part in np.mgrid[:paths, :quads])
    c = [path, quad, np.uint64(stream) & mask, np.uint64(stream) >> half]
    k = [np.uint64(seed) & mask, np.uint64(seed) >> half]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> half) ^ c[1] ^ k[0], b & mask, (a >> half) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    u = [(word.astype(float) + 0.5) / 2**32 for word in c]
    pairs = [np.sqrt(-2 * np.log(u[n])) * part(2 * np.pi * u[n + 1]) for n in (0, 2) for part in (np.cos, np.sin)]
    return np.stack(pairs, axis=2).reshape(paths, 4 * quads)[:, :steps]


def plain_payments(row: Any, normals: Any) -> tuple[Any, Any]:
    """What the options on the arithmetic and on the geometric average pay on each path, discounted."""
    s, k, t, r, v = row[:5]
    step = t / normals.shape[1]
    level = np.cumsum((r - v * v / 2) * step + v * math.sqrt(step) * normals, axis=1)
    averages = np.exp(level).mean(axis=1), np.exp(level.mean(axis=1))
    arithmetic, geometric = (math.exp(-r * t) * np.maximum(s * average - k, 0) for average in averages)
    return arithmetic, geometric


def black_scholes(s: float, k: float, t: float, r: float, v: float) -> float:
    d = (math.log(s / k) + (r + v * v / 2) * t) / (v * math.sqrt(t))
    return float(s * stats.norm.cdf(d) - k * math.exp(-r * t) * stats.norm.cdf(d - v * math.sqrt(t)))


def kemna_vorst(s: float, k: float, t: float, r: float, v: float, steps: int) -> float:
    """By Black and Scholes' formula: the geometric average is a price of another volatility and growth."""
    dates = np.arange(1, steps + 1) * t / steps
    mean = (r - v * v / 2) * dates.mean()
    variance = v * v * np.minimum.outer(dates, dates).mean()  # of a Brownian motion's average
    rate = (mean + variance / 2) / t
    return black_scholes(s, k, t, rate, math.sqrt(variance / t)) * math.exp((rate - r) * t)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=12)
@given(
    rows=st.lists(ROW, min_size=1, max_size=3),
    steps=st.integers(1, 6),
    paths=st.integers(1, 40),
    seed=st.integers(0, 2**63 - 1),
    average=st.sampled_from(["arithmetic", "geometric"]),
)
def test_the_documented_paths_on_every_device(
    device: str, rows: Any, steps: int, paths: int, seed: int, average: Any
) -> None:
    options = {"steps": steps, "paths": paths, "seed": seed, "average": average, "control": False}
    with on_device(device):
        result = price(rows, **options).to_numpy()
    for ours, row in zip(result, rows, strict=True):
        paid = plain_payments(row, plain_normals(row[5], seed, paths, steps))[average == "geometric"]
        assert ours == pytest.approx(paid.mean(), rel=1e-9, abs=1e-9)
    with on_device("python"):
        assert price(rows, **options).to_numpy().tobytes() == result.tobytes()


@pytest.mark.parametrize("steps", [1, 7, 52])
def test_the_geometric_average_costs_what_is_known(steps: int) -> None:
    result, error = estimated(ROWS, steps=steps, paths=20_000, average="geometric")
    exact = [kemna_vorst(*row, steps) for row in ROWS]
    assert np.abs((result - exact) / error).max() < 3.5
    assert (error / exact).max() < 0.03
    if steps == 1:
        assert exact == pytest.approx([black_scholes(*row) for row in ROWS])


@pytest.mark.parametrize("steps", [4, 50])
def test_the_arithmetic_average_costs_what_other_random_numbers_say(steps: int) -> None:
    result, error = estimated(ROWS, steps=steps, paths=4_000)
    plain, plain_error = estimated(ROWS, steps=steps, paths=4_000, control=False)
    assert (error < plain_error / 4).all()
    assert np.abs((result - plain) / plain_error).max() < 3.5
    random = np.random.default_rng(steps)
    for ours, ours_error, row in zip(result, error, ROWS, strict=True):
        arithmetic, geometric = plain_payments(row, random.standard_normal((40_000, steps)))
        rest = arithmetic - geometric
        expected = rest.mean() + kemna_vorst(*row, steps)
        assert abs(ours - expected) < 3.5 * math.hypot(ours_error, rest.std() / 200)


def test_with_one_date_it_is_a_european_option() -> None:
    with on_device("cpu"):
        result = price(ROWS, steps=1, paths=1).to_pylist()
    assert result == pytest.approx([black_scholes(*row) for row in ROWS])


def test_the_standard_error_is_that_of_the_payments() -> None:
    _, error = estimated(ROWS, steps=5, paths=300, seed=3, control=False)
    for ours, row in zip(error, ROWS, strict=True):
        paid, _ = plain_payments(row, plain_normals(0, 3, 300, 5))
        assert ours == pytest.approx(stats.sem(paid), rel=1e-6)


def test_rows_do_not_depend_on_their_batch() -> None:
    rows = [(*row, n) for row in ROWS for n in range(5)]
    options: dict[str, Any] = {"steps": 6, "paths": 600}
    with on_device("cpu"):
        whole = price(rows, **options)
        parts = [price(rows[at : at + 3], **options) for at in range(0, len(rows), 3)]
        again = [price([row[:5] for row in rows], **options), price([(*row[:5], 0) for row in rows], **options)]
    assert pa.concat_arrays(parts).equals(whole)
    assert len(set(whole.to_pylist())) == len(rows)  # each stream has paths of its own
    assert again[0].equals(again[1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
def test_without_volatility_or_time_nothing_is_random(device: str, average: Any) -> None:
    rows = [(100.0, 90.0, 2.0, 0.05, 0.0), (100.0, 90.0, 0.0, 0.05, 0.3), (0.0, 90.0, 1.0, 0.05, 0.3)]
    growth = np.exp(0.05 * np.arange(1, 5) / 2)
    mean = growth.mean() if average == "arithmetic" else stats.gmean(growth)
    with on_device(device):
        result = price(rows, steps=4, paths=2, average=average)
    assert result.to_pylist() == pytest.approx([math.exp(-0.1) * (100 * mean - 90), 10.0, 0.0])


@pytest.mark.parametrize("device", DEVICES)
def test_nulls_bad_numbers_and_slices(device: str) -> None:
    good = [100.0, 100.0, 1.0, 0.05, 0.2]
    bad = [math.nan, math.inf, -1.0]
    rows = [good, [None, *good[1:]], [*good[:4], None]]
    rows += [[*good[:n], value, *good[n + 1 :]] for n in range(5) for value in bad if (n, value) != (3, -1.0)]
    columns = [pa.array(column, pa.float64()).slice(1) for column in zip(*[good, *rows], strict=True)]
    with on_device(device):
        result = kernels.asian_option(*columns, steps=1, paths=1)
        empty = kernels.asian_option(*(column[:0] for column in columns), steps=1, paths=1)
    assert result.to_pylist()[1:3] == [None, None]
    assert result[0].as_py() == pytest.approx(black_scholes(100.0, 100.0, 1.0, 0.05, 0.2))
    assert np.isnan(result.to_pylist()[3:]).all()
    assert empty.to_pylist() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0, and must be from 1"),
        ({"paths": 0}, "paths is 0, and must be from 1"),
        ({"seed": -1}, "seed is -1, and must be from 0"),
        ({"average": "harmonic"}, "average is 'harmonic', and must be 'arithmetic' or 'geometric'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CallError, match=message):
        price(ROWS, **{"steps": 1, "paths": 1, **options})


def test_wrong_columns_are_named() -> None:
    one = pa.array([1.0])
    with pytest.raises(CallError, match="strike is a column of string"):
        kernels.asian_option(one, pa.array(["a"]), one, one, one, steps=1, paths=1)
    with pytest.raises(CallError, match="stream is a column of double"):
        kernels.asian_option(one, one, one, one, one, one, steps=1, paths=1)


@pytest.mark.parametrize("device", ["cpu"])
def test_on_spark_columns(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.createDataFrame([(100.0, 1), (90.0, 2), (None, 3)], "spot double, id long")
    gs.ledger(spark).clear()
    made = frame.select(functions.asian_option("spot", 95.0, 1, 0.05, 0.2, "id", steps=3, paths=5))
    with on_device("cpu"):
        expected = price([(100.0, 95.0, 1.0, 0.05, 0.2, 1), (90.0, 95.0, 1.0, 0.05, 0.2, 2)], steps=3, paths=5)
    assert [row[0] for row in made.collect()] == [*expected.to_pylist(), None]
    records = gs.ledger(spark).records
    assert {(r.function, r.device) for r in records} == {("asian_option", device)}
    assert sum(r.rows for r in records) == 3


# Samples: see tests/support/kernel_samples.py


def sample_asian_option() -> Any:
    columns = (pa.array([value, None]) for value in (100.0, 90.0, 1.0, 0.05, 0.2))
    return kernels.asian_option(*columns, steps=2, paths=3)
