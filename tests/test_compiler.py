"""Programs are compiled once, and kept in the process and on disk under everything that affects them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpuspark as gs
from gpuspark.columns.types import parse
from gpuspark.compiler import CannotCompile, Request, compile_program, rewrite, toolchain
from gpuspark.compiler import programs as compiler
from gpuspark.config import Config

SOURCE = """
import sys
from gpuspark.compiler import Request, compile_program, rewrite
from gpuspark.columns.types import parse
from tests.test_compiler import twice

body = rewrite(twice, ["a"])
program = compile_program(Request(body, (parse("double"),), parse("double"), True, False), "cpu")
print(program.key, "numba" in sys.modules)
"""


def twice(a):
    return a * 2


def request_for(function=twice, column="double", result="double", checked=True, nullable=False) -> Request:
    return Request(rewrite(function, ["a"]), (parse(column),), parse(result), checked, nullable)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Starts with no program in the process and none on disk; returns the list of targets that are built for."""
    from gpuspark.compiler import build

    built: list[str] = []
    make = build.build

    def counted(request, target):
        built.append(target)
        return make(request, target)

    monkeypatch.setattr(build, "build", counted)
    monkeypatch.setattr(compiler, "_programs", {})
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "cache"))
    return built


def test_once_in_a_process(fresh) -> None:
    first = compile_program(request_for(), "cpu")
    assert compile_program(request_for(), "cpu") is first
    assert fresh == ["cpu"]


def test_once_on_a_disk_and_without_numba_the_second_time(tmp_path: Path) -> None:
    outputs = []
    for _ in range(2):
        environment = {"GPUSPARK_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-c", SOURCE]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.split())
    (first, compiled), (second, loaded) = outputs
    assert first == second
    assert (compiled, loaded) == ("True", "False")


def test_a_disk_that_keeps_nothing_is_no_error(fresh, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUSPARK_CACHE_DIR", str(tmp_path / "file"))
    assert compile_program(request_for(), "cpu").code
    monkeypatch.setattr(compiler, "_programs", {})
    assert compile_program(request_for(), "cpu").code
    assert fresh == ["cpu", "cpu"]


def test_everything_that_decides_the_code_decides_the_key(monkeypatch) -> None:
    factor: int | float = 2
    table = np.array([1.0, 2.0])

    def captures(a):
        return a * factor + table[0]

    bound = compiler.program_key(request_for(captures), "cpu")
    keys = [
        compiler.program_key(request_for(), "cpu"),
        compiler.program_key(request_for(), "ptx"),
        compiler.program_key(request_for(lambda a: a * 3), "cpu"),
        compiler.program_key(request_for(column="int"), "cpu"),
        compiler.program_key(request_for(result="float"), "cpu"),
        compiler.program_key(request_for(checked=False), "cpu"),
        compiler.program_key(request_for(nullable=True), "cpu"),
        bound,
    ]
    table = np.array([1.0, 3.0])
    keys.append(compiler.program_key(request_for(captures), "cpu"))
    table, factor = np.array([1.0, 2.0]), 2.0
    keys.append(compiler.program_key(request_for(captures), "cpu"))
    factor = 2
    assert compiler.program_key(request_for(captures), "cpu") == bound
    monkeypatch.setattr(compiler, "_tools", lambda target: "numba 99")
    keys.append(compiler.program_key(request_for(), "cpu"))
    monkeypatch.setattr(compiler, "_own_code", lambda: "of tomorrow")
    keys.append(compiler.program_key(request_for(), "cpu"))
    assert len(set(keys)) == len(keys)


def test_programs_of_different_arrays_in_a_tuple_are_different() -> None:
    """Long arrays, and numbers close to each other, have the same abbreviated text."""
    tables = (np.arange(1500.0), np.array([0.123456789, 5.0]))

    def looks_up(a):
        return tables[0][a] + tables[1][a]

    keys = [compiler.program_key(request_for(looks_up), "cpu")]
    for position, change in ((0, -1.0), (1, 1e-9)):
        changed = [table.copy() for table in tables]
        changed[position][0] += change
        tables, original = (changed[0], changed[1]), tables
        keys.append(compiler.program_key(request_for(looks_up), "cpu"))
        tables = original
    assert len(set(keys)) == 3
    assert compiler.program_key(request_for(looks_up), "cpu") == keys[0]


def test_the_tools_are_named_with_their_versions() -> None:
    from importlib.metadata import version

    compiler._tools.cache_clear()
    assert f"numba {version('numba')} llvmlite {version('llvmlite')} " in compiler._tools("cpu")
    assert f"numba-cuda {version('numba-cuda')} " in compiler._tools("ptx")


@pytest.mark.parametrize("tool", ["cuda-bindings", "nvidia-cuda-nvcc-cu12", "nvidia-nvvm", "nvidia-cuda-nvrtc"])
def test_whichever_tool_kit_is_installed_decides_the_key_of_ptx(monkeypatch, tool: str) -> None:
    before = {target: compiler.program_key(request_for(), target) for target in ("cpu", "ptx")}
    real = compiler._version
    monkeypatch.setattr(compiler, "_version", lambda name: "99.0" if name == tool else real(name))
    compiler._tools.cache_clear()
    after = {target: compiler.program_key(request_for(), target) for target in ("cpu", "ptx")}
    compiler._tools.cache_clear()
    assert {target: after[target] == before[target] for target in before} == {"cpu": True, "ptx": False}


def test_condas_tool_kit_decides_the_key_too(monkeypatch, tmp_path: Path) -> None:
    """conda's packages of CUDA are not Python distributions: conda's own records name them."""
    records = tmp_path / "conda-meta"
    records.mkdir()
    (records / "cuda-nvvm-impl-12.9.86-0.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    compiler._tools.cache_clear()
    for_ptx, for_cpu = compiler._tools("ptx"), compiler._tools("cpu")
    compiler._tools.cache_clear()
    assert for_ptx.endswith(" cuda-nvvm-impl-12.9.86-0")
    assert "conda" not in for_cpu
    assert "cuda-nvvm" not in for_cpu


def test_a_refusal_is_remembered_with_its_reason(fresh, monkeypatch) -> None:
    request = request_for(lambda a: len(a))
    for _ in range(2):
        with pytest.raises(CannotCompile) as first:
            compile_program(request, "cpu")
        monkeypatch.setattr(compiler, "_programs", {})
    with pytest.raises(CannotCompile) as again:
        compile_program(request, "cpu")
    assert str(again.value) == str(first.value) != ""
    assert fresh == ["cpu"]


def test_a_refusal_because_of_a_missing_package_is_not_kept_on_disk(fresh, monkeypatch) -> None:
    with monkeypatch.context() as without:
        without.setattr(toolchain, "_started", {"ptx": "NVIDIA's compiler does not start"})
        with pytest.raises(CannotCompile, match="NVIDIA's compiler does not start"):
            compile_program(request_for(), "ptx")
    monkeypatch.setattr(compiler, "_programs", {})
    assert compile_program(request_for(), "ptx").code.startswith(b"//")


def test_memory_that_ran_out_in_the_compiler_is_a_reason_of_this_process_only(fresh, monkeypatch) -> None:
    from gpuspark.compiler import build

    def full(*arguments: object) -> None:
        raise MemoryError

    with monkeypatch.context() as little:
        little.setattr(build, "object_file", full)
        with pytest.raises(CannotCompile, match=r"ran out of memory.*spark\.executor\.pyspark\.memory"):
            compile_program(request_for(), "cpu")
    monkeypatch.setattr(compiler, "_programs", {})
    assert compile_program(request_for(), "cpu").code


def test_a_damaged_program_is_built_again(fresh, monkeypatch, tmp_path: Path) -> None:
    first = compile_program(request_for(), "cpu")
    entry = tmp_path / "cache" / "programs" / first.key
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(compiler, "_programs", {})
    assert compile_program(request_for(), "cpu").key == first.key
    assert fresh == ["cpu", "cpu"]
    monkeypatch.setattr(compiler, "_programs", {})
    compile_program(request_for(), "cpu")
    assert fresh == ["cpu", "cpu"]


@pytest.mark.parametrize("function", [np.hypot, np.arctan2, np.copysign, np.sqrt], ids=lambda f: f.__name__)
def test_numpys_functions_of_booleans_are_refused(function) -> None:
    """NumPy computes these in half precision."""
    body = (lambda a, b: function(a)) if function is np.sqrt else (lambda a, b: function(a, b))
    plan = gs.udf(body, "double").explain(["boolean", "boolean"])
    assert plan.device == "python"
    assert any(f"np.{function.__name__} of a boolean" in reason.text for reason in plan.reasons)


def added(a):
    total = 0.0
    for value in (1, 2.5):
        total += value * a
    return total


@pytest.mark.parametrize(
    ("body", "declared", "reason"),
    [
        (lambda a: a > 0, "bigint", "the result is a boolean, which a column of int64 cannot hold"),
        (lambda a: round(a, a), "double", "round of a float and a float"),
        (lambda a: a << 2, "double", "<< of a float and an integer"),
        (lambda a: np.sqrt(a) & 3, "double", "& of a float and an integer"),
        (lambda a: math.gamma((a, a)), "double", "math.gamma of "),
        (added, "double", "a loop over a tuple whose items are of different types"),
    ],
)
def test_a_refusal_of_types_reads_as_the_body_does(body, declared, reason) -> None:
    function = gs.udf(body, declared).scalar_function(("a",))
    texts = function.obstacles([parse("double")], Config(), ["cpu"])["cpu"]
    assert any(reason in text for text in texts), texts
