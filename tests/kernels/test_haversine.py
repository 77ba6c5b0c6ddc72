"""Haversine against the angle between two vectors in space, in fifty digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuspark import functions, kernels
from gpuspark.accounting.work import Work
from gpuspark.columns.types import parse
from gpuspark.config import Config
from gpuspark.execution.runner import Runner
from gpuspark.kernels.haversine import EARTH_RADIUS_KM
from tests.support.devices import CUDA, DEVICES

NAMES = ["lat1", "lon1", "lat2", "lon2"]
LATITUDE = st.floats(-90, 90)
LONGITUDE = st.floats(-180, 180)
PLACES = st.lists(st.tuples(LATITUDE, LONGITUDE, LATITUDE, LONGITUDE), min_size=1, max_size=20)


def distance(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    with mpmath.workdps(50):

        def vector(lat: float, lon: float) -> Any:
            phi, lam = mpmath.radians(lat), mpmath.radians(lon)
            return [mpmath.cos(phi) * mpmath.cos(lam), mpmath.cos(phi) * mpmath.sin(lam), mpmath.sin(phi)]

        (a, b, c), (d, e, f) = vector(lat1, lon1), vector(lat2, lon2)
        cross = mpmath.norm([b * f - c * e, c * d - a * f, a * e - b * d])
        return float(mpmath.mpf("6371.0088") * mpmath.atan2(cross, a * d + b * e + c * f))


def run(device: str, columns: list[pa.Array]) -> pa.Array:
    config = Config.from_mapping({"spark.gpuspark.device": device, "spark.gpuspark.fallback": "raise"})
    runner = Runner(kernels.haversine.scalar_function(NAMES), [parse("double")] * 4, config)
    assert runner.plan.device == device
    return runner.run(columns, Work())


@pytest.mark.parametrize("device", DEVICES)
@given(places=PLACES)
def test_every_device_measures_the_sphere(device: str, places: list[tuple[float, float, float, float]]) -> None:
    result = run(device, [pa.array(column, pa.float64()) for column in zip(*places, strict=True)]).to_pylist()
    for place, kilometres in zip(places, result, strict=True):
        # Towards the antipode, the square of the half chord (off by some 1e-16) nears 1, and the distance
        # grows by R / sqrt(1 - square) times as much: decimetres at worst.
        exact = distance(*place)
        steepness = 1 / max(math.cos(exact / EARTH_RADIUS_KM / 2), 1e-8)
        assert kilometres == pytest.approx(exact, rel=1e-12, abs=1e-9 + 1e-11 * steepness)


@pytest.mark.parametrize("device", DEVICES)
def test_nulls_nan_and_infinity(device: str) -> None:
    here = [pa.array([0.0, 0.0])] * 3
    assert run(device, [pa.array([None, 1.0]), *here])[0].as_py() is None
    assert math.isnan(run(device, [pa.array([math.nan, 1.0]), *here])[0].as_py())
    with pytest.raises(ValueError, match=r"math domain error|expected a finite input"):
        run(device, [pa.array([math.inf, 1.0]), *here])


@pytest.mark.parametrize("device", ["python", "cpu", CUDA])
def test_antipodes_are_half_way_round(device: str) -> None:
    """There the square of the half chord may come out a little above 1."""
    random = np.random.default_rng(7)
    lat, lon = random.uniform(-90, 90, 5000), random.uniform(-180, 180, 5000)
    columns = [pa.array(values) for values in (lat, lon, -lat, lon + 180)]
    assert run(device, columns).to_numpy() == pytest.approx(math.pi * EARTH_RADIUS_KM, rel=1e-7)


@pytest.mark.parametrize("device", DEVICES)
@given(
    places=st.lists(
        st.tuples(st.floats(-720, 720), st.floats(-720, 720), st.booleans(), st.floats(-1e-6, 1e-6)),
        min_size=1,
        max_size=20,
    )
)
def test_a_latitude_beyond_the_pole_is_a_place_on_the_other_side(device: str, places: list[Any]) -> None:
    """Each point beside the same one as seen over the pole, or a point near it: the square of the half chord is a
    difference of large numbers there, and may come out a little below 0."""
    rows = [(lat, lon, (180 if lat > 0 else -180) - lat + e, lon + (180 if up else -180)) for lat, lon, up, e in places]
    rows += [(91.0, 0.0, 89.0, 180.0), (-91.0, 0.0, -89.0, 180.0), (95.0, 0.0, 85.0, -180.0)]
    result = run(device, [pa.array(column, pa.float64()) for column in zip(*rows, strict=True)]).to_pylist()
    for row, kilometres in zip(rows, result, strict=True):
        assert 0.0 <= kilometres == pytest.approx(distance(*row), rel=1e-4, abs=1e-3)


def example(function: Callable[..., Any]) -> str:
    """What the docstring's example selects."""
    (line,) = [line for line in (function.__doc__ or "").splitlines() if "frame.select(" in line]
    return line.strip().removeprefix("frame.select(").removesuffix(")")


def test_on_spark_columns_series_and_numbers(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    random = np.random.default_rng(1)
    places = [[float(v) for v in random.uniform(-90, 90, 4) * [1, 2, 1, 2]] for _ in range(200)]
    frame = spark.createDataFrame(places, ", ".join(f"{name} double" for name in NAMES))
    result = [row.km for row in frame.select(functions.haversine(*NAMES).alias("km")).collect()]
    assert result == pytest.approx([distance(*place) for place in places], rel=1e-9)
    from_here = [row[0] for row in frame.select(functions.haversine("lat1", "lon1", 0, lon2=7.5)).collect()]
    assert from_here == pytest.approx([distance(lat, lon, 0, 7.5) for lat, lon, *_ in places], rel=1e-9)
    here_to_there = functions.haversine(0, 0.5, 0, lon2=7.5)
    assert frame.select(here_to_there).first()[0] == pytest.approx(distance(0, 0.5, 0, 7.5), rel=1e-9)
    assert frame.select(eval(example(functions.haversine), {"functions": functions})).count() == 200
    pandas = pd.DataFrame(places, columns=NAMES, index=range(100, 300))
    series = kernels.haversine(*(pandas[name] for name in NAMES))
    assert list(series.index) == list(pandas.index)
    assert list(series) == result
    assert kernels.haversine(*places[0]) == result[0]


def test_its_spec_is_whole() -> None:
    spec = kernels.CATALOGUE["haversine"].spec
    assert list(spec.parameters) == NAMES
    assert (spec.result, spec.unit) == ("double", "kilometres")
    assert "Sinnott" in spec.reference
