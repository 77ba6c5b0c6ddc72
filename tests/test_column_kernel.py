"""Kernels over whole columns: the results that their authors may return, and those that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gpuspark.columns.layout import numbers
from gpuspark.errors import CallError, ResultError
from gpuspark.kernels.spec import column_kernel


def kernel(compute: Any, result: str = "int") -> Any:
    described = column_kernel(result, parameters={"x": "numbers"}, unit="1", reference="here")
    return described(compute)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (pa.array([1.0, 2.0]), "returned a column of double, and is declared to return int: cast it"),
        (pa.array([1, 2], pa.int64()), "returned a column of bigint, and is declared to return int"),
        (pa.array([1], pa.int32()), "returned 1 rows for 2"),
        (np.array([1, 2], np.int32), "returned a ndarray, not an Arrow array"),
    ],
)
def test_results_that_do_not_fit_the_declaration_are_refused(made: Any, message: str) -> None:
    def counts(x):
        return made

    with pytest.raises(ResultError, match=f"counts {message}"):
        kernel(counts)(pa.array([1, 2]))


def test_results_have_the_class_of_the_first_column() -> None:
    def lists_of(x):
        return pa.array([[value] for value in x.to_pylist()])

    assert kernel(lists_of, "array<bigint>")(pa.array([1, None])).to_pylist() == [[1], [None]]


def test_columns_of_other_types_are_named() -> None:
    def counts(x):
        return pa.array(numbers(x, "x"), pa.int32())

    with pytest.raises(CallError, match="x is a column of string, and must be numeric: cast it"):
        kernel(counts)(pa.array(["a"]))
