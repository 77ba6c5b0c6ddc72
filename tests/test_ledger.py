"""The ledger as the driver reads it: rows, batches, devices and reasons are exact."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
import pytest

import gpuspark as gs
from gpuspark.accounting import report
from gpuspark.accounting.report import Ledger
from gpuspark.errors import ConfigError
from gpuspark.spark.session import WORKER_LOGGING
from tests.support.devices import DEVICES


def triple(n):
    return n * 3


def negate(n):
    return -n


@pytest.fixture
def clean(spark):
    gs.ledger(spark).clear()
    return spark


def shifted(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    for batch in batches:
        yield batch + 1


def _summaries(spark):
    return {s.function: s for s in gs.ledger(spark).summary()}


@pytest.mark.parametrize("device", DEVICES)
def test_rows_batches_and_device_are_exact(clean, device) -> None:
    clean.conf.set("spark.gpuspark.device", device)
    frame = clean.range(0, 25_000, 1, 3)
    f, g = gs.udf(triple, "bigint"), gs.udf(negate, "bigint")
    frame.select(f("id"), g("id")).write.format("noop").mode("overwrite").save()
    for summary in _summaries(clean).values():
        assert summary.rows == 25_000
        assert summary.batches == 3
        assert summary.devices == {device: 25_000}
        assert summary.tasks == 3
        assert summary.bytes_in == 25_000 * 8


def test_few_tasks_read_the_lines_of_many(clean) -> None:
    frame = clean.range(0, 40, 1, 40).select(gs.udf(triple, "bigint")("id"))
    frame.write.format("noop").mode("overwrite").save()
    context, group = clean.sparkContext, "reading the ledger"
    context.setJobGroup(group, group)
    (summary,) = gs.ledger(clean).summary()
    context.setLocalProperty("spark.jobGroup.id", None)
    assert summary.tasks == 40
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    assert jobs
    assert {tracker.getStageInfo(stage).numTasks for job in jobs for stage in job.stageIds} == {report._READERS}


def test_chains_filters_empty_partitions_and_two_actions(clean) -> None:
    f, g = gs.udf(triple, "bigint"), gs.udf(negate, "bigint")
    frame = clean.range(0, 1000, 1, 4).where("id < 250")
    chained = frame.select(f(g("id")))
    for _ in range(2):
        chained.write.format("noop").mode("overwrite").save()
    assert {name: s.rows for name, s in _summaries(clean).items()} == {"triple": 500, "negate": 500}


def test_under_a_limit_only_the_rows_that_spark_passed_in_count(clean) -> None:
    f = gs.udf(triple, "bigint")
    assert clean.range(0, 100_000, 1, 1).limit(2).select(f("id").alias("v")).collect()[1].v == 3
    (summary,) = gs.ledger(clean).summary()
    assert summary.rows == 2


def test_batch_and_series_functions_count_too(clean) -> None:
    def body(batches):
        for batch in batches:
            yield batch.select(["id"])

    gs.map_in_arrow(clean.range(0, 5000, 1, 2), body, "id bigint").write.format("noop").mode("overwrite").save()
    series = gs.pandas_udf(lambda v: v, "bigint")
    clean.range(0, 3000, 1, 2).select(series("id")).write.format("noop").mode("overwrite").save()
    clean.range(0, 2000, 1, 2).select(gs.pandas_udf(shifted, "bigint")("id")).write.format("noop").mode(
        "overwrite"
    ).save()
    counted = {name: s.rows for name, s in _summaries(clean).items()}
    assert counted == {"body": 5000, "<lambda>": 3000, "shifted": 2000}


def test_reasons_of_a_fallback_are_kept(clean) -> None:
    clean.conf.set("spark.gpuspark.fallback", "silent")
    text = gs.udf("string")(lambda n: str(n))
    clean.range(10).select(text("id")).collect()
    (summary,) = gs.ledger(clean).summary()
    assert summary.devices == {"python": 10}
    assert any("the result is string" in reason for reason in summary.reasons)
    assert "not on cpu: the result is string" in str(gs.ledger(clean))


def test_the_ledger_can_be_switched_off(clean) -> None:
    clean.conf.set("spark.gpuspark.ledger", "false")
    clean.conf.unset(WORKER_LOGGING)
    clean.range(10).select(gs.udf(triple, "bigint")("id")).collect()
    assert gs.ledger(clean).records == []
    assert clean.conf.get(WORKER_LOGGING, "false") == "false"  # Spark is not asked to collect anything


def test_an_unknown_key_raises(clean) -> None:
    clean.conf.set("spark.gpuspark.fallbak", "raise")
    with pytest.raises(ConfigError, match="fallback"):
        gs.ledger(clean)


def _line(number, attempt=0, task=1, rows=10):
    return {
        "function": "f", "device": "cpu", "reasons": [], "rows": rows, "batches": 1, "bytes_in": 80, "bytes_out": 80,
        "seconds": {"run": 0.5}, "retries": 0, "stage": 0, "partition": 0, "attempt": attempt, "call": "c",
        "task": task, "execution": 3, "sender": "s", "number": number,
    }  # fmt: skip


def test_the_last_attempt_counts_and_gaps_are_missing() -> None:
    ledger = Ledger([_line(0, attempt=0, task=1), _line(1, attempt=1, task=2), _line(4, attempt=1, task=2, rows=5)])
    assert [r.rows for r in ledger.records] == [15]
    assert [r.rows for r in ledger.superseded] == [10]
    assert ledger.missing == 2
    assert "2 records are missing" in str(ledger)
    assert "1 records of attempts" in str(ledger)


NO_DRIVER = "cuda: there is no NVIDIA driver on this machine"


def test_what_the_machine_lacks_is_said_once() -> None:
    f = _line(0) | {"reasons": [NO_DRIVER, "cpu: a set"]}
    g = _line(1) | {"function": "g", "call": "d", "reasons": [NO_DRIVER, f"{NO_DRIVER} (in haversine)"]}
    printed = str(Ledger([f, g]))
    assert printed.count(NO_DRIVER) == 1
    assert printed.endswith(f"\nnot on {NO_DRIVER}\nf: not on cpu: a set")


def test_a_reason_that_not_all_functions_have_names_those_that_have_it() -> None:
    functions = {name: _line(n) | {"function": name, "call": name} for n, name in enumerate("fgh")}
    shared = [functions[name] | {"reasons": ["cpu: a set"]} for name in "fg"]
    assert str(Ledger([*shared, functions["h"]])).endswith("\nf, g: not on cpu: a set")
    assert str(Ledger(shared[:1])).endswith("\nf: not on cpu: a set")


def test_pandas_and_html_hold_the_same_numbers() -> None:
    ledger = Ledger([_line(0)])
    frame = ledger.to_pandas()
    assert (frame.rows.sum(), frame.seconds_run.sum()) == (10, 0.5)
    assert "<td>10</td>" in ledger._repr_html_()
    assert json.dumps(ledger.summary()[0].devices) == '{"cpu": 10}'
