"""The demo itself, the command line around it, and the README's examples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gpuspark as gs
from gpuspark.config import Config

ROOT = Path(__file__).parent.parent


def _gpuspark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from gpuspark.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_demo_agrees_with_plain_pyspark_on_every_device() -> None:
    done = _gpuspark("demo", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    ours = [row for row in found["rows"] if row["path"] != "plain PySpark"]
    assert found["equal"]
    assert {row["rows"] for row in ours} == {found["rows"][0]["rows"]}
    assert {"cpu", "emulated", "python"} <= {row["device"] for row in ours}
    for row in ours:
        asked = row["path"].removeprefix("device=")
        assert asked in ("auto", row["device"])


def test_info_says_why_a_gpu_is_not_used() -> None:
    done = _gpuspark("info", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(found["devices"]) == {"cuda", "emulated", "cpu", "python"}
    assert found["packages"]["pyspark"]
    assert set(found["flags"]) == set(Config.keys())
    assert str(gs.info()).startswith("devices")


def test_wrong_usage_ends_with_two() -> None:
    assert _gpuspark("fly").returncode == 2


def test_the_readmes_table_of_keys_is_the_configuration() -> None:
    text = (ROOT / "README.md").read_text()
    listed = re.findall(r"^\| `(spark\.gpuspark\.[\w.]+)` \| `(\w+(?:\.\d+)?)` \|", text, re.M)
    read = Config.from_mapping(dict(listed))
    assert read == Config()
    assert {key for key, _ in listed} == set(Config.keys())


def test_the_readmes_examples_run(spark) -> None:
    import pandas as pd

    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    df = spark.createDataFrame([(1.0, 0.1, 2.0)], "amount double, rate double, x double")
    places = "id bigint, lat1 double, lon1 double, lat2 double, lon2 double"
    trips = spark.createDataFrame([(1, 40.6, -73.8, 51.5, -0.5)], places)
    file = ROOT / "README.md"
    lines = ["from __future__ import annotations\n", *blocks]
    scope = {"df": df, "trips": trips, "spark": spark, "pd": pd}
    spark.conf.set("spark.gpuspark.fallback", "silent")  # a README has no source file to compile from
    exec(compile("\n".join(lines), str(file), "exec"), scope)
    distance = gs.map_in_arrow(trips, scope["add_distance"], "id bigint, km double").collect()[0]
    assert 5500 < distance.km < 5600
    assert df.select(scope["or_zero"]("x")).first()[0] == 2.0
