"""The evidence's table: every layer's tests exist, failures end it with 1, and what is not built is not claimed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gpuspark.devices.discover import Presence
from tests.proof import evidence
from tests.proof.evidence import LAYERS, Found, Layer, table

ROOT = Path(__file__).parents[1]


def test_every_layers_tests_exist() -> None:
    named = [name for layer in LAYERS for name in layer.tests if name.startswith("tests/")]
    assert len(set(named)) == len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
    emulator = {f"tests/{file.name}" for file in (ROOT / "tests").glob("test_emulator_*.py")}
    assert emulator <= set(named)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ({"0": Found([], 0, 1.0), "1": Found(["a haversine", "b"], 0, 1.0)}, 0),
        ({"0": Found([], 0, 1.0), "1": Found(["a haversine", "b"], 1, 1.0)}, 1),
        ({"0": Found([], 0, 1.0), "1": Found([], 0, 1.0)}, 1),
        ({"0": Found(["on a gpu"], 1, 1.0), "1": Found(["a"], 0, 1.0)}, 1),
        ({"0": Found(["on a gpu"], 0, 1.0), "1": Found(["a"], 0, 1.0)}, 0),
    ],
)
def test_failures_and_empty_layers_end_it_with_one(monkeypatch, capsys, results, code) -> None:
    monkeypatch.setattr(evidence, "LAYERS", (*(Layer(name, ("x",)) for name in results), Layer("later", ())))
    monkeypatch.setattr(evidence, "run", lambda layer, measurement: results[layer.name])
    assert evidence.main() == code
    said = capsys.readouterr().out
    assert f"{len(results['0'].names)} device tests run" in said
    assert ("none of this run is verified on a device" in said) == (not results["0"].names)
    assert "not built" in said


def test_tests_that_fail_are_counted_and_shown(tmp_path: Path, capsys) -> None:
    path = tmp_path / "test_something.py"
    path.write_text(
        "import pytest\ndef test_haversine(): assert 1 == 2\ndef test_other(): pass\n"
        "@pytest.mark.skip\ndef test_that_proves_nothing(): pass\n"
    )
    result = evidence.run(Layer("x", (str(path), "-c", "/dev/null", "--rootdir", str(tmp_path))))
    assert (len(result.names), result.failed, result.about("haversine")) == (2, 1, 1)
    assert "assert 1 == 2" in capsys.readouterr().out
    lines = [line.split() for line in table([(Layer("x", ("y",)), result)]).splitlines()]
    assert [lines[0], lines[2]] == [["layer", "x"], ["x"]]
    counts = dict(line for line in lines[3:] if len(line) == 2)
    assert [counts[word] for word in ("haversine", "dot_product", "others", "failed")] == ["1", "0", "1", "1"]


@pytest.mark.parametrize(("reason", "ran"), [("the driver finds no GPU", 0), (None, 1)])
def test_tests_that_need_a_gpu_run_where_there_is_one(monkeypatch, tmp_path: Path, reason, ran) -> None:
    path = tmp_path / "test_gpu.py"
    path.write_text("import pytest\n@pytest.mark.device\ndef test(): pass\ndef test_other(): pass\n")
    monkeypatch.setattr(evidence, "discover", lambda: SimpleNamespace(cuda=Presence(reason=reason)))
    result = evidence.run(Layer("0", ("-m", "device", str(path), "-c", "/dev/null", "--rootdir", str(tmp_path))))
    assert (len(result.names), result.failed) == (ran, 0)
    assert LAYERS[0].tests[:2] == ("-m", "device")


def test_what_no_layer_executed_is_listed(monkeypatch, capsys, tmp_path: Path) -> None:
    """By the tests of the layers that are measured, and of no other."""
    path = tmp_path / "test_permits.py"
    path.write_text("from gpuspark.devices import cuda_errors\ndef test(): cuda_errors.translated(2, '', '')\n")
    here = (str(path), "-c", "/dev/null", "--rootdir", str(tmp_path))
    other = ("tests/test_discover.py",)
    monkeypatch.setattr(evidence, "LAYERS", (Layer("0", here), Layer("4b", here, measured=True), Layer("5", other)))
    assert evidence.main() == 0
    said = capsys.readouterr().out
    assert "lines of the CUDA device were executed by no test:" in said
    listed = [line for line in said.splitlines() if line.startswith("  gpuspark/devices/cuda_errors.py:")]
    assert any("return DeviceLost(" in line for line in listed)
    assert not any("return OutOfMemory(" in line for line in listed)
    assert "  gpuspark/devices/discover.py:" in said
