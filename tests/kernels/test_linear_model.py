"""Scaling and products with a matrix, beside plain Python, a row and a feature at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpuspark.execution.array_arguments import Constant
from gpuspark.kernels.linear_model import Product, Standardise, Stretch
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

ANY = st.floats(width=64)
FINITE = st.floats(-1e9, 1e9)
WHOLE = st.integers(-1000, 1000).map(float)  # whose products and sums are exact, in any order
SCALE = st.floats(1e-3, 1e3)


@st.composite
def features(draw: st.DrawFn, values: st.SearchStrategy[float]) -> np.ndarray:
    """Rows of one to four features."""
    return draw(arrays("f8", (draw(st.integers(0, 6)), draw(st.integers(1, 4))), elements=values))


def assert_same(result: np.ndarray, right: list[list[float]], columns: int) -> None:
    assert result.shape == (len(right), columns)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.reshape(right, result.shape))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(x=features(ANY), data=st.data())
def test_each_feature_is_shifted_and_scaled(device: str, x: np.ndarray, data: st.DataObject) -> None:
    shift, scale = (data.draw(arrays("f8", x.shape[1], elements=of)) for of in (FINITE, SCALE))
    with on_device(device):
        result = Standardise(Constant(shift), Constant(scale)).apply(x)
    columns = list(zip(shift.tolist(), scale.tolist(), strict=True))
    right = [[(v - b) / s for v, (b, s) in zip(row, columns, strict=True)] for row in x.tolist()]
    assert_same(result, right, x.shape[1])


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(x=features(ANY), data=st.data(), ends=st.none() | st.tuples(FINITE, FINITE).map(sorted))
def test_each_feature_is_stretched_and_held_between_its_ends(
    device: str, x: np.ndarray, data: st.DataObject, ends: Any
) -> None:
    factor, shift = (data.draw(arrays("f8", x.shape[1], elements=of)) for of in (SCALE, FINITE))
    low, high = ends or (-math.inf, math.inf)
    with on_device(device):
        result = Stretch(Constant(factor), Constant(shift), low, high).apply(x)
    columns = list(zip(factor.tolist(), shift.tolist(), strict=True))
    right = [[held(v * f + b, low, high) for v, (f, b) in zip(row, columns, strict=True)] for row in x.tolist()]
    assert_same(result, right, x.shape[1])


def held(value: float, low: float, high: float) -> float:
    return value if math.isnan(value) else min(max(value, low), high)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(x=features(WHOLE), count=st.integers(1, 3), data=st.data())
def test_rows_are_multiplied_with_a_matrix(device: str, x: np.ndarray, count: int, data: st.DataObject) -> None:
    matrix = data.draw(arrays("f8", (x.shape[1], count), elements=WHOLE))
    shift = data.draw(arrays("f8", count, elements=WHOLE))
    with on_device(device):
        result = Product(Constant(matrix), Constant(shift)).apply(x)
    columns = list(zip(matrix.T.tolist(), shift.tolist(), strict=True))
    right = [[sum(map(float.__mul__, row, column), b) for column, b in columns] for row in x.tolist()]
    assert_same(result, right, count)


# Samples: see tests/support/kernel_samples.py


def sample_linear_model() -> Any:
    features = np.array([[0.5, 2.0], [np.nan, 1.0], [-3.0, np.nan], [0.25, 7.0]])
    two, matrix = Constant([2.0, 4.0]), Constant([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]])
    steps = (Standardise(two, two), Stretch(two, two, -1.0, 1.0), Product(matrix, Constant([1.0, 2.0, 3.0])))
    return np.concatenate([step.apply(features).reshape(-1) for step in steps])
