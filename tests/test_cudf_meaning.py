"""What a series body may do on cuDF, with a class in its place that has cuDF's faults. What cuDF really gives is in
tests/test_series_cudf.py, which needs a GPU."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from gpuspark.columns.cudf_form import refused
from gpuspark.columns.cudf_meaning import cudf_meaning, guard, pandas_meaning
from gpuspark.columns.cudf_operations import Different


class MadeAtFirstUse:
    """An operator as cuDF defines it: its first use puts it into the class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, series, owner):
        setattr(owner, self.name, getattr(pd.Series, self.name))
        return getattr(owner if series is None else series, self.name)


@pytest.fixture
def series(monkeypatch) -> type[pd.Series]:
    class Texts:
        def __init__(self, owner: pd.Series) -> None:
            self.owner = owner

        def byte_count(self) -> Series:
            return Series(self.owner.map(lambda text: len(text.encode())))

        def len(self) -> Series:
            return Series(pd.Series(self.owner).str.len(), dtype="int32")

        def __getattr__(self, name: str):
            return lambda *arguments, **named: Series(getattr(pd.Series(self.owner).str, name)(*arguments, **named))

    class Series(pd.Series):  # type: ignore[misc]
        str = property(lambda self: Texts(self))
        __add__, __truediv__, __pow__, __floordiv__, __mod__ = map(
            MadeAtFirstUse, ("__add__", "__truediv__", "__pow__", "__floordiv__", "__mod__")
        )

        @property
        def _constructor(self):
            return Series

        @property
        def null_count(self) -> int:
            return self.attrs.get("nulls", 0) + sum(value is None for value in self)

        def __len__(self) -> int:
            return int(self.index.size)  # as cuDF does

        @property
        def empty(self) -> bool:
            return bool(self.index.size == 0)

        def shift(self, periods: int) -> Series:
            shifted = Series(pd.Series(self).shift(periods))
            shifted.attrs["nulls"] = abs(periods)
            return shifted

        def fillna(self, value) -> Series:
            return Series(pd.Series(self.values).fillna(value))

        def __mul__(self, other):
            product = pd.Series(self) * other
            return Series(product.astype("int8") if self.dtype.kind == "b" else product)

        def __array_function__(self, *arguments):
            return NotImplemented

    guard(Series)
    monkeypatch.setattr("gpuspark.columns.cudf_meaning._install", lambda: None)
    return Series


def values(column) -> list:
    return list(pd.Series(column))


def test_outside_nothing_is_checked(series) -> None:
    assert values(series([True, False]) * 2.5) == [2, 0]
    assert values(series([2.0, 1.0]).rank()) == [2.0, 1.0]


@pytest.mark.parametrize(
    ("body", "first", "why"),
    [
        (lambda v: v * 2.5, [True], "Series.__mul__ gives int8, pandas' float64"),
        (lambda v: v.rank(), [1.0], "Series.rank is not known"),
        (lambda v: np.fmod(v, 2.0), [1.0], "np.fmod is not known"),
        (lambda v: np.where(v > 0, 1, 2), [1.0], "np.where is not known"),
        (lambda v: v // 2.0, [1.0], "rounds quotients of floats"),
        (lambda v: v // 0, [1], "by zero"),
        (lambda v: v % v, [1], "by zero"),
        (lambda v: v**-1, [1], "negative powers"),
        (lambda v: 2**v, [1], "negative powers"),
        (lambda v: v.astype(int), [float("nan")], "Series.astype from float64 to int64"),
        (lambda v: v.astype(int), [1e19], "Series.astype from float64 to int64"),
        (lambda v: v.astype(str), [1.5], "Series.astype from float64 to str"),
        (lambda v: v.clip(upper=0.5), [1], "Series.clip with a float beside int64"),
        (lambda v: v.clip(lower=v), [1.0], "Series.clip with a Series"),
        (lambda v: v.where(v > 0, 2**70), [1], "Series.where with a int beside int64"),
        (lambda v: v.where(v > 0, True), [1], "Series.where with a bool beside int64"),
        (lambda v: v == "a", ["a", None], "compares nulls"),
        (lambda v: v.isin(["a"]), ["a", None], "compares nulls"),
        (lambda v: v.str.upper(), ["ß"], "not ASCII"),
        (lambda v: v.str.casefold(), ["a"], "Series.str.casefold is not known"),
        (lambda v: v.values, [1.0], "Series.values is not known"),
        (lambda v: v.map(abs), [1.0], "Series.map is not known"),
        (lambda v: v[:2], [1.0], "by labels or slices"),
        (lambda v: v.index * 2.5, [1.0], "Series.index is not known"),
        (lambda v: v.floordiv(other=0), [1], "with its operand by name"),
        (lambda v: v.eq(other=1), [1], "with its operand by name"),
        (lambda v: v.quantile(0.5, interpolation="nearest"), [1.0], "quantile with the parameter interpolation"),
        (lambda v: v.where([True], 0.0), [1.0], "by other than a Series of booleans"),
        (lambda v: np.greater(v, "a"), ["b", None], "compares nulls"),
        (lambda v: v.str.upper().str.contains(re.compile("A")), ["a"], "other than a text as its first argument"),
        (lambda v: v.str.contains("a.c"), ["abc"], "regular expressions differ"),
        (lambda v: v.str.contains("a", case=False), ["abc"], "contains with the parameter case"),
        (lambda v: v.str.split(",", expand=True), ["a"], "split with the parameter expand"),
        (lambda v: v + type(v)([1.0, 2.0]), [1.0], "different lengths"),
    ],
)
def test_what_differs_is_refused(series, body, first, why) -> None:
    column = series(first)
    for _ in range(2):  # also after cuDF has made an operator
        with pandas_meaning(), pytest.raises(Different, match=why.replace("(", r"\(")) as error:
            body(column)
        assert refused(error.value)


def test_the_number_of_rows_is_asked_of_cudf_itself(series) -> None:
    """cuDF takes it from the index, which a body may not use."""
    with pandas_meaning():
        assert (len(series([1, 2])), series([1]).empty, series([]).empty) == (2, False, True)


def test_an_operator_is_checked_after_cudf_has_made_it(series) -> None:
    column = series([7])
    with pandas_meaning():
        half = column // 2
        with pytest.raises(Different, match="by zero"):
            column // 0
    assert values(half) == [3]


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (lambda v: v + 1, [1.0, -2.5]),
        (lambda v: v / 2, np.array([1, 2**24 + 1], "int32")),
        (lambda v: v * 0.1, np.array([1, 3], "int32")),
        (lambda v: -v // 7, [1, -20]),
        (lambda v: v % -7, [1, -20]),
        (lambda v: v**2, [1, -20]),
        (lambda v: v.astype(int), [1.5, -2.5]),
        (lambda v: v.clip(0, 2), [1, 3]),
        (lambda v: v.where(v > 1, 0.0), [1.0, 2.0]),
        (lambda v: v.shift(1) * 2, [1, 3]),
        (lambda v: v.shift(1) > 0, [1.0, 3.0]),
        (lambda v: v[v > 1].sum(), [1.0, 2.0]),
        (lambda v: (v - v.mean()) / v.std(), [1.0, 2.0, 4.0]),
        (lambda v: np.sqrt(v) + np.maximum(v, 2.0), [1.0, 4.0]),
        (lambda v: v.str.upper(), ["ab", "c"]),
        (lambda v: v.str.len(), ["ab", "c"]),
        (lambda v: v.str.len() * 10**9, ["abcd", "c"]),
        (lambda v: v.str.contains(".", regex=False), ["a.", "c"]),
        (lambda v: v.str.startswith("a."), ["a.", "ab"]),
        (lambda v: v.between(1, 2) | (v > 5), [1.0, 7.0]),
    ],
)
def test_what_is_allowed_gives_pandas_values_and_types(series, body, first) -> None:
    wanted = body(pd.Series(first))
    for _ in range(2):
        with pandas_meaning():
            result = body(series(first))
        if isinstance(wanted, pd.Series):
            pd.testing.assert_series_equal(pd.Series(result), wanted)
        else:
            assert result == wanted


def test_a_function_of_cudf_itself_is_not_checked(series) -> None:
    with pandas_meaning(), cudf_meaning():
        assert values(series([2.0]).rank()) == [1.0]
