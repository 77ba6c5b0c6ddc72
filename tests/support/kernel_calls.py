"""Calls of every kernel on generated rows, each with an oracle, for :mod:`tests.proof.gpu_kernels`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

import gpuspark as gs
from gpuspark import kernels
from gpuspark.bench.cases import (
    asian_option,
    haversine,
    levenshtein,
    models,
    point_in_polygon,
    scalar,
    segments,
    shingles,
    similarity,
    top_k,
)
from gpuspark.bench.option_value import value, value_numpy
from gpuspark.models.estimators import read_model

ROWS = (100_000, 1_000_000, 10_000_000)
FEWER = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Call:
    """A kernel to call, and what its result is compared with."""

    run: Callable[[], Any]
    oracle: Callable[[], Any] | None = None
    """``None``: compared with gpuspark on the CPU."""


@dataclass(frozen=True)
class KernelCase:
    """A kernel with its numbers of rows."""

    name: str
    rows: tuple[int, ...]
    call: Callable[[int], Call]
    """Returns the call for a number of rows."""
    tolerance: float = 1e-9
    """Relative and absolute."""
    flags: dict[str, Any] = field(default_factory=dict)
    """Fields of :class:`gpuspark.config.Config`."""


def kernel_cases(*, tiny: bool) -> Iterator[KernelCase]:
    """Yields the cases, the slow ones last; with ``tiny`` with small constants."""
    yield KernelCase("haversine", ROWS, great_circles)
    yield KernelCase("scalar_light", ROWS, partial(scalar_function, scalar.light, scalar.option_rows, scalar.light))
    heavy = partial(scalar_function, value, scalar.option_rows, value_numpy)
    yield KernelCase("scalar_heavy", ROWS, heavy)
    for size in (64 << 20, 1 << 30):
        name = f"scalar_heavy, {size >> 20} MiB a run"
        yield KernelCase(name, ROWS[-1:], heavy, flags={"target_bytes": size})
    yield KernelCase("scalar_heavy, native", ROWS, heavy, flags={"arithmetic": "native"})
    nulls = partial(scalar_function, value, scalar.rows_with_nulls, value_numpy)
    yield KernelCase("scalar_nulls", ROWS, nulls)
    wide = partial(scalar_function, scalar.squares, scalar.wide_rows, scalar.squares)
    yield KernelCase("scalar_wide", FEWER, wide)
    for name in ("dot_product", "euclidean_distance", "cosine_similarity"):
        yield KernelCase(name, FEWER, partial(vectors, name), 1e-6)
    yield KernelCase("rolling", ROWS, partial(series, "rolling", 100), 1e-6)
    yield KernelCase("ewm_mean of 40", ROWS, partial(series, "ewm_mean", 40), 1e-6)
    yield KernelCase("ewm_mean of 10,000", ROWS, partial(series, "ewm_mean", 100 if tiny else 10_000), 1e-6)
    ring = point_in_polygon.outline(1_000, 3)
    yield KernelCase("within", ROWS, partial(points, "within", [ring]))
    yield KernelCase("point_in_polygon", ROWS, partial(points, "point_in_polygon", point_in_polygon.outlines()))
    yield KernelCase("levenshtein", FEWER, partial(edit_distances, None))
    yield KernelCase("levenshtein, cutoff", FEWER, partial(edit_distances, levenshtein.CUTOFF))
    yield KernelCase("lsh_bands", FEWER, bands)
    yield KernelCase("minhash", FEWER[:2], signatures)
    yield KernelCase("jaccard", FEWER[:2], shared_shingles)
    yield KernelCase("linear_model", FEWER, partial(predictions, models.logistic))
    yield KernelCase("tree_ensemble", FEWER, partial(predictions, models.forest))
    yield KernelCase("top_k of 10,000", (1_000, 10_000, 100_000), partial(nearest, 100 if tiny else 10_000), 1e-5)
    yield KernelCase("holt_winters", (8_400, 84_000, 840_000), forecasts, 1e-6)
    yield KernelCase("asian_option", (1_000, 10_000, 100_000), partial(options, 10 if tiny else asian_option.PATHS))


def columns(table: pa.Table) -> list[pa.Array]:
    """Returns the columns of a table, each in one piece."""
    return [column.combine_chunks() for column in table.columns]


def scalar_function(
    body: Callable[..., Any], table: Callable[[int], pa.Table], oracle: Callable[..., Any], rows: int
) -> Call:
    function, given = gs.udf("double")(body), columns(table(rows))
    return Call(
        lambda: function(*given),
        lambda: oracle(*(column.to_numpy(zero_copy_only=False) for column in given)),
    )


def great_circles(rows: int) -> Call:
    given = columns(haversine.places(rows))

    def oracle() -> Any:
        p1, l1, p2, l2 = (np.radians(column) for column in given)
        h = np.sin((p2 - p1) / 2) ** 2 + np.cos(p1) * np.cos(p2) * np.sin((l2 - l1) / 2) ** 2
        return haversine.DIAMETER * np.arcsin(np.sqrt(np.minimum(h, 1.0)))

    return Call(lambda: kernels.haversine(*given), oracle)


def vectors(name: str, rows: int) -> Call:
    given = columns(similarity.vectors(rows))

    def oracle() -> Any:
        x, y = (column.flatten().to_numpy().astype("f8").reshape(rows, -1) for column in given)
        if name == "euclidean_distance":
            return np.sqrt(((x - y) ** 2).sum(1))
        dot = (x * y).sum(1)
        return dot if name == "dot_product" else dot / np.sqrt((x * x).sum(1) * (y * y).sum(1))

    return Call(lambda: getattr(kernels, name)(*given), oracle)


def series(name: str, size: int, rows: int) -> Call:
    table = segments.rows_of_groups(size, rows).sort_by([("k", "ascending"), ("t", "ascending")])
    x, offsets = table["x"].combine_chunks(), np.arange(max(rows // size, 1) + 1) * size
    groups = table.to_pandas().groupby("k").x
    if name == "rolling":
        return Call(
            lambda: kernels.rolling(offsets, x, segments.WINDOW, "mean"),
            lambda: groups.rolling(segments.WINDOW).mean(),
        )
    return Call(
        lambda: kernels.ewm_mean(offsets, x, segments.ALPHA, adjust=False),
        lambda: groups.ewm(alpha=segments.ALPHA, adjust=False).mean(),
    )


def points(name: str, rings: list[Any], rows: int) -> Call:
    polygons = kernels.Polygons([[ring] for ring in rings])
    x, y = columns(point_in_polygon.points(rows))

    def oracle() -> Any:
        import shapely

        inside = [shapely.contains_xy(shapely.Polygon(ring), x.to_numpy(), y.to_numpy()) for ring in rings]
        first = np.argmax(inside, axis=0)
        return np.any(inside, axis=0) if name == "within" else np.where(np.any(inside, axis=0), first, -1)

    return Call(lambda: getattr(kernels, name)(x, y, polygons=polygons), oracle)


def edit_distances(cutoff: int | None, rows: int) -> Call:
    a, b = columns(levenshtein.texts(rows, 60, 120))

    def oracle() -> Any:
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cpdist

        distances = cpdist(a.to_pylist(), b.to_pylist(), scorer=Levenshtein.distance, score_cutoff=cutoff)
        return distances if cutoff is None else np.where(distances > cutoff, -1, distances.astype("i4"))

    return Call(lambda: kernels.levenshtein(a, b, cutoff=cutoff), oracle)


def bands(rows: int) -> Call:
    (signature,) = columns(shingles.number_rows(rows))
    return Call(lambda: kernels.lsh_bands(signature, bands=shingles.BANDS))


def signatures(rows: int) -> Call:
    text = shingles.texts(rows)["a"].combine_chunks()
    return Call(lambda: kernels.minhash(text, shingle=shingles.SHINGLE))


def shared_shingles(rows: int) -> Call:
    a, b = columns(shingles.texts(rows))
    length = shingles.SHINGLE

    def oracle() -> Any:
        sets = [[{t[i : i + length] for i in range(len(t) - length + 1)} for t in c.to_pylist()] for c in (a, b)]
        return [len(x & y) / len(x | y) for x, y in zip(*sets, strict=True)]

    return Call(lambda: kernels.jaccard(a, b, shingle=length), oracle)


def predictions(model: Callable[[], Any], rows: int) -> Call:
    fitted, given = model(), columns(models.features(rows))
    scorer = read_model(fitted)
    matrix = np.stack([column.to_numpy() for column in given], axis=1)
    return Call(lambda: scorer.compute(given, models.NAMES, "prediction"), lambda: fitted.predict(matrix))


def nearest(searched: int, rows: int) -> Call:
    matrix, given = top_k.matrix(searched), top_k.vectors(rows)["v"].combine_chunks()
    constant = gs.Constant(matrix)

    def oracle() -> Any:
        products = given.flatten().to_numpy().astype("f8").reshape(rows, -1) @ matrix.T.astype("f8")
        return -np.sort(-products, axis=1)[:, :10].reshape(-1)

    return Call(
        lambda: kernels.top_k(given, matrix=constant, k=10, metric="dot").flatten().field("score"),
        oracle,
    )


def forecasts(rows: int) -> Call:
    table = segments.series_of_days(max(rows // segments.SERIES_ROWS, 1))
    (batch,) = table.sort_by([("k", "ascending"), ("t", "ascending")]).combine_chunks().to_batches()
    offsets = np.arange(batch.num_rows // segments.SERIES_ROWS + 1) * segments.SERIES_ROWS
    days = gs.Segments(gs.Batch.from_arrow(batch), offsets, ["k"])

    def run() -> Any:
        fitted = kernels.holt_winters(days, "x", season=segments.SEASON, horizon=segments.HORIZON)
        return fitted.forecasts["forecast"]

    return Call(run)


def options(paths: int, rows: int) -> Call:
    given = columns(asian_option.options(rows))
    market = (asian_option.RATE, asian_option.VOLATILITY)
    return Call(lambda: kernels.asian_option(*given, *market, steps=asian_option.STEPS, paths=paths))
