"""RAPIDS: its caches are private, and a failed import is a reason not to use it.

Only a GPU can show what cuDF does with our columns: those tests are marked ``device``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from gpuspark.devices import rapids
from gpuspark.errors import DeviceUnavailable

VARIABLES = ["CUPY_CACHE_DIR", "LIBCUDF_KERNEL_CACHE_PATH", "CUDA_CACHE_PATH", "NUMBA_CACHE_DIR"]


@pytest.fixture(autouse=True)
def private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")  # so that it is restored
        monkeypatch.delenv(variable)
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "private"))
    return tmp_path / "private"


def test_caches_lie_in_the_private_folder(private_folder: Path) -> None:
    rapids.set_cache_folders()
    folders = [Path(os.environ[variable]) for variable in VARIABLES]
    assert len(set(folders)) == 4
    for folder in folders:
        assert folder.parent == private_folder
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_is_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", "/mine")
    rapids.set_cache_folders()
    assert os.environ["CUPY_CACHE_DIR"] == "/mine"
    assert os.environ["NUMBA_CACHE_DIR"] != ""


def test_without_a_private_folder_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", "not absolute")
    rapids.set_cache_folders()
    assert not set(VARIABLES) & set(os.environ)


@pytest.mark.parametrize(
    "failure",
    [
        "ImportError('libcudf.so: cannot open shared object file')",
        "OSError('failed to map segment from shared object')",
        "RuntimeError('CUDA driver version is insufficient')",
        "MemoryError('std::bad_alloc')",
        "AttributeError('module pandas has no attribute x')",
        "__import__('cudf.errors').errors.UnsupportedCUDAError('a GPU of the Pascal era')",
    ],
)
def test_whatever_fails_in_importing_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failure: str) -> None:
    package = tmp_path / "cudf"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise {failure}")
    (package / "errors.py").write_text("class UnsupportedCUDAError(Exception): pass")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("cudf", "cudf.errors"):
        monkeypatch.setitem(sys.modules, module, sys)  # so that it is restored
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(DeviceUnavailable, match="RAPIDS cannot be imported") as caught:
        rapids.import_rapids()
    assert failure.split("'")[-2] in str(caught.value)
    assert "CUPY_CACHE_DIR" in os.environ  # before the import


TABLE = pa.table(
    {
        "long": pa.array([1, None, -(2**63)], pa.int64()),
        "double": pa.array([0.5, None, float("inf")]),
        "string": pa.array(["", None, "gro\u00df"]),
    }
)


@pytest.mark.device
@pytest.mark.parametrize("name", TABLE.column_names)
def test_a_series_comes_back(name: str) -> None:
    column = TABLE[name].combine_chunks()
    assert rapids.series_to_arrow(rapids.series_from_arrow(column)).cast(column.type).equals(column)


@pytest.mark.device
@pytest.mark.parametrize("data", [TABLE, TABLE.to_batches()[0]], ids=["table", "batch"])
def test_a_frame_comes_back(data: pa.Table | pa.RecordBatch) -> None:
    assert rapids.frame_to_arrow(rapids.frame_from_arrow(data)).cast(TABLE.schema).equals(TABLE)


@pytest.mark.device
def test_cupy_and_cudf_take_memory_from_our_allocator() -> None:
    from gpuspark.devices.cuda import select

    device = select()
    rapids.share_allocator(device)
    xp = rapids.cupy_module()
    before = device.memory().free
    held = xp.ones(1 << 21, xp.float64)
    assert before - device.memory().free >= held.nbytes
    assert float(held.sum()) == 1 << 21
    del held
    device.trim()
    assert device.memory().free >= before
