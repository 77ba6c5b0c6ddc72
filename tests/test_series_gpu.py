"""Series bodies on cuDF: the control flow, with a stand-in for the library, and which columns can go there.

The stand-in proves nothing about cuDF itself.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.columns import cudf_form, cudf_meaning, pandas_form
from gpuspark.config import Config
from gpuspark.devices.protocol import Memory
from gpuspark.dialects import series_worker
from gpuspark.errors import FallbackError, OutOfMemory
from gpuspark.execution import placement
from gpuspark.execution.plan import Plan
from gpuspark.spark.session import TaskFacts


def of_package(name: str, source: str) -> dict:
    """Returns the names that ``source`` defines, as if the package ``name`` defined them."""
    namespace = {"__name__": f"{name}.core", "pd": pd}
    exec(source, namespace)
    return namespace


@pytest.fixture
def on_gpu(monkeypatch):
    """A maker of workers whose plan says cuda, whose device records its turns, and whose cuDF refuses ``describe`` and
    has no room for ``cumsum``."""
    source = (
        "class Series(pd.Series):\n"
        "    def describe(self): raise NotImplementedError('describe')\n"
        "    def cumsum(self): raise MemoryError('std::bad_alloc: out_of_memory: CUDA error')\n"
    )
    made = of_package("cudf", source)["Series"]
    steps: list[str] = []

    class Gpu:
        def memory(self) -> Memory:
            return Memory(1 << 30, 1 << 30)

        @contextmanager
        def turn(self, most):
            steps.append("permit")
            yield 0.0
            steps.extend(["trim", "returned"])

    def make(body, fallback="warn", least_rows=0):
        monkeypatch.setattr(cudf_form, "to_device", lambda column, *_: made(column))
        monkeypatch.setattr(cudf_meaning, "_install", lambda: None)
        monkeypatch.setattr(cudf_form, "to_host", lambda r: pd.Series(r) if isinstance(r, made) else r)
        monkeypatch.setattr(series_worker, "task_config", lambda: Config(fallback=fallback))
        monkeypatch.setattr(placement, "open_for_rapids", lambda *_: Gpu())
        monkeypatch.setattr(placement, "decide", lambda *_: Plan(body.__name__, "cuda", (), False))
        worker = series_worker.SeriesWorker(body, f"call of {body.__name__} {fallback}", "pandas", least_rows)
        worker.steps = steps
        return worker

    return make


def devices_of(worker) -> dict[str, int]:
    facts = TaskFacts(0, 0, 0, 0, None, (), None)
    return {record.device: record.rows for record in worker._entry.take(facts)}


def test_the_turn_is_held_while_a_body_has_a_batch_and_not_while_it_waits(on_gpu) -> None:
    seen = []

    def body(batches):
        for batch in batches:
            seen.append(list(worker.steps))
            yield batch + 1

    def batches():
        for n in range(2):
            worker.steps.append(f"Spark's batch {n}")
            yield pd.Series([1.0 * n])

    worker = on_gpu(body)
    assert [list(r) for r in worker.iterate(batches())] == [[1.0], [2.0]]
    turn = ["permit", "trim", "returned"]
    # After each result the body has the GPU again, until it asks for the next batch.
    assert worker.steps == ["Spark's batch 0", *turn, "permit", "trim", "returned", "Spark's batch 1", *turn, *turn]
    assert [steps[-1] for steps in seen] == ["permit", "permit"]
    assert devices_of(worker) == {"cuda": 2}


def test_without_room_one_batch_runs_on_pandas_and_the_next_on_the_gpu(on_gpu) -> None:
    full = [True]

    def body(v):
        return v.cumsum() if full[0] else v

    worker = on_gpu(body)
    assert worker.once([pd.Series([1.0, 2.0])], {}).tolist() == [1.0, 3.0]
    full[0] = False
    worker.once([pd.Series([1.0, 2.0, 3.0])], {})
    assert devices_of(worker) == {"cpu": 2, "cuda": 3}


def test_host_memory_that_runs_out_in_the_body_is_an_error(on_gpu) -> None:
    entered = []

    def body(v):
        entered.append(len(v))
        raise MemoryError("mine")

    with pytest.raises(MemoryError, match="mine"):
        on_gpu(body).once([pd.Series([1.0])], {})
    assert entered == [1]


def test_an_iterator_body_is_not_started_again(on_gpu) -> None:
    begun = []

    def body(batches):
        begun.append(1)
        for batch in batches:
            yield batch.describe()

    with pytest.raises(NotImplementedError) as error:
        list(on_gpu(body).iterate(iter([pd.Series([1.0])])))
    assert begun == [1]
    assert "cuDF lacks describe (test_series_gpu.py, line" in "".join(error.value.__notes__)
    assert "spark.gpuspark.device=cpu" in "".join(error.value.__notes__)


def test_a_body_that_cudf_refuses_runs_on_pandas_from_then_on(on_gpu) -> None:
    def body(v):
        v.describe()
        return v

    worker, column = on_gpu(body), pd.Series([1.0, 2.0])
    assert worker.once([column], {}) is column
    assert "cuDF lacks describe" in str(worker._engine.placement.retired("cuda"))
    assert "test_series_gpu.py, line" in str(worker._engine.placement.retired("cuda"))
    assert worker.once([column], {}) is column
    assert worker.steps == ["permit", "trim", "returned"]
    assert devices_of(worker) == {"cpu": 4}


def test_an_iterator_body_without_room_names_the_keys_to_lower(on_gpu) -> None:
    def body(batches):
        for batch in batches:
            yield batch.cumsum()

    with pytest.raises(OutOfMemory) as error:
        list(on_gpu(body).iterate(iter([pd.Series([1.0])])))
    assert "Lower spark.sql.execution.arrow.maxRecordsPerBatch" in "".join(error.value.__notes__)


def test_fallback_raise_forbids_pandas(on_gpu) -> None:
    def refused(v):
        return v.describe()

    with pytest.raises(FallbackError, match="cuDF lacks describe"):
        on_gpu(refused, fallback="raise").once([pd.Series([1.0])], {})


def test_the_bodys_own_error_is_not_a_fallback(on_gpu) -> None:
    def wrong(v):
        return v.no_such_thing

    worker = on_gpu(wrong)
    with pytest.raises(AttributeError, match="'Series' object has no attribute 'no_such_thing'"):
        worker.once([pd.Series([1.0])], {})
    assert devices_of(worker) == {}
    assert worker._engine.placement.retired("cuda") is None


def test_an_error_that_pandas_does_not_raise_is_no_error(on_gpu) -> None:
    def only_on_pandas(v):
        if type(v) is not pd.Series:
            raise ValueError("no lower bounds by row")
        return v + 1

    worker = on_gpu(only_on_pandas)
    assert worker.once([pd.Series([1.0])], {}).tolist() == [2.0]
    assert devices_of(worker) == {"cpu": 1}
    assert "not on pandas, the body raised ValueError: no lower" in str(worker._engine.placement.retired("cuda"))
    with pytest.raises(FallbackError, match="not on pandas, the body raised ValueError"):
        on_gpu(only_on_pandas, fallback="raise").once([pd.Series([1.0])], {})


def test_an_error_of_a_conversion_is_no_fallback(on_gpu, monkeypatch) -> None:
    def no_conversion(_: object) -> object:
        raise ValueError("a bug of ours")

    worker = on_gpu(lambda v: v)
    monkeypatch.setattr(cudf_form, "to_host", no_conversion)
    with pytest.raises(ValueError, match="a bug of ours"):
        worker.once([pd.Series([1.0])], {})


@pytest.mark.parametrize("missing", ["pandas", "cudf"])
def test_an_iterator_body_uses_cudf_only_where_it_need_not_start_again(missing) -> None:
    def over_batches(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        yield from batches

    worker = series_worker.SeriesWorker(over_batches, "call", missing, 0)
    engine, _ = worker._in_task(over_batches=True)
    reasons = [str(engine.placement.function.obstacles("cuda"))]
    reasons.append(str(gs.pandas_udf(over_batches, "double", missing=missing)._placed().obstacles("cuda")))
    assert ["cannot start again on pandas" in reason for reason in reasons] == [missing == "pandas"] * 2


WITH_A_FORM = (
    pd.Series([1.0, None]), pd.Series([1, 2]), pd.Series([True]), pd.Series(["a"]), pd.Series(["a"], dtype=object),
    pd.Series(pd.to_datetime(["2020-01-01"])), pa.array([1, None]), pa.array([1.0, None]), pa.array(["a"]),
    pa.array([True]), pa.array([0], pa.timestamp("us", "UTC")),
)  # fmt: skip
WITHOUT = (
    (pd.Series([decimal.Decimal(1)]), "Decimal"), (pd.Series([datetime.date(2020, 1, 1)]), "date"),
    (pd.Series([None, [1]]), "list"), (pd.DataFrame({"p": [1]}), "struct"), (pa.array([decimal.Decimal(1)]), "decimal"),
    (pa.array([datetime.date(2020, 1, 1)]), "date32"), (pa.array([[1]]), "list"), (pa.array([b"a"]), "binary"),
)  # fmt: skip
NULLS_DIFFER = (
    pd.Series(["a", None], dtype=object),
    pd.Series([True, None], dtype=object),
    pd.Series(["a", None]),
    pd.Series(pd.to_datetime(["2020-01-01", None])),
    pa.array(["a", None]),
    pa.array([True, None]),
    pa.array([0, None], pa.timestamp("us", "UTC")),
)


def test_columns_without_an_equal_cudf_form_stay_on_pandas() -> None:
    assert [cudf_form.obstacle(column, "pandas") for column in WITH_A_FORM] == [None] * len(WITH_A_FORM)
    for column, kind in WITHOUT:
        assert f"{kind}" in cudf_form.obstacle(column, "pandas")
    for column in NULLS_DIFFER:
        assert "nulls, which cuDF compares differently" in cudf_form.obstacle(column, "pandas")
        assert cudf_form.obstacle(column, "cudf") is None


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_columns_for_cudf_mean_the_same_as_pysparks_pandas_series(zone) -> None:
    """Before they are copied to cuDF, Arrow columns have the values that PySpark's converter gives pandas."""
    moments = pa.array([0, 1_600_000_000_000_000], pa.timestamp("us", zone))  # as Spark sends them
    columns = [
        pa.array([1, None, 3]), pa.array([1, 2], pa.int8()), pa.array([1.5, None], pa.float32()), pa.array(["a", "b"]),
        pa.array([True, False]), moments, pa.array([0], pa.timestamp("us")),
    ]  # fmt: skip
    for column in columns:
        (theirs,) = pandas_form.to_pandas([column], pandas_form.Conversion(zone))
        ours = cudf_form._with_pandas_meaning(column, "pandas", zone).to_pandas()
        pd.testing.assert_series_equal(ours, theirs, check_names=False, check_dtype=column.type != pa.float32())
    assert cudf_form._with_pandas_meaning(columns[0], "cudf", zone) is columns[0]
