"""``gpuspark check``: verdicts with line and construct, types, and the cost of a row; without Spark or a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gpuspark.errors import CallError, DeclarationError
from gpuspark.tools.check import Checked, check

JOB = """\
import math
import gpuspark as gs
from gpuspark.kernels import haversine

@gs.udf("double")
def hypotenuse(a, b):
    return math.sqrt(a * a + b * b)

@gs.udf("string")
def spelled(a):
    words = {a}
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
def result(job: Path) -> dict[str, Checked]:
    return {one.function: one for one in check(str(job))}


def test_the_functions_of_the_file_in_the_order_of_lines(result) -> None:
    assert [(one.function, one.dialect, one.line, one.runs) for one in result.values()] == [
        ("hypotenuse", "scalar", 5, True),
        ("spelled", "scalar", 9, False),
        ("shifted", "series", 14, True),
        ("whole", "scalar", 18, True),
    ]


def test_a_refusal_names_construct_and_line(result) -> None:
    reasons = "\n".join(result["spelled"].reasons)
    assert "a set (a_job_to_check.py, line 11)" in reasons
    assert "an f-string (a_job_to_check.py, line 12)" in reasons
    assert result["spelled"].cost is None


def test_what_could_run_as_a_spark_expression(result) -> None:
    assert result["hypotenuse"].expression
    assert "runs as a Spark expression, with no Python worker" in str(result["hypotenuse"])
    assert not result["spelled"].expression
    expected = "could run as a Spark expression, but for: a set (a_job_to_check.py, line 11)"
    assert expected in str(result["spelled"])
    assert "expression" not in str(result["shifted"])


def test_types_that_run_and_types_that_do_not(result) -> None:
    works = {name for name, runs in result["whole"].types.items() if runs}
    assert works == {"bigint", "int", "boolean"}
    assert any(reason.startswith("double: >> of a float") for reason in result["whole"].reasons)
    assert "for columns of bigint, int, boolean" in str(result["whole"])


def test_the_cost_of_a_row(result) -> None:
    cost = result["hypotenuse"].cost
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


def test_types_and_architecture_can_be_given() -> None:
    one = check("gpuspark.kernels.haversine", types=["double", "float", "double", "int"], arch="90")[0]
    assert one.runs
    assert one.cost is not None
    assert (one.cost.arch, one.cost.types) == ("90", ["double", "float", "double", "int"])
    assert one.cost.bytes_in == 8 + 4 + 8 + 4


SERIES = """\
import time
from collections.abc import Iterator
import numpy as np
import pandas as pd
import gpuspark as gs

def body(returns):
    return gs.pandas_udf(returns)

@body("double")
def centred(v: pd.Series) -> pd.Series:
    return (v - v.mean()) / v.std()

@body("double")
def lacking(v: pd.Series, w: pd.Series) -> pd.Series:
    print("looking")
    best = v.idxmax()
    if len(v) > 1000:
        return v.combine_first(w)
    return w.fillna(method="ffill") - v[best]

@body("double")
def looped(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.Series]:
    for v, w in batches:
        yield pd.Series([x + 1 for x in v])

@body("string")
def text(s: pd.Series) -> pd.Series:
    return s.str.upper().str.normalize("NFC")

@body("double")
def kept(v: pd.Series) -> pd.Series:
    v = v.to_pandas()
    return v.combine_first(v)

@body("double")
def failing(v: pd.Series) -> pd.Series:
    return v / {}["x"]

@body("double")
def compiled(v: pd.Series) -> pd.Series:
    return v.apply(lambda x: x + 1)

@body("double")
def struct(f: pd.DataFrame) -> pd.Series:
    return f["a"]

@body("double")
def ranked(v: pd.Series) -> pd.Series:
    half = v * 0.5
    return half.rank() + len(v)

@gs.pandas_udf("double", missing="cudf")
def ranked_by_cudf(v: pd.Series) -> pd.Series:
    return v.rank()

@body("double")
def over_batches(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
    for v in batches:
        yield v + 1
"""


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checked]:
    path = tmp_path_factory.mktemp("series") / "a_series_job.py"
    path.write_text(SERIES)
    return {one.function: one for one in check(str(path))}


def test_a_series_body_that_uses_nothing_cudf_lacks(series) -> None:
    one = series["centred"]
    assert one.runs is True
    assert {name for name, works in one.types.items() if works} >= {"double", "float", "bigint", "int"}
    assert "string" not in one.types
    assert "string: not known: it raised TypeError" in "\n".join(one.reasons)
    assert "centred (series, line 10) uses nothing that cuDF lacks" in str(one)


def test_names_that_cudf_lacks_are_reported_with_their_line_in_every_branch(series) -> None:
    one = series["lacking"]
    assert one.runs is False
    told = [reason[reason.index("cuDF") :] for reason in one.reasons]  # pandas 2 treats strings differently
    assert told[:3] == [
        "cuDF's Series has no idxmax (a_series_job.py, line 17)",
        "cuDF's Series.fillna: missing a required argument: 'value' (a_series_job.py, line 20)",
        "cuDF's Series has no combine_first (a_series_job.py, line 19)",
    ]
    assert "lacking (series, line 14) uses something that cuDF lacks" in str(one)
    assert series["looped"].runs is False
    assert "cuDF's Series cannot be iterated over (a_series_job.py, line 25)" in series["looped"].reasons
    assert series["text"].runs is False
    assert series["text"].types["string"] is False
    assert "string: cuDF's StringMethods has no normalize (a_series_job.py, line 29)" in series["text"].reasons


def test_what_is_left_to_pandas_for_its_values_is_reported_with_its_line(series) -> None:
    one = series["ranked"]
    assert (one.runs, one.types["double"]) == (False, False)
    line = SERIES.splitlines().index("    return half.rank() + len(v)") + 1
    reason = f"left to pandas: cuDF's Series.rank is not known to give pandas' values (a_series_job.py, line {line})"
    assert reason in "\n".join(one.reasons)
    assert "uses something that cuDF lacks or computes differently" in str(one)
    assert series["ranked_by_cudf"].runs is True
    assert series["over_batches"].runs is False
    assert "cannot start again on pandas" in "\n".join(series["over_batches"].reasons)


def test_an_explicit_conversion_to_pandas_is_no_refusal(series) -> None:
    assert series["kept"].runs is True


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("failing", "it raised KeyError: 'x'"),
        ("compiled", "the function given to Series.apply is compiled by cuDF"),
        ("struct", "a struct column is not tried"),
    ],
)
def test_a_body_that_fails_on_the_sample_is_not_known(series, function: str, why: str) -> None:
    one = series[function]
    assert one.runs is None
    assert [reason for reason in one.reasons if reason.startswith("not known") or ": not known" in reason]
    assert why in "\n".join(one.reasons)
    assert f"{function} (series, line {one.line}) is not known" in str(one)


def test_a_column_without_an_equal_form_in_cudf(series) -> None:
    assert series["centred"].types["date"] is False
    assert "date: a column of date has no equal cuDF form" in series["centred"].reasons


def test_given_types_of_a_series_body(tmp_path: Path) -> None:
    path = tmp_path / "another_series_job.py"
    path.write_text(
        "import pandas as pd\nimport gpuspark as gs\n"
        "f = gs.pandas_udf('double')(lambda text, n: text.str.len() + n)\n"
        "@gs.pandas_udf('double')\ndef g(*columns: pd.Series) -> pd.Series:\n    return columns[0].str.len()\n"
    )
    for one in check(str(path), types=["string", "int"]):
        assert (one.runs, one.types, one.reasons) == (True, {"string, int": True}, [])
    assert {one.runs for one in check(str(path), types=["int", "string"])} == {None}
    assert {one.runs for one in check(str(path), types=["string", "date"])} == {False}
    assert {one.runs for one in check(str(path), types=["string", "array<int>"])} == {False}


def test_a_body_that_does_not_end_is_abandoned(tmp_path: Path, monkeypatch) -> None:
    from gpuspark.tools import check_series

    monkeypatch.setattr(check_series, "SECONDS", 0.05)
    path = tmp_path / "an_endless_job.py"
    path.write_text(
        "import threading\nimport gpuspark as gs\nhold = threading.Event()\n"
        "f = gs.pandas_udf('double')(lambda v: hold.wait())\n"
    )
    [one] = check(str(path))
    sys.modules["an_endless_job"].hold.set()
    assert one.runs is None
    assert "double: not known: it had not ended in time" in one.reasons
    assert any(reason.endswith("other types took all the time") for reason in one.reasons)


def test_output_of_a_body_is_discarded(tmp_path: Path, capsys) -> None:
    path = tmp_path / "a_loud_job.py"
    path.write_text("import gpuspark as gs\nf = gs.pandas_udf('double')(lambda v: print('looking') or v)\n")
    assert [one.runs for one in check(str(path))] == [True]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("target", "types", "error", "message"),
    [
        ("no/such/file.py", [], CallError, "There is no file"),
        ("no_such_module_at_all", [], CallError, "There is no module no_such_module_at_all"),
        ("json", [], CallError, "defines no gs.udf"),
        ("gpuspark.kernels.haversine", ["doubel"] * 4, DeclarationError, "double"),
        ("gpuspark.kernels.haversine", ["double"] * 5, CallError, "takes 4 columns, not 5"),
    ],
)
def test_targets_that_cannot_be_checked_are_named(target, types, error, message) -> None:
    with pytest.raises(error, match=message):
        check(target, types=types)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process that prints at the end whether it started a JVM."""
    script = "from gpuspark.cli import app\ntry: app()\nfinally:\n import pyspark; print(pyspark.SparkContext._gateway)"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_needs_no_spark_and_ends_with_one_if_a_function_does_not_run(job: Path) -> None:
    done = command("check", str(job), "--json")
    told, spark = done.stdout.splitlines()
    assert (done.returncode, spark) == (1, "None")
    assert [(one["function"], one["runs"]) for one in json.loads(told)] == [
        ("hypotenuse", True),
        ("spelled", False),
        ("shifted", True),
        ("whole", True),
    ]
    assert json.loads(told)[0]["cost"]["limit"] == "Spark's transport"


def test_the_command_ends_with_zero_if_all_run_and_with_two_if_there_is_nothing(tmp_path: Path) -> None:
    good = tmp_path / "a_good_job_to_check.py"
    good.write_text(textwrap.dedent('import gpuspark as gs\nf = gs.udf("double")(lambda a: a * 2)\n'))
    done = command("check", str(good), "--types", "double")
    assert done.returncode == 0
    assert "<lambda> (scalar, line 2) runs on a GPU" in done.stdout
    assert command("check", str(tmp_path / "none.py")).returncode == 2
