"""The nearest rows of a matrix against NumPy and scikit-learn, on every device."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import DEVICES

METRICS = ("cosine", "dot", "euclidean")
SMALL = st.integers(-3, 3).map(float)


def ranked(query: np.ndarray, matrix: np.ndarray, metric: str) -> tuple[list[int], np.ndarray]:
    """All rows by NumPy, the nearest first and equals in their order; whole numbers are exact in double precision."""
    if metric == "euclidean":
        scores = np.sqrt(((matrix - query) ** 2).sum(axis=1))
        return np.argsort(scores, kind="stable").tolist(), scores
    scores = matrix @ query
    if metric == "cosine":
        with np.errstate(all="ignore"):
            scores = scores / np.linalg.norm(query) / np.linalg.norm(matrix, axis=1)
    order = np.argsort(-scores, kind="stable")
    return order[~np.isnan(scores[order])].tolist(), scores


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=15)
@given(data=st.data(), k=st.integers(1, 5), dtype=st.sampled_from(["f4", "f8"]), skipped=st.integers(0, 1))
def test_every_device_finds_what_numpy_ranks_first(
    device: str, metric: str, data: st.DataObject, k: int, dtype: str, skipped: int
) -> None:
    """Many rows are equally near, so that the order of equals counts."""
    length = data.draw(st.integers(1, 4))
    matrix = data.draw(arrays("f8", (data.draw(st.integers(1, 7)), length), elements=SMALL))
    queries = data.draw(st.lists(st.none() | arrays("f8", length, elements=SMALL), max_size=4))
    column = pa.array(queries, pa.list_(pa.float32())).slice(skipped)
    with on_device(device):
        result = kernels.top_k(column, matrix=gs.Constant(matrix.astype(dtype)), k=k, metric=metric)
    assert str(result.type).replace(" not null", "") == "list<item: struct<index: int32, score: double>>"
    for ours, query in zip(result.to_pylist(), queries[skipped:], strict=True):
        if query is None:
            assert ours is None
            continue
        order, scores = ranked(query, matrix, metric)
        if metric == "cosine":  # NumPy rounds equal cosines apart
            assert len(ours) == min(k, len(order))
            np.testing.assert_allclose([o["score"] for o in ours], scores[order[:k]], rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(scores[[o["index"] for o in ours]], scores[order[:k]], rtol=1e-12, atol=1e-15)
        else:
            assert [o["index"] for o in ours] == order[:k]
            assert [o["score"] for o in ours] == scores[order[:k]].tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_products_choose_what_measuring_each_row_would(metric: str) -> None:
    """Bit for bit, in single precision, where many rows are nearer to each other than products are exact; and in
    several blocks of products."""
    random = np.random.default_rng(3)
    matrix = (1000 + random.normal(size=(3000, 16)) * 1e-3).astype("f4")
    matrix[17] = matrix[1234]
    queries = np.concatenate([1000 + random.normal(size=(700, 16)) * 1e-3, np.zeros((1, 16))]).astype("f4")
    column = pa.array(list(queries), pa.list_(pa.float32()))
    with on_device("cpu"):
        all_at_once = kernels.top_k(column, matrix=matrix, k=4, metric=metric)
    few = [0, 1, 350, 699, 700]
    with on_device("python"):
        each = kernels.top_k(column.take(few[:2]), matrix=matrix[:40], k=4, metric=metric)
    with on_device("cpu"):
        assert kernels.top_k(column.take(few[:2]), matrix=matrix[:40], k=4, metric=metric).equals(each)
    wide = matrix.astype("f8")
    for row in few[:-1]:
        query = queries[row].astype("f8")
        order, scores = ranked(query, wide, metric)
        ours = [o["score"] for o in all_at_once[row].as_py()]
        np.testing.assert_allclose(ours, scores[order[:4]], rtol=1e-9 if metric == "euclidean" else 1e-13)
    assert len(all_at_once[700].as_py()) == (0 if metric == "cosine" else 4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [2, 5], ids="slices_of_{}_rows".format)
def test_slices_of_the_matrix_give_what_numpy_ranks_first(
    device: str, metric: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers with many equal rows, in slices of unequal sizes, some with fewer rows than are chosen."""
    module = sys.modules["gpuspark.kernels.top_k"]
    monkeypatch.setattr(module, "_SLICE", rows)
    monkeypatch.setattr(module, "_SLICE_OF_BEST", 0)
    random = np.random.default_rng(2)
    matrix, queries = random.integers(-2, 3, (17, 3)).astype("f8"), random.integers(-2, 3, (5, 3)).astype("f8")
    matrix[4], queries[1] = np.nan, 0.0
    for vectors in (queries, queries[:0]):
        column = pa.array(list(vectors), pa.list_(pa.float64()))
        with on_device(device):
            result = kernels.top_k(column, matrix=matrix, k=3, metric=metric).to_pylist()
        assert len(result) == len(vectors)
        for ours, query in zip(result, vectors, strict=True):
            order, scores = ranked(query, matrix, metric)
            np.testing.assert_allclose([o["score"] for o in ours], scores[order[:3]], rtol=1e-12)
            if metric != "cosine":  # NumPy rounds equal cosines apart
                assert [o["index"] for o in ours] == order[:3]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_rows_the_first_comes_first(device: str, metric: str) -> None:
    with on_device(device):
        result = kernels.top_k(pa.array([[2.0, 0.0]]), matrix=[[1, 0], [1, 0], [0, 1], [1, 0]], k=3, metric=metric)
    assert [o["index"] for o in result.to_pylist()[0]] == [0, 1, 3]


@pytest.mark.parametrize("device", ["cpu", "python"])
def test_numbers_that_overflow_or_are_none(device: str) -> None:
    """A product beyond float32 is measured in double precision; one that is not a number is not among the nearest."""
    matrix = np.array([[1e30, 1e30], [1.0, 1.0], [np.nan, 0.0], [3e38, 3e38]], "f4")
    queries = pa.array([[1e30, 1e30], [np.nan, 1.0], [1.0, 1.0]], pa.list_(pa.float32()))
    with on_device(device):
        result = kernels.top_k(queries, matrix=matrix, k=4, metric="dot").to_pylist()
    assert [[o["index"] for o in row] for row in result] == [[3, 0, 1], [], [3, 0, 1]]


def test_scikit_learns_neighbours_and_clusters() -> None:
    random = np.random.default_rng(1)
    matrix, queries = random.normal(size=(200, 8)), random.normal(size=(50, 8))
    column = pa.array(list(queries), pa.list_(pa.float64()))
    for metric in ("cosine", "euclidean"):
        search = NearestNeighbors(n_neighbors=5, metric=metric, algorithm="brute").fit(matrix)
        distances, indices = search.kneighbors(queries)
        with on_device("cpu"):
            result = kernels.top_k(column, matrix=matrix, k=5, metric=metric).to_pylist()
        assert [[o["index"] for o in row] for row in result] == indices.tolist()
        scores = np.array([[o["score"] for o in row] for row in result])
        np.testing.assert_allclose(1 - scores if metric == "cosine" else scores, distances, atol=1e-12)
    clusters = KMeans(6, n_init=1, random_state=0).fit(matrix)
    with on_device("cpu"):
        nearest = kernels.top_k(column, matrix=clusters.cluster_centers_, k=1, metric="euclidean").to_pylist()
    assert [row[0]["index"] for row in nearest] == clusters.predict(queries).tolist()


def test_what_does_not_fit_is_named() -> None:
    column = pa.array([None, [1.0, 2.0]])
    for options, said in (
        ({"matrix": [[1.0]], "k": 1}, "row 1 of the batch has a vector of 2 numbers, and the matrix has rows of 1"),
        ({"matrix": [[1.0, 2.0]], "k": 0}, "k=0 must be at least 1"),
        ({"matrix": [1.0, 2.0], "k": 1}, r"Constant of \(2,\) float64>, and must be numeric, with rows"),
        ({"matrix": [[1.0, 2.0]], "k": 1, "metric": "manhattan"}, "'manhattan' is not one of cosine, dot, euclidean"),
    ):
        with pytest.raises(CallError, match=said):
            kernels.top_k(column, **options)


@pytest.mark.parametrize("device", ["cpu"])
def test_on_spark_columns(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.createDataFrame([([3.0, 4.0],), (None,), ([-1.0, 0.0],)], "v array<float>").coalesce(1)
    matrix = gs.Constant(np.array([[1, 0], [0, 1], [1, 0]], "f4"))
    gs.ledger(spark).clear()
    made = frame.select(functions.top_k("v", matrix=matrix, k=2, metric="dot").alias("near")).collect()
    assert [None if r.near is None else [tuple(n) for n in r.near] for r in made] == [
        [(1, 4.0), (0, 3.0)],
        None,
        [(1, 0.0), (0, -1.0)],
    ]
    [record] = gs.ledger(spark).records
    assert (record.function, record.device, record.rows) == ("top_k", device, 3)


# Samples: see tests/support/kernel_samples.py


def sample_top_k() -> Any:
    """Of a matrix in two slices."""
    return kernels.top_k(pa.array([[1.0, 0.2], None]), matrix=np.sin(np.arange(256.0)).reshape(128, 2), k=1)
