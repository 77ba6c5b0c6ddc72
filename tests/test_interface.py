"""The public names that others rely on, spelled here once more: a change here needs a reason in the changelog."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest

import gpuspark as gs
from gpuspark import cli, functions, kernels, testing
from gpuspark.accounting.entries import PHASES, Record


def parameters(function: object) -> list[str]:
    """Each parameter with its default."""
    result = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in result]


def test_the_package() -> None:
    names = "Batch Column Constant Ledger Out Plan Scratch Segments apply_in_segments array_function functions info"
    names += " kernels ledger map_in_arrow pandas_udf Scan scan_delta scan_parquet score"
    assert sorted(gs.__all__) == sorted([*names.split(), "__version__", "testing", "udf"])
    assert [name for name in gs.__all__ if getattr(gs, name, None) is None] == []


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (gs.udf, ["f=None", "returnType=None", "useArrow=None", "nulls='propagate'"]),
        (gs.pandas_udf, ["f=None", "returnType=None", "functionType=None", "missing='pandas'"]),
        (gs.map_in_arrow, ["df", "func", "schema", "barrier=False", "profile=None"]),
        (gs.apply_in_segments, ["df", "by", "func", "schema", "order_by=None"]),
        (gs.scan_parquet, ["spark", "path", "columns=None", "filters=None"]),
        (gs.scan_delta, ["spark", "path", "version=None", "columns=None", "filters=None"]),
        (gs.Scan.with_columns, ["self", "functions"]),
        (gs.Scan.where, ["self", "condition"]),
        (gs.Scan.select, ["self", "names"]),
        (gs.Scan.map_in_arrow, ["self", "func", "schema"]),
        (gs.Scan.aggregate, ["self", "by=()", "named"]),
        (gs.score, ["df", "model", "columns", "output='prediction'", "name=None"]),
        (gs.ledger, ["spark=None"]),
        (gs.info, []),
        (gs.Batch.from_arrow, ["batch", "device='cpu'"]),
        (gs.Batch.from_frame, ["frame", "schema=None"]),
        (gs.Batch.with_column, ["self", "name", "column"]),
        (gs.Batch.select, ["self", "names"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_signatures(function: object, expected: list[str]) -> None:
    assert parameters(function) == expected


def test_decorated_functions() -> None:
    f = gs.udf("double")(lambda a, b: a)
    assert callable(f.explain)
    assert callable(f.spark_udf)
    plan = f.explain(["double", "double"])
    assert isinstance(plan, gs.Plan)
    assert {"device", "reasons"} <= {field.name for field in dataclasses.fields(gs.Plan)}
    assert parameters(testing.assert_same_on_all_devices)[:2] == ["f", "table"]


def test_batches_and_columns() -> None:
    batch = "num_rows schema device xp to_frame from_frame to_arrow from_arrow with_column select __getitem__"
    column = "values validity __dlpack__ __dlpack_device__ __array_interface__ __cuda_array_interface__"
    made = gs.Batch({}, 0)
    assert [name for name in batch.split() if not hasattr(gs.Batch, name) and not hasattr(made, name)] == []
    assert [name for name in column.split() if name not in dir(gs.Column)] == []


def test_segments() -> None:
    segments = gs.Segments(gs.Batch({}, 0), np.zeros(1, np.int64), [])
    assert [name for name in ("offsets", "keys", "batch", "__getitem__") if not hasattr(segments, name)] == []


def test_kernels_and_column_functions() -> None:
    assert "haversine" in kernels.CATALOGUE
    assert set(functions.__all__) == set(kernels.CATALOGUE)
    assert set(kernels.CATALOGUE) <= set(kernels.__all__)  # type: ignore[attr-defined]
    assert parameters(kernels.haversine.__gpuspark_body__) == ["lat1", "lon1", "lat2", "lon2"]


def test_the_ledger_and_its_records() -> None:
    fields = [field.name for field in dataclasses.fields(Record)]
    expected = "function device reasons rows batches bytes_in bytes_out seconds retries stage partition attempt"
    assert fields[:12] == expected.split()
    assert PHASES == ("wait", "compile", "copy_in", "run", "copy_out")
    gs.ledger().clear()  # a test before this one may have run Spark
    ledger = gs.ledger()
    assert ledger.records == []
    assert [name for name in ("summary", "to_pandas", "clear") if not callable(getattr(ledger, name))] == []


def test_the_command_line() -> None:
    assert [command.callback.__name__ for command in cli.app.registered_commands if command.callback] == [
        "info",
        "demo",
        "check",
        "replay",
        "report",
    ]
    assert [group.name for group in cli.app.registered_groups] == ["bench"]
