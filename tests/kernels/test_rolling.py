"""Rolling statistics and exponentially weighted means of many series against pandas, on every device."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark import kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

NUMBER = st.none() | st.just(math.nan) | st.floats(-1e4, 1e4, width=32)
SERIES = st.lists(st.lists(NUMBER, max_size=9), min_size=1, max_size=4)
STATISTICS = ("sum", "mean", "std", "min", "max")


def offsets_of(series: list[list[Any]]) -> np.ndarray:
    return np.cumsum([0, *map(len, series)])


def column_of(series: list[list[Any]]) -> pa.Array:
    """All rows, cut out of a longer array, whose first rows are not to be seen."""
    return pa.array([1e300, None, *(x for one in series for x in one)], pa.float64()).slice(2)


def like_pandas(series: list[list[Any]], compute: Any) -> list[float]:
    return [x for one in series for x in compute(pd.Series(one, dtype="float64"))]


def same_numbers(ours: gs.Column, theirs: list[float], close: float) -> None:
    """pandas' NaN is our null, and nothing else is."""
    assert ours.type == pa.float64()
    for result, want in zip(ours.to_pylist(), theirs, strict=True):
        assert result == (None if math.isnan(want) else pytest.approx(want, rel=1e-9, abs=close))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(SERIES, st.integers(1, 6), st.none() | st.integers(0, 6), st.sampled_from(STATISTICS))
def test_windows_are_pandas(device: str, series: list[list[Any]], window: int, least: int | None, name: Any) -> None:
    least = least if least is None else min(least, window)
    with on_device(device):
        ours = kernels.rolling(offsets_of(series), column_of(series), window, name, min_periods=least)
    theirs = like_pandas(series, lambda s: getattr(s.rolling(window, min_periods=least), name)())
    same_numbers(ours, theirs, 1e-3 if name == "std" else 1e-8)  # pandas' own is that far from the exact ones


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(SERIES, st.sampled_from([0.1, 0.45, 1.0]), st.booleans(), st.booleans(), st.integers(0, 3))
def test_weighted_means_are_pandas(
    device: str, series: list[list[Any]], alpha: float, adjust: bool, ignore_na: bool, least: int
) -> None:
    """Not at ``alpha=0.5``, where pandas 3.0 weighs observations after a null otherwise than next to 0.5 (its issue
    66523)."""
    options = {"adjust": adjust, "ignore_na": ignore_na, "min_periods": least}
    with on_device(device):
        ours = kernels.ewm_mean(offsets_of(series), column_of(series), alpha, **options)
    same_numbers(ours, like_pandas(series, lambda s: s.ewm(alpha=alpha, **options).mean()), 1e-8)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.integers(2, 10), st.sampled_from([1e8, -1e6, 0.0]))
@settings(max_examples=30)
def test_deviations_are_exact_far_from_zero(values: list[float], window: int, offset: float) -> None:
    """Against rational arithmetic, where sums of squares would have lost all digits."""
    values = [offset + x for x in values]
    with on_device("cpu"):
        result = kernels.rolling([0, len(values)], values, window, "std").to_pylist()
    for row in range(window - 1, len(values)):
        want = statistics.stdev(values[row - window + 1 : row + 1])
        assert result[row] == pytest.approx(want, rel=1e-6, abs=abs(offset) * 1e-15 + 1e-12)


def test_what_left_the_window_leaves_nothing_behind() -> None:
    values = [1e17, 1.0, 1.0, 1.0, math.inf, 1.0, 1.0]
    with on_device("cpu"):
        sums = kernels.rolling([0, 7], values, 2, "sum").to_pylist()
        spread = kernels.rolling([0, 7], [0.1] * 7, 3, "std").to_pylist()
    assert sums == [None, 1e17, 2.0, 2.0, math.inf, math.inf, 2.0]
    assert spread == [None, None, *[0.0] * 5]


def test_long_windows_and_whole_numbers() -> None:
    values = np.arange(10_000) % 97
    with on_device("cpu"):
        for window in (1, 1_000, 9_999, 10_000, 20_000):
            result = kernels.rolling([0, 4_000, 10_000], values, window, "sum", min_periods=1)
            parts = [pd.Series(part).rolling(window, min_periods=1).sum() for part in np.split(values, [4_000])]
            assert result.to_pylist() == pd.concat(parts).tolist()


def test_no_rows_and_empty_groups() -> None:
    with on_device("cpu"):
        assert kernels.rolling([0], pa.array([], pa.float64()), 3).to_pylist() == []
        assert kernels.rolling([0, 0, 1, 1], [2], 1, "max").to_pylist() == [2.0]
        assert kernels.ewm_mean([0, 0, 1, 1], [2], 0.1).to_pylist() == [2.0]


def test_misuse_is_named() -> None:
    for options in ({"window": 0}, {"window": 2, "min_periods": 3}, {"window": 2, "min_periods": -1}):
        with pytest.raises(CallError, match=r"window=\d, min_periods=\S+: give 0 <= min_periods"):
            kernels.rolling([0, 1], [1.0], **options)
    with pytest.raises(CallError, match="statistic='median', ddof=1: choose one of sum, mean"):
        kernels.rolling([0, 1], [1.0], 1, "median")  # type: ignore[arg-type]
    with pytest.raises(CallError, match="alpha=0 must be greater than 0"):
        kernels.ewm_mean([0, 1], [1.0], 0)
    with pytest.raises(CallError, match="the column is a column of string, and must be numeric"):
        kernels.ewm_mean([0, 1], ["a"], 0.5)
    for offsets in ([0, 1], [1, 2], [0, 2, 1, 2], []):
        with pytest.raises(CallError, match="the offsets are not those of the column"):
            kernels.rolling(offsets, [1.0, 2.0], 1)


@pytest.mark.parametrize("device", ["cpu"])
def test_in_segments(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.range(60).selectExpr("id % 4 k", "id t", "if(id % 7 = 0, null, cast(id * 37 % 101 as double)) x")

    def smoothed(segments: gs.Segments) -> gs.Batch:
        mean = kernels.ewm_mean(segments, "x", 0.3)
        return segments.batch.with_column("level", mean).with_column("top", kernels.rolling(segments, "x", 3, "max"))

    gs.ledger(spark).clear()
    schema = "k bigint, t bigint, x double, level double, top double"
    ours = gs.apply_in_segments(frame, "k", smoothed, schema, order_by="t").toPandas().sort_values(["k", "t"])
    groups = frame.toPandas().sort_values(["k", "t"]).groupby("k").x
    np.testing.assert_allclose(ours.level.astype(float), groups.ewm(alpha=0.3).mean().to_numpy(), rtol=1e-12)
    np.testing.assert_array_equal(ours.top.astype(float), groups.rolling(3).max().to_numpy())
    assert sum(record.rows for record in gs.ledger(spark).records) == 60
    assert device in {record.device for record in gs.ledger(spark).records}


# Samples: see tests/support/kernel_samples.py


OFFSETS, VALUES = [0, 5, 6], [1.0, None, 2.0, 4.0, 3.0, 7.0]


def sample_ewm_mean() -> Any:
    return kernels.ewm_mean(OFFSETS, VALUES, 0.5)


def sample_rolling() -> Any:
    return [kernels.rolling(OFFSETS, VALUES, 2, statistic) for statistic in ("mean", "std", "max")]
