"""The package's import laws, read from the source: who may import what, and when.

An import runs at once, when its module is imported, or later, in a function; under ``if TYPE_CHECKING`` it never
runs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

PACKAGE = Path(__file__).parents[1] / "gpuspark"

ORDER = (
    "errors", "config", "versions", "disk_cache", "spark", "accounting", "devices", "columns", "compiler", "execution",
    "dialects", "scans", "kernels", "functions", "models", "testing", "tools", "bench", "cli", "__main__",
)  # fmt: skip
"""The folders of the package, and the modules beside them, from the ground up. Each imports those before it only,
whether at once, in a function, or for types. ``gpuspark/__init__.py`` alone is outside: it names what users import."""
MOST_FILES_AT_THE_TOP = 10

CUDA = {"cuda", "cudf", "cupy", "cuml", "nvjitlink", "nvmath", "pylibcudf", "pynvml", "rmm"}
CUDA_MODULES = {"gpuspark.devices.cuda", "gpuspark.devices.rapids", "gpuspark.devices.nvjitlink"}
COMPILERS = {"llvmlite", "numba", "numba_cuda"}
COMPILER_FOLDER = "gpuspark.compiler"
LOADER = ("gpuspark.devices.cpu", "llvmlite")  # loads machine code from the cache, without Numba
MODELS = {"lightgbm", "sklearn", "treelite", "xgboost"}
MODELS_MODULE = "gpuspark.models.trees"  # reads fitted models on the driver; workers have their arrays
HEAVY = CUDA | COMPILERS | MODELS | {"deltalake", "pandas", "pyarrow", "pyspark", "scipy", "torch"}


When = Literal["at once", "in a function", "for types"]


@dataclass(frozen=True)
class Import:
    """One import: ``module`` imports ``target``, in ``line``."""

    module: str
    target: str
    when: When
    line: int

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def eager(self) -> bool:
        return self.when == "at once"

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target} {self.when}"


def within(name: str, package: str) -> bool:
    """Whether ``name`` is ``package`` or something in it."""
    return f"{name}.".startswith(f"{package}.")


def sources(package: Path) -> dict[str, Path]:
    """Every module of ``package``, by its full name. The two links to kernels/ and bench/ are followed."""
    result = {}
    for folder in [package, *(link for link in package.iterdir() if link.is_symlink())]:
        for file in folder.rglob("*.py"):
            parts = file.relative_to(package.parent).with_suffix("").parts
            result[".".join(parts).removesuffix(".__init__")] = file
    return result


def imports_of(module: str, file: Path, known: set[str]) -> Iterator[Import]:
    """The imports of ``module``. ``from package import name`` is an import of the submodule ``name``
    where there is one, and ``importlib.import_module("x")`` counts like ``import x``."""
    todo: list[tuple[ast.AST, When]] = [(ast.parse(file.read_text(), str(file)), "at once")]
    while todo:
        node, when = todo.pop()
        targets: list[str] = []
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                todo += [(child, "for types") for child in node.body] + [(child, when) for child in node.orelse]
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
            yield Import(module, target, when, node.lineno)  # type: ignore[attr-defined]
        if when == "at once" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            when = "in a function"
        todo += [(child, when) for child in ast.iter_child_nodes(node)]


def all_imports(package: Path) -> list[Import]:
    modules = sources(package)
    return [entry for name, file in modules.items() for entry in imports_of(name, file, set(modules))]


def running(imports: list[Import]) -> list[Import]:
    """The imports that run: all but those for types."""
    return [entry for entry in imports if entry.when != "for types"]


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
        todo += [entry.target for entry in imports if entry.eager and entry.module == name]
    return loaded


def _in_bench(entry: Import) -> bool:
    return within(entry.module, "gpuspark.bench") and not entry.eager


def strangers(imports: list[Import]) -> list[Import]:
    """Imports of CUDA libraries, compilers and libraries of models outside the rooms that may know them, or of the
    first and the last at once. The benchmark compares with the libraries of models."""
    return [
        entry
        for entry in running(imports)
        if (entry.top in CUDA and (entry.eager or entry.module not in CUDA_MODULES))
        or (
            entry.top in COMPILERS and not within(entry.module, COMPILER_FOLDER) and (entry.module, entry.top) != LOADER
        )
        or (entry.top in MODELS and (entry.eager or entry.module != MODELS_MODULE) and not _in_bench(entry))
    ]


def heavy_loads(imports: list[Import]) -> list[str]:
    """Modules outside those rooms that load a CUDA library as soon as they are imported, through
    whatever chain; and what ``import gpuspark`` loads that is heavy."""
    modules = {entry.module for entry in imports} - CUDA_MODULES
    at_once = [
        f"import {module} loads {name}"
        for module in sorted(modules)
        for name in sorted(loaded_by(module, imports))
        if name.partition(".")[0] in CUDA
    ]
    first = [name for name in sorted(loaded_by("gpuspark", imports)) if name.partition(".")[0] in HEAVY]
    return at_once + [f"import gpuspark loads {name}" for name in first]


def folder_of(module: str) -> str:
    """The part of a module's name that stands in ``ORDER``; empty for the package itself."""
    return module.removeprefix("gpuspark").removeprefix(".").partition(".")[0]


def unplaced(modules: Iterable[str]) -> list[str]:
    """Modules that stand in no folder of ``ORDER``."""
    return [module for module in modules if folder_of(module) not in ("", *ORDER)]


def upward(imports: list[Import]) -> list[Import]:
    """Imports of a folder from one below it in ``ORDER``, lazy and type-only ones too."""
    places = {folder: place for place, folder in enumerate(ORDER)}
    return [
        entry
        for entry in imports
        if (own := folder_of(entry.module)) in places
        and within(entry.target, "gpuspark")
        and places.get(folder_of(entry.target), -1) > places[own]
    ]


def circles(imports: list[Import]) -> list[list[str]]:
    """The modules of each import circle, lazy and type-only imports counted ."""
    targets: dict[str, set[str]] = {}
    for entry in imports:
        if folder_of(entry.module) and within(entry.target, "gpuspark") and entry.target != entry.module:
            targets.setdefault(entry.module, set()).add(entry.target)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for name in targets.get(todo.pop(), set()) - seen:
                seen.add(name)
                todo.append(name)
        return seen

    reach = {module: reached(module) for module in targets}
    on_circles = sorted(module for module in targets if module in reach[module])
    return [
        [other for other in on_circles if other == module or (other in reach[module] and module in reach[other])]
        for module in on_circles
    ]


def bench_users(imports: list[Import]) -> list[Import]:
    """Imports of the benchmark from outside it; the command line may, lazily."""
    return [
        entry
        for entry in running(imports)
        if within(entry.target, "gpuspark.bench")
        and not within(entry.module, "gpuspark.bench")
        and not (entry.module == "gpuspark.cli" and not entry.eager)
    ]


def kernel_imports(imports: list[Import]) -> list[Import]:
    """What kernels import beyond the standard library, NumPy, pyarrow when they run, ``kernels.spec``, and the helpers
    that stand beside them. ``kernels`` itself imports them all, and ``spec`` everything that they are made with."""
    allowed = sys.stdlib_module_names | {"numpy"}
    helpers = "spec forecast_batches geometry polygon_grid philox utf8".split()
    shared = {f"gpuspark.kernels.{name}" for name in helpers}
    return [
        entry
        for entry in running(imports)
        if within(entry.module, "gpuspark.kernels")
        and entry.module not in ("gpuspark.kernels", "gpuspark.kernels.spec")
        and entry.top not in allowed
        and entry.target not in shared
        and not (entry.top == "pyarrow" and not entry.eager)
    ]


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    result = all_imports(PACKAGE)
    seen = {entry.module for entry in result}
    assert {"gpuspark.config", "gpuspark.devices.protocol"} <= seen
    return result


def listed(entries: list[Import] | list[str]) -> str:
    return "\n".join(map(str, entries))


def test_cuda_and_the_compilers_are_known_in_their_rooms_only(imports: list[Import]) -> None:
    assert listed(strangers(imports)) == ""


def test_nothing_loads_cuda_or_rapids_by_being_imported(imports: list[Import]) -> None:
    assert listed(heavy_loads(imports)) == ""


def test_every_module_stands_in_a_folder_of_the_order_and_imports_upward_only(imports: list[Import]) -> None:
    assert unplaced(sources(PACKAGE)) == []
    assert listed(upward(imports)) == ""


def test_no_modules_import_each_other_in_a_circle(imports: list[Import]) -> None:
    assert circles(imports) == []


def test_few_files_stand_at_the_top() -> None:
    files = [file.name for file in PACKAGE.iterdir() if file.is_file()]
    assert len(files) <= MOST_FILES_AT_THE_TOP, files


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
    "__init__.py": "from gpuspark.dialects import udf",
    "dialects/udf.py": "from gpuspark.execution.worker import run\nif TYPE_CHECKING:\n    import cupy",
    "execution/worker.py": "import gpuspark.late\ndef run():\n    import numba\n    from gpuspark.devices import cuda",
    "models/score.py": "def score():\n    import treelite",
    "models/trees.py": "import treelite\ndef read():\n    import treelite",
    "execution/plan.py": "import gpuspark.config\nif TYPE_CHECKING:\n    from gpuspark.dialects import udf",
    "spark/one.py": "from gpuspark.spark.two import a",
    "spark/two.py": "if TYPE_CHECKING:\n    from gpuspark.spark.three import b",
    "spark/three.py": "def b():\n    from gpuspark.spark.one import c",
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
    "kernels/bad.py": "from gpuspark.kernels import good\nimport pandas\nfrom gpuspark.columns.batch import Batch",
    "kernels/spec.py": "",
}


def test_each_law_finds_what_breaks_it(tmp_path: Path) -> None:
    """A small package that breaks every law once, so that a blind check cannot pass."""
    for name, text in SEEDED.items():
        file = tmp_path / "gpuspark" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    result = all_imports(tmp_path / "gpuspark")
    assert {(entry.module, entry.target) for entry in strangers(result)} == {
        ("gpuspark.execution.worker", "numba"),
        ("gpuspark.late", "rmm"),
        ("gpuspark.devices.cuda", "cuda.core"),
        ("gpuspark.models.score", "treelite"),
        ("gpuspark.models.trees", "treelite"),
    }
    assert unplaced(sources(tmp_path / "gpuspark")) == ["gpuspark.late"]
    assert [(entry.module, entry.target) for entry in upward(result)] == [
        ("gpuspark.execution.plan", "gpuspark.dialects.udf")
    ]
    assert circles(result)[0] == ["gpuspark.spark.one", "gpuspark.spark.three", "gpuspark.spark.two"]
    assert [(entry.module, entry.target) for entry in bench_users(result)] == [("gpuspark.cli", "gpuspark.bench.cases")]
    assert {(entry.module, entry.target) for entry in kernel_imports(result)} == {
        ("gpuspark.kernels.bad", "gpuspark.kernels.good"),
        ("gpuspark.kernels.bad", "pandas"),
        ("gpuspark.kernels.bad", "gpuspark.columns.batch"),
    }
    heavy = heavy_loads(result)
    assert "import gpuspark.execution.worker loads cuda.core" in heavy
    assert "import gpuspark loads rmm" in heavy
    assert not any("cudf" in line or "cupy" in line or "numba" in line for line in heavy)
