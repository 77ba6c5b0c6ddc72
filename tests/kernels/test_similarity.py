"""Similarities against NumPy and scikit-learn's definitions in SciPy, on every device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

NUMBER = st.floats(-1e6, 1e6, width=32)
ORACLES = {
    "dot_product": np.dot,
    "euclidean_distance": distance.euclidean,
    "cosine_similarity": lambda a, b: 1 - distance.cosine(a, b),
}


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[Any, Any]]:
    """Rows of two vectors of one length; either may be null."""
    made = []
    for length in draw(st.lists(st.integers(0, 5), max_size=8)):
        vector = st.lists(NUMBER, min_size=length, max_size=length)
        made.append((draw(st.none() | vector), draw(st.none() | vector)))
    return made


def expected(kernel: str, a: list[float] | None, b: list[float] | None) -> float | None:
    if a is None or b is None:
        return None
    if kernel == "cosine_similarity" and not (any(a) and any(b)):
        return float("nan")
    return float(ORACLES[kernel](np.array(a), np.array(b))) if a else 0.0


@pytest.mark.parametrize("kernel", ORACLES)
@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=30)
@given(rows=pairs(), skipped=st.integers(0, 2), value=st.sampled_from([pa.float32(), pa.float64()]))
def test_every_device_measures_as_scipy_does(
    kernel: str, device: str, rows: list[tuple[Any, Any]], skipped: int, value: pa.DataType
) -> None:
    left, right = (pa.array([row[n] for row in rows], pa.list_(value)).slice(skipped) for n in (0, 1))
    with on_device(device):
        result = getattr(kernels, kernel)(left, right)
    assert result.type == pa.float64()
    for ours, row in zip(result.to_pylist(), rows[skipped:], strict=True):
        want = expected(kernel, *row)
        assert ours == (want if want is None else pytest.approx(want, rel=1e-9, abs=1e-6, nan_ok=True))


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=30)
@given(
    vector=st.lists(NUMBER, min_size=1, max_size=5).filter(lambda v: max(map(abs, v)) > 1e-3),
    factors=st.lists(st.integers(-1000, 1000), min_size=1, max_size=8),
    sign=st.sampled_from([1.0, -1.0]),
)
def test_a_cosine_is_never_beyond_one_nor_lost_by_size(
    device: str, vector: list[float], factors: list[int], sign: float
) -> None:
    """Parallel vectors of any size: the squares of many of them are infinite, or zero."""
    left = [[0.1, 0.2, 0.3], *([math.ldexp(x, min(n, 980)) for x in vector] for n in factors)]
    right = [[sign * x * 3 for x in left[0]], *([sign * x for x in vector] for _ in factors)]
    with on_device(device):
        result = kernels.cosine_similarity(pa.array(left), pa.array(right)).to_pylist()
        nearest = kernels.top_k(pa.array(left[:1] * 2), matrix=right[:1], k=1).to_pylist()
    assert [math.acos(x) for x in result] == pytest.approx([0.0 if sign > 0 else math.pi] * len(result), abs=1e-6)
    assert all(math.acos(one[0]["score"]) >= 0 for one in nearest)


@pytest.mark.parametrize("device", DEVICES)
def test_a_cosine_that_there_is_not_is_nan(device: str) -> None:
    left = [[0.0, 0.0], [], [math.inf, 1.0], [math.nan, 1.0], [0.0, 1e-320], [1e300, -1e300]]
    right = [[1.0, 2.0], [], [1.0, 1.0], [1e300, 1e300], [0.0, 0.0], [1e300, 1e300]]
    with on_device(device):
        result = kernels.cosine_similarity(pa.array(left), pa.array(right)).to_pylist()
    assert [math.isnan(x) for x in result] == [True, True, True, True, True, False]
    assert result[-1] == 0.0


def test_vectors_that_do_not_fit_are_named() -> None:
    with pytest.raises(CallError, match="row 1 of the batch has a vector of 2 and one of 1"):
        kernels.dot_product(pa.array([[1.0], [1.0, 2.0]]), pa.array([[1.0], [1.0]]))
    with pytest.raises(CallError, match="left has a null inside"):
        kernels.dot_product(pa.array([[1.0, None]]), pa.array([[1.0, 2.0]]))
    with pytest.raises(CallError, match="left is a column of list<item: string>"):
        kernels.dot_product(pa.array([["a"]]), pa.array([[1.0]]))


@pytest.mark.parametrize("device", ["cpu", "emulated", "python"])
def test_on_spark_columns(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.createDataFrame([([3.0, 4.0], [3.0, 4.0]), (None, [1.0])], "a array<float>, b array<float>")
    gs.ledger(spark).clear()
    made = frame.select(*(getattr(functions, name)("a", right="b").alias(name) for name in ORACLES))
    assert [tuple(row) for row in made.collect()] == [(25.0, 0.0, 1.0), (None, None, None)]
    records = gs.ledger(spark).records
    assert {(r.function, r.device) for r in records} == {(name, device) for name in ORACLES}
    assert sum(r.rows for r in records) == 2 * len(ORACLES)


# Samples: see tests/support/kernel_samples.py


LEFT = pa.array([[1.0, 2.0, 3.0], None, [], [4.0, -1.0, 0.5]])
RIGHT = pa.array([[2.0, 0.0, 1.0], [1.0], [], [1.0, 1.0, 1.0]])


def sample_cosine_similarity() -> Any:
    return kernels.cosine_similarity(LEFT, RIGHT)


def sample_dot_product() -> Any:
    return kernels.dot_product(LEFT, RIGHT)


def sample_euclidean_distance() -> Any:
    return kernels.euclidean_distance(LEFT, RIGHT)
