"""On a borrowed GPU node: unpacks what arrived, runs stages, and writes a log for each.

    python3 .device/tools/node.py STAGE ... [--seconds 570] [--rehearse]

Run it in the project's checkout. Needs only Python's own library. What arrives beside tools/ (see pack.py) is unpacked
once, into PLACE. Stages have time limits, and one that fails or hangs stops no other. Logs go to $OUT at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import site
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT, TOOLS = Path.cwd(), Path(__file__).resolve().parent
ARRIVED = TOOLS.parent
PLACE = Path(os.environ.get("GPUSPARK_NODE", "/tmp/gpuspark-node"))
OUT = Path(os.environ.get("OUT", "/tmp/gpuspark-out"))
JAVA = PLACE / "spark" / "jre"
CORES = str(min(os.cpu_count() or 1, 12))

PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "spark_split", "-m", "device", "--durations=8", "-q"]
SPREAD = ["-n", CORES, "--dist", "worksteal"]


@dataclass(frozen=True)
class Stage:
    """What `python` is given, the most seconds for it, the parts that it needs, and more of its environment."""

    arguments: list[str]
    seconds: int
    needs: tuple[str, ...] = ("base",)
    environment: tuple[tuple[str, str], ...] = ()
    rehearsal: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    """A program that starts `python`."""


WITHOUT = (("GPUSPARK_TESTS", "without-spark"),)
BENCH = PLACE / "bench"
SMOKE = ["levenshtein", "tree_ensemble", "forecast_revenue", "smoothing_groups_of_40", "top_k_of_1000", "scalar_light"]
"""The smoke suite, but for the case that needs Polars: another of its kind is in its place."""
CORE = ["-m", "gpuspark", "bench", "--suite", "core", "--path", "gpuspark", "--rounds", "3", "--out", str(BENCH)]
HEAVY = [
    "asian_option", "top_k_of_10000", "top_k_of_10000_for_100000", "tree_ensemble", "levenshtein", "jaccard",
    "scalar_heavy",
]  # fmt: skip
"""Cases in which computing takes long on a CPU."""
VERDICTS = ["-m", "gpuspark", "bench", "--suite", "full", "--rounds", "6", "--out", str(BENCH),
            *(word for name in HEAVY for word in ("--case", name))]  # fmt: skip
KERNELS = ["-m", "tests.proof.gpu_kernels", "--out", str(OUT)]
ON_CPU = ("--device", "cpu", "--case", "haversine")
RAPIDS = ["tests/test_rapids.py", "tests/test_map_in_arrow.py", "tests/test_series_cudf.py"]
GENERATED = ["tests/test_properties.py", "tests/test_programs.py"]
SUITE = ["the CUDA module", "the behaviour suite", "generated batches", "RAPIDS and batch bodies", "the benchmark"]

STAGES = {
    "facts": Stage([str(TOOLS / "facts.py")], 120),
    "module": Stage([*PYTEST, "tests/test_cuda.py"], 120),
    "tests": Stage(
        [*PYTEST, *SPREAD, "tests", *(f"--ignore={name}" for name in ("tests/test_cuda.py", *GENERATED, *RAPIDS))],
        400, environment=WITHOUT, rehearsal=("-k", "arrays or philox or (rowwise and not any_bit)"),
    ),
    "generated": Stage(
        [*PYTEST, *SPREAD, *GENERATED], 300, environment=WITHOUT, rehearsal=("-k", "haversine or logic")
    ),
    "bits": Stage(["-m", "tests.proof.gpu_bits"], 200),
    "meaning": Stage(["-m", "tests.proof.cudf_meaning"], 200, ("base", "rapids")),
    "demo": Stage(["-m", "gpuspark", "demo"], 200, ("base", "spark", "polars")),
    "kernels": Stage([*KERNELS, "--device", "cuda"], 420, rehearsal=("--tiny", "--only", "scalar")),
    "kernels-cpu": Stage([*KERNELS, "--device", "cpu"], 300, rehearsal=("--tiny",)),
    "spark": Stage(
        [*PYTEST, "tests", *(f"--ignore={name}" for name in RAPIDS[1:])], 260, ("base", "spark"),
        (("GPUSPARK_TESTS", "with-spark"),),
    ),
    "suite": Stage(
        ["-m", "tests.proof.device_suite", "--log", str(OUT / "device-suite.log"), *SUITE], 580,
        ("base", "spark", "rapids"),
        rehearsal=("--rehearse",),
    ),
    "bench": Stage(
        ["-m", "gpuspark", "bench", "--suite", "smoke", "--device", "cuda", "--out", str(BENCH),
         *(word for name in SMOKE for word in ("--case", name))],
        300, ("base", "spark"), rehearsal=("--device", "cpu", "--path", "gpuspark", "--rounds", "1"),
    ),
    "verdicts": Stage([*VERDICTS, "--device", "cuda"], 400, ("base", "spark", "polars"), rehearsal=ON_CPU),
    "verdicts-cpu": Stage([*VERDICTS, "--device", "cpu"], 400, ("base", "spark", "polars"), rehearsal=ON_CPU),
    "core": Stage([*CORE, "--device", "cuda"], 580, ("base", "spark", "polars"), rehearsal=ON_CPU),
    "core-cpu": Stage([*CORE, "--device", "cpu"], 580, ("base", "spark", "polars"), rehearsal=ON_CPU),
    "rapids": Stage([*PYTEST, *RAPIDS], 300, ("base", "spark", "rapids")),
    "sanitize": Stage(
        [str(TOOLS / "samples.py")], 400, rehearsal=("dot_product", "top_k"),
        under=("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9"),
    ),
    "races": Stage(
        [str(TOOLS / "samples.py")], 400, rehearsal=("dot_product",),
        under=("compute-sanitizer", "--tool", "racecheck", "--error-exitcode", "9"),
    ),
}  # fmt: skip


def say(text: str) -> None:
    print(text, flush=True)
    with (OUT / "summary.txt").open("a") as summary:
        summary.write(f"{text}\n")


def unpack() -> set[str]:
    """Keeps the pieces that arrived, and unpacks every part whose pieces are all here; the names of those parts."""
    pieces = PLACE / "pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    for piece in sorted(ARRIVED.glob("*.tar.xz.*")):
        if not (pieces / piece.name).exists():
            shutil.copyfile(piece, pieces / f"{piece.name}.part")
            (pieces / f"{piece.name}.part").rename(pieces / piece.name)
    for first in sorted(pieces.glob("*.tar.xz.1of*")):
        name, count = first.name.split(".")[0], int(first.name.rpartition("of")[2])
        parts = [pieces / f"{name}.tar.xz.{n}of{count}" for n in range(1, count + 1)]
        missing = [part.name for part in parts if not part.exists()]
        if missing:
            say(f"{name}: still to come: {', '.join(missing)}")
        elif not (PLACE / name / "whole").exists():
            start = time.monotonic()
            archive = PLACE / f"{name}.tar.xz"
            with archive.open("wb") as file:
                for part in parts:
                    file.write(part.read_bytes())
            with tarfile.open(archive, "r:xz") as tar:
                tar.extractall(PLACE / name, filter="tar")
            archive.unlink()
            (PLACE / name / "whole").touch()
            say(f"{name}: unpacked in {time.monotonic() - start:.0f} s")
    return {found.parent.name for found in PLACE.glob("*/whole")}


def put_on_path(here: set[str]) -> list[str]:
    """Writes a .pth file among the packages of this Python. PYTHONPATH would not do as well: the tests set it anew for
    Spark's workers. It is what is left where the file cannot be written; then the folders for it are returned."""
    first = [PLACE / name / "override" for name in ("toolkit", "base") if name in here]
    last = [PLACE / name / "site" for name in ("base", "polars", "rapids") if name in here]
    first, last = ([str(place) for place in places if place.exists()] for places in (first, last))
    jars = PLACE / "base" / "site" / "pyspark" / "jars"
    if {"base", "spark"} <= here and not jars.exists():
        jars.symlink_to(PLACE / "spark" / "jars")
    file = Path(site.getsitepackages()[0]) / "0-gpuspark-node.pth"  # read before numba-cuda's own
    try:
        file.write_text("\n".join([f"import sys; sys.path[:0] = {first!r}", *last]) + "\n")
    except OSError as error:
        say(f"{error}: PYTHONPATH instead, which Spark's workers will not see")
        return [*first, *last]
    return []


def cuda_home() -> str | None:
    """The tool kit of the machine: libNVVM is there, and not among its Python packages."""
    nvcc = shutil.which("nvcc")
    found = nvcc and str(Path(nvcc).resolve().parents[1])
    candidates = [os.environ.get("CUDA_HOME"), "/usr/local/cuda", found, str(PLACE / "toolkit" / "cuda")]
    return next((home for home in candidates if home and (Path(home) / "nvvm" / "lib64").is_dir()), None)


def environment(here: set[str], packages: list[str], rehearsed: bool) -> dict[str, str]:
    found = {
        **os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
        "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost", "OUT": str(OUT),
        "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(map(str, (*packages, ROOT, ROOT / "tests", TOOLS))),
        "GPUSPARK_CACHE_DIR": str(PLACE / "cache"),
    }  # fmt: skip
    found.pop("SPARK_HOME", None)
    home = cuda_home()
    if home:
        found["CUDA_HOME"] = home
        found["PATH"] += f"{os.pathsep}{home}/bin"
    if "spark" in here:
        found |= {"JAVA_HOME": str(JAVA), "PATH": f"{JAVA}/bin{os.pathsep}{found['PATH']}"}
    if rehearsed:
        sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
        from tests.proof.device_suite import stand_in

        (PLACE / "stub").mkdir(exist_ok=True)
        saved, os.environ["PATH"] = os.environ["PATH"], found["PATH"]
        found |= stand_in(PLACE / "stub")
        os.environ["PATH"] = saved
    return found


def run(name: str, stage: Stage, limit: float, settings: dict[str, str], rehearsed: bool) -> bool:
    """One stage, its output in a log of its name; ended, with all that it started, when its time is up."""
    arguments = [*stage.arguments, *(stage.rehearsal if rehearsed else ())]
    under = () if rehearsed else stage.under
    if "kernels" in name:
        arguments += ["--seconds", f"{limit - 20:.0f}"]
    log, start, code = OUT / f"{name}.log", time.monotonic(), None
    with log.open("w") as file:
        file.write(f"$ {' '.join([*under, 'python', *arguments])}\n")
        file.flush()
        process = subprocess.Popen(
            [*under, sys.executable, *arguments], cwd=ROOT, env=settings | dict(stage.environment), stdout=file,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # pytest then says what it has so far
            time.sleep(5)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    verdict = {0: "passed", None: f"ENDED after its {limit:.0f} s"}.get(code, f"FAILED, exit code {code}")
    say(f"=== {name}: {verdict}, {time.monotonic() - start:.0f} s: {lines[-1] if lines else ''}")
    told = 60 if name == "facts" else 45 if "kernels" in name else 8 if code == 0 else 25
    print("\n".join(line[:220] for line in lines[-told:]), flush=True)
    return code == 0


def keep_report(name: str) -> None:
    """The benchmark's report and records, without its data."""
    for file in ("report.md", "records.jsonl"):
        if (BENCH / file).exists():
            shutil.move(BENCH / file, OUT / f"{name}-{file}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--seconds", type=float, default=570, help="for all of them together")
    parser.add_argument("--rehearse", action="store_true", help="on the project's stand-in for the driver")
    given = parser.parse_args()
    unknown = set(given.stages) - set(STAGES)
    if unknown:
        parser.error(f"no stages: {', '.join(unknown)}. There are: {', '.join(STAGES)}")
    OUT.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + given.seconds
    commit = TOOLS / "commit"
    say(f"{time.strftime('%FT%TZ', time.gmtime())} {commit.read_text().strip() if commit.exists() else ''}")
    if given.rehearse:
        say("REHEARSAL on a stand-in for the driver: no GPU ran any of this.")
    here = unpack()
    settings = environment(here, put_on_path(here), given.rehearse)
    failed = 0
    for name in given.stages:
        stage = STAGES[name]
        limit = min(stage.seconds, deadline - time.monotonic() - 8)
        lacking = [part for part in stage.needs if part not in here]
        if lacking or limit < 15:
            say(f"=== {name}: NOT RUN: " + (f"it needs {', '.join(lacking)}" if lacking else "no time is left"))
            failed += 1
            continue
        failed += not run(name, stage, limit, settings, given.rehearse)
        keep_report(name)
    say(f"parts here: {', '.join(sorted(here)) or 'none'}; CUDA_HOME {settings.get('CUDA_HOME')}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
