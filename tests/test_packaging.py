"""Each way to install gpuspark brings the whole package, ``kernels`` and ``bench`` included, to the driver
and to Spark's workers. Everything is built and tried in fresh virtual environments, without a network.

The fresh environments see this one's packages, but not its editable gpuspark: Python does not follow
the ``.pth`` files of a folder that another ``.pth`` file names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ["gpuspark", "gpuspark.kernels", "gpuspark.bench", "gpuspark.tools.cudf_standin"]  # which reads a data file

# Prints the files that the modules come from, in a fresh interpreter.
WHERE = """
import importlib
for name in {modules}:
    print(importlib.import_module(name).__file__)
"""

# Prints the same as seen by a Python worker of Spark; {add} may ship files to it first.
WHERE_IN_A_WORKER = """
import os, sys
os.environ["PYSPARK_PYTHON"] = sys.executable
from pyspark.sql import SparkSession

def where(batches):
    import importlib, pyarrow
    for _ in batches:
        files = [importlib.import_module(name).__file__ for name in {modules}]
        yield pyarrow.RecordBatch.from_pydict({{"file": files}})

builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
{add}
for row in spark.range(1, numPartitions=1).mapInArrow(where, "file string").collect():
    print(row.file)
spark.stop()
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The standard output of ``command``; its errors are shown where it fails."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fresh_environment(folder: Path) -> Path:
    """The interpreter of a new environment in ``folder``: everything from here, but no gpuspark."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=ROOT)
    [packages] = folder.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "from_here.pth").write_text("\n".join(sorted(paths)))
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path) -> None:
    options = [
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--force-reinstall",
    ]
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        *options,
        *what,
        cwd=python.parent,
    )


def files(python: Path, script: str, cwd: Path, add: str = "", **environment: str) -> list[Path]:
    """Where ``script``, run outside the checkout, found the modules."""
    text = script.format(modules=MODULES, add=add)
    return [Path(line) for line in run(python, "-c", text, cwd=cwd, **environment).splitlines()]


def expected(package: Path) -> list[Path]:
    folders = [package / "__init__.py", package / "kernels" / "__init__.py", package / "bench" / "__init__.py"]
    return [*folders, package / "tools" / "cudf_standin.py"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build reads, links kept: building leaves folders behind."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("gpuspark", "kernels", "bench"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignore)
    for file in [ROOT / "pyproject.toml", ROOT / "MANIFEST.in", ROOT / "LICENSE", *ROOT.glob("*.md")]:
        shutil.copy(file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, checkout, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out, checkout, cwd=out)
    [built] = out.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def zipped(wheel: Path) -> Path:
    """``addPyFile`` takes .zip, not .whl."""
    return Path(shutil.copy(wheel, wheel.parent / "gpuspark.zip"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.startswith("gpuspark/")}


def test_the_wheel_holds_every_module_once(wheel: Path, checkout: Path) -> None:
    modules = {
        f"gpuspark/{folder}{file.relative_to(top).as_posix()}"
        for top, folder in [
            (checkout / "gpuspark", ""),
            (checkout / "kernels", "kernels/"),
            (checkout / "bench", "bench/"),
        ]
        for file in top.rglob("*.py")
    }
    held = contents(wheel)
    assert {name for name in held if name.endswith(".py")} == modules
    assert "gpuspark/py.typed" in held


@pytest.mark.slow
@pytest.mark.long
def test_the_wheel_installs(wheel: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    install(python, wheel)
    [package] = (tmp_path / "env").glob("lib/python*/site-packages/gpuspark")
    assert files(python, WHERE, tmp_path) == expected(package)
    assert files(python, WHERE_IN_A_WORKER, tmp_path) == expected(package)


def test_a_wheel_built_from_the_source_distribution_is_the_same(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(sdist, tmp_path)
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert not (source / "gpuspark" / "kernels").is_symlink()
    assert not (source / "tests").exists()
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, source, cwd=tmp_path)
    [rebuilt] = tmp_path.glob("*.whl")
    assert contents(rebuilt) == contents(wheel)


def test_the_source_distribution_installs(sdist: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    install(python, sdist)
    [package] = (tmp_path / "env").glob("lib/python*/site-packages/gpuspark")
    assert files(python, WHERE, tmp_path) == expected(package)


@pytest.mark.slow
@pytest.mark.long  # the environment of the tests is one
def test_an_editable_install_follows_the_links(checkout: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    install(python, "--editable", checkout)
    assert files(python, WHERE, tmp_path) == expected(checkout / "gpuspark")
    assert files(python, WHERE_IN_A_WORKER, tmp_path) == expected(checkout / "gpuspark")


@pytest.mark.slow
@pytest.mark.long
def test_the_zip_reaches_workers_through_add_py_file(zipped: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    result = files(python, WHERE_IN_A_WORKER, tmp_path, add=f"spark.sparkContext.addPyFile({str(zipped)!r})")
    assert from_the_zip(result)


@pytest.mark.slow
def test_the_zip_reaches_workers_through_py_files(zipped: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    arguments = f"--py-files '{zipped}' pyspark-shell"
    assert from_the_zip(files(python, WHERE_IN_A_WORKER, tmp_path, PYSPARK_SUBMIT_ARGS=arguments))


def from_the_zip(result: list[Path]) -> bool:
    """Whether the modules came out of ``gpuspark.zip``, in the folder that Spark put it in."""
    [archive] = {path.parent.parent for path in result[:1]}
    return archive.name == "gpuspark.zip" and result == expected(archive / "gpuspark")


def test_without_any_of_these_there_is_no_gpuspark(tmp_path: Path) -> None:
    """The fresh environments prove something: by themselves they hold none."""
    python = fresh_environment(tmp_path / "env")
    script = "from importlib.util import find_spec; print(find_spec('gpuspark'), find_spec('numba').name)"
    assert run(python, "-c", script, cwd=tmp_path).split() == ["None", "numba"]
