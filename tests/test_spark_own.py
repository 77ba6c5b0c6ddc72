"""Spark's own tests on gpuspark: how they are bound to it, how differences are told, and a sample that runs."""

from __future__ import annotations

import ast

import pytest

from tests.proof.spark_own import differences, outcomes, page
from tests.proof.spark_own.cases import PANDAS, PLAIN, WAYS
from tests.proof.spark_own.differences import Difference
from tests.proof.spark_own.loading import rewritten
from tests.proof.spark_own.outcomes import Differing, Outcome

SAMPLE = f"{PANDAS[0]}:PandasUDFTests.test_*_[ew][mr]*"
"""Three tests: an empty frame, errors of types, and wrong arguments, which differ."""


def of(text: str) -> str:
    """The module as it is loaded, without the line that brings gpuspark's names."""
    lines = ast.unparse(rewritten(ast.parse(text))).splitlines()
    return "\n".join(line for line in lines if line and not line.startswith("import tests."))


def test_only_names_of_functions_that_we_have_are_replaced() -> None:
    assert of("from pyspark.sql.functions import udf, col") == (
        "from pyspark.sql.functions import col\nfrom tests.proof.spark_own.stand_ins import udf"
    )
    assert of("def f():\n    from pyspark.sql.functions import pandas_udf as made") == (
        "def f():\n    from tests.proof.spark_own.stand_ins import pandas_udf as made"
    )
    assert of("from pyspark.sql.functions import arrow_udf") == "from pyspark.sql.functions import arrow_udf"
    assert of("from elsewhere import udf") == "from elsewhere import udf"


def test_names_behind_a_modules_name_are_replaced_too() -> None:
    for imported in ("import pyspark.sql.functions as F", "from pyspark.sql import functions as F"):
        assert of(f"{imported}\nF.udf\nF.col") == f"{imported}\ngpuspark_stand_ins.udf\nF.col"
    assert of("self.spark.udf") == "self.spark.udf"


def test_calls_of_map_in_arrow_are_replaced() -> None:
    assert of("df.select('a').mapInArrow(f, 'a int', True).count()") == (
        "gpuspark_stand_ins.map_in_arrow(df.select('a'), f, 'a int', True).count()"
    )


def test_lines_keep_their_numbers() -> None:
    first = '"""Says."""\nfrom __future__ import annotations'
    text = f"{first}\nfrom pyspark.sql.functions import udf\ndef f(): ..."
    before, after = ast.parse(text), rewritten(ast.parse(text))
    assert (before.body[-1].lineno, after.body[-1].lineno) == (4, 4)
    compile(after, "f.py", "exec")  # what must come first does


PASSED, FAILED = Outcome("m.C.test_a", "passed"), Outcome("m.C.test_b", "failed", "ValueError: no\n")


def test_a_test_differs_where_it_passes_plainly_only() -> None:
    plain = [PASSED, FAILED, Outcome("m.C.test_c", "passed"), Outcome("m.C.test_d", "skipped")]
    ours = [Outcome(o.test, "failed", "x\npyspark.errors.SomeException: why\nSQLSTATE: 1") for o in plain]
    result = outcomes.differing([*plain, Outcome("m.C.test_e", "passed"), Outcome("n.D.test_f", "passed")], "cpu", ours)
    assert [test.name for test in result] == ["C.test_a", "C.test_c", "C.test_e"]
    assert [test.reason for test in result[1:]] == ["pyspark.errors.SomeException: why", "It did not run."]


def test_what_is_not_listed_and_what_passes_now_are_told() -> None:
    known = [
        Difference(("C.test_a*",), ("cpu",), "because", decision="nulls"),
        Difference(("gone.*",), ("cpu",), "", open=True),
    ]
    result = [Differing("C.test_a1", "cpu", ""), Differing("C.test_a1", "cuda", ""), Differing("D.test_a", "cpu", "")]
    ran = [("C.test_a1", "cpu"), ("C.test_a2", "cpu"), ("C.test_a1", "cuda"), ("D.test_a", "cpu")]
    assert [(t.name, t.way) for t in differences.unlisted(known, result)] == [
        ("C.test_a1", "cuda"),
        ("D.test_a", "cpu"),
    ]
    assert differences.outdated(known, result, ran) == ["C.test_a2 on cpu"]
    assert differences.superfluous(known, [name for name, _ in ran]) == ["gone.*"]


def test_the_page_counts_by_class_and_gives_each_reason() -> None:
    plain = [PASSED, Outcome("m.C.test_c", "passed"), FAILED, Outcome("m.C.test_d", "skipped")]
    recorded = {PLAIN: plain, "cpu": [PASSED, Outcome("m.C.test_c", "failed")], "cuda": []}
    known = [Difference(("C.test_c",), ("cpu",), "nulls are null", decision="nulls")]
    text = page.text(recorded, known, outcomes.differing(plain, "cpu", recorded["cpu"]))
    assert "| `C` | 3 | 2 | 1 |  |" in text
    assert "| `C.test_c` | `cpu` | [nulls are null](differences.md#nulls) |" in text


def test_each_known_difference_says_where_it_is_decided() -> None:
    anchors = page.sections(outcomes.ROOT / "docs" / "differences.md")
    known = differences.read()
    assert {each.decision for each in known if each.decision} <= anchors
    for each in known:
        assert set(each.ways) < set(WAYS)
        assert each.why


def test_the_page_lists_what_the_file_of_differences_does() -> None:
    text = page.PAGE.read_text()
    for each in differences.read():
        assert each.why in text, f"{each.tests}: write the page anew, `make spark-tests`"


@pytest.mark.slow
def test_a_sample_differs_as_listed() -> None:
    """In processes of their own: Spark's test classes stop the session that they find."""
    plain, ours = outcomes.run(PLAIN, SAMPLE), outcomes.run("cpu", SAMPLE)
    assert [o.test for o in plain if o.outcome == "passed"] == [o.test for o in ours]
    known, result = differences.read(), outcomes.differing(plain, "cpu", ours)
    assert differences.unlisted(known, result) == []
    assert differences.outdated(known, result, [(o.name, "cpu") for o in ours]) == []
