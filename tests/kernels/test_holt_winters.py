"""Holt-Winters against statsmodels: the same smoothing for the same parameters and first states, a sum of squares near
its optimum, and its variances."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing

import gpuspark as gs
from gpuspark import kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

TRENDS = (None, "additive", "damped")
SEASONALS = (None, "additive", "multiplicative")
SHARE = st.floats(0.01, 0.95)


def segments_of(*series: Any) -> gs.Segments:
    rows = pa.record_batch(
        {
            "k": pa.array([n for n, one in enumerate(series) for _ in one], pa.int64()),
            "x": pa.array([x for one in series for x in one], pa.float64()),
        }
    )
    return gs.Segments(gs.Batch.from_arrow(rows), np.cumsum([0, *map(len, series)]), ["k"])


def simulated(rows: int, season: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    pattern = random.normal(size=season) * 8
    return (
        100
        + 0.4 * np.arange(rows)
        + np.cumsum(random.normal(size=rows))
        + pattern[np.arange(rows) % season]
        + random.normal(size=rows) * 2
    )


def statsmodels_of(series: Any, result: dict[str, Any], trend: str | None, seasonal: str | None, season: int) -> Any:
    """statsmodels' model of the series, begun with our first states."""
    first: dict[str, Any] = {"initial_level": result["level"]}
    first |= {"initial_trend": result["slope"]} if trend else {}
    first |= {"initial_seasonal": np.array(result["seasonals"])} if seasonal else {}
    return ExponentialSmoothing(
        np.array(series), trend="add" if trend else None, damped_trend=trend == "damped",
        seasonal=seasonal and seasonal[:3], seasonal_periods=season if seasonal else None,
        initialization_method="known", bounds={"damping_trend": (0.8, 0.98)} if trend == "damped" else None, **first,
    )  # fmt: skip


def parameters_of(result: dict[str, Any], trend: str | None, seasonal: str | None) -> dict[str, float]:
    given = {"smoothing_level": result["alpha"]}
    given |= {"smoothing_trend": result["beta"]} if trend else {}
    given |= {"smoothing_seasonal": result["gamma"]} if seasonal else {}
    return given | ({"damping_trend": result["phi"]} if trend == "damped" else {})


def continued(
    result: Any, phi: float, trend: str | None, seasonal: str | None, season: int, horizon: int
) -> np.ndarray:
    """The forecasts from statsmodels' last states. Its own ``forecast`` begins the last season one update too early
    for the last row's place."""
    steps = np.arange(horizon)
    line = result.level[-1] + (np.cumsum(phi ** (steps + 1)) * result.trend[-1] if trend else 0.0)
    if not seasonal:
        return line + 0.0 * steps
    part = result.season[-season:][steps % season]
    return line + part if seasonal == "additive" else line * part


def one_row(batch: gs.Batch) -> dict[str, Any]:
    return {name: values[0] for name, values in batch.to_arrow().to_pydict().items()}


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=10)
@given(
    st.sampled_from(TRENDS), st.sampled_from(SEASONALS), st.lists(st.floats(1, 100), min_size=6, max_size=9),
    SHARE, SHARE, SHARE, st.floats(0.8, 0.98),
)  # fmt: skip
def test_smoothing_is_statsmodels(
    device: str, trend: Any, seasonal: Any, series: list[float], alpha: float, beta: float, gamma: float, phi: float
) -> None:
    season = 3
    with on_device(device):
        result = kernels.holt_winters(
            segments_of(series), "x", season=season, trend=trend, seasonal=seasonal, horizon=5,
            alpha=alpha, beta=beta, gamma=gamma, phi=phi,
        )  # fmt: skip
    ours = one_row(result.parameters)
    model = statsmodels_of(series, ours, trend, seasonal, season)
    theirs = model.fit(optimized=False, **parameters_of(ours, trend, seasonal))
    assert ours["alpha"] == alpha
    assert ours["sse"] == pytest.approx(theirs.sse, rel=1e-8, abs=1e-8)
    want = continued(theirs, ours["phi"], trend, seasonal, season, 5)
    assert result.forecasts["forecast"].to_pylist() == pytest.approx(list(want), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("trend", TRENDS)
@pytest.mark.parametrize("seasonal", SEASONALS)
def test_the_search_finds_what_statsmodels_finds(trend: Any, seasonal: Any) -> None:
    """From the same first states; and not far from what it finds with first states of its own choice, for which it
    has a parameter for each row of a season."""
    series = [simulated(70, 7, seed) for seed in range(4)]
    with on_device("cpu"):
        result = kernels.holt_winters(segments_of(*series), "x", season=7, trend=trend, seasonal=seasonal, horizon=1)
    for one, ours in zip(series, result.parameters.to_arrow().to_pylist(), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            best = statsmodels_of(one, ours, trend, seasonal, 7).fit().sse
        assert ours["sse"] < 1.03 * best
        assert 0 <= ours["alpha"] <= 1
        assert 0 <= ours["gamma"] <= 1 - ours["alpha"]


def test_the_first_states_are_near_the_best() -> None:
    series = [simulated(84, 7, seed) for seed in range(4)]
    with on_device("cpu"):
        ours = kernels.holt_winters(segments_of(*series), "x", season=7, horizon=1).parameters["sse"].to_pylist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = [ExponentialSmoothing(y, trend="add", seasonal="add", seasonal_periods=7).fit().sse for y in series]
    assert all(a < 1.25 * b for a, b in zip(ours, best, strict=True))


def state_space(series: Any, ours: dict[str, Any], trend: str | None, seasonal: str) -> Any:
    """statsmodels' state space model with our parameters and first states. Its beta is alpha times ours."""
    model = ETSModel(
        pd.Series(series),
        error="add",
        trend="add" if trend else None,
        damped_trend=trend == "damped",
        seasonal=seasonal[:3],
        seasonal_periods=len(ours["seasonals"]),
    )
    values = {
        "smoothing_level": ours["alpha"],
        "smoothing_trend": ours["alpha"] * ours["beta"],
        "smoothing_seasonal": ours["gamma"],
        "damping_trend": ours["phi"],
        "initial_level": ours["level"],
        "initial_trend": ours["slope"],
    }
    values |= {f"initial_seasonal.{n}": part for n, part in enumerate(reversed(ours["seasonals"]))}
    return model.smooth(np.array([values[name] for name in model.param_names]))


@pytest.mark.parametrize("trend", TRENDS)
@pytest.mark.parametrize("seasonal", ["additive", "multiplicative"])
def test_variances_are_those_of_the_state_space_model(trend: Any, seasonal: Any) -> None:
    """Exact ones for additive seasonals; for multiplicative ones, which are an approximation, of 20,000 paths."""
    pattern = np.array([0.7, 1.0, 1.3, 1.0])
    series = (200 + np.arange(60)) * pattern[np.arange(60) % 4] + np.random.default_rng(2).normal(size=60) * 3
    options = {"alpha": 0.4, "beta": 0.2, "gamma": 0.3, "phi": 0.9, "level": 0.8}
    with on_device("cpu"):
        result = kernels.holt_winters(
            segments_of(series), "x", season=4, trend=trend, seasonal=seasonal, horizon=9, **options
        )
    ours = one_row(result.parameters)
    theirs = state_space(series, ours, trend, seasonal)
    close = 1e-8 if seasonal == "additive" else 1e-3  # where a seasonal multiplies, it updates a little otherwise
    assert result.forecasts["forecast"].to_pylist() == pytest.approx(list(theirs.forecast(9)), rel=close)
    half = (result.forecasts["upper"].values - result.forecasts["lower"].values) / 2
    assert half[0] == pytest.approx(1.2815515655446004 * np.sqrt(ours["sse"] / 60), rel=1e-9)
    if seasonal == "additive":
        want = np.sqrt(np.asarray(theirs.get_prediction(60, 68, method="exact").forecast_variance))
        np.testing.assert_allclose(half / half[0], want / want[0], rtol=1e-8)
    else:
        want = np.asarray(theirs.simulate(9, anchor="end", repetitions=20_000, rng=5)).std(axis=1)
        np.testing.assert_allclose(half / half[0], want / want[0], rtol=0.04)


def test_intervals_hold_about_what_they_say() -> None:
    """Series of the additive model itself: 80 of 100 of what came lie in intervals of 0.8."""
    random, rows, horizon = np.random.default_rng(7), 120, 12
    series, came = [], []
    for _ in range(150):
        level, slope, part = 50.0, 0.2, list(random.normal(size=4) * 5)
        made = []
        for t in range(rows + horizon):
            error = random.normal()
            made.append(level + slope + part[t % 4] + error)
            level, slope = level + slope + 0.3 * error, slope + 0.03 * error
            part[t % 4] += 0.1 * error
        series.append(made[:rows])
        came.append(made[rows:])
    with on_device("cpu"):
        result = kernels.holt_winters(segments_of(*series), "x", season=4, horizon=horizon, level=0.8)
    low, high = (result.forecasts[name].values.reshape(-1, horizon) for name in ("lower", "upper"))
    inside = (low <= np.array(came)) & (np.array(came) <= high)
    assert 0.7 < inside.mean() < 0.9


@pytest.mark.parametrize("device", DEVICES)
def test_missing_values_are_passed_over(device: str) -> None:
    """A pure pattern is continued through what is missing; statsmodels has no such series."""
    pattern = [10.0, 20.0, 30.0]
    series = [pattern[t % 3] + t for t in range(15)]
    gaps = [None if t in (4, 8, 9) else x for t, x in enumerate(series)]
    gaps[12] = float("nan")
    options = {"alpha": 0.5, "beta": 0.1, "gamma": 0.2}
    with on_device(device):
        result = kernels.holt_winters(segments_of(gaps, series), "x", season=3, horizon=3, **options)
    assert result.parameters["observations"].to_pylist() == [11, 15]
    want = [pattern[t % 3] + t for t in range(15, 18)]
    assert result.forecasts["forecast"].to_pylist() == pytest.approx([*want, *want], rel=1e-2)


def test_a_missing_value_is_its_own_forecast() -> None:
    """What statsmodels gives when the forecast is put in the gap."""
    series, options = list(simulated(30, 3, 4)), {"alpha": 0.4, "beta": 0.1, "gamma": 0.3}
    with on_device("cpu"):
        gap = kernels.holt_winters(segments_of([*series[:29], None]), "x", season=3, horizon=2, **options)
        before = kernels.holt_winters(segments_of(series[:29]), "x", season=3, horizon=3, **options)
    assert gap.forecasts["forecast"].to_pylist() == pytest.approx(before.forecasts["forecast"].to_pylist()[1:])
    assert gap.parameters["sse"].to_pylist() == before.parameters["sse"].to_pylist()


def test_series_that_cannot_be_fitted_have_nulls() -> None:
    good = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]
    series = [good, [1.0], [1.0, 2.0, 3.0], [None if t % 2 else 1.0 for t in range(8)], [-1.0, *good[1:]], [None] * 9]
    with on_device("cpu"):
        result = kernels.holt_winters(
            segments_of(*series), "x", season=2, seasonal="multiplicative", horizon=2, trend=None
        )
    fitted = result.parameters["sse"].validity
    assert result.parameters["k"].to_pylist() == list(range(6))
    assert list(fitted) == [True, False, False, False, False, False]
    for name in ("forecast", "lower", "upper"):
        assert list(result.forecasts[name].validity) == list(np.repeat(fitted, 2))
    assert result.parameters["seasonals"].null_count == 5
    assert result.forecasts["step"].to_pylist() == [1, 2] * 6


@pytest.mark.parametrize("device", ["emulated", "python"])
def test_every_device_searches_the_same(device: str) -> None:
    segments = segments_of([3.0, 9.0, 4.5, 9.5, 4.0, 11.0, 6.0])
    actual = {}
    for name in ("cpu", device):
        with on_device(name):
            result = kernels.holt_winters(segments, "x", season=2, trend=None, horizon=2)
            actual[name] = [batch.to_arrow().to_pydict() for batch in (result.forecasts, result.parameters)]
    assert actual["cpu"] == actual[device]


def test_misuse_is_named() -> None:
    segments = segments_of([1.0, 2.0])
    for options in ({"horizon": 0}, {"horizon": 1, "season": 0}, {"horizon": 1, "level": 1.0}):
        with pytest.raises(CallError, match="must be at least 1"):
            kernels.holt_winters(segments, "x", **options)
    with pytest.raises(CallError, match="trend='linear', seasonal='additive': a trend is"):
        kernels.holt_winters(segments, "x", horizon=1, season=2, trend="linear")  # type: ignore[arg-type]
    with pytest.raises(CallError, match="alpha, beta, gamma and phi must be between 0 and 1"):
        kernels.holt_winters(segments, "x", horizon=1, alpha=1.5)


@pytest.mark.parametrize("device", ["cpu"])
def test_in_segments(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.range(48).selectExpr("id % 3 k", "id div 3 t", "cast(10 + id div 3 + id div 3 % 2 * 5 as double) x")

    def ahead(segments: gs.Segments) -> gs.Batch:
        return kernels.holt_winters(segments, "x", season=2, horizon=2, alpha=0.3, beta=0.1, gamma=0.2).forecasts

    gs.ledger(spark).clear()
    schema = "k bigint, step bigint, forecast double, lower double, upper double"
    result = gs.apply_in_segments(frame, "k", ahead, schema, order_by="t").collect()
    rows = sorted(result, key=lambda row: (row.k, row.step))
    assert [(r.k, r.step) for r in rows] == [(k, step) for k in range(3) for step in (1, 2)]
    assert [r.forecast for r in rows] == pytest.approx([26.0, 32.0] * 3, rel=1e-6)
    assert sum(record.rows for record in gs.ledger(spark).records) == 48
    assert device in {record.device for record in gs.ledger(spark).records}


# Samples: see tests/support/kernel_samples.py


def sample_holt_winters() -> Any:
    segments = segments_of([1.0, 5.0, 2.5, 6.0, 3.0, 7.0])
    return kernels.holt_winters(segments, "x", season=2, horizon=2, alpha=0.5, beta=0.1, gamma=0.2)
