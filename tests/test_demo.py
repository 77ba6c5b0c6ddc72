"""The demo, on the real flights."""

from __future__ import annotations

import json
from functools import partial

import pytest

from gpuspark.tools import demo
from tests.test_cli import gpuspark

FUNCTIONS = ["distance (scalar)", "delay score (series)", "distance (batch)"]


@pytest.fixture(scope="module")
def result() -> dict:
    done = gpuspark("demo", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_path_is_equal_to_plain_pyspark_on_all_flights(result) -> None:
    assert result["equal"]
    assert result["passed"]
    assert list(dict.fromkeys(row["function"] for row in result["rows"])) == FUNCTIONS
    assert {row["rows"] for row in result["rows"]} == {329_174}


@pytest.mark.slow
def test_each_function_ran_on_every_device_that_is_here(result) -> None:
    for function in FUNCTIONS:
        ran = {row["path"]: row for row in result["rows"] if row["function"] == function}
        assert {"plain PySpark", "device=auto", "device=cpu", "device=emulated", "device=python"} <= set(ran)
        assert ("device=sql" in ran) == ("scalar" in function)
        for path, row in ran.items():
            if path == "device=emulated" and "series" in function:
                assert row["device"] == "cpu"
                assert "cuDF" in row["reasons"][0]
            elif path.startswith("device=") and path != "device=auto":
                assert path == f"device={row['device']}"
                assert row["reasons"] == []


@pytest.mark.slow
def test_computed_and_recorded_distances_agree(result) -> None:
    assert result["strange_distances"] == 0
    assert "differ by 0.19% in the median" in result["distance"]


def _selected(trips, function):
    return trips.select(function("v"))


def test_a_wrong_value_a_missing_row_and_a_null_are_noticed(spark, monkeypatch) -> None:
    """Runs the demo's comparison over a small table, with bodies that are wrong on purpose."""
    trips = spark.range(100).selectExpr("cast(id as double) v")

    def cases(_trips):
        from pyspark.sql import functions as F

        import gpuspark as gs

        plain = F.udf(lambda v: v * 2.0, "double")
        bodies = {"right": lambda v: v * 2.0, "wrong": lambda v: v * 2.0 + (v == 99), "null": lambda v: v * 2.0 or None}
        for name, body in bodies.items():
            ours = gs.udf(body, "double")
            yield demo.Case(name, lambda: trips.select(plain("v")), partial(_selected, trips, ours))
        yield demo.Case(
            "short",
            lambda: trips.select(plain("v")),
            lambda: gs.map_in_arrow(trips, lambda batches: (b for b in batches if b["v"].values[0] < 50), "v double"),
        )

    spark.conf.set("spark.gpuspark.fallback", "silent")
    monkeypatch.setattr(demo, "cases", cases)
    monkeypatch.setattr(demo, "_devices", lambda: ["cpu"])
    monkeypatch.setattr(demo, "_against_recorded", lambda _trips: ("", 0))
    result = demo.compare(spark, trips)
    equal = {row.function: row.equal for row in result.rows if row.path == "device=cpu"}
    assert equal == {"right": True, "wrong": False, "null": False, "short": False}
    assert not result.passed
    assert str(result).count(" NO\n") == 3
    assert {row.device for row in result.rows if row.function == "right"} == {"-", "cpu"}


def test_distances_that_are_off_fail_the_demo() -> None:
    row = demo.Row("f", "device=cpu", "cpu", 1, 0.1, True, [])
    assert demo.Result([row]).passed
    assert not demo.Result([row], strange_distances=1).passed
    assert demo.Result([row], strange_distances=1).equal


def test_distances_are_compared_with_the_recorded_ones(spark) -> None:
    """From New York to Los Angeles are about 2,470 miles on the sphere; the last record is off by thirty."""
    place = "40.64 lat1, -73.78 lon1, 33.94 lat2, -118.41 lon2"
    trips = spark.sql(f"select {place}, distance from values (2472.0D), (2478.0D), (2500.0D) t(distance)")
    columns = [f"cast({name} as double) {name}" for name in (*demo.COORDINATES, "distance")]
    text, strange = demo._against_recorded(trips.selectExpr(*columns))
    assert strange == 1
    assert "for 1 flights by more than" in text


def test_times_of_the_emulator_are_labelled() -> None:
    emulated = demo.Row("f", "device=emulated", "emulated", 1, 0.1, True, [])
    assert "0.10 *" in str(demo.Result([emulated]))
    assert "not speed" in str(demo.Result([emulated]))
    assert "emulated" not in str(demo.Result([demo.Row("f", "device=cpu", "cpu", 1, 0.1, True, [])]))
