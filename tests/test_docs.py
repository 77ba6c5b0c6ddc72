"""README, docs/ and examples/: every example is run, every table of facts is held against the code.

An example prints what the ```text block behind it says. Tables between markers are written anew by
``GPUSPARK_WRITE_DOCS=1 pytest tests/test_docs.py``; without it the tests compare.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import math
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.accounting.entries import Record
from gpuspark.columns import types
from gpuspark.columns.values import from_python
from gpuspark.config import PREFIX, Config
from gpuspark.errors import ConfigError, ResultError
from gpuspark.execution.plan import devices_of
from gpuspark.spark.session import active_session
from tests.support.api_reference import reference
from tests.support.pages import DOCS, ROOT, section, table

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
WITH_EXAMPLES = [page for page in PAGES if "```python" in page.read_text()]
BLOCK = re.compile(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", re.S)


# Examples in pages


@pytest.fixture
def scope(spark) -> dict[str, Any]:
    """What the README takes for granted. The other pages make what they need."""
    spark.conf.set("spark.gpuspark.device", "cpu")
    gs.ledger(spark).clear()
    places = "id bigint, lat1 double, lon1 double, lat2 double, lon2 double"
    return {
        "__name__": "__main__",  # so that Spark sends functions by value, as it does a notebook's
        "spark": spark,
        "pd": pd,
        "df": spark.createDataFrame([(1.0, 0.1, 2.0), (2.0, 0.1, None)], "amount double, rate double, x double"),
        "trips": spark.createDataFrame([(1, 40.6, -73.8, 51.5, -0.5)], places),
    }


def run_page(page: Path, scope: dict[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Runs the page's examples in order; what each printed, and what the page says of it."""
    for number, (code, said) in enumerate(BLOCK.findall(page.read_text())):
        named = re.match(r"# (\w+\.py)\n", code)
        file = folder / (named[1] if named else f"example{number}.py")
        file.write_text(code)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(file), "exec", dont_inherit=True), scope)
        yield printed.getvalue(), said


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_examples_print_what_the_page_says(page: Path, scope, tmp_path: Path) -> None:
    ran = 0
    for printed, said in run_page(page, scope, tmp_path):
        ran += 1
        if said:
            assert printed == said
    assert ran


def test_the_readmes_functions_compute(scope, tmp_path: Path) -> None:
    """With ``fallback=raise``, as all tests: what is said to be compiled is."""
    list(run_page(ROOT / "README.md", scope, tmp_path))
    spark, df = scope["spark"], scope["df"]
    gs.ledger(spark).clear()
    row = df.select(scope["present_value"]("amount", "rate").alias("v"), scope["or_zero"]("x").alias("x")).collect()
    assert row[0].v == pytest.approx(2.718281828459045**-1)
    assert [r.x for r in row] == [2.0, 0.0]
    assert spark.sql("select or_zero(cast(null as double))").first()[0] == 0.0
    assert [r[0] for r in df.select(scope["centred"]("amount")).coalesce(1).collect()]
    paid = gs.apply_in_segments(df, "rate", scope["totals"], "rate double, total double").collect()
    assert [tuple(row) for row in paid] == [(0.1, 3.0)]
    km = gs.map_in_arrow(scope["trips"], scope["add_distance"], "id bigint, km double").collect()[0].km
    assert 5500 < km < 5600  # New York to London
    assert {device for s in gs.ledger(spark).summary() for device in s.devices} == {"cpu"}


# Tables


def _as_spark_writes(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    for unit, size in (("g", 1 << 30), ("m", 1 << 20)):
        if isinstance(value, int) and value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _takes(key: str) -> str:
    with pytest.raises(ConfigError) as refused:
        Config.from_mapping({key: "?"})
    return str(refused.value).partition(" takes ")[2].partition(". ")[0]


def test_the_table_of_keys_is_the_configuration() -> None:
    rows = []
    for f in fields(Config):
        key, default = f.metadata["key"], _as_spark_writes(f.default)
        assert Config.from_mapping({key: default}) == Config()
        rows.append([f"`{key.removeprefix(PREFIX)}`", f"`{default}`", _takes(key), f.metadata["doc"]])
    section(DOCS / "configuration.md", "keys", table(["key", "default", "takes", "meaning"], rows))


def test_the_readmes_table_of_keys_is_the_configuration() -> None:
    text = (ROOT / "README.md").read_text()
    listed = re.findall(r"^\| `(spark\.gpuspark\.[\w.]+)` \| `(\w+(?:\.\d+)?)` \|", text, re.M)
    assert Config.from_mapping(dict(listed)) == Config()
    assert {key for key, _ in listed} == set(Config.keys())


DECLARED = ("boolean", "tinyint", "int", "bigint", "float", "double", "date", "string")
RETURNED = (
    "True", "3", "300", "2**24 + 1", "2**53 + 1", "2**63", "2.7", "-0.0", "1e300", "float('nan')", "'3'",
    "datetime.date(2020, 1, 2)", "datetime.datetime(2020, 1, 2, 3)", "[1]",
)  # fmt: skip


def _held(returned: str, declared: str) -> str:
    import datetime

    column = types.parse(declared)
    arrow = pa.string() if declared == "string" else pa.type_for_alias(column.arrow)
    try:
        [value] = from_python([eval(returned, {"datetime": datetime})], column, arrow).to_pylist()
    except ResultError:
        return "*error*"
    return f"`{value}`" if isinstance(value, datetime.date) else f"`{value!r}`"


def test_the_table_of_results_is_what_is_accepted() -> None:
    rows = [[f"`{returned}`", *(_held(returned, d) for d in DECLARED)] for returned in RETURNED]
    section(DOCS / "results.md", "results", table(["returned", *(f"`{d}`" for d in DECLARED)], rows))


def test_the_order_of_devices_is_the_plans() -> None:
    choices = ("auto", "cuda", "cpu", "emulated", "python")
    rows = [[f"`{c}`", ", then ".join(f"`{d}`" for d in devices_of(Config(device=c)))] for c in choices]
    section(DOCS / "devices-and-reasons.md", "order", table(["`device`", "tried"], rows))


def test_the_functions_that_compile_are_those_of_the_vocabulary() -> None:
    from gpuspark.compiler.vocabulary import ATTRIBUTES, METHODS, operation_of

    rows = []
    for module in (builtins, math, np):
        compiled = [
            name
            for name, function in sorted(vars(module).items())
            if callable(function) and any(operation_of(function, count) for count in (1, 2))
        ]
        rows.append([f"`{module.__name__}`", ", ".join(f"`{name}`" for name in compiled)])
    of_values = (*(f"`.{name}`" for name in ATTRIBUTES), *(f"`.{name}()`" for name in METHODS))
    rows.append(["numbers, dates, timestamps, intervals", ", ".join(of_values)])
    section(DOCS / "scalar.md", "functions", table(["from", "functions"], rows))


def in_a_try(a):
    try:
        return 1 / a
    finally:
        CACHE.clear()


CACHE: dict[float, float] = {}
REFUSED = (
    ("`len(word)`, `word` a string", lambda word: len(word), "string", "double"),
    ("`a + 1`, `a` a decimal", lambda a: a + 1, "decimal(10,2)", "double"),
    ("`str(a)`, declared `string`", lambda a: str(a), "double", "string"),
    ("`try: ... finally: ...`", in_a_try, "double", "double"),
    ("`CACHE.get(a)`, `CACHE` a dictionary", lambda a: CACHE.get(a), "double", "double"),
    ("`max({a, 1.0})`", lambda a: max({a, 1.0}), "double", "double"),
    ("`a`, typed into a console", eval("lambda a: a"), "double", "double"),
)


def test_the_reasons_are_those_that_explain_gives(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    rows = []
    for body, f, column, declared in REFUSED:
        plan = gs.udf(f, declared).explain([column])
        assert plan.device == "python"
        texts = [re.sub(r" \(test_docs\.py, line \d+\)", "", reason.text) for reason in plan.reasons]
        rows.append([body, "; ".join(f"`{text}`" for text in texts)])
    spark.conf.set("spark.gpuspark.device", "emulated")
    [reason] = gs.pandas_udf(lambda v: v, "double").explain().reasons
    rows.append(["a series body, `device=emulated`", f"`{reason.text}`"])
    section(DOCS / "devices-and-reasons.md", "reasons", table(["body", "reason"], rows))


def test_the_api_reference_is_that_of_the_docstrings() -> None:
    section(DOCS / "api.md", "api", reference())


def test_the_compatibility_page_has_the_makefiles_lanes() -> None:
    """Each lane with pinned versions has a row, whose cells begin with these versions."""
    text = (DOCS / "compatibility.md").read_text()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    [head] = [row for row in rows if row[0] == "lane"]
    by_lane = {row[0]: dict(zip(map(str.lower, head), row, strict=True)) for row in rows if len(row) == len(head)}
    pinned = re.findall(r"^([A-Z]+) := ((?:\w+==\S+ ?)+)$", (ROOT / "Makefile").read_text(), re.M)
    assert pinned
    commands = {"MAIN": "make test", "NEWER": "make lane-newest"}
    for lane, pins in pinned:
        versions = dict(pin.removesuffix(".*").split("==") for pin in pins.split())
        row = by_lane[commands.get(lane, f"make lane-{lane.lower()}")]
        assert {package: row[package] for package in versions} == versions


def test_the_readmes_ratios_are_those_of_the_performance_page() -> None:
    judgement = (ROOT / "README.md").read_text().partition("## Performance")[2].partition("<!-- core -->")[0]
    ratios = re.findall(r"[\d.,]+ \[[\d.,]+, [\d.,]+\]", " ".join(judgement.split()))
    measured = (DOCS / "performance.md").read_text()
    assert len(ratios) > 10
    assert [ratio for ratio in ratios if f"| {ratio}" not in measured and f"is {ratio} times" not in measured] == []


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text())
    assert {page.name for page in DOCS.glob("*.md")} == {*listed, "index.md"}


def test_the_messages_under_troubleshooting_are_in_the_source() -> None:
    """Each text in the first column, between its gaps (``...``), is part of a string of the package."""
    trees = [ast.parse(file.read_text()) for file in (ROOT / "gpuspark").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [node.value for node in nodes if isinstance(node.value, str)]
    symptoms = re.findall(r"^\| ([^|]+) \|", (DOCS / "troubleshooting.md").read_text(), re.M)
    messages = [message for symptom in symptoms for message in re.findall(r"`([^`]+ [^`]+)`", symptom)]
    pieces = [piece.strip() for m in messages for piece in re.sub(r"^\w+Error:", "", m).split("...")]
    parts = [piece for piece in pieces if " " in piece]
    assert len(parts) > 15
    assert [part for part in parts if not any(part in text for text in texts)] == []


def test_the_ledgers_page_names_every_field_of_a_record() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "ledger.md").read_text(), re.M)
    assert listed == [f.name for f in fields(Record)]


# What pages point at


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_files_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for file in re.findall(r"`((?:tests|gpuspark|examples|docs)/[\w/.-]+)`", text):
        assert (ROOT / file).exists(), file
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"\bmake ([a-z-]+)\b(?=`|\s+#)", text)) <= set(targets)
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    assert set(re.findall(r"pip install '\.\[(\w+)\]'", text)) <= set(extras)


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / "examples").glob("*.py")], ids=lambda page: page.name)
def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    assert re.findall(r"/(?:work|home|root|tmp|Users)\b", page.read_text()) == []


# Examples in files


def _build(name: str) -> Any:
    return importlib.import_module(f"examples.{name}").build(active_session())


def test_the_scalar_example_repays_loans(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    rows = _build("scalar").collect()
    body = importlib.import_module("examples.scalar").months_to_repay.__gpuspark_body__
    assert [r.months for r in rows] == [body(r.balance, r.yearly_rate, r.payment) for r in rows]
    never = [r for r in rows if r.months is None]
    assert 0 < len(never) < len(rows)


def test_the_series_example_is_pandas(spark) -> None:
    rows = _build("series").toPandas()
    ids = spark.range(10_000).selectExpr("id % 4 as sensor", "sin(id) * 5 as reading").toPandas()
    quiet = ids.assign(reading=ids.reading.clip(-3, 3) ** 2).groupby("sensor").reading.mean() ** 0.5
    pd.testing.assert_series_equal(rows.set_index("sensor").rms, quiet, check_names=False)


def test_the_batch_example_finds_the_nearest(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    rows = {r.id: r for r in _build("batch").collect()}
    assert len(rows) == 10_000
    assert {r.city for r in rows.values()} == {0, 1, 2}
    assert rows[0].city == 0  # 40 degrees north, 0 east: Paris is nearer than Rome
    assert rows[0].km == pytest.approx(1001, abs=5)


def test_the_near_duplicates_are_those_of_pythons_sets(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    example = importlib.import_module("examples.near_duplicates")
    texts = {name: text for home in example.HOMES for name, text in example.documented(home)}
    sets = {name: {text[i : i + 5] for i in range(len(text) - 4)} for name, text in texts.items()}

    def similarity(one: str, other: str) -> float:
        return len(sets[one] & sets[other]) / len(sets[one] | sets[other])

    result = {(r.name, r.like): r.similarity for r in example.build(spark).collect()}
    assert result == {(one, other): s for one, other in result if (s := similarity(one, other)) >= example.SIMILAR}
    met = {frozenset((texts[one], texts[other])) for one, other in result}  # of equal texts, any name may be kept
    frames = {texts[name]: name for name in texts if name.startswith("DataFrame.")}.values()
    near = [p for p in combinations(frames, 2) if 0.8 < len(sets[p[0]]) / len(sets[p[1]]) < 1 / 0.8]
    surely = [pair for pair in near if similarity(*pair) > 0.8]  # each meets but for a chance of 5e-8
    assert len(surely) > 10
    assert [pair for pair in surely if frozenset(map(texts.get, pair)) not in met] == []


def test_the_forecasting_example_beats_the_week_before(spark) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    example = importlib.import_module("examples.forecasting")
    rows = example.build(spark).toPandas()
    assert len(rows) == 28 * rows.dest.nunique() > 28 * 50
    counts = example.flights_of_2013().groupby(["dest", "day"]).size()
    for row in rows[rows.dest == "ORD"].itertuples():
        day = pd.Timestamp(row.day)
        weeks = -(-(day - pd.Timestamp("2013-12-03")).days // 7)
        assert row.flights == counts["ORD", day]
        assert row.naive == counts["ORD", day - pd.Timedelta(weeks=weeks)]
    result = example.errors(rows)
    assert result["holt_winters"] < 0.8 * result["seasonal-naive"]
    assert 0.5 < result["inside the interval"] < 0.95
