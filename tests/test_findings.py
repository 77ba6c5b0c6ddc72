"""Findings of the emulator's checkers, and of the comparison with Python, in the ledger of the failed task."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.accounting.report import Ledger
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.errors import DeviceFault, DeviceLost, VerificationError
from gpuspark.execution.findings import finding
from tests.support import faulty


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceFault("f: a race", checker="races"), ["found on emulated: races: f: a race"]),
        (DeviceFault("a handle"), ["found on emulated: DeviceFault: a handle"]),
        (VerificationError("f gave 1"), ["found on emulated: comparison with Python: f gave 1"]),
        (DeviceLost("gone"), ["found on emulated: DeviceLost: gone"]),
        (ZeroDivisionError("division by zero"), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_that_are_findings(error, expected) -> None:
    assert finding(error, "emulated") == expected


def test_an_instruction_unknown_to_the_emulator_is_a_finding() -> None:
    [result] = finding(PtxError(3, "fly.b64", "unknown"), "emulated")
    assert result.startswith("found on emulated: PtxError: PTX line 3")


def values(spark, rows: int = 1000):
    return spark.range(0, rows, 1, 2).selectExpr("cast(id as double) a")


def run_and_fail(spark, frame, match: str) -> Ledger:
    gs.ledger(spark).clear()
    with pytest.raises(Exception, match=match):
        frame.write.format("noop").mode("overwrite").save()
    return gs.ledger(spark)


def test_a_fault_in_a_task_is_an_error_and_named_in_the_ledger(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    book = run_and_fail(spark, values(spark).select(faulty.out_of_bounds()("a")), "DeviceFault.*no memory for 8 bytes")
    [result] = [finding for record in book.records for finding in record.findings]
    assert re.match(r"found on emulated: bounds: planted: no memory for 8 bytes.*\bblock \(1, 0, 0\)", result)
    assert f"twice: {result}" in str(book)
    assert "not on found" not in str(book)
    assert "found on emulated: bounds" in book._repr_html_()
    assert sum(record.rows for record in book.records) == 500  # of the other partition


def test_a_mismatch_in_a_task_is_named_in_the_ledger(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    spark.conf.set("spark.gpuspark.verify.fraction", "1")
    book = run_and_fail(spark, values(spark).select(faulty.mismatch()("a")), "VerificationError")
    [result] = [result for record in book.records for result in record.findings]
    assert result.startswith("found on cpu: comparison with Python: twice gave 1802.0 on cpu and 1802.001 in Python")


def test_a_function_called_in_a_batch_body_is_named_too(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    function = faulty.out_of_bounds()

    def body(batches):
        for batch in batches:
            yield batch.with_column("b", function(batch["a"])).select(["b"])

    book = run_and_fail(spark, gs.map_in_arrow(values(spark), body, "b double"), "DeviceFault")
    [(name, result)] = [(record.function, result) for record in book.records for result in record.findings]
    assert name == "body"
    assert result.startswith("found on emulated: bounds: planted: no memory")
    assert result.endswith("(in twice)")


def test_an_error_of_the_body_is_no_finding(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "emulated")
    frame = values(spark).select(gs.udf("double")(lambda a: 1 / (a - 7))("a"))
    assert [r.findings for r in run_and_fail(spark, frame, "ZeroDivisionError").records if r.findings] == []


def test_findings_of_failed_attempts_are_kept() -> None:
    line = {
        "function": "f", "device": "emulated", "reasons": [], "rows": 10, "batches": 1, "bytes_in": 80, "bytes_out": 80,
        "seconds": {"run": 0.5}, "retries": 0, "stage": 0, "partition": 0, "attempt": 1, "call": "c", "task": 2,
        "execution": 3, "sender": "s", "number": 1,
    }  # fmt: skip
    failed = line | {"attempt": 0, "task": 1, "number": 0, "rows": 0, "reasons": ["found on emulated: races: f: x"]}
    book = Ledger([failed, line])
    assert [record.findings for record in book.records] == [[]]
    assert [record.findings for record in book.superseded] == [["found on emulated: races: f: x"]]
    assert "f: found on emulated: races: f: x" in str(book)


def test_no_capsule_is_written_unless_asked_for() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        gs.udf("double")(lambda a: 1 / a)(pa.array([0.0]))
    assert "capsule" not in " ".join(raised.value.__notes__)
