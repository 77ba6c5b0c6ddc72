"""The command line: its exit codes and JSON output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpuspark import cli
from gpuspark.config import Config
from gpuspark.tools import demo
from tests.support.own_spark import quick_environment

ROOT = Path(__file__).parents[1]


def gpuspark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-c", "from gpuspark.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=quick_environment(), check=False)


def test_info_is_readable_by_people_and_machines() -> None:
    done = gpuspark("info", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(result) == {"devices", "packages", "java", "cache", "flags"}
    assert set(result["flags"]) == set(Config.keys())
    assert CliRunner().invoke(cli.app, ["info"]).stdout.startswith("devices\n")


@pytest.mark.parametrize("arguments", [["fly"], ["info", "--jsn"], ["demo", "now"]])
def test_wrong_usage_ends_with_two(arguments) -> None:
    assert CliRunner().invoke(cli.app, arguments).exit_code == 2


def test_an_invalid_configuration_ends_with_two(spark) -> None:
    spark.conf.set("spark.gpuspark.devise", "cpu")
    done = CliRunner().invoke(cli.app, ["info"])
    assert done.exit_code == 2
    assert "Did you mean 'spark.gpuspark.device'" in done.stderr


def test_a_missing_package_is_named_and_ends_with_two(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = CliRunner().invoke(cli.app, ["demo"])
    assert done.exit_code == 2
    assert "pip install 'gpuspark[demo]'" in done.stderr


@pytest.mark.parametrize(("equal", "strange", "code"), [(True, 0, 0), (False, 0, 1), (True, 1, 1)])
def test_results_that_differ_end_with_one(monkeypatch, equal, strange, code) -> None:
    row = demo.Row("f", "device=cpu", "cpu", 1, 0.1, equal, [])
    monkeypatch.setattr(demo, "run", lambda quiet: demo.Result([row], strange_distances=strange))
    done = CliRunner().invoke(cli.app, ["demo", "--json"])
    assert done.exit_code == code
    assert json.loads(done.stdout)["passed"] == (code == 0)


def test_the_help_states_the_exit_codes() -> None:
    help_text = CliRunner().invoke(cli.app, ["--help"]).stdout
    assert "Exit codes: 0 success; 1 the job failed" in help_text
    for command in ("info", "demo", "check", "replay"):
        assert command in help_text


def test_the_command_line_starts_without_spark_and_pandas() -> None:
    script = "import sys, gpuspark.cli; print(sorted({'pyspark', 'pandas', 'pyarrow', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
