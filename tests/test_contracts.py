"""Our calls of CUDA's and RAPIDS' packages against the committed record of the real ones (``make contracts``): no
RAPIDS is needed here. And what the real packages raise without a GPU is known to us, whatever class it has."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pytest

from gpuspark.devices import rapids
from gpuspark.errors import DeviceError, DeviceLost, DeviceUnavailable, OutOfMemory
from gpuspark.tools.cudf_standin import RECORD
from tests.proof.contracts import calls, record
from tests.proof.contracts.cudf_names import CLASSES, only_raises, only_values
from tests.proof.contracts.jobs import DIALECTS, ROWS, WITH_RAPIDS

ROOT = Path(__file__).parents[1]
FOUND = record.read()
FAILURES = {f"{what}, {driver}": one for driver, found in FOUND["failures"].items() for what, one in found.items()}
IMPORTED = {what: failure for what, failure in FAILURES.items() if "imported" in what}
USED = {what: failure for what, failure in FAILURES.items() if what not in IMPORTED}


def misfits(file: str, text: str) -> list[str]:
    return [result for use in calls.uses_in(file, text) if (result := record.misfit(use, FOUND["paths"]))]


@pytest.mark.parametrize("file", calls.OBJECTS)
def test_every_use_fits_the_real_packages(file: str) -> None:
    text = (ROOT / file).read_text()
    assert calls.uses_in(file, text)
    assert "\n".join(misfits(file, text)) == ""


def test_the_record_holds_what_is_used_and_nothing_else() -> None:
    assert sorted(FOUND["paths"]) == sorted({use.path for use in calls.uses()})
    assert set(FOUND["errors"]) == set(rapids.ERRORS)
    assert set(RECORD["classes"]) == set(RECORD["only"]) == set(CLASSES)


def test_what_the_objects_in_rapids_are_is_said() -> None:
    assert calls.strangers(calls.RAPIDS, (ROOT / calls.RAPIDS).read_text()) == []
    text = "def f(result: Any) -> None:\n    result.to_host()\n"
    assert calls.strangers(calls.RAPIDS, text) == [
        f"{calls.RAPIDS}, line 2: result.to_host: tests/proof/contracts/calls.py does not say what result is"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("rapids", "preserve_index=False", "keep_index=False", "unexpected keyword argument 'keep_index'"),
        ("rapids", "Series.from_arrow(array)", "Series.from_arrow(array, None)", "too many positional arguments"),
        ("rapids", "cudf.Series(series, ", "cudf.Series.from_pandas(series, ", "not in the record: run `make"),
        ("rapids", "import cupy\n", "import cupy.cuda.nvml\n", "cupy.cuda.nvml is not in the record"),
        ("rapids", "series.to_arrow()", "series.to_host()", "cudf.Series.to_host is not in the record"),
        ("rapids", "cuda.set_allocator(", "cuda.set_allocator(where=", "does not know where"),
        ("cuda", "stream=LEGACY_DEFAULT_STREAM", "on=LEGACY_DEFAULT_STREAM", "missing a required argument: 'stream'"),
        ("cuda", "max(nbytes, 1), stream=", "max(nbytes, 1), 0, stream=", "too many positional arguments"),
        ("cuda", "(driver.cuMemPoolTrimTo, ", "(driver.cuMemPoolTrimTo, 0, ", "too many positional arguments"),
        ("cuda", "block=THREADS", "threads=THREADS", "does not know threads"),
        ("cuda", "pool.reserved_mem_current", "self._device.reserved", "cuda.core.Device.reserved is not"),
        ("nvjitlink", "InputType.PTX, ptx,", "InputType.PTX,", "missing a required argument: 'name'"),
    ],
)
def test_a_use_that_does_not_fit_is_found(file: str, old: str, new: str, said: str) -> None:
    name = f"gpuspark/devices/{file}.py"
    text = (ROOT / name).read_text()
    assert old in text
    [result] = {re.sub(r", line \d+", "", line) for line in misfits(name, text.replace(old, new, 1))}
    assert said in result.replace("required keyword-only argument", "required argument")  # as Python 3.12 says it
    assert result.startswith(name)


def test_a_signature_is_read_back_as_it_was_written() -> None:
    import inspect

    def told(a, b=1, /, c=(2,), *d, e, f=None, **g): ...

    text = record.written(inspect.signature(told))
    assert text == "(a, b=1, /, c=..., *d, e, f=None, **g)"
    assert record.written(inspect.signature(told), without_first=True).startswith("(b=1, /, c")
    for signature in (inspect.signature(told), record.parsed(text)):
        signature.bind(1, 2, 3, 4, 5, e=6, h=7)
        with pytest.raises(TypeError, match="missing a required"):
            signature.bind(1, 2)
    with pytest.raises(TypeError, match="too many positional"):
        record.parsed("(a)").bind(1, 2)


class Sample:
    def refused(self, x):
        """Never."""
        raise NotImplementedError("never")

    def sometimes(self, x):
        if x:
            raise NotImplementedError("now")

    def only(self, axis=0, level=None, how="any", raw=True, other=None):
        """Parameters that take one value only, and one that does not."""
        if axis != 0 or level is not None:
            raise NotImplementedError("axis, level")
        elif how != "any":
            raise NotImplementedError("how")
        elif not raw:
            raise NotImplementedError("raw")
        if other in (None, 1):
            raise NotImplementedError("other")
        if other is not None:
            raise ValueError("no refusal")


def test_a_method_that_only_raises_is_told_from_one_that_may() -> None:
    assert only_raises(Sample.refused) == "NotImplementedError"
    assert only_raises(Sample.sometimes) is None
    assert only_raises(len) is None
    assert only_values(Sample.only) == {"axis": 0, "level": None, "how": "any", "raw": True}
    assert only_values(Sample.sometimes) == {"x": False}
    assert only_values(len) == {}


def test_the_record_is_of_the_release_that_conda_installs() -> None:
    [conda] = re.findall(r"- cudf=([\d.]+)", (ROOT / "environment.yml").read_text())
    [pinned] = re.findall(r"cudf-cu12==([\d.]+)\.\*", (ROOT / ".ci/contracts").read_text())
    assert conda == pinned
    assert RECORD["version"] == FOUND["versions"]["cudf-cu12"]
    assert RECORD["version"].startswith(f"{conda}.")


# Failures


def raised(kinds: list[str], text: str, status: int | None = None) -> Exception:
    """An error as the real package raises it: classes of these names, of which the last are Python's."""
    base: type = Exception
    for kind in reversed(kinds):
        module, _, name = kind.rpartition(".")
        base = getattr(builtins, name) if module == "builtins" else type(name, (base,), {"__module__": module})
    error = base(text)
    if status is not None:
        error.status = status
    return error


def ours(error: Exception) -> Exception:
    """What becomes of ``error``."""
    with pytest.raises((DeviceError, type(error))) as caught, rapids.device_errors("trying"):
        raise error
    return caught.value


@pytest.mark.parametrize("what", USED)
def test_what_the_real_packages_raise_without_a_gpu_is_a_reason(what: str) -> None:
    failure = USED[what]
    result = ours(raised(failure["kinds"], failure["text"], failure["status"]))
    assert isinstance(result, DeviceUnavailable)
    assert "trying with RAPIDS" in str(result)
    assert failure["text"].rstrip(".") in str(result)


def test_the_failures_are_of_many_families() -> None:
    families = {failure["kinds"][0] for failure in USED.values()}
    assert {failure["text"] for failure in USED.values()} >= {"Failed to initialize CUDA context: 36"}
    assert {family.partition(".")[0] for family in families} == {"builtins", "cuda", "cupy_backends", "rmm"}


@pytest.mark.parametrize("what", IMPORTED)
def test_what_importing_raises_without_address_space_is_a_reason(monkeypatch, what: str) -> None:
    error = raised(IMPORTED[what]["kinds"], IMPORTED[what]["text"])
    real = builtins.__import__

    def importing(name, *rest):
        if name == "cudf":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(DeviceUnavailable, match="RAPIDS cannot be imported") as caught:
        rapids.import_rapids()
    assert "unset spark.executor.pyspark.memory" in str(caught.value)


CUPY = FOUND["errors"]["cupy_backends.cuda.api.runtime.CUDARuntimeError"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (raised(CUPY, "cudaErrorMemoryAllocation: out of memory", 2), OutOfMemory),
        (raised(CUPY, "cudaErrorIllegalAddress: an illegal memory access", 700), DeviceLost),
        (raised(FOUND["errors"]["rmm._cuda.gpu.CUDARuntimeError"], "cudaErrorUnknown: unknown", 999), DeviceLost),
        (raised(FOUND["errors"]["cupy_backends.cuda.api.driver.CUDADriverError"], "busy", 46), DeviceUnavailable),
        (raised(CUPY, "cudaErrorInvalidValue: invalid argument", 1), DeviceError),
        (raised(FOUND["errors"]["cupy.cuda.memory.OutOfMemoryError"], "Out of memory allocating 8 bytes"), OutOfMemory),
        (MemoryError("std::bad_alloc: out_of_memory: CUDA error (failed to allocate 8 bytes) at: x.hpp"), OutOfMemory),
        (RuntimeError("Fatal CUDA error encountered at: x.cu:1: 700 cudaErrorIllegalAddress an illegal"), DeviceLost),
        (RuntimeError("Failed to initialize CUDA context: 46"), DeviceUnavailable),
        (RuntimeError("CUDA error at: x.cu:1: cudaErrorMemoryAllocation out of memory"), OutOfMemory),
    ],
)
def test_the_codes_keep_their_meaning(error: Exception, kind: type[DeviceError]) -> None:
    result = ours(error)
    assert isinstance(result, kind)
    assert isinstance(result, OutOfMemory | DeviceLost | DeviceUnavailable) == (kind is not DeviceError)
    assert result.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mine"),
        MemoryError("of the host"),
        ValueError("cudaErrorIllegalAddress"),
        RuntimeError("CUDF failure at: x.cpp:1: Unsupported operator"),
        DeviceLost("before"),
        ZeroDivisionError(),
    ],
    ids=repr,
)
def test_an_error_of_the_body_stays_what_it_is(error: Exception) -> None:
    assert ours(error) is error


# Jobs


@pytest.mark.parametrize(
    ("situation", "dialects", "reason"),
    [
        ("no driver", DIALECTS, "cuda: there is no NVIDIA driver on this machine"),
        ("2 GiB of address space", DIALECTS, "cuda: this process may use 2,147,483,648 bytes of address space"),
        ("an old driver", WITH_RAPIDS, "cuda: sharing memory with RAPIDS: the NVIDIA driver is too old"),
    ],
)
def test_jobs_with_the_real_packages_and_no_gpu_ended_on_the_cpu(situation: str, dialects, reason: str) -> None:
    """As recorded by `make contracts`, which ran them."""
    jobs = FOUND["jobs"][situation]
    assert [*jobs] == [*dialects]
    for job in jobs.values():
        assert job["sum is right"]
        assert job["devices"] == {"cpu": ROWS}
        [said] = job["reasons"]
        assert said.startswith(reason)
