"""Kernels over whole columns: what their authors may make, and what is refused by name."""

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
    ("made", "said"),
    [
        (pa.array([1.0, 2.0]), "made a column of double, and is declared to make int: cast it"),
        (pa.array([1, 2], pa.int64()), "made a column of bigint, and is declared to make int"),
        (pa.array([1], pa.int32()), "made 1 rows of 2"),
        (np.array([1, 2], np.int32), "made a ndarray, not an Arrow array"),
    ],
)
def test_what_does_not_fit_the_declaration_is_refused(made: Any, said: str) -> None:
    def counts(x):
        return made

    with pytest.raises(ResultError, match=f"counts {said}"):
        kernel(counts)(pa.array([1, 2]))


def test_what_fits_comes_as_what_was_given() -> None:
    def lists_of(x):
        return pa.array([[value] for value in x.to_pylist()])

    assert kernel(lists_of, "array<bigint>")(pa.array([1, None])).to_pylist() == [[1], [None]]


def test_columns_of_other_types_are_named() -> None:
    def counts(x):
        return pa.array(numbers(x, "x"), pa.int32())

    with pytest.raises(CallError, match="x is a column of string, and must be one of numbers: cast it"):
        kernel(counts)(pa.array(["a"]))
