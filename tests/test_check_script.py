"""``gpuspark check`` of files that exit, fail, read arguments or start Spark: what is checked and reported, and the
exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gpuspark import cli

ROOT = Path(__file__).parents[1]
SHOWN = "import sys\nfrom gpuspark.cli import main\ntry: main()\nfinally: print('pyspark' in sys.modules)"


def check(*arguments: Path | str) -> Result:
    return CliRunner().invoke(cli.app, ["check", *map(str, arguments), *(() if "--" in arguments else ("--json",))])


def in_a_process(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Runs the command where there is no Java. It prints at the end whether PySpark was imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAVA_HOME": "/nowhere"}
    command = [sys.executable, "-c", SHOWN, "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


GOOD = '@gs.udf("double")\ndef good(x):\n    return x + 1\n'
BAD = '@gs.udf("string")\ndef bad(x):\n    return str([x])\n'


def write(folder: Path, text: str, name: str = "a_script_to_check.py") -> Path:
    path = folder / name
    path.write_text(f"import gpuspark as gs\n{text}")
    return path


@pytest.mark.parametrize(
    ("text", "code", "functions", "message"),
    [
        (f"{BAD}import sys\nsys.exit(0)\n", 1, ["bad"], "ends itself with exit code 0 in line 6."),
        (f"{GOOD}import sys\nsys.exit()\n{BAD}", 0, ["good"], "and nothing after it"),
        (f"{GOOD}exit(0)\n", 0, ["good"], "exit code 0"),
        (f"{GOOD}raise SystemExit(3)\n{BAD}", 2, ["good"], "exit code 3 in line 5"),
        (f"{GOOD}import sys\nsys.exit('no rates')\n", 2, ["good"], "exit code 'no rates'"),
        (f"{GOOD}import os\nos._exit(0)\n{BAD}", 0, ["good"], "exit code 0 in line 6"),
        (f"{BAD}import os\nos._exit(0)\n", 1, ["bad"], "exit code 0 in line 6"),
        (f"{GOOD}rate = 1 / 0\n{BAD}", 2, ["good"], "raises ZeroDivisionError: division by zero in line 5"),
        (f"{GOOD}import no_such_thing\n", 2, ["good"], "raises ModuleNotFoundError: No module named 'no_such_thing'"),
        ("import sys\nsys.exit(0)\n", 2, None, "defines no gs.udf, gs.pandas_udf or kernel at its top level. The file"),
        ("x = 1\n", 2, None, "defines no gs.udf, gs.pandas_udf or kernel at its top level."),
        ("def f(:\n", 2, None, "a_script_to_check.py, line 2, is not valid Python: invalid syntax"),
        (f"{GOOD}if __name__ == '__main__':\n    raise SystemExit(3)\n", 0, ["good"], ""),
        (f"{GOOD}import os\nos.chdir('/')\nprint('looking')\n", 0, ["good"], "looking"),
        (f"{GOOD}import threading\nthreading.Thread(target=print, args=('aside',)).start()\n", 0, ["good"], ""),
    ],
)
def test_a_file_that_does_not_reach_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int, functions: object, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = check(write(tmp_path, text).name, "--types", "double")
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert ([one["function"] for one in json.loads(done.stdout)] if functions else None) == functions
    assert Path.cwd() == tmp_path
    assert str(tmp_path) not in sys.path


def test_a_file_cannot_end_the_check_with_its_process(tmp_path: Path) -> None:
    ends = "import atexit, os\natexit.register(os._exit, 0)\nos._exit(0)\n"
    done = in_a_process(write(tmp_path, f"{BAD}{ends}"), "--types", "double")
    assert done.returncode == 1
    assert "bad (scalar, line 2) does not run on a GPU" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
    assert "ends itself with exit code 0 in line 7" in done.stderr


ARGPARSE = (
    "import argparse\np = argparse.ArgumentParser()\np.add_argument('--rate', type=float, default=2.0)\n"
    "p.add_argument('--json', action='store_true')\nRATE = p.parse_args().rate\n"
    "f = gs.udf('string' if RATE == 3.5 else 'double')(lambda x: x * RATE)\n"
)


def test_a_file_has_its_own_arguments(tmp_path: Path) -> None:
    path = write(tmp_path, ARGPARSE)
    assert check(path, "--types", "double").exit_code == 0
    assert check(path, "--types", "double", "--", "--rate", "3.5", "--json").exit_code == 1
    wrong = check(path, "--", "--rat")
    assert wrong.exit_code == 2
    assert "arguments are given after --, as in: check job.py -- --rate 2" in wrong.stderr
    second = check(path, str(path))
    assert second.exit_code == 2
    assert "unexpected extra argument" in second.stderr


def test_a_file_that_starts_spark_is_checked_without_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "from pyspark.sql import SparkSession, functions as F\n"
        "def session():\n    return SparkSession.builder.master('local[1]').getOrCreate()\n"
        f"spark = session()\n{GOOD}"
        "frame = spark.range(3)\nframe.select(good('id')).write.parquet('/nowhere')\n"
        f"doubled = F.col('id') * 2\n{BAD}total = gs.udf('double')(lambda x: x * missing_rate)\n",
    )
    done = in_a_process(path, "--types", "double", "--json")
    assert [one["function"] for one in json.loads(done.stdout.splitlines()[0])] == ["good", "bad", "<lambda>"]
    assert done.returncode == 1
    notes = [line.partition(": ")[2] for line in done.stderr.splitlines() if str(path) in line]
    assert notes == [
        "line 5 is skipped: it starts a Spark session",
        "line 9 is skipped: it needs a Spark session, which is not started here",
        "line 10 is skipped: it needs a Spark session, which is not started here",
        "line 11 is skipped: it needs a Spark session, which is not started here",
    ]


def test_modules_beside_the_file_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "jobs_to_check"
    package.mkdir()
    for name in ("__init__.py", "rates.py"):
        (package / name).write_text("RATE = 2.0\ndef body(x):\n    return x * RATE\n")
    write(tmp_path, "RATE = 3.0\nf = gs.udf(lambda x: x, 'double')\n", "beside_the_job.py")
    inside = write(package, "from .rates import RATE, body\nf = gs.udf('double')(body)\n", "job.py")
    beside = write(tmp_path, f"import json\nfrom beside_the_job import RATE, f\n{GOOD}", "json.py")
    runs = [check(path, "--types", "double") for path in (inside, beside)]
    assert [[one["function"] for one in json.loads(done.stdout)] for done in runs] == [["body"], ["good"]]
    assert [done.exit_code for done in runs] == [0, 0]
    monkeypatch.chdir(tmp_path)
    module = check("jobs_to_check.job", "--types", "double")
    assert module.exit_code == 0, module.output
    assert json is sys.modules["json"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("job.ipynb", "is a notebook, but only Python files can be checked: convert it with jupyter nbconvert"),
        ("job.sql", "does not end in .py: copy it to job.py."),
        ("", "is a folder: name one of its files"),
        ("none.py", "There is no file"),
    ],
)
def test_files_that_are_not_python_are_named(tmp_path: Path, name: str, message: str) -> None:
    if name not in ("", "none.py"):
        write(tmp_path, GOOD, name)
    done = check(tmp_path / name)
    assert done.exit_code == 2
    assert message in done.stderr
