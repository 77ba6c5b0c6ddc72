"""The house's import laws, read from the source: who may import what, and when.

An *eager* import runs when its module is imported; a *lazy* one stands in a function. Imports under
``if TYPE_CHECKING`` run never and are not looked at.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gpuspark"

CUDA = {"cuda", "cudf", "cupy", "cuml", "nvjitlink", "nvmath", "pylibcudf", "pynvml", "rmm"}
CUDA_ROOMS = {"gpuspark.devices.cuda", "gpuspark.devices.rapids", "gpuspark.devices.nvjitlink"}
COMPILERS = {"llvmlite", "numba", "numba_cuda", "numba_cuda_mlir"}
COMPILER_ROOM = "gpuspark.compiler"
LOADER = ("gpuspark.devices.cpu", "llvmlite")  # loads machine code from the cache, without Numba
# What users call; what a worker runs; and what that stands on. Imports go down or stay.
SURFACE = {
    "account", "check", "cli", "columns", "demo", "frames", "functions", "machine", "scalar_udf", "series", "testing",
    "column_kernel", "replay", "segments", "models", "estimators", "tree_models",
}  # fmt: skip
WORK = {
    "capsule", "findings", "records", "row_worker", "rowwise", "scalar", "scoring", "series_worker", "verify", "worker",
    "worker_log",
}  # fmt: skip
FLOOR = {"batch", "compiler", "devices", "disk_cache", "plan", "versions"}
MODELS = {"lightgbm", "sklearn", "treelite", "xgboost"}
MODEL_ROOM = "gpuspark.tree_models"  # reads fitted models on the driver; workers have their arrays
HEAVY = CUDA | COMPILERS | MODELS | {"pandas", "pyarrow", "pyspark", "scipy", "torch"}


@dataclass(frozen=True)
class Import:
    """One import: ``module`` imports ``target``, in ``line``."""

    module: str
    target: str
    eager: bool
    line: int

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        when = "eagerly" if self.eager else "lazily"
        return f"{self.module}, line {self.line}: imports {self.target} {when}"


def within(name: str, package: str) -> bool:
    """Whether ``name`` is ``package`` or something in it."""
    return f"{name}.".startswith(f"{package}.")


def sources(package: Path) -> dict[str, Path]:
    """Every module of ``package``, by its full name. The two links to kernels/ and bench/ are followed."""
    found = {}
    for folder in [package, *(link for link in package.iterdir() if link.is_symlink())]:
        for file in folder.rglob("*.py"):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def imports_of(module: str, file: Path, known: set[str]) -> Iterator[Import]:
    """The imports of ``module``. ``from package import name`` is an import of the submodule ``name``
    where there is one, and ``importlib.import_module("x")`` counts like ``import x``."""
    todo: list[tuple[ast.AST, bool]] = [(ast.parse(file.read_text(), str(file)), True)]
    while todo:
        node, eager = todo.pop()
        targets: list[str] = []
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                todo += [(child, eager) for child in node.orelse]
                continue
            case ast.Import():
                targets = [alias.name for alias in node.names]
            case ast.ImportFrom(module=str(base)):
                targets = [full if (full := f"{base}.{a.name}") in known else base for a in node.names]
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name("import_module" | "__import__"),
                args=[ast.Constant(str(name)), *_],
            ):
                targets = [name]
        for target in targets:
            yield Import(module, target, eager, node.lineno)  # type: ignore[attr-defined]
        inside = eager and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        todo += [(child, inside) for child in ast.iter_child_nodes(node)]


def all_imports(package: Path) -> list[Import]:
    modules = sources(package)
    return [found for name, file in modules.items() for found in imports_of(name, file, set(modules))]


def loaded_by(module: str, imports: list[Import]) -> set[str]:
    """Everything that ``import module`` loads: eager imports, followed inside gpuspark; each module
    also loads the packages above it."""
    loaded: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in loaded:
            continue
        loaded.add(name)
        if "." in name:
            todo.append(name.rpartition(".")[0])
        todo += [found.target for found in imports if found.eager and found.module == name]
    return loaded


def _in_bench(found: Import) -> bool:
    return within(found.module, "gpuspark.bench") and not found.eager


def strangers(imports: list[Import]) -> list[Import]:
    """Imports of CUDA libraries, compilers and libraries of models outside the rooms that may know them, or of the
    first and the last at once. The benchmark compares with the libraries of models."""
    return [
        found
        for found in imports
        if (found.top in CUDA and (found.eager or found.module not in CUDA_ROOMS))
        or (found.top in COMPILERS and not within(found.module, COMPILER_ROOM) and (found.module, found.top) != LOADER)
        or (found.top in MODELS and (found.eager or found.module != MODEL_ROOM) and not _in_bench(found))
    ]


def heavy_loads(imports: list[Import]) -> list[str]:
    """Modules outside those rooms that load a CUDA library as soon as they are imported, through
    whatever chain; and what ``import gpuspark`` loads that is heavy."""
    modules = {found.module for found in imports} - CUDA_ROOMS
    at_once = [
        f"import {module} loads {name}"
        for module in sorted(modules)
        for name in sorted(loaded_by(module, imports))
        if name.partition(".")[0] in CUDA
    ]
    first = [name for name in sorted(loaded_by("gpuspark", imports)) if name.partition(".")[0] in HEAVY]
    return at_once + [f"import gpuspark loads {name}" for name in first]


def upward(imports: list[Import]) -> list[Import]:
    """Imports, lazy ones too, of a layer from one below it."""

    def part(name: str) -> str:
        return name.removeprefix("gpuspark.").partition(".")[0]

    return [
        found
        for found in imports
        if found.top == "gpuspark"
        and (
            (part(found.module) in WORK | FLOOR and part(found.target) in SURFACE)
            or (part(found.module) in FLOOR and part(found.target) in WORK)
        )
    ]


def bench_users(imports: list[Import]) -> list[Import]:
    """Imports of the benchmark from outside it; the command line may, lazily."""
    return [
        found
        for found in imports
        if within(found.target, "gpuspark.bench")
        and not within(found.module, "gpuspark.bench")
        and not (found.module == "gpuspark.cli" and not found.eager)
    ]


def kernel_imports(imports: list[Import]) -> list[Import]:
    """What kernels import beyond the standard library, NumPy, pyarrow when they run, errors, configuration, their own
    ``spec``, array functions and Arrow's layouts, and what several kernels or long ones share beside them: how
    polygons are read, and their index; random numbers; the characters of texts. The catalogue in
    ``kernels/__init__.py`` imports the kernels too, and ``spec`` what a kernel is made with."""
    allowed = sys.stdlib_module_names | {"numpy"}
    own = {
        "gpuspark.kernels.spec", "gpuspark.errors", "gpuspark.config", "gpuspark.arrays", "gpuspark.layout",
    }  # fmt: skip
    shared = {f"gpuspark.kernels.{name}" for name in ("geometry", "polygon_grid", "philox", "utf8")}
    makers = {"gpuspark.scalar_udf", "gpuspark.column_kernel"}
    return [
        found
        for found in imports
        if within(found.module, "gpuspark.kernels")
        and found.top not in allowed
        and found.target not in own | shared
        and not (found.module == "gpuspark.kernels" and within(found.target, "gpuspark.kernels"))
        and not (found.top == "pyarrow" and not found.eager)
        and not (found.module == "gpuspark.kernels.spec" and found.target in makers)
    ]


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    found = all_imports(PACKAGE)
    seen = {entry.module for entry in found}
    assert {"gpuspark.config", "gpuspark.devices.protocol"} <= seen
    return found


def listed(found: list[Import] | list[str]) -> str:
    return "\n".join(map(str, found))


def test_cuda_and_the_compilers_are_known_in_their_rooms_only(imports: list[Import]) -> None:
    assert listed(strangers(imports)) == ""


def test_nothing_loads_cuda_or_rapids_by_being_imported(imports: list[Import]) -> None:
    assert listed(heavy_loads(imports)) == ""


def test_no_layer_imports_one_above_it(imports: list[Import]) -> None:
    assert listed(upward(imports)) == ""


def test_nothing_imports_the_benchmark(imports: list[Import]) -> None:
    assert listed(bench_users(imports)) == ""


def test_kernels_know_their_spec_only(imports: list[Import]) -> None:
    assert listed(kernel_imports(imports)) == ""


def test_links_are_followed() -> None:
    modules = sources(PACKAGE)
    assert modules["gpuspark.kernels"] == PACKAGE / "kernels" / "__init__.py"
    assert modules["gpuspark.bench"] == PACKAGE / "bench" / "__init__.py"


def test_import_gpuspark_loads_nothing_heavy() -> None:
    """In a process of its own, which also tells how long the import takes (not asserted)."""
    script = f"""
import sys, time
before, start = set(sys.modules), time.perf_counter()
import gpuspark
print(f"import gpuspark: {{time.perf_counter() - start:.3f}} s", file=sys.stderr)
print(*sorted({HEAVY!r} & (set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    print(done.stderr)  # shown by `pytest -rP`
    assert done.stdout.split() == []


SEEDED = {
    "__init__.py": "from gpuspark import udf",
    "udf.py": "from gpuspark.worker import run\nif TYPE_CHECKING:\n    import cupy",
    "worker.py": "import gpuspark.late\ndef run():\n    import numba\n    from gpuspark.devices import cuda",
    "models.py": "def score():\n    import treelite",
    "tree_models.py": "import treelite\ndef read():\n    import treelite",
    "plan.py": "def plan():\n    from gpuspark import worker\n    from gpuspark import config",
    "late.py": "from gpuspark.devices.cuda import Cuda\nimport importlib\nimportlib.import_module('rmm')",
    "cli.py": "from gpuspark.bench import cases\ndef main():\n    from gpuspark import bench",
    "config.py": "",
    "devices/__init__.py": "",
    "devices/cuda.py": "import cuda.core\ndef frame():\n    import cudf",
    "compiler/__init__.py": "import numba",
    "bench/__init__.py": "",
    "bench/cases.py": "import gpuspark.bench",
    "kernels/__init__.py": "from gpuspark.kernels import good, bad",
    "kernels/good.py": "import math\nimport numpy as np\nfrom gpuspark.kernels.spec import kernel",
    "kernels/bad.py": "from gpuspark.kernels import good\nimport pandas\nfrom gpuspark.batch import Batch",
    "kernels/spec.py": "",
}


def test_each_law_finds_what_breaks_it(tmp_path: Path) -> None:
    """A small package that breaks every law once, so that a blind check cannot pass."""
    for name, text in SEEDED.items():
        file = tmp_path / "gpuspark" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = all_imports(tmp_path / "gpuspark")
    assert {(entry.module, entry.target) for entry in strangers(found)} == {
        ("gpuspark.worker", "numba"),
        ("gpuspark.late", "rmm"),
        ("gpuspark.devices.cuda", "cuda.core"),
        ("gpuspark.models", "treelite"),
        ("gpuspark.tree_models", "treelite"),
    }
    assert [(entry.module, entry.target) for entry in upward(found)] == [("gpuspark.plan", "gpuspark.worker")]
    assert [(entry.module, entry.target) for entry in bench_users(found)] == [("gpuspark.cli", "gpuspark.bench.cases")]
    assert {(entry.module, entry.target) for entry in kernel_imports(found)} == {
        ("gpuspark.kernels.bad", "gpuspark.kernels.good"),
        ("gpuspark.kernels.bad", "pandas"),
        ("gpuspark.kernels.bad", "gpuspark.batch"),
    }
    heavy = heavy_loads(found)
    assert "import gpuspark.worker loads cuda.core" in heavy
    assert "import gpuspark loads rmm" in heavy
    assert not any("cudf" in line or "cupy" in line or "numba" in line for line in heavy)
