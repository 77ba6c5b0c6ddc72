"""Holt-Winters' triple exponential smoothing: forecasts of thousands of series at once.

C. C. Holt 1957; P. R. Winters, Forecasting Sales by Exponentially Weighted Moving Averages, Management Science 6,
1960; as in R. J. Hyndman, G. Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 2021, chapter 8 (FPP3),
with the forecast variances of R. J. Hyndman, A. B. Koehler, J. K. Ord, R. D. Snyder, Forecasting with Exponential
Smoothing, 2008, chapter 6. One thread estimates, searches and forecasts one series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gpuspark.kernels.forecast_batches import Fit, forecasts_batch, parameters_batch
from gpuspark.kernels.spec import (
    Batch,
    CallError,
    Out,
    Scratch,
    Segments,
    array_function,
    observations,
)

if TYPE_CHECKING:
    pass

__all__ = ["HoltWinters", "holt_winters"]


Trend = Literal["additive", "damped"]
Seasonal = Literal["additive", "multiplicative"]

LOWEST, HIGHEST = (0.0001, 0.0001, 0.0001, 0.8), (0.9999, 0.9999, 0.9999, 0.98)
"""The ranges in which alpha, beta, gamma's share of 1 - alpha, and phi are searched (FPP3, 8.3 and 8.4)."""
GRID = (4, 3, 3, 2)
"""The number of points of the coarse search along each parameter."""
FINEST = 1.0 / 4096
"""The smallest step of the fine search, as a share of the range."""
ROUNDS = 8
"""How often the line and the seasonals are fitted in turns, for the first states."""
FIRST_SEASONS, FIRST_ROWS = 8, 20
"""The seasons that the first states are fitted to, and the rows at least."""


def _smooth(values, present, begin, end, season, multiplicative, alpha, beta, gamma, phi, initial, states, most):
    """Returns the sum of squared errors of the one-step forecasts, or a part of it that is above ``most``.

    Starts from the states in ``initial`` (level, slope, then a seasonal for each row of a season) and leaves the states
    after the last row in ``states``.
    """
    for place in range(season):
        states[2 + place] = initial[2 + place]
    level = initial[0]
    slope = initial[1]
    total = 0.0
    place = 0
    for row in range(begin, end):
        grown = phi * slope
        ahead = level + grown
        if present[row]:
            seasonal = states[2 + place]
            if multiplicative:
                error = values[row] - ahead * seasonal
                taken = alpha * (error / seasonal)
                states[2 + place] = seasonal + gamma * (error / ahead)
            else:
                error = values[row] - (ahead + seasonal)
                taken = alpha * error
                states[2 + place] = seasonal + gamma * error
            level = ahead + taken
            slope = grown + beta * taken
            total += error * error
            if total > most:
                return total
        else:  # the forecast stands for what is missing
            slope = grown
            level = ahead
        place += 1
        if place == season:
            place = 0
    states[0] = level
    states[1] = slope
    return total


def _enough(values, present, begin, end, season, multiplicative, seasonal, trend):
    """Returns whether a series can be fitted: it has two seasons of rows, each row of a season was observed, there are
    more observations than states before the first row, and all are positive where seasonals multiply."""
    observed = 0
    for row in range(begin, end):
        if present[row]:
            observed += 1
            if multiplicative and values[row] <= 0.0:
                return False
    if seasonal:
        for place in range(season):
            seen = 0
            for row in range(begin + place, end, season):
                seen += present[row]
            if seen == 0:
                return False
        if end - begin < 2 * season:
            return False
    return observed > (season if seasonal else 0) + (2 if trend else 1)


def _initial_states(values, present, begin, end, season, multiplicative, seasonal, trend, states):
    """Writes the states before the first row into ``states``: a line, and a seasonal for each row of a season, fitted
    in turns by least squares to the first seasons."""
    last = min(end, begin + max(FIRST_SEASONS * season, FIRST_ROWS))
    for place in range(season):
        states[2 + place] = 1.0 if multiplicative else 0.0
    for _ in range(ROUNDS if seasonal else 1):
        count = 0.0
        of_t = 0.0
        of_z = 0.0
        for row in range(begin, last):
            if present[row]:
                part = states[2 + (row - begin) % season]
                count += 1.0
                of_t += row - begin
                of_z += values[row] / part if multiplicative else values[row] - part
        mean_t = of_t / max(count, 1.0)
        mean_z = of_z / max(count, 1.0)
        spread = 0.0
        joint = 0.0
        for row in range(begin, last):
            if present[row]:
                part = states[2 + (row - begin) % season]
                z = values[row] / part if multiplicative else values[row] - part
                spread += (row - begin - mean_t) * (row - begin - mean_t)
                joint += (row - begin - mean_t) * (z - mean_z)
        slope = joint / spread if trend and spread > 0.0 else 0.0
        states[0] = mean_z - slope * (mean_t + 1.0)
        states[1] = slope
        if seasonal:
            _seasonals(values, present, begin, last, season, multiplicative, states)


def _seasonals(values, present, begin, last, season, multiplicative, states):
    """Writes the seasonals into ``states``: the mean of what the line leaves to each row of a season, less (or divided
    by) the mean of all seasonals."""
    total = 0.0
    for place in range(season):
        count = 0.0
        of_values = 0.0
        of_line = 0.0
        for row in range(begin + place, last, season):
            if present[row]:
                count += 1.0
                of_values += values[row]
                of_line += states[0] + states[1] * (row - begin + 1)
        if multiplicative:
            states[2 + place] = of_values / of_line if of_line > 0.0 and of_values > 0.0 else 1.0
        else:
            states[2 + place] = (of_values - of_line) / max(count, 1.0)
        total += states[2 + place]
    for place in range(season):
        if multiplicative:
            states[2 + place] /= total / season
        else:
            states[2 + place] -= total / season


def _error_of(values, present, begin, end, season, multiplicative, point, share, initial, states, most):
    """Returns the sum of squared errors for the parameters in ``point``. ``share``: gamma is a share of 1 - alpha."""
    gamma = point[2] * (1.0 - point[0]) if share else point[2]
    return _smooth(
        values, present, begin, end, season, multiplicative, point[0], point[1], gamma, point[3], initial, states, most
    )


def _search(values, present, begin, end, season, multiplicative, low, high, share, initial, states, best, point, last):
    """Writes the parameters of the least sum of squared errors into ``best``, and returns that sum.

    Tries a coarse grid. From its best point takes steps along each parameter, and further in a direction that was good
    (R. Hooke, T. A. Jeeves, JACM 8, 1961), and halves the steps until they are fine.
    """
    least = math.inf
    for k in range(4):
        best[k] = low[k]
    counts_0 = GRID[0] if high[0] > low[0] else 1
    counts_1 = GRID[1] if high[1] > low[1] else 1
    counts_2 = GRID[2] if high[2] > low[2] else 1
    counts_3 = GRID[3] if high[3] > low[3] else 1
    for number in range(counts_0 * counts_1 * counts_2 * counts_3):
        rest = number
        point[0] = low[0] + (high[0] - low[0]) * ((rest % counts_0 + 0.5) / counts_0)
        rest //= counts_0
        point[1] = low[1] + (high[1] - low[1]) * ((rest % counts_1 + 0.5) / counts_1)
        rest //= counts_1
        point[2] = low[2] + (high[2] - low[2]) * ((rest % counts_2 + 0.5) / counts_2)
        rest //= counts_2
        point[3] = low[3] + (high[3] - low[3]) * ((rest + 0.5) / counts_3)
        total = _error_of(values, present, begin, end, season, multiplicative, point, share, initial, states, least)
        if total < least:
            least = total
            for k in range(4):
                best[k] = point[k]
    for k in range(4):
        last[k] = best[k]
    step = 0.125
    while step > FINEST:
        before = least
        for k in range(4):
            point[k] = best[k]
        for k in range(4):
            width = high[k] - low[k]
            for side in range(2 if width > 0.0 else 0):
                point[k] = min(max(best[k] + (step - 2.0 * step * side) * width, low[k]), high[k])
                total = _error_of(
                    values, present, begin, end, season, multiplicative, point, share, initial, states, least
                )
                if total < least:
                    least = total
                    best[k] = point[k]
                    break
                point[k] = best[k]
        if least == before:
            step *= 0.5
            continue
        for k in range(4):
            point[k] = min(max(2.0 * best[k] - last[k], low[k]), high[k])
            last[k] = best[k]
        total = _error_of(values, present, begin, end, season, multiplicative, point, share, initial, states, least)
        if total < least:
            least = total
            for k in range(4):
                best[k] = point[k]
    return least


def _forecast(season, multiplicative, horizon, steps, alpha, beta, gamma, phi, states, at, forecasts, factors):
    """Writes the forecasts, and the variance of each step's error as a multiple of the first step's."""
    damped = 0.0
    power = 1.0
    for h in range(horizon):
        power *= phi
        damped += power
        seasonal = states[2 + (steps + h) % season]
        line = states[0] + damped * states[1]
        forecasts[at + h] = line * seasonal if multiplicative else line + seasonal
        total = 1.0
        grown = 0.0
        lag_power = 1.0
        for lag in range(1, h + 1):
            lag_power *= phi
            grown += lag_power
            passed = alpha * (1.0 + beta * grown)
            again = gamma if lag % season == 0 else 0.0
            if multiplicative:  # an error at step h - lag, through the states to step h
                base = states[0] + (damped - (power / lag_power) * grown) * states[1]
                passed = passed * seasonal / states[2 + (steps + h - lag) % season]
                again = again * line / base
            total += (passed + again) * (passed + again)
        factors[at + h] = total


@array_function
def _holt_winters(
    series, values, present, offsets, season, multiplicative, seasonal, trend, low, high, share, horizon,
    start, states, best, point, last, parameters, initial, sse, counts, forecasts, factors,
):  # fmt: skip
    begin = offsets[series]
    end = offsets[series + 1]
    count = 0
    for row in range(begin, end):
        count += present[row]
    counts[series] = count
    least = math.nan
    for k in range(season + 2):
        start[k] = 0.0
        states[k] = 0.0
    for k in range(4):
        best[k] = low[k]
    if _enough(values, present, begin, end, season, multiplicative, seasonal, trend):
        _initial_states(values, present, begin, end, season, multiplicative, seasonal, trend, start)
        _search(values, present, begin, end, season, multiplicative, low, high, share, start, states, best, point, last)
        least = _error_of(values, present, begin, end, season, multiplicative, best, share, start, states, math.inf)
    sse[series] = least
    for k in range(season + 2):
        initial[series * (season + 2) + k] = start[k]
    gamma = best[2] * (1.0 - best[0]) if share else best[2]
    parameters[4 * series] = best[0]
    parameters[4 * series + 1] = best[1]
    parameters[4 * series + 2] = gamma
    parameters[4 * series + 3] = best[3]
    _forecast(
        season, multiplicative, horizon, end - begin, best[0], best[1], gamma, best[3], states, series * horizon,
        forecasts, factors,
    )  # fmt: skip


@dataclass(frozen=True)
class HoltWinters:
    """The result of :func:`holt_winters`: two batches, to be returned from a body. A series that could not be fitted
    has nulls."""

    forecasts: Batch
    """A row for each series and step: the key columns, ``step`` (``bigint``, from 1), ``forecast``, ``lower`` and
    ``upper`` (``double``)."""
    parameters: Batch
    """A row for each series: the key columns, ``observations`` (``bigint``), ``alpha``, ``beta``, ``gamma``, ``phi``,
    ``sse`` and ``sigma`` (``double``: the sum of squared errors of the one-step forecasts, and their standard
    deviation), and the states before the first row: ``level``, ``slope`` (``double``), ``seasonals``
    (``array<double>``)."""


def holt_winters(
    segments: Segments,
    column: str,
    *,
    horizon: int,
    season: int = 1,
    trend: Trend | None = "additive",
    seasonal: Seasonal | None = "additive",
    level: float = 0.95,
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float | None = None,
    phi: float | None = None,
) -> HoltWinters:
    """Returns Holt-Winters' forecasts of ``horizon`` steps for each group, a series of equally spaced rows.

    ``column``: the numbers. Null and NaN are missing values; insert a null for a row that the data lacks. In place of a
    missing value its forecast is used, and counts as no error. ``season``: the number of rows after which the pattern
    returns (7 for days), or 1 for none. ``trend``: ``"additive"``, ``"damped"`` or ``None``. ``seasonal``:
    ``"additive"``, ``"multiplicative"`` for positive values, or ``None``.

    The method is FPP3's, 8.3: ``alpha`` smooths the level, ``beta`` (its beta*) the slope, ``gamma`` the seasonals,
    ``phi`` damps. Those not given are searched for the least sum of squared one-step errors. The states before the
    first row are fitted to the first seasons and not searched.

    ``level``: the share of values that the intervals shall hold. They are forecast -/+ z sigma sqrt(1 + sum of
    c_j ** 2), j from 1 below the step, with c_j = alpha (1 + beta (phi + ... + phi ** j)), plus gamma where a season
    passed (Hyndman et al. 2008, 6.2). Sigma squared is the sum of squares divided by the observations less the
    parameters searched. For multiplicative seasonals, which have no such formula, errors of constant variance are
    carried through the states to the first order. Neither includes the uncertainty of parameters and first states.

    A series gets nulls where it is shorter than two seasons, one row of a season is never observed, there are no more
    observations than states, or one is not positive and ``seasonal="multiplicative"``. Raises
    :class:`~gpuspark.errors.CallError` for options out of range.

    >>> import pyarrow as pa
    >>> from gpuspark import Batch, Segments
    >>> rows = Batch.from_arrow(pa.record_batch({"k": ["a"] * 8, "x": [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]}))
    >>> forecast = holt_winters(Segments(rows, np.array([0, 8]), ["k"]), "x", season=2, horizon=2)
    >>> forecast.forecasts.to_frame()[["k", "step", "forecast"]].round(6)
       k  step  forecast
    0  a     1       5.0
    1  a     2       9.0
    """
    if seasonal is None or season == 1:
        season, seasonal = 1, None
    chosen = (alpha, beta if trend else 0.0, gamma if seasonal else 0.0, phi if trend == "damped" else 1.0)
    _check(season, horizon, level, trend, seasonal, chosen)
    offsets, values, present, device = observations(segments, column)
    fit = _fit((offsets, values, present & np.isfinite(values)), season, horizon, trend, seasonal, chosen)
    searched = sum(value is None for value in chosen)
    sigma = np.sqrt(fit.sse / np.maximum(fit.counts - searched, 1))
    half = NormalDist().inv_cdf((1 + level) / 2) * np.repeat(sigma, horizon) * np.sqrt(fit.factors)
    forecasts = forecasts_batch(segments.keys, fit, half, horizon, device)
    return HoltWinters(forecasts, parameters_batch(segments.keys, fit, sigma, device))


def _fit(
    observed: tuple[Any, Any, Any],
    season: int,
    horizon: int,
    trend: Trend | None,
    seasonal: Seasonal | None,
    chosen: tuple[float | None, ...],
) -> Fit:
    """Fits and forecasts all series. ``observed``: offsets, values and validity. ``chosen``: the parameters, ``None``
    where they are to be searched."""
    offsets, values, present = observed
    number, states = len(offsets) - 1, season + 2
    parameters, initial, sse, counts, forecasts, factors = _holt_winters(
        number,
        values=values,
        present=present,
        offsets=offsets,
        season=season,
        multiplicative=seasonal == "multiplicative",
        seasonal=seasonal is not None,
        trend=trend is not None,
        low=np.array([LOWEST[k] if value is None else value for k, value in enumerate(chosen)]),
        high=np.array([HIGHEST[k] if value is None else value for k, value in enumerate(chosen)]),
        share=chosen[2] is None,
        horizon=horizon,
        start=Scratch("float64", states),
        states=Scratch("float64", states),
        best=Scratch("float64", 4),
        point=Scratch("float64", 4),
        last=Scratch("float64", 4),
        parameters=Out("float64", 4 * number),
        initial=Out("float64", states * number),
        sse=Out("float64", number),
        counts=Out("int64", number),
        forecasts=Out("float64", horizon * number),
        factors=Out("float64", horizon * number),
    )
    return Fit(parameters.reshape(-1, 4), initial.reshape(-1, states), sse, counts, forecasts, factors)


def _check(
    season: int, horizon: int, level: float, trend: Any, seasonal: Any, chosen: tuple[float | None, ...]
) -> None:
    """Raises :class:`~gpuspark.errors.CallError` for options out of range."""
    if season < 1 or horizon < 1 or not 0.0 < level < 1.0:
        raise CallError(f"season={season} and horizon={horizon} must be at least 1, and level={level} between 0 and 1")
    if trend not in (None, "additive", "damped") or seasonal not in (None, "additive", "multiplicative"):
        raise CallError(
            f"trend={trend!r}, seasonal={seasonal!r}: a trend is 'additive', 'damped' or None, a seasonal 'additive', "
            "'multiplicative' or None"
        )
    if any(value is not None and not 0.0 <= value <= 1.0 for value in chosen):
        raise CallError(f"alpha, beta, gamma and phi must be between 0 and 1: {chosen}")
