"""``Batch`` and ``Column``: views of Arrow data that other libraries accept directly."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.columns import batch as batch_module
from gpuspark.columns import types
from gpuspark.errors import CallError
from tests.support.strategies import arrays

FIXED = ("boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "date", "timestamp_ntz")


@pytest.mark.parametrize("name", FIXED)
@given(data=st.data())
def test_values_and_validity_are_the_columns(name: str, data: st.DataObject) -> None:
    array = data.draw(arrays(types.parse(name), data.draw(st.integers(0, 20))))
    column = gs.Column(array)
    valid = column.validity
    storage_type = {"date": pa.int32(), "timestamp_ntz": pa.int64()}.get(name, array.type)
    expected = array.cast(storage_type).drop_null().to_pylist()
    actual = column.values if valid is None else column.values[valid]
    assert (valid is None) == (array.null_count == 0)
    assert len(column.values) == len(array)
    np.testing.assert_array_equal(actual, np.array(expected, dtype=actual.dtype))


def test_values_are_views_that_start_at_the_slices_offset() -> None:
    array = pa.array(np.arange(10.0)).slice(3)
    values = gs.Column(array).values
    assert values.ctypes.data == array.buffers()[1].address + 24
    assert not values.flags.writeable


def test_dlpack_the_array_interface_and_arrows_c_interface() -> None:
    column = gs.Column(pa.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(np.asarray(column), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(np.from_dlpack(column), [1.0, 2.0, 3.0])
    assert pa.array(column).equals(column.to_arrow())
    with pytest.raises(ValueError, match=r"has no nulls, and the column has 1: use \.values and \.validity"):
        np.from_dlpack(gs.Column(pa.array([1.0, None])))


def test_strings_have_no_values_and_the_error_says_what_to_use() -> None:
    with pytest.raises(TypeError, match=r"a column of string is not an array: use \.to_arrow\(\)"):
        _ = gs.Column(pa.array(["a"])).values


def test_frames_both_ways() -> None:
    frame = pd.DataFrame({"a": [1, 2], "t": [datetime.datetime(2020, 1, 1)] * 2}, index=[5, 6])
    batch = gs.Batch.from_frame(frame)
    assert batch.schema.names == ["a", "t"]
    assert batch.to_frame()["a"].tolist() == [1, 2]


def test_with_column_takes_columns_arrays_series_and_arrow() -> None:
    batch = gs.Batch.from_arrow(pa.record_batch({"a": [1.0, np.nan]}))
    for value in [batch["a"], np.array([1, 2]), pd.Series([1.0, np.nan]), pa.array([None, 1]), [True, None]]:
        batch = batch.with_column(f"c{len(batch.schema)}", value)
    assert batch["c1"].null_count == 0
    assert batch["c3"].to_pylist() == [1.0, None]
    assert batch.select(["c5", "a"]).schema.names == ["c5", "a"]
    with pytest.raises(CallError, match="has 1 rows and the batch 2"):
        batch.with_column("d", np.zeros(1))


def test_two_columns_with_the_same_name_are_refused() -> None:
    both = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(CallError, match="two columns have the same name"):
        gs.Batch.from_arrow(both)


def test_functions_on_columns_arrow_series_and_numbers_together() -> None:
    f = gs.udf("double")(lambda a, b: a * b)
    column, arrow, series = (
        gs.Column(pa.array([1.0, None])),
        pa.array([1.0, None]),
        pd.Series([1.0, np.nan], index=[7, 8]),
    )
    assert f(column, 2.0).to_pylist() == [2.0, None]
    assert f(arrow, arrow).to_pylist() == [1.0, None]
    assert f(series, b=3).to_dict() == {7: 3.0, 8: pytest.approx(np.nan, nan_ok=True)}
    with pytest.raises(CallError, match="different lengths"):
        f(column, pa.array([1.0]))


def test_array_code_is_portable() -> None:
    """A body over ``batch.xp`` runs under the strict array API standard."""
    import array_api_strict as strict

    def body(xp, values):
        return xp.sum(xp.sqrt(xp.abs(values)) * 2.0)

    batch = gs.Batch.from_arrow(pa.record_batch({"a": [1.0, -4.0]}))
    plain = body(batch.xp, batch["a"].values)
    assert float(body(strict, strict.from_dlpack(np.array(batch["a"].values)))) == float(plain) == 6.0


class DLPackArray:
    """An array of another library in host memory that implements only DLPack."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


def test_an_array_in_host_memory_becomes_a_column_on_a_gpu(monkeypatch) -> None:
    """NumPy stands in for CuPy, whose ``from_dlpack`` rejects host memory with this message (CuPy 14.2)."""

    def refused(array):
        raise TypeError("CPU arrays cannot be directly imported to CuPy.")

    cupy = SimpleNamespace(asarray=lambda host: np.array(host), from_dlpack=refused)
    monkeypatch.setattr(batch_module, "_array_module", lambda device: cupy if device == "cuda" else np)
    array = DLPackArray(np.arange(3.0))
    on_gpu = gs.Batch.from_arrow(pa.record_batch({"a": [1, 2, 3]}), "cuda").with_column("b", array)
    assert on_gpu["b"].device == "cuda"
    np.testing.assert_array_equal(on_gpu["b"].values, [0.0, 1.0, 2.0])
    on_cpu = gs.Batch.from_arrow(pa.record_batch({"a": [1, 2, 3]})).with_column("b", array)
    assert on_cpu["b"].to_arrow().equals(pa.array([0.0, 1.0, 2.0]))
