"""One place decides where a function runs, warns, budgets its memory, and leaves a device that fails: alike in every
dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark import kernels
from gpuspark.accounting.work import Work
from gpuspark.columns.types import parse
from gpuspark.config import Config
from gpuspark.devices.protocol import Memory
from gpuspark.dialects import batch_worker, segments, series_worker
from gpuspark.dialects.batch_worker import BatchWorker
from gpuspark.dialects.group_starts import FIRST
from gpuspark.dialects.series_worker import SeriesWorker
from gpuspark.errors import DeviceLost, DeviceUnavailable, FallbackError, OutOfMemory
from gpuspark.execution import placement
from gpuspark.execution.array_arguments import parameter_of
from gpuspark.execution.array_runner import ArrayRunner, PlacedArray
from gpuspark.execution.frame_body import PlacedFrameBody
from gpuspark.execution.placement import Placeable, Placement, decide
from gpuspark.execution.plan import Plan
from gpuspark.execution.runner import PlacedScalar, Runner
from gpuspark.spark.session import WORKER_LOGGING, TaskFacts
from tests.support.worker_log import worker_log


@gs.udf("double")
def tripled(x):
    return 3 * x


@gs.array_function
def tripled_items(i, x, out):
    out[i] = 3 * x[i]


def placed_scalar(config: Config) -> Placeable:
    return PlacedScalar(tripled.scalar_function(["x"]), [parse("double")], config)


def placed_array(_config: Config) -> Placeable:
    parameters = tuple(map(parameter_of, (np.ones(3), gs.Out("float64", 3))))
    return PlacedArray("tripled_items", tripled_items.__gpuspark_body__, parameters)


def placed_body(_config: Config) -> Placeable:
    return PlacedFrameBody("body", "call of body", "the body needs")


class Gpu:
    """A device that is there, of which ``capacity`` bytes can be used."""

    name = "cuda"

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def memory(self) -> Memory:
        return Memory(self.capacity, self.capacity)

    @contextmanager
    def turn(self, _most: int) -> Iterator[float]:
        yield 0.0

    def forget(self) -> None:
        """Nothing is kept."""


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes placements believe that a task of Spark's runs, on the GPU with the address 0."""
    facts = TaskFacts(0, 0, 0, 0, None, ("0",), None)
    monkeypatch.setattr(placement, "task_facts", lambda: facts)
    monkeypatch.setattr(placement, "_failures", {})


@pytest.mark.parametrize("error", [DeviceLost("it fell off the bus"), OutOfMemory("it is full")])
@pytest.mark.parametrize("make", [placed_scalar, placed_array, placed_body])
def test_a_device_that_failed_for_a_function_is_not_tried_by_the_next_task(make, error, task, monkeypatch) -> None:
    opened = []

    def refuse(*_: object) -> Any:
        opened.append(1)
        raise error

    monkeypatch.setattr(placement, "open_device", lambda name, *more: refuse() if name == "emulated" else Gpu(1))
    monkeypatch.setattr(placement, "open_for_rapids", refuse)
    monkeypatch.setattr(placement, "absent_devices", lambda _config: {})
    monkeypatch.setattr("gpuspark.devices.discover.missing_rapids", lambda: None)
    config = Config(device="cuda" if make is placed_body else "emulated", fallback="silent")
    plans = [Placement(make(config), config).plan for _ in range(3)]
    assert len(opened) == 1
    assert {plan.device for plan in plans} == {"cpu"}
    assert all(str(error) in str(plan) for plan in plans)
    other = Config(device=config.device, fallback="silent", max_concurrent_tasks=1)
    Placement(make(other), other)
    assert len(opened) == 2, "another setting is another chance"


def test_a_busy_device_is_tried_again_by_the_next_task(task, monkeypatch) -> None:
    class Busy(DeviceUnavailable):
        busy = True  # type: ignore[assignment]

    opened = []

    def refuse(name: str, *_: object) -> Any:
        opened.append(name)
        if name == "emulated":
            raise Busy("another process has it")
        return Gpu(1)

    monkeypatch.setattr(placement, "open_device", refuse)
    config = Config(device="emulated", fallback="silent")
    for _ in range(2):
        assert Placement(placed_scalar(config), config).plan.device == "cpu"
    assert opened == ["emulated", "cpu"] * 2


def test_a_captured_value_without_a_digest_is_a_reason(task, monkeypatch) -> None:
    """It keeps a function off the compiler. It also has a part in the key of failures, and must not end the task."""
    monkeypatch.setattr(placement, "_failures", {"another function": {"cpu": "it failed"}})
    deep: tuple[object, ...] = (1.0,)
    for _ in range(400):
        deep = (deep, 2.0)
    function = gs.udf("double")(lambda x: x + deep[1]).scalar_function(["x"])
    assert function.body is not None
    config = Config(device="cpu", fallback="silent")
    runner = Runner(function, [parse("double")], config)
    assert runner.plan.device == "python"
    assert "nested too deeply" in str(runner.plan)
    assert runner.run([pa.array([1.0, None])], Work()).to_pylist() == [3.0, None]


def test_a_plan_that_fallback_forbids_is_an_error_after_a_failure_too(monkeypatch) -> None:
    def refuse(*_: object) -> Any:
        raise DeviceUnavailable("it is gone")

    monkeypatch.setattr(placement, "open_device", refuse)
    config = Config(device="emulated", fallback="raise")
    with pytest.raises(FallbackError, match="it is gone"):
        Placement(placed_scalar(config), config)


def test_every_obstacle_that_is_known_is_a_reason() -> None:
    plan = decide(placed_body(Config()), Config(device="cuda"), {"cuda": ["a column of date"]})
    assert "a column of date" in str(plan)


# --- memory budgets

BUDGET = Config(device="cuda", fallback="silent", memory_limit_fraction=0.5, max_concurrent_tasks=1)
REFUSED = r"bytes needed, 500 allowed by spark\.gpuspark\.memory\.limitFraction"


@pytest.fixture
def small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts frame bodies on a GPU, of which one batch may take 500 bytes."""
    monkeypatch.setattr(placement, "open_for_rapids", lambda *_: Gpu(1000))
    monkeypatch.setattr(placement, "decide", lambda function, *_: Plan(function.name, "cuda", (), False))
    for module in (series_worker, batch_worker):
        monkeypatch.setattr(module, "task_config", lambda: BUDGET)


def record_batches(rows: int) -> Iterator[pa.RecordBatch]:
    values = np.arange(float(rows))
    yield pa.record_batch({"k": np.zeros(rows, np.int64), "x": values, FIRST: values == 0})


def test_an_array_function_that_needs_more_than_its_budget_runs_elsewhere() -> None:
    config = Config(device="emulated", fallback="silent", emulated_memory=1 << 20, memory_limit_fraction=0.01)
    values = [np.arange(1000.0), gs.Out("float64", 1000)]
    body, parameters = tripled_items.__gpuspark_body__, tuple(map(parameter_of, values))
    runner, work = ArrayRunner("tripled_items", body, parameters, config), Work()
    (tripled_values,) = runner.run(1000, values, work)
    assert tripled_values.tolist() == [3.0 * n for n in range(1000)]
    assert runner.plan.device == "cpu"
    assert "allowed by spark.gpuspark.memory.limitFraction" in str(runner.plan)


def test_a_series_body_beyond_its_budget_runs_on_pandas(small_gpu) -> None:
    worker = SeriesWorker(lambda v: v + 1, "a call", "pandas", 0)
    assert worker.once([pd.Series(np.arange(100.0))], {}).tolist() == [n + 1.0 for n in range(100)]
    records = worker._entry.take(TaskFacts(0, 0, 0, 0, None, (), None))
    assert [(record.device, record.rows) for record in records] == [("cpu", 100)]
    assert any("allowed by spark.gpuspark.memory.limitFraction" in reason for reason in records[0].reasons)


def test_a_body_over_iterators_beyond_its_budget_says_what_to_lower(small_gpu) -> None:
    worker = SeriesWorker(lambda batches: (v + 1 for v in batches), "a call", "pandas", 0)
    with pytest.raises(OutOfMemory, match=REFUSED) as raised:
        list(worker.iterate(iter([pd.Series(np.arange(100.0))])))
    assert "maxRecordsPerBatch" in "".join(raised.value.__notes__)


def test_a_batch_beyond_its_budget_says_what_to_lower(small_gpu) -> None:
    worker = BatchWorker(lambda batches: batches, pa.schema([("x", pa.float64())]), "a call")
    with pytest.raises(OutOfMemory, match=rf"{REFUSED}.*Lower spark\.sql\.execution\.arrow\.maxRecordsPerBatch"):
        list(worker(record_batches(100)))


def test_whole_groups_beyond_their_budget_say_what_to_lower(small_gpu, monkeypatch) -> None:
    """Each of Spark's batches fits, and the group that they make does not."""
    monkeypatch.setattr(segments, "task_config", lambda: BUDGET)
    body = segments._Grouped(lambda groups: groups.batch, ["k"], marked=True)
    worker = BatchWorker(body, pa.schema([("k", pa.int64()), ("x", pa.float64())]), "a call")
    pieces = [batch.slice(start, 20) for batch in record_batches(40) for start in (0, 20)]
    with pytest.raises(OutOfMemory, match=r"640 bytes needed, 500 allowed"):
        list(worker(iter(pieces)))


# --- in Spark, dialect by dialect


def doubled(batches):
    for batch in batches:
        yield batch.select(["x"]).with_column("x", batch["x"].values * 2)


def warned_series(v: pd.Series) -> pd.Series:
    return v * 2


def warned_scalar(x):
    return x * 2


@gs.array_function
def warned_items(i, x, out):
    out[i] = 2 * x[i]


def warned_batches(batches):
    yield from doubled(batches)


def warned_segments(groups):
    return groups.batch.select(["x"])


def items(batches):
    for batch in batches:
        yield batch.select(["x"]).with_column(
            "x", warned_items(batch.num_rows, batch["x"], gs.Out("float64", batch.num_rows))
        )


JOBS: dict[str, Callable[[Any], Any]] = {
    "warned_scalar": lambda df: df.select(gs.udf("double")(warned_scalar)("x")),
    "warned_series": lambda df: df.select(gs.pandas_udf("double")(warned_series)("x")),
    "warned_batches": lambda df: gs.map_in_arrow(df, warned_batches, "x double"),
    "warned_segments": lambda df: gs.apply_in_segments(df, "k", warned_segments, "x double"),
    "warned_items": lambda df: gs.map_in_arrow(df, items, "x double"),
    "haversine": lambda df: df.select(kernels.haversine("x", "x", "x", "x")),
}
"""By the name of the function that a warning speaks of: a job of two tasks."""


def frame_of(spark: Any) -> Any:
    return spark.range(8, numPartitions=2).selectExpr("cast(id % 2 as bigint) as k", "cast(id as double) as x")


@pytest.mark.parametrize("function", JOBS)
def test_fallback_warns_once_for_each_process_and_function(function, spark) -> None:
    """Two processes run the tasks, so six tasks say it twice at most."""
    spark.conf.set("spark.gpuspark.device", "cuda")
    spark.conf.set("spark.gpuspark.fallback", "warn")
    for _ in range(3):
        JOBS[function](frame_of(spark)).collect()
    logged = worker_log(spark).where("logger = 'gpuspark' and level = 'WARNING'").collect()
    warnings = [row.msg for row in logged if row.msg.startswith(f"{function} runs on ")]
    assert 1 <= len(warnings) <= 2, warnings
    assert all("not on cuda: " in warning for warning in warnings)


@pytest.mark.parametrize("function", JOBS)
def test_a_silent_fallback_says_nothing(function, spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cuda")
    spark.conf.set("spark.gpuspark.fallback", "silent")
    before = worker_log(spark).where("logger = 'gpuspark'").count()
    JOBS[function](frame_of(spark)).collect()
    assert worker_log(spark).where("logger = 'gpuspark'").count() == before


@pytest.mark.parametrize("function", JOBS)
def test_switched_off_sparks_settings_stay_in_every_dialect(function, spark) -> None:
    spark.conf.set("spark.gpuspark.enabled", "false")
    before = spark.conf.get(WORKER_LOGGING, "unset")
    spark.conf.set(WORKER_LOGGING, "false")
    try:
        rows = JOBS[function](frame_of(spark)).collect()
        assert spark.conf.get(WORKER_LOGGING) == "false"
        assert len(rows) == 8
    finally:
        spark.conf.unset(WORKER_LOGGING) if before == "unset" else spark.conf.set(WORKER_LOGGING, before)
