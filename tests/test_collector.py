from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.spark import collector
from gpuspark.testing import run_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


@pytest.fixture
def in_a_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(collector, "running_task", object)
    monkeypatch.setattr(collector, "_modules", 0)
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("in_a_task")
def test_what_is_loaded_is_exempt_once_and_again_when_much_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    collector.exempt_loaded_modules()
    exempt = gc.get_freeze_count()
    assert exempt > 10_000
    later = [[number] for number in range(1000)]
    collector.exempt_loaded_modules()
    assert gc.get_freeze_count() < exempt + len(later)
    for number in range(collector.MORE_MODULES):
        monkeypatch.setitem(sys.modules, f"loaded_later_{number}", ModuleType("loaded_later"))
    collector.exempt_loaded_modules()
    assert gc.get_freeze_count() >= exempt + len(later)


@pytest.mark.usefixtures("in_a_task")
def test_outside_a_task_nothing_is_exempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "running_task", lambda: None)
    collector.exempt_loaded_modules()
    assert gc.get_freeze_count() == 0


def test_a_placement_exempts_what_it_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr("gpuspark.execution.placement.exempt_loaded_modules", lambda: calls.append(True))
    run_on("cpu", gs.udf("bigint")(lambda a: a + 1), pa.table({"a": [1]}))
    assert calls == [True]


def test_a_task_of_spark_is_known_to_be_one(spark: SparkSession) -> None:
    from pyspark.sql import functions

    def in_task(_: int) -> bool:
        return collector.running_task() is not None

    assert [row[0] for row in spark.range(2).select(functions.udf(in_task, "boolean")("id")).collect()] == [True, True]
