"""Asian call options, which pay by the average of a price along its path, by Monte Carlo simulation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.philox import exp, philox4x32, two_normals
from gpuspark.kernels.spec import (
    CallError,
    Out,
    Scratch,
    array_function,
    column_kernel,
    nulls_of,
    numbers,
    planned_device,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["asian_option"]

LANES = 32
"""The number of paths that a CPU simulates side by side, step by step, in vector registers. A thread of a GPU simulates
one after another."""
PATHS_OF_AN_ITEM = 256
"""The most paths that one item simulates. A row has as many items as its paths need."""
STATE = 7
"""The numbers of a lane: the logarithm of its price, the sums of logarithms and of prices, and its next four steps."""
_WORD, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_PAYS = {"arithmetic": 0, "geometric": 1, "difference": 2}


@array_function
def _simulated(
    item, spot, strike, years, rate, volatility, stream, seed, items_a_row, paths, steps, pays, side, lanes, totals,
    squares,
):  # fmt: skip
    row = item // items_a_row
    first = (item - row * items_a_row) * PATHS_OF_AN_ITEM
    last = min(first + PATHS_OF_AN_ITEM, paths)
    s = spot[row]
    k = strike[row]
    drift = (rate[row] - 0.5 * volatility[row] * volatility[row]) * (years[row] / steps)
    spread = volatility[row] * math.sqrt(years[row] / steps)
    stream_low = stream[row] & _WORD
    stream_high = stream[row] >> _HALF
    seed_low = np.uint64(seed) & _WORD
    seed_high = np.uint64(seed) >> _HALF
    total = 0.0
    square = 0.0
    for start in range(first, last, side):
        for lane in range(3 * side):
            lanes[lane] = 0.0
        for quad in range((steps + 3) // 4):
            for lane in range(side):
                a, b, c, d = philox4x32(
                    np.uint64(start + lane), np.uint64(quad), stream_low, stream_high, seed_low, seed_high
                )
                one, two = two_normals(a, b)
                lanes[3 * side + lane] = drift + spread * one
                lanes[4 * side + lane] = drift + spread * two
                one, two = two_normals(c, d)
                lanes[5 * side + lane] = drift + spread * one
                lanes[6 * side + lane] = drift + spread * two
            for part in range(min(4, steps - 4 * quad)):
                for lane in range(side):
                    level = lanes[lane] + lanes[(3 + part) * side + lane]
                    lanes[lane] = level
                    lanes[side + lane] += level
                if pays != 1:
                    for lane in range(side):
                        lanes[2 * side + lane] += exp(lanes[lane])
        for lane in range(min(side, last - start)):
            paid = 0.0
            if pays != 1:
                paid = max(s * (lanes[2 * side + lane] / steps) - k, 0.0)
            if pays != 0:
                of_geometric = max(s * exp(lanes[side + lane] / steps) - k, 0.0)
                paid = of_geometric if pays == 1 else paid - of_geometric
            total += paid
            square += paid * paid
    discount = exp(-rate[row] * years[row])
    totals[item] = discount * total
    squares[item] = discount * discount * square


@column_kernel(
    "double",
    parameters={
        "spot": "today's price of the underlying",
        "strike": "the strike, in the same currency",
        "years": "years to expiry",
        "rate": "riskless interest rate per year, continuously compounded: 0.05 is 5 per cent",
        "volatility": "volatility of the logarithm of the price, per year: 0.2 is 20 per cent",
        "stream": "a whole number, such as the row's id: rows with different numbers get independent paths",
        "steps": "number of evenly spaced dates, the last at expiry, over which the price is averaged",
        "paths": "number of simulated paths",
        "seed": "a whole number from 0 to 2^63 - 1",
        "average": "'arithmetic' or 'geometric'",
        "control": "whether the known price for the geometric average is used to make the arithmetic one more exact",
        "standard_error": "whether the result is the standard error of the price instead of the price",
    },
    unit="the spot's currency",
    reference="A. G. Z. Kemna, A. C. F. Vorst, A Pricing Method for Options Based on Average Asset Values, Journal of "
    "Banking and Finance 14, 1990; J. K. Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011",
)
def asian_option(
    spot: pa.Array,
    strike: pa.Array,
    years: pa.Array,
    rate: pa.Array,
    volatility: pa.Array,
    stream: pa.Array | None = None,
    *,
    steps: int,
    paths: int,
    seed: int = 0,
    average: Literal["arithmetic", "geometric"] = "arithmetic",
    control: bool = True,
    standard_error: bool = False,
) -> pa.Array:
    """Returns the simulated price of a call on the average of a price that follows a geometric Brownian motion.

    At expiry the option pays the average over ``steps`` dates less the strike, if that is positive. With ``control``
    the difference between the payments on the arithmetic and on the geometric average is simulated, and the known price
    of the latter is added, which makes the standard error many times smaller. ``control`` has no effect on
    ``average="geometric"``.

    The random numbers depend on ``seed``, ``stream``, the number of the path and the step only. So the result is the
    same on every device, bit for bit, however rows are put into batches and partitions. Without ``stream`` all rows
    use the same paths: differences between rows are smooth, and their errors are correlated.

    A null gives null. The result is NaN where a number is NaN or infinite, or where spot, strike, years or volatility
    is negative. Raises :class:`~gpuspark.errors.CallError` for options out of their range.

    >>> import pyarrow as pa
    >>> one = [pa.array([value]) for value in (100.0, 100.0, 1.0, 0.05, 0.2)]
    >>> round(asian_option(*one, steps=12, paths=1000)[0].as_py(), 1)
    6.2
    """
    import pyarrow as pa

    _check(steps, paths, seed, average)
    columns = [spot, strike, years, rate, volatility]
    inputs = np.stack([_numbers(column, name) for column, name in zip(columns, _NAMES, strict=True)])
    wrong = ~np.isfinite(inputs).all(axis=0) | (inputs[[0, 1, 2, 4]] < 0).any(axis=0)
    inputs = np.where(wrong, 1.0, inputs)
    controlled = average == "arithmetic" and control
    pays = "difference" if controlled else average
    totals, squares = _totals(inputs, _streams(stream, len(spot)), seed, steps, paths, pays)
    with np.errstate(all="ignore"):
        result = totals / paths
        if standard_error:
            variance = squares / paths - result * result
            result = np.sqrt(np.maximum(variance, 0.0) / (np.float64(paths) - 1))
        elif controlled:
            s, k, t, r, v = inputs
            result += geometric_price(s, k, t, r, v, steps)
    nulls = nulls_of(*columns, *([] if stream is None else [stream]))
    return pa.array(np.where(wrong, np.nan, result), mask=nulls)


def _totals(
    inputs: NDArray[np.float64], streams: NDArray[np.uint64], seed: int, steps: int, paths: int, pays: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulates all rows and returns the sums of the discounted payments, and of their squares, over the paths of each
    row. ``inputs``: an array for each of spot, strike, years, rate and volatility."""
    spot, strike, years, rate, volatility = inputs
    rows, items = len(spot), -(-paths // PATHS_OF_AN_ITEM)
    side = LANES if planned_device() == "cpu" else 1
    totals, squares = _simulated(
        rows * items,
        spot=spot,
        strike=strike,
        years=years,
        rate=rate,
        volatility=volatility,
        stream=streams,
        seed=seed,
        items_a_row=items,
        paths=paths,
        steps=steps,
        pays=_PAYS[pays],
        side=side,
        lanes=Scratch("float64", STATE * side),
        totals=Out("float64", rows * items),
        squares=Out("float64", rows * items),
    )
    return totals.reshape(rows, items).sum(axis=1), squares.reshape(rows, items).sum(axis=1)


_NAMES = ("spot", "strike", "years", "rate", "volatility")


def geometric_price(s: Any, k: Any, t: Any, r: Any, v: Any, steps: int) -> NDArray[np.float64]:
    """Returns the exact price where the average is geometric: its logarithm is normal (Kemna and Vorst, for evenly
    spaced dates)."""
    mean = (r - v * v / 2) * t * (steps + 1) / (2 * steps)
    variance = v * v * t * (steps + 1) * (2 * steps + 1) / (6 * steps * steps)
    deviation = np.sqrt(variance)
    expected = s * np.exp(mean + variance / 2)
    d = (np.log(s / k) + mean + variance) / deviation
    value = np.where(
        (deviation > 0) & (s > 0) & (k > 0),
        expected * _normal_cdf(d) - k * _normal_cdf(d - deviation),
        np.maximum(expected - k, 0.0),
    )
    price: NDArray[np.float64] = np.exp(-r * t) * value
    return price


def _normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the standard normal distribution function of each number."""
    return np.array([0.5 * math.erfc(value) for value in (x * -math.sqrt(0.5)).tolist()])


def _check(steps: int, paths: int, seed: int, average: str) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for options out of their range."""
    for name, value, low, high in (("steps", steps, 1, 2**32), ("paths", paths, 1, 2**32), ("seed", seed, 0, 2**63)):
        if not low <= value < high:
            raise CallError(f"{name} is {value}, and must be from {low} to {high - 1}")
    if average not in ("arithmetic", "geometric"):
        raise CallError(f"average is {average!r}, and must be 'arithmetic' or 'geometric'")


def _numbers(column: pa.Array, name: str) -> NDArray[np.float64]:
    """Returns a numeric column as doubles."""
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise CallError(f"{name} is a column of {column.type}, and must be numeric: cast it")
    return numbers(column).astype(np.float64, copy=False)


def _streams(column: pa.Array | None, rows: int) -> NDArray[np.uint64]:
    """Returns the number of each row's stream; zeros without a column."""
    import pyarrow as pa

    if column is None:
        return np.zeros(rows, np.uint64)
    if not pa.types.is_integer(column.type):
        raise CallError(f"stream is a column of {column.type}, and must hold whole numbers: cast it, or hash it")
    return numbers(column).astype(np.int64).view(np.uint64)
