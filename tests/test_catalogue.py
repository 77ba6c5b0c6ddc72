"""The kernel catalogue: what is discovered, and the two texts that are written from it.

``GPUSPARK_WRITE_DOCS=1 pytest tests/test_catalogue.py`` writes the names for type checkers in ``kernels/__init__.py``
and the catalogue in ``docs/kernels.md``; without it the tests compare.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gpuspark import functions, kernels

ROOT = Path(__file__).parents[1]
NAMES = [
    "AnyKernel", "CATALOGUE", "Categories", "ColumnKernel", "HoltWinters", "Kernel", "Polygons", "Tree",
    "TreeEnsemble", "asian_option", "cosine_similarity", "dot_product", "euclidean_distance", "ewm_mean", "haversine",
    "holt_winters", "jaccard", "levenshtein", "lsh_bands", "minhash", "point_in_polygon", "rolling", "top_k",
    "tree_ensemble", "within",
]  # fmt: skip
"""The public names of the first release. Kernels are added, and none is removed."""


def written(file: Path, begin: str, end: str, content: str) -> None:
    """Compares the text of ``file`` between the lines ``begin`` and ``end`` with ``content``, or writes it."""
    before, _, rest = file.read_text().partition(f"{begin}\n")
    _, separator, after = rest.partition(end)
    assert separator, f"{file.name} has no lines {begin} and {end}"
    text = f"{before}{begin}\n{content}\n{end}{after}"
    if os.environ.get("GPUSPARK_WRITE_DOCS"):
        file.write_text(text)
    assert file.read_text() == text, "run: GPUSPARK_WRITE_DOCS=1 pytest tests/test_catalogue.py"


def exports() -> dict[str, list[str]]:
    """Returns the names that ``gpuspark.kernels`` re-exports, by the module that holds them."""
    modules: dict[str, list[str]] = {}
    for name in kernels.__all__:  # type: ignore[attr-defined]
        if name not in ("CATALOGUE", "AnyKernel", "ColumnKernel", "Kernel"):
            modules.setdefault(getattr(kernels, name).__module__, []).append(name)
    return dict(sorted(modules.items()))


# Names


def test_no_public_name_was_lost() -> None:
    assert set(NAMES) <= set(kernels.__all__)  # type: ignore[attr-defined]


def test_type_checkers_see_every_name() -> None:
    lines = [
        f"    from {module} import {name} as {name}"
        for module, names in exports().items()
        for name in sorted(names, key=lambda name: (name.islower(), name))
    ]
    written(ROOT / "kernels" / "__init__.py", "    # <names>", "    # </names>", "\n".join(lines))


def test_the_catalogue_is_in_alphabetical_order() -> None:
    assert list(kernels.CATALOGUE) == sorted(kernels.CATALOGUE) == functions.__all__
    assert [name for name, kernel in kernels.CATALOGUE.items() if getattr(kernels, name) is not kernel] == []
    assert [name for name, kernel in kernels.CATALOGUE.items() if kernel.__name__ != name] == []


@pytest.mark.parametrize(
    "first",
    [
        "from gpuspark.kernels.haversine import haversine",
        "import gpuspark.kernels.haversine",
        "from gpuspark.kernels import haversine",
        "import gpuspark.kernels.top_k, gpuspark.kernels.polygon_grid",
        "from gpuspark import functions",
        "import gpuspark as gs; gs.kernels",
    ],
)
def test_a_kernel_hides_the_module_of_its_name_in_every_order_of_imports(first: str) -> None:
    script = f"""
import sys
import gpuspark
assert "gpuspark.kernels" not in sys.modules
{first}
import gpuspark.kernels.haversine, gpuspark.kernels.top_k
from gpuspark import kernels
from gpuspark.kernels.haversine import EARTH_RADIUS_KM, haversine
assert haversine is kernels.haversine is gpuspark.kernels.haversine is kernels.CATALOGUE["haversine"]
assert kernels.top_k is kernels.CATALOGUE["top_k"]
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_helper_modules_export_nothing() -> None:
    assert isinstance(kernels.philox, ModuleType)  # type: ignore[attr-defined]
    assert not {"philox", "uniform", "spec", "array_function"} & set(kernels.__all__)  # type: ignore[attr-defined]


# The page


def markdown(text: str) -> str:
    """Returns the text of a docstring as Markdown: one line for each paragraph, without Sphinx' roles."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def described(name: str, kernel: kernels.AnyKernel) -> str:
    """Returns the section of a kernel: its call, docstring, example, parameters, result and source."""
    spec = kernel.spec
    text, _, example = (inspect.getdoc(kernel) or "").partition(">>>")
    call = str(kernel.signature.replace(return_annotation=inspect.Signature.empty))
    for parameter in kernel.signature.parameters.values():
        call = call.replace(str(parameter), str(parameter.replace(annotation=inspect.Parameter.empty)), 1)
    call = re.sub(r"(\w) = ", r"\1=", call)
    parameters = [f"- `{parameter}`: {meaning}" for parameter, meaning in spec.parameters.items()]
    return "\n\n".join(
        [
            f"### {name}",
            f"`functions.{name}{call}`",
            markdown(text.strip()),
            "\n".join([*parameters, f"- result: `{spec.result}`; unit: {spec.unit}"]),
            f"```pycon\n>>> {example.strip()}\n```",
            f"Source: {spec.reference}.",
        ]
    )


def test_the_page_describes_every_kernel() -> None:
    sections = [described(name, kernel) for name, kernel in kernels.CATALOGUE.items()]
    page = ROOT / "docs" / "kernels.md"
    written(page, "<!-- catalogue -->", "<!-- /catalogue -->", "\n" + "\n\n".join(sections) + "\n")


# A new kernel

FOLDERS = ("gpuspark", "kernels", "bench", "tests", "docs")
FILES = ("pyproject.toml", "CHANGELOG.md", "README.md", "CONTRIBUTING.md")
PAGE = ROOT / "docs" / "write-a-kernel.md"

FOUND_EVERYWHERE = """
from gpuspark import functions, kernels
from gpuspark.bench.cases import every_case
from tests.support.kernel_samples import SAMPLES

assert kernels.__file__.startswith({copy!r}), kernels.__file__
assert kernels.longest_run is kernels.CATALOGUE["longest_run"]
assert "longest_run" in functions.__all__ and "Knuth" in functions.longest_run.__doc__
assert every_case()["longest_run"].oracle == "udf"
assert SAMPLES["longest_run"]().to_pylist() == [2, None, 0]
"""

TESTS = (
    "tests/kernels/test_longest_run.py",
    "gpuspark/kernels/longest_run.py",
    "tests/test_catalogue.py::test_type_checkers_see_every_name",
    "tests/test_catalogue.py::test_the_page_describes_every_kernel",
    "tests/test_catalogue.py::test_the_catalogue_is_in_alphabetical_order",
    "tests/test_docs.py::test_the_api_reference_is_that_of_the_docstrings",
    "tests/test_interface.py::test_kernels_and_column_functions",
    "tests/test_bench.py::test_every_kernel_has_its_case",
    "tests/test_borders.py::test_kernels_know_their_spec_only",
    "tests/test_cuda_suite.py::test_every_kernel_over_columns_has_a_sample",
    "tests/test_machine_code.py::test_each_tool_kits_table_names_programs_that_there_are",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository with the four changes that ``docs/write-a-kernel.md`` makes."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path)
    page = PAGE.read_text()
    for name, code in re.findall(r"```python\n# (\w+/[\w/]+\.py)\n(.*?)```", page, re.DOTALL):
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(code)
    (line,) = re.findall(r"```markdown\n(- .*?\n)```", page, re.DOTALL)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("### Added\n\n", f"### Added\n\n{line}", 1))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the repository's files, without those that running it leaves behind."""
    files = [file for name in FOLDERS for file in (folder / name).rglob("*") if file.is_file()]
    files += [folder / name for name in FILES]
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if "__pycache__" not in file.parts and file.suffix != ".so"
    }


def run(*command: str, cwd: Path, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(cwd)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_a_new_kernel_is_four_files(checkout: Path) -> None:
    before, after = contents(ROOT), contents(checkout)
    assert {name for name in after if after[name] != before.get(name)} == {
        "kernels/longest_run.py",
        "tests/kernels/test_longest_run.py",
        "bench/cases/longest_run.py",
        "CHANGELOG.md",
    }
    run("-c", FOUND_EVERYWHERE.format(copy=str(checkout)), cwd=checkout)
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, cwd=checkout, GPUSPARK_WRITE_DOCS="1")
    assert "### longest_run\n" in (checkout / "docs" / "kernels.md").read_text()
    assert "import longest_run as longest_run" in (checkout / "kernels" / "__init__.py").read_text()
