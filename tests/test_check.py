"""``gpuspark check``: verdicts with line and construct, for which types, what a row takes; without Spark or a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gpuspark.check import Checked, check
from gpuspark.errors import CallError, DeclarationError

JOB = """\
import math
import gpuspark as gs
from gpuspark.kernels import haversine

@gs.udf("double")
def hypotenuse(a, b):
    return math.sqrt(a * a + b * b)

@gs.udf("string")
def spelled(a):
    words = [a]
    return f"{words}"

@gs.pandas_udf("double")
def shifted(v):
    return v + 1

@gs.udf("bigint")
def whole(a):
    return a >> 3

def plain(a):
    return a
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "a_job_to_check.py"
    path.write_text(JOB)
    return path


@pytest.fixture
def found(job: Path) -> dict[str, Checked]:
    return {one.function: one for one in check(str(job))}


def test_what_the_file_defines_in_the_order_of_its_lines(found) -> None:
    assert [(one.function, one.dialect, one.line, one.runs) for one in found.values()] == [
        ("hypotenuse", "scalar", 5, True),
        ("spelled", "scalar", 9, False),
        ("shifted", "series", 14, None),
        ("whole", "scalar", 18, True),
    ]


def test_a_refusal_names_construct_and_line(found) -> None:
    reasons = "\n".join(found["spelled"].reasons)
    assert "a list (a_job_to_check.py, line 11)" in reasons
    assert "an f-string (a_job_to_check.py, line 12)" in reasons
    assert found["spelled"].cost is None


def test_types_that_run_and_types_that_do_not(found) -> None:
    works = {name for name, runs in found["whole"].types.items() if runs}
    assert works == {"bigint", "int", "boolean"}
    assert any(reason.startswith("double: rshift of a float") for reason in found["whole"].reasons)
    assert "for columns of bigint, int, boolean" in str(found["whole"])


def test_what_a_row_takes(found) -> None:
    cost = found["hypotenuse"].cost
    assert cost is not None
    assert (cost.bytes_in, cost.bytes_out, cost.spilled) == (16, 8, 0)
    assert 4 <= cost.operations < 100
    assert 8 <= cost.registers <= 255
    assert cost.limit == "Spark's transport"
    assert cost.nanoseconds["Spark's transport"] == pytest.approx(24 / 0.22, rel=1e-6)


def test_a_body_that_computes_long_enough_is_limited_by_the_device(tmp_path: Path) -> None:
    terms = " + ".join(f"math.erf(a * {n})" for n in range(1, 61))
    path = tmp_path / "a_long_job_to_check.py"
    path.write_text(f'import math\nimport gpuspark as gs\nf = gs.udf("float")(lambda a: {terms})\n')
    (one,) = check(str(path), types=["float"])
    assert one.cost is not None
    assert one.cost.operations > 2_000


def test_given_types_and_architecture() -> None:
    one = check("gpuspark.kernels.haversine", types=["double", "float", "double", "int"], arch="90")[0]
    assert one.runs
    assert one.cost is not None
    assert (one.cost.arch, one.cost.types) == ("90", ["double", "float", "double", "int"])
    assert one.cost.bytes_in == 8 + 4 + 8 + 4


@pytest.mark.parametrize(
    ("target", "types", "error", "said"),
    [
        ("no/such/file.py", [], CallError, "There is no file"),
        ("no_such_module_at_all", [], CallError, "There is no module no_such_module_at_all"),
        ("json", [], CallError, "defines no gs.udf"),
        ("gpuspark.kernels.haversine", ["doubel"] * 4, DeclarationError, "double"),
        ("gpuspark.kernels.haversine", ["double"] * 5, CallError, "takes 4 columns, not 5"),
    ],
)
def test_what_cannot_be_checked_is_said(target, types, error, said) -> None:
    with pytest.raises(error, match=said):
        check(target, types=types)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = "import sys\nfrom gpuspark.cli import app\ntry: app()\nfinally: print('pyspark' in sys.modules)"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_needs_no_spark_and_ends_with_one_where_something_does_not_run(job: Path) -> None:
    done = command("check", str(job), "--json")
    told, spark = done.stdout.splitlines()
    assert (done.returncode, spark) == (1, "False")
    assert [(one["function"], one["runs"]) for one in json.loads(told)] == [
        ("hypotenuse", True), ("spelled", False), ("shifted", None), ("whole", True),
    ]  # fmt: skip
    assert json.loads(told)[0]["cost"]["limit"] == "Spark's transport"


def test_the_command_ends_with_zero_where_all_run_and_with_two_where_there_is_nothing(tmp_path: Path) -> None:
    good = tmp_path / "a_good_job_to_check.py"
    good.write_text(textwrap.dedent('import gpuspark as gs\nf = gs.udf("double")(lambda a: a * 2)\n'))
    done = command("check", str(good), "--types", "double")
    assert done.returncode == 0
    assert "<lambda> (scalar, line 2) runs on a GPU" in done.stdout
    assert command("check", str(tmp_path / "none.py")).returncode == 2
