"""Writes docs/spark-tests.md: per test class what passes where, and each test that differs with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from tests.proof.spark_own.cases import PLAIN, WAYS
from tests.proof.spark_own.differences import Difference
from tests.proof.spark_own.outcomes import ROOT, Differing, Outcome

PAGE = ROOT / "docs" / "spark-tests.md"
INTRODUCTION = """# Spark's own tests, on gpuspark

PySpark {pyspark} carries its own tests. `make spark-tests` runs those of its Python functions twice: plainly, and
with `gs.udf`, `gs.pandas_udf` and `gs.map_in_arrow` in the place of PySpark's `udf`, `pandas_udf` and `mapInArrow`,
in the tests' modules only. What a test expects is not touched: values, types, errors and their texts, attributes,
log lines, profiles. `udf` without a type is given PySpark's, `string`, which `gs.udf` asks for, and bodies of
`mapInArrow` are given Arrow's batches, as they expect.

On `cpu`, columns travel as they do by default. On `cuda`, they travel as Arrow, as they do to a GPU; this table is
made without one, so that pandas computes. A test that passes plainly and not on gpuspark stands below the table with
its reason; the command fails where one is not listed (`tests/proof/spark_own/differences.toml`), or is listed and
passes.
(pandas {pandas}, PyArrow {pyarrow}.)
"""


def write(recorded: Mapping[str, list[Outcome]], known: list[Difference], differing: list[Differing]) -> None:
    """The page of these outcomes, by way."""
    PAGE.write_text(text(recorded, known, differing))


def text(recorded: Mapping[str, list[Outcome]], known: list[Difference], differing: list[Differing]) -> str:
    versions = {name: version(name) for name in ("pyspark", "pandas", "pyarrow")}
    parts = [INTRODUCTION.format(**versions), _counts(recorded)]
    decided = [each for each in known if each.decision]
    faults = [each for each in known if each.open]
    parts += ["## Different on purpose\n", _listing(decided, differing)] if decided else []
    parts += ["## To mend\n", _listing(faults, differing)] if faults else []
    return "\n".join(parts)


def _counts(recorded: Mapping[str, list[Outcome]]) -> str:
    """A row for each class: its tests, and how many of those that pass plainly pass on each device too."""
    ways = [way for way in WAYS if way != PLAIN]
    plain = {outcome.test for outcome in recorded[PLAIN] if outcome.outcome == "passed"}
    tests = Counter(_case(outcome) for outcome in recorded[PLAIN] if outcome.outcome != "skipped")
    passing = {
        way: Counter(_case(o) for o in recorded[way] if o.test in plain and o.outcome == "passed") for way in ways
    }
    plainly = Counter(_case(outcome) for outcome in recorded[PLAIN] if outcome.test in plain)
    ran = {way: {_case(outcome) for outcome in recorded[way]} for way in ways}
    rows: list[list[object]] = [
        [case, tests[case], plainly[case], *(passing[way][case] if case in ran[way] else "" for way in ways)]
        for case in tests
    ]
    total: list[object] = ["all", sum(tests.values()), sum(plainly.values())]
    total += [sum(passing[way].values()) for way in ways]
    return _table(["class", "tests", "plain PySpark", *(f"`{way}`" for way in ways)], [*rows, total])


def _case(outcome: Outcome) -> str:
    return f"`{outcome.test.rsplit('.', 2)[-2]}`"


def _listing(known: list[Difference], differing: list[Differing]) -> str:
    rows: list[list[object]] = []
    for each in known:
        ways: dict[str, list[str]] = {}
        for test in differing:
            if each.covers(test.name, test.way):
                ways.setdefault(test.name, []).append(test.way)
        why = f"[{each.why}](differences.md#{each.decision})" if each.decision else each.why
        rows += [[f"`{name}`", ", ".join(f"`{way}`" for way in ways[name]), why] for name in ways]
    return _table(["test", "on", "why"], rows)


def _table(head: list[str], rows: Iterable[list[object]]) -> str:
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], ""])


def sections(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    return {"".join(c for c in h.lower().replace(" ", "-") if c.isalnum() or c in "-_") for h in headings}
