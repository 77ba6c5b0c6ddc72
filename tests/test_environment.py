"""environment.yml, the conda environment of a GPU node, against pyproject.toml.

conda is not asked: whatever the file allows must be allowed by pyproject.toml too, and nothing that a
GPU node needs may be missing.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# conda's name of a package, where it is not PyPI's.
CONDA_NAMES = {"build": "python-build", "nvidia-nvjitlink-cu12": "libnvjitlink", "xgboost-cpu": "py-xgboost-cpu"}
# These check the source, or machine code that is never run, or plain PySpark beside: none needs a GPU.
NOT_ON_A_GPU_NODE = {"ruff", "mypy", "nvidia-cuda-nvdisasm", "coverage", "memory-profiler"}


def conda_packages(text: str) -> dict[str, SpecifierSet]:
    """What environment.yml asks for, in pip's words: conda's ``=26.10`` is ``==26.10.*``."""
    _, _, dependencies = text.partition("dependencies:")
    result: dict[str, SpecifierSet] = {}
    for name, versions in re.findall(r"^ +- ([a-z0-9-]+)([<>=][^ #\n]*)?$", dependencies, re.MULTILINE):
        result[name] = SpecifierSet(re.sub(r"^=([0-9.]+)$", r"==\1.*", versions))
    return result


def required(requirements: list[str]) -> dict[str, SpecifierSet]:
    """What pyproject.toml asks for, by conda's names, with the extras that it names itself opened."""
    result: dict[str, SpecifierSet] = {}
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            more = [required(PROJECT["optional-dependencies"][extra]) for extra in requirement.extras]
        else:
            more = [{CONDA_NAMES.get(requirement.name, requirement.name): requirement.specifier}]
        for name, bounds in [item for packages in more for item in packages.items()]:
            result[name] = result.get(name, SpecifierSet()) & bounds
    return result


def versions_around(*specifiers: SpecifierSet) -> list[Version]:
    """Versions at, just above and just below every number that ``specifiers`` name."""
    result = {Version("0.1"), Version("99.0")}
    for version in {entry.version.removesuffix(".*") for group in specifiers for entry in group}:
        release = Version(version).release
        result |= {Version(version), Version(f"{version}.1"), Version(f"{version}.99.1")}
        last = ".".join(map(str, (*release[:-1], max(release[-1] - 1, 0))))
        result |= {Version(f"{last}.99"), Version(last)}
    return sorted(result)


def allows(outer: SpecifierSet, inner: SpecifierSet) -> bool:
    """Whether ``outer`` accepts every version that ``inner`` accepts."""
    return all(version in outer for version in versions_around(outer, inner) if version in inner)


CONDA = conda_packages((ROOT / "environment.yml").read_text())
REQUIRED = required([*PROJECT["dependencies"], "gpuspark[dev]"])


@pytest.mark.parametrize("name", sorted(set(REQUIRED) - NOT_ON_A_GPU_NODE))
def test_conda_asks_for_what_pyproject_allows(name: str) -> None:
    assert name in CONDA, f"environment.yml does not ask for {name}"
    assert allows(REQUIRED[name], CONDA[name]), f"{name}: conda {CONDA[name]}, pyproject {REQUIRED[name]}"


def test_python_and_the_parts_that_only_conda_has() -> None:
    assert allows(SpecifierSet(PROJECT["requires-python"]), CONDA["python"])
    assert {"cudf", "rmm", "cupy", "openjdk", "cuda-version"} <= set(CONDA)
    assert CONDA["cudf"] == CONDA["rmm"]
    assert allows(SpecifierSet(">=17"), CONDA["openjdk"])


def test_the_conda_file_is_read_whole() -> None:
    """Every line under ``dependencies`` that names a package is understood."""
    _, _, dependencies = (ROOT / "environment.yml").read_text().partition("dependencies:")
    lines = [line for line in dependencies.splitlines() if line.lstrip().startswith("- ")]
    assert len(CONDA) == len(lines) - len([line for line in lines if line.endswith("pip:")])


@pytest.mark.parametrize("extra", ["cuda12", "cuda13", "demo", "dev"])
def test_no_newer_numpy_beside_numba_cuda_than_it_can_be_imported_with(extra: str) -> None:
    """numba-cuda 0.30 asks for ``numpy.row_stack``, which NumPy 2.5 lacks, and has no bound of its own."""
    result = required([*PROJECT["dependencies"], f"gpuspark[{extra}]"])
    assert Version("0.30.4") in result["numba-cuda"]
    assert Version("2.4.6") in result["numpy"]
    assert Version("2.5.0") not in result["numpy"]


def test_the_pythons_that_were_tried_are_told_and_allowed() -> None:
    told = [line.rsplit(" ", 1)[1] for line in PROJECT["classifiers"] if line.startswith("Programming Language")]
    assert told == ["3.11", "3.12", "3.13"]
    assert all(Version(version) in SpecifierSet(PROJECT["requires-python"]) for version in told)


@pytest.mark.parametrize(
    ("outer", "inner", "verdict"),
    [
        (">=4.1,<5", ">=4.3,<4.4", True),
        (">=2.2,<3.1", ">=3.0", False),
        (">=2.2,<3.1", "==3.0.*", True),
        (">=2.2,<3.1", ">=2.1,<3", False),
        (">=0.30,<0.31", ">=0.30,<0.32", False),
        (">=0.64", "", False),
    ],
)
def test_allows(outer: str, inner: str, verdict: bool) -> None:
    assert allows(SpecifierSet(outer), SpecifierSet(inner)) is verdict


def test_the_oldest_lane_is_held_at_the_lower_bounds() -> None:
    """`make lane-oldest` is what shows that pyproject.toml's lower bounds are true."""
    makefile = (ROOT / "Makefile").read_text()
    [pins] = re.findall(r"^OLDEST := (.*)$", makefile, re.MULTILINE)
    held = {
        pin.name: str(pin.specifier).removeprefix("==").removesuffix(".*") for pin in map(Requirement, pins.split())
    }
    lowest = {name: entry.version for name, group in REQUIRED.items() for entry in group if entry.operator == ">="}
    assert held == {name: lowest[name] for name in ("pyspark", "pandas", "pyarrow", "numpy", "numba")}
