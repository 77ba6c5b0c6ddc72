"""The environment of a program that a test starts, and that starts a Spark of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "spark.python.daemon.module": "tests.support.warm_daemon",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def quick_environment() -> dict[str, str]:
    """Returns this process's environment, with gpuspark and the tests on the module path and settings that let Spark
    start quickly. What workers import is not tested with it: their daemon has it loaded already."""
    return {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_SUBMIT_ARGS": f"{' '.join(f'--conf {key}={value}' for key, value in SETTINGS.items())} pyspark-shell",
    }
