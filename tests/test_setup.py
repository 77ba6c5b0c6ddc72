"""The set-up scripts under .ci/, run against stand-ins of java, apt-get and uv; and the test sessions.

Each script sees a path that holds only the tools it may use, so nothing on this machine is found, and
nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[1]
TOOLS = ["cat", "cksum", "dirname", "env", "mkdir", "rm", "sed", "sh"]


class Machine:
    """A folder that plays a machine: its ``bin`` is the whole path, ``log`` is what was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            result = shutil.which(tool)
            assert result, tool
            (self.bin / tool).symlink_to(result)
        self.command("id", "echo 1000")

    def command(self, name: str, body: str) -> None:
        """Puts a script on the path that notes its call and then does ``body``."""
        script(self.bin / name, f"echo {name} \"$@\" >>'{self.folder}/log'\n{body}")

    @property
    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        here = {"PATH": str(self.bin), "HOME": str(self.folder), "JAVA_FOLDERS": str(self.folder / "jvm")}
        return subprocess.run(
            command, env=here | environment, cwd=self.folder, capture_output=True, text=True, check=False
        )


def script(file: Path, body: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


def java(home: Path, version: str) -> Path:
    """A stand-in of java that tells its settings as the real one does; Java 8 does not know modules."""
    refuse = 'case "$1" in --add-modules*) exit 1 ;; esac\n' if version.startswith("1.") else ""
    settings = f"Property settings:\n    java.home = {home}\n    java.specification.version = {version}"
    script(home / "bin" / "java", f"{refuse}echo '{settings}' >&2")
    return home


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "a machine")


def test_java_home_comes_first(machine: Machine) -> None:
    java(machine.folder / "jvm" / "seventeen", "17")
    chosen = java(machine.folder / "chosen", "21")
    done = machine.run(ROOT / ".ci/java", JAVA_HOME=str(chosen))
    assert (done.returncode, done.stdout) == (0, f"{chosen}\n")


def test_the_java_on_the_path_comes_before_the_folders(machine: Machine) -> None:
    java(machine.folder / "jvm" / "seventeen", "17")
    home = java(machine.folder / "opt", "25")
    (machine.bin / "java").symlink_to(home / "bin" / "java")
    assert machine.run(ROOT / ".ci/java").stdout == f"{home}\n"


@pytest.mark.parametrize("version", ["1.8", "11", "16"])
def test_an_old_java_is_passed_over(machine: Machine, version: str) -> None:
    old = java(machine.folder / "old", version)
    good = java(machine.folder / "jvm" / "seventeen", "17")
    done = machine.run(ROOT / ".ci/java", JAVA_HOME=str(old))
    assert (done.returncode, done.stdout) == (0, f"{good}\n")
    assert str(old) in done.stderr


def test_without_java_it_says_what_to_install(machine: Machine) -> None:
    done = machine.run(ROOT / ".ci/java", JAVA_HOME="/nowhere")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "apt-get install openjdk-17-jre-headless" in done.stderr
    assert "/nowhere/bin/java" in done.stderr


def test_root_on_debian_gets_a_java(machine: Machine) -> None:
    """The first package is missing from this release, as 17 is from Debian 13; the second is there."""
    home = java(machine.folder / "parcel", "21")
    machine.command("id", "echo 0")
    body = f"case \"$*\" in *openjdk-17*) exit 100 ;; *openjdk-21*) mkdir -p '{machine.folder}/jvm'; "
    machine.command("apt-get", f"{body} cp -r '{home}' '{machine.folder}/jvm/new' ;; esac")
    (machine.bin / "cp").symlink_to(shutil.which("cp") or "")
    done = machine.run(ROOT / ".ci/java")
    assert (done.returncode, done.stdout) == (0, f"{home}\n"), done.stderr
    assert [line.split()[-1] for line in machine.log if " install " in line] == [
        "openjdk-17-jre-headless",
        "openjdk-21-jre-headless",
    ]


def test_others_install_nothing(machine: Machine) -> None:
    machine.command("apt-get", "exit 0")
    assert machine.run(ROOT / ".ci/java").returncode == 1
    assert not any(line.startswith("apt-get") for line in machine.log)


@pytest.fixture
def checkout(machine: Machine) -> Path:
    """A checkout in a folder with a space in its name, and a uv that only makes folders."""
    folder = machine.folder / "my checkout"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    shutil.copy(ROOT / "pyproject.toml", folder)
    java(machine.folder / "jvm" / "seventeen", "17")
    machine.command("uv", 'for last; do :; done; case "$1" in venv) mkdir -p "$last/bin" ;; esac')
    return folder


def installs(machine: Machine) -> int:
    return sum(line.startswith("uv pip install") for line in machine.log)


def test_a_second_set_up_installs_nothing(machine: Machine, checkout: Path) -> None:
    for _ in range(2):
        done = machine.run(checkout / ".ci/setup", ".venv")
        assert done.returncode == 0, done.stderr
        assert installs(machine) == 1


def test_set_up_again_when_something_changed(machine: Machine, checkout: Path) -> None:
    machine.run(checkout / ".ci/setup", ".venv")
    machine.run(checkout / ".ci/setup", ".venv", "pandas==2.2.*")
    assert installs(machine) == 2
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    machine.run(checkout / ".ci/setup", ".venv", "pandas==2.2.*")
    assert installs(machine) == 3
    assert "pandas==2.2.*" in machine.log[-1]


def test_another_extra_is_another_set_up(machine: Machine, checkout: Path) -> None:
    machine.run(checkout / ".ci/setup", ".venv-cuda13")
    assert ".[dev]" in machine.log[-1].split()
    machine.run(checkout / ".ci/setup", ".venv-cuda13", EXTRA="toolchains")
    assert installs(machine) == 2
    assert ".[toolchains]" in machine.log[-1].split()


def python(machine: Machine, file: Path, version: str) -> Path:
    """A stand-in of a Python that only says whether it is the version that it is asked for."""
    script(file, f'for last; do :; done; test "$last" = {version}')
    return file


def test_the_python_may_be_told(machine: Machine, checkout: Path) -> None:
    """pyenv's, where the path has a shim of pyenv with nothing behind it. Another one is another set-up."""
    machine.command("python3.13", "exit 127")
    told = python(machine, machine.folder / ".pyenv/versions/3.13.1/bin/python", "3.13")
    machine.run(checkout / ".ci/setup", ".venv")
    made = [line for line in machine.log if line.startswith("uv venv")]
    assert made == ["uv venv --quiet --python >=3.11 .venv"]
    for _ in range(2):
        done = machine.run(checkout / ".ci/setup", ".venv", PYTHON="3.13")
        assert done.returncode == 0, done.stderr
    assert installs(machine) == 2
    made = [line for line in machine.log if line.startswith("uv venv")]
    assert made[1:] == [f"uv venv --quiet --python {told} .venv"]


@pytest.mark.parametrize("target", ["setup", "lane-newest"])
def test_make_hands_on_the_python_that_was_told(machine: Machine, checkout: Path, target: str) -> None:
    """In the environment, as the documents say, which a variable of one target would hide from all."""
    told = python(machine, machine.bin / "python3.12", "3.12")
    shutil.copy(ROOT / "Makefile", checkout)
    machine.command("cc", "exit 0")
    (machine.bin / "make").symlink_to(shutil.which("make") or "")
    machine.run("make", "-C", str(checkout), target, PYTHON="3.12")
    [made] = [line for line in machine.log if line.startswith("uv venv")]
    assert f"--python {told} " in made


def test_a_python_on_the_path_comes_before_pyenvs(machine: Machine) -> None:
    result = python(machine, machine.bin / "python3.12", "3.12")
    python(machine, machine.folder / ".pyenv/versions/3.12.1/bin/python", "3.12")
    assert machine.run(ROOT / ".ci/python", "3.12").stdout == f"{result}\n"


def test_a_python_that_is_not_to_be_had_is_named(machine: Machine, checkout: Path) -> None:
    machine.command("uv", '[ "$1" != python ]')
    done = machine.run(checkout / ".ci/setup", ".venv", PYTHON="3.13")
    assert done.returncode != 0
    assert "There is no Python 3.13 here" in done.stderr
    assert installs(machine) == 0


@pytest.mark.parametrize("mask", ["numpy", "glibc", "numba"])
def test_each_mask_plays_a_lesser_processor(mask: str) -> None:
    """What each library says of the processor, with the mask on."""
    words = subprocess.run([ROOT / ".ci/mask", mask], capture_output=True, text=True, check=True).stdout.split()
    told = dict(word.split("=", 1) for word in words)
    code = {
        "numpy": "from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__; "
        "print(any(__cpu_features__[name] for name in __cpu_dispatch__))",
        "glibc": "import subprocess, sys; print('x86-64-v3 (supp' in subprocess.run(['/lib64/ld-linux-x86-64.so.2', "
        "'--help'], capture_output=True, text=True).stdout)",
        "numba": "from gpuspark.compiler.toolchain import processor; print(processor() != ('generic', ''))",
    }[mask]
    environment = {**os.environ, **told}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_a_set_up_that_failed_is_begun_again(machine: Machine, checkout: Path) -> None:
    machine.command("uv", 'for last; do :; done; case "$1" in venv) mkdir -p "$last/bin" ;; pip) exit 2 ;; esac')
    assert machine.run(checkout / ".ci/setup", ".venv").returncode != 0
    assert machine.run(checkout / ".ci/setup", ".venv").returncode != 0
    assert installs(machine) == 2


@pytest.mark.parametrize(("free_kib", "venv_kib", "enough"), [(9e6, 0, True), (5e6, 0, False), (5e6, 4e6, True)])
def test_too_little_room_is_said(machine: Machine, checkout: Path, free_kib: float, venv_kib: float, enough) -> None:
    """What environments of an earlier run hold counts as free."""
    machine.command(
        "df",
        f"echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'\n"
        f"echo '/dev/my disk  99999999  11111111   {free_kib:.0f}     33% /a folder'",
    )
    machine.command("du", f"echo '{venv_kib:.0f}\t.venv'")
    if venv_kib:
        (checkout / ".venv").mkdir()
    done = machine.run(checkout / ".ci/room", "8")
    assert done.returncode == (0 if enough else 1), done.stderr
    assert done.stderr == "" if enough else f"need 8 GiB in {checkout}, and 4 GiB are free there" in done.stderr


@pytest.mark.parametrize("to_be_had", [True, False])
def test_where_there_is_no_uv_one_is_fetched_or_pip_installs(machine: Machine, checkout: Path, to_be_had: bool) -> None:
    """Python's stand-in makes environments whose own Python notes what pip installs, and can install uv or not."""
    uv, inner = machine.folder / "uv", machine.folder / "python of an environment"
    (machine.bin / "uv").rename(uv)
    for tool in ("cp", "ln"):
        (machine.bin / tool).symlink_to(shutil.which(tool) or "")
    fetch = f"ln -s '{uv}' .venv-uv/bin/uv" if to_be_had else "exit 1"
    script(inner, f"echo pip \"$@\" >>'{machine.folder}/log'\ncase \"$*\" in *' uv') {fetch} ;; esac")
    make = f'mkdir -p "$3/bin" && cp "{inner}" "$3/bin/python"'
    machine.command("python3", f'[ "$2" != venv ] || {{ {make}; }}')
    for _ in range(2):
        done = machine.run(checkout / ".ci/setup", ".venv")
        assert done.returncode == 0, done.stderr
    by_pip = [line for line in machine.log if line.startswith("pip -m pip install") and "--editable" in line]
    assert (installs(machine), len(by_pip)) == ((1, 0) if to_be_had else (0, 1))


def test_without_python_or_uv_it_says_what_to_install(machine: Machine, checkout: Path) -> None:
    (machine.bin / "uv").unlink()
    done = machine.run(checkout / ".ci/setup", ".venv")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_spark_is_told_which_java_and_python(machine: Machine, checkout: Path) -> None:
    """Another Spark's SPARK_HOME and PYTHONPATH are forgotten, and Python keeps what it compiles: an environment that
    uv made holds no bytecode, and pandas, Numba and PySpark take five seconds of each process without it, else one."""
    machine.run(checkout / ".ci/setup", ".venv")
    seen = machine.run(
        "sh",
        "-c",
        f". '{checkout}/.venv/activate-spark' && env",
        SPARK_HOME="/opt/spark",
        PYTHONPATH="/opt/spark/python",
        PYTHONDONTWRITEBYTECODE="1",
    ).stdout
    result = dict(re.findall(r"^(\w+)=(.*)$", seen, re.MULTILINE))
    assert result["JAVA_HOME"] == str(machine.folder / "jvm" / "seventeen")
    assert result["PYSPARK_PYTHON"] == str(checkout / ".venv" / "bin" / "python")
    assert result["PATH"].startswith(f"{checkout}/.venv/bin:")
    assert not {"SPARK_HOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & set(result)


def test_what_a_shell_may_be_reading_is_written_only_where_it_changes(machine: Machine, checkout: Path) -> None:
    """``make test`` sets up twice at a time: a shell that found the file empty took another Python than .venv's."""
    activate = checkout / ".venv" / "activate-spark"
    machine.run(checkout / ".ci/setup", ".venv")
    text = activate.read_text()
    os.utime(activate, (0, 0))
    assert machine.run(checkout / ".ci/setup", ".venv").returncode == 0
    assert (activate.stat().st_mtime, activate.read_text()) == (0, text)
    activate.write_text(text.replace("seventeen", "sixteen"))
    machine.run(checkout / ".ci/setup", ".venv")
    assert activate.read_text() == text


def test_device_suite_refuses_a_machine_without_a_gpu(machine: Machine) -> None:
    done = machine.run(ROOT / ".ci/device-suite")
    assert done.returncode == 1
    assert "environment.yml" in done.stderr


def test_the_core_tests_of_the_lanes_exist() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    lists = re.findall(r"^(?:SPARK|CORE) := (.*)$", makefile, re.MULTILINE)
    named = [name for listed in lists for name in listed.split() if name != "$(SPARK)"]
    assert len(lists) == 2
    assert len(named) > 5
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_help_lists_every_target_that_is_explained() -> None:
    make = ["make", "--no-print-directory"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"demo", "test", "bench", "lanes", "properties", "clean"} <= listed
    for target in listed:
        subprocess.run([*make, "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


def test_the_classic_session(spark: SparkSession) -> None:
    from pyspark.sql.utils import is_remote

    assert not is_remote()
    assert spark.conf.get("spark.gpuspark.fallback") == "raise"
    assert spark.conf.get("spark.ui.port") == "0"
    assert spark.range(5).count() == 5


def test_the_connect_session(connect: SparkSession) -> None:
    from pyspark.sql.utils import is_remote

    assert is_remote()
    assert connect.conf.get("spark.gpuspark.fallback") == "raise"
    assert connect.range(5).count() == 5


def test_a_flag_is_set_in_one_test(spark: SparkSession) -> None:
    spark.conf.set("spark.gpuspark.device", "python")
    spark.conf.set("spark.gpuspark.fallback", "warn")


def test_and_gone_in_the_next(spark: SparkSession) -> None:
    assert spark.conf.get("spark.gpuspark.device", "unset") == "unset"
    assert spark.conf.get("spark.gpuspark.fallback") == "raise"
