"""The benchmark: its verdicts, its reports, and small runs of its cases."""

from __future__ import annotations

import importlib
import json
import math
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from gpuspark import kernels
from gpuspark.bench import history, limits, mlflow_run
from gpuspark.bench.cases import FLOOR, Aim, Case, every_case, modules
from gpuspark.bench.command import Unknown, chosen, comparison
from gpuspark.bench.device_model import break_even, roofline_point, upper_bound
from gpuspark.bench.html_page import page
from gpuspark.bench.markdown import markdown
from gpuspark.bench.results import CaseResult, PathResult, load
from gpuspark.bench.run import FLOOR_AGAIN, Suite, WrongResults, read, run_case, settings, verify, write
from gpuspark.bench.spark_metrics import collect_metrics
from gpuspark.bench.tables import about, sweeps
from gpuspark.bench.verify import first_difference
from gpuspark.cli import app
from tests.support.kernel_samples import SAMPLES
from tests.test_bench_statistics import times

MACHINE = {
    "cores": 2, "processor": "x", "load": [0.1, 0.1, 0.1], "python": "3", "pyspark": "4", "pyarrow": "26",
}  # fmt: skip


def result(aims: list[Any] | None = None, again: float = 1.0, **paths: Any) -> CaseResult:
    """Returns a case whose paths have the given factors of a second, or the given records."""
    facts = {
        "elements": 1000, "of": 1000, "unit": "rows", "aims": aims or [], "note": "", "machine": MACHINE,
        "bytes_in": 8, "bytes_out": 8, "operations": 4,
    }  # fmt: skip
    records = {FLOOR: {"seconds": times(1)}, FLOOR_AGAIN: {"seconds": times(2, again)}}
    for n, (name, measured) in enumerate(paths.items()):
        records[name] = measured if isinstance(measured, dict) else {"seconds": times(10 + n, measured)}
    results = {name: PathResult(name, tuple(r["seconds"]), 1000, 1000, {**facts, **r}) for name, r in records.items()}
    return CaseResult("case", results, facts)


def test_a_winner_is_named_where_intervals_are_apart() -> None:
    assert result(gpuspark=1.0, numpy=2.0).verdict() == "gpuspark is the fastest"
    assert result(gpuspark=1.0, numpy=1.001).verdict() == "undecided between gpuspark and numpy"
    assert result(gpuspark=2.0, numpy=1.0).verdict() == "numpy is the fastest"


def test_a_report_names_the_machines_gpus() -> None:
    """Records from before they were kept have none."""
    case = result(gpuspark=1.0)
    assert "Measured on 2 cores (x), load 0.1" in about([case])
    facts = {**case.facts, "machine": MACHINE | {"gpus": ["NVIDIA H200"]}}
    assert "Measured on 2 cores (x, NVIDIA H200), load 0.1" in about([replace(case, facts=facts)])


def test_no_winner_on_a_noisy_machine() -> None:
    assert "too noisy" in result(again=1.3, gpuspark=1.0, numpy=2.0).verdict()


@pytest.mark.parametrize("devices", [{"emulated": 5}, {"python": 5}, {"cuda": 5, "python": 1}])
def test_nothing_is_said_of_a_gpu_that_did_not_do_the_work(devices: dict[str, int]) -> None:
    record = {"seconds": times(3), "devices": devices}
    assert "says nothing about a GPU" in result(gpuspark=record, numpy=2.0).verdict()


def test_aims_say_what_was_reached() -> None:
    aims = [["gpuspark", "numpy", 1.5, "unused"], ["gpuspark", "numpy", 5.0, ""], ["gpuspark", "numpy", 6.0, "why"]]
    lines = list(result(aims, gpuspark=1.0, numpy=2.0).aims())
    assert lines[0].endswith("aim 1.5: reached")
    assert lines[1].endswith("aim 5: MISSED")
    assert lines[2].endswith("aim 6: MISSED: why")


def test_a_capped_path_is_scaled_and_marked(tmp_path: Path) -> None:
    common = {**result().facts, "run": "r", "case": "c", "reasons": []}
    records = [
        {**common, "path": name, "given": given, "seconds": [1.0] * 7}
        for name, given in ((FLOOR, 1000), (FLOOR_AGAIN, 1000), ("gpuspark", 1000), ("slow", 10))
    ]
    write(records, tmp_path / "records.jsonl")
    (case,) = load(tmp_path / "records.jsonl")
    assert case.paths["slow"].time.median == 100
    assert "100 [100, 100] (scaled from 10)" in markdown([case])


def test_two_runs_are_compared(tmp_path: Path) -> None:
    for name, factor in (("before", 1.0), ("after", 1.3)):
        common = {**result().facts, "run": "r", "case": "c", "given": 1000}
        paths = {FLOOR: times(1), FLOOR_AGAIN: times(1), "gpuspark": times(2, factor), "numpy": times(3)}
        write([{**common, "path": p, "seconds": s} for p, s in paths.items()], tmp_path / name / "records.jsonl")
    lines = comparison(tmp_path / "before", tmp_path / "after").splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["slower", "undecided"]
    assert lines[0].startswith("c: gpuspark takes 1.3")


def test_the_pages_are_generated_from_the_committed_records() -> None:
    cases, larger = history.records()
    assert history.PAGE.read_text() == history.page(cases, larger)
    text = history.README.read_text()
    machine_limits = json.loads((history.HISTORY / "limits.json").read_text())
    assert text == history.readme(text, cases, machine_limits)
    assert "gpuspark, seconds" in text


def test_the_upper_bound_of_a_device() -> None:
    record = {"seconds": [2.0] * 7, "devices": {"cpu": 1}, "phases": {"run": 2.0}}
    (note,) = upper_bound(result(gpuspark=record))  # half of the time, on two cores
    assert "computing is 50% of gpuspark's time, so no device can make it more than 2 times as fast" in note


def test_mlflow_gets_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    for file in ("report.md", "report.html", "records.jsonl"):
        (tmp_path / file).write_text(file)
    case = result(gpuspark=1.0, numpy=2.0)
    mlflow_run.log(f"sqlite:///{tmp_path}/runs.db", [case], "smoke", tmp_path)
    (run,) = mlflow.search_runs(experiment_names=["gpuspark bench"], output_format="list")
    assert run.data.metrics["case numpy seconds"] == case.paths["numpy"].time.median
    assert (run.data.params["suite"], run.data.params["cores"]) == ("smoke", "2")
    kept = {file.path for file in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)}
    assert kept == {"report.md", "report.html", "records.jsonl"}


class Tags(HTMLParser):
    """The tags that are still open, and the links out of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "use", "path", "br"):
            self.open.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href") and tag != "use"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use"):
            assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    record = {"seconds": times(3), "devices": {"cpu": 9}, "phases": {"run": 0.5}, "spark": {"run": 2.0}}
    case = result(gpuspark=record, **{"a < b": 2.0})
    text = page([case], {"bandwidth": 2e10, "operations": 1e10, "cores": 2})
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.links == []
    assert "a &lt; b" in text
    assert text.count("<svg") == 3
    assert roofline_point(case) == (4 / 16, 4 * 1000 / 0.5 * 2)


@pytest.mark.parametrize(
    ("actual", "difference"),
    [
        ({"a": [2, 1], "b": [0.5, None]}, ""),
        ({"a": [1, 2], "b": [None, 0.5 + 1e-12]}, ""),
        ({"a": [1, 2], "b": [None, 0.6]}, "{'a': 2, 'b': 0.6}, not {'a': 2, 'b': 0.5}"),
        ({"a": [1, 2], "b": [0.0, 0.5]}, "{'a': 1, 'b': 0.0}, not {'a': 1, 'b': None}"),
        ({"a": [1], "b": [None]}, "1 rows, not 2"),
        ({"a": [1, 2]}, "the columns ['a'], not ['a', 'b']"),
    ],
)
def test_results_are_compared_row_by_row(actual: dict[str, Any], difference: str) -> None:
    expected = pa.table({"a": [1, 2], "b": [None, 0.5]})
    assert first_difference(pa.table(actual), expected, (), 1e-9) == difference


def test_rows_in_the_same_order_are_not_sorted() -> None:
    """Sorted by their rounded values these rows would change places: 57.555 is rounded up in one, down in the other."""
    rounded_up = pa.table({"a": [[57.555001, 2.0], [57.5551, 1.0]]})
    rounded_down = pa.table({"a": [[57.554999, 2.0], [57.5551, 1.0]]})
    assert first_difference(rounded_up, rounded_down, (), 1e-6) == ""
    assert first_difference(rounded_up, rounded_down.take([1, 0]), (), 1e-6) != ""
    assert first_difference(rounded_up, rounded_up.take([1, 0]), (), 1e-6) == ""
    near = pa.table({"a": [1.00001, 1.00002, 1.00003]})
    assert first_difference(near, near.take([2, 0, 1]), (), 1e-9) == ""


def test_nan_equals_nan_and_lists_are_compared_by_element() -> None:
    expected = pa.table({"a": [[math.nan, 1.0], None]})
    assert first_difference(expected, expected, (), 0) == ""
    assert first_difference(pa.table({"a": [[math.nan, 2.0], None]}), expected, (), 1e-3) != ""


def squares(frame: Any) -> Any:
    import gpuspark as gs

    return frame.select(gs.udf("double")(lambda a: a * a)("a"))


CASE = Case(
    name="squares", data=lambda n: pa.table({"a": [float(i) for i in range(n)]}), elements=2000, unit="rows",
    paths={"gpuspark": squares, "Spark SQL": lambda frame: frame.selectExpr("a * a")}, oracle="Spark SQL",
    aims=(Aim("gpuspark", "Spark SQL", 0.1),), settings={"spark.sql.execution.arrow.maxRecordsPerBatch": 500},
)  # fmt: skip


@pytest.fixture(scope="module")
def records(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    spark.conf.set("spark.gpuspark.device", "cpu")
    yield run_case(spark, CASE, Suite(1.0, 2), tmp_path_factory.mktemp("bench"), None, lambda _: None)
    spark.conf.unset("spark.gpuspark.device")


def test_a_case_runs_all_its_paths(records: list[dict[str, Any]], spark: Any) -> None:
    by_path = {record["path"]: record for record in records}
    assert list(by_path) == [FLOOR, "gpuspark", "Spark SQL", FLOOR_AGAIN]
    assert all(len(record["seconds"]) == 2 for record in records)
    ours = by_path["gpuspark"]
    assert ours["devices"] == {"cpu": 2000}
    assert 0 < sum(ours["phases"].values()) <= ours["spark"]["run"]
    assert ours["spark"]["to_python"] > 2000 * 8
    assert by_path["Spark SQL"]["spark"]["to_python"] == 0
    assert ours["python_memory"] > 2**20
    assert spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == "10000"


FIRST_OF_EACH_FILE = [importlib.import_module(module).CASES[0].name for module in modules()]
"""The other cases are verified when they run: no path is timed before."""


@pytest.mark.parametrize("name", FIRST_OF_EACH_FILE)
def test_every_case_gives_its_oracles_answers(spark: Any, tmp_path: Path, name: str) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    verify(spark, every_case()[name], tmp_path, elements=300)


def test_wrong_results_are_never_timed(spark: Any, tmp_path: Path) -> None:
    wrong = Case(
        name="wrong",
        data=CASE.data,
        elements=100,
        unit="rows",
        oracle="Spark SQL",
        paths={"gpuspark": lambda frame: frame.selectExpr("a + 1"), "Spark SQL": CASE.paths["Spark SQL"]},
    )
    with pytest.raises(WrongResults, match="wrong: gpuspark differs from Spark SQL"):
        run_case(spark, wrong, Suite(1.0, 1), tmp_path, None, lambda _: None)


def test_cases_and_paths_are_chosen_by_name() -> None:
    assert [case.name for case in chosen("smoke", ["cosine_similarity"], None)] == ["cosine_similarity"]
    with pytest.raises(Unknown, match="Did you mean 'cosine_similarity'"):
        chosen("core", ["cosine_similarty"], None)
    with pytest.raises(Unknown, match="none of the chosen cases has a path"):
        chosen("core", [], "fortran")


def test_each_suite_has_the_cases_of_those_before_it() -> None:
    smoke, core, full = ({case.name for case in chosen(suite, [], None)} for suite in ("smoke", "core", "full"))
    assert smoke < core < full == set(every_case())
    assert "rows_100_million" in full - core
    assert every_case()["rows_100_million"].elements == 100_000_000
    assert max(every_case()[name].elements for name in core) <= 10_000_000


def test_a_sweep_is_drawn_over_its_axis() -> None:
    def at(position: float | None) -> CaseResult:
        case = result(gpuspark=1.0, numpy=2.0)
        return CaseResult(f"at {position}", case.paths, {**case.facts, "along": position and ["rows", position]})

    cases = [at(100), at(None), at(1)]
    assert {axis: [position for position, _ in points] for axis, points in sweeps(cases).items()} == {"rows": [1, 100]}
    assert sweeps(cases[:2]) == {}
    text = page(cases, None)
    assert "Over rows" in text
    assert text.count("<svg") == 1 + 1 + 3
    table = markdown(cases).partition("### Over rows\n\n")[2].splitlines()[2:]
    assert table[2].startswith("| 1 | ")
    assert table[3].startswith("| 100 | ")


def test_the_break_even_is_computed_from_measured_terms() -> None:
    record = {"seconds": [2.0] * 7, "devices": {"cpu": 1}, "phases": {"run": 1.0}}  # a millisecond for each of 1,000
    case = result(gpuspark=record)
    (note,) = break_even(case, None)
    assert ">= 3.2e-05 GB/s each way and >= 1 element per 10 us" in note  # 16 bytes a millisecond, on two cores
    assert "no device measured" in note
    (note,) = break_even(case, {"copy_in": 16e3, "copy_out": 32e3, "call": 1.0})  # 0.75 ms to copy what takes 1 ms
    assert "batches of >= 4,000 elements" in note
    (note,) = break_even(case, {"copy_in": 8e3, "copy_out": 32e3, "call": 1.0})
    assert "never" in note


def test_the_limits_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_CALLS", 3)
    monkeypatch.setattr(limits, "_COPY_BYTES", 2**20)
    emulated = limits.measure_device("emulated")
    assert emulated.copy_in > 1e6
    assert emulated.copy_out > 1e6
    assert 0 < emulated.call < 60
    assert limits.measure_gpu() is None


def test_an_unknown_suite_is_refused(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["bench", "--suite", "cor", "--out", str(tmp_path)])
    assert (outcome.exit_code, "there is no suite 'cor'" in outcome.stderr) == (2, True)


def test_sparks_figures_are_those_of_its_rest_api(spark: Any) -> None:
    frame = spark.range(100_000).selectExpr("id % 10 as k").repartition("k")
    api = f"{spark.sparkContext.uiWebUrl}/api/v1/applications/{spark.sparkContext.applicationId}/stages"

    def stages() -> list[dict[str, Any]]:
        with urllib.request.urlopen(api) as response:
            answer: list[dict[str, Any]] = json.load(response)
        return answer

    before = {stage["stageId"] for stage in stages()}
    with collect_metrics(spark) as metrics:
        frame.write.format("noop").mode("overwrite").save()
    ours, theirs = metrics.to_dict(), [stage for stage in stages() if stage["stageId"] not in before]
    assert ours["tasks"] == sum(stage["numCompleteTasks"] for stage in theirs)
    assert ours["run"] == pytest.approx(sum(stage["executorRunTime"] for stage in theirs) / 1e3)
    assert ours["jvm_cpu"] == pytest.approx(sum(stage["executorCpuTime"] for stage in theirs) / 1e9)
    assert ours["gc"] == pytest.approx(sum(stage["jvmGcTime"] for stage in theirs) / 1e3)
    assert ours["shuffle_read"] == sum(stage["shuffleReadBytes"] for stage in theirs) > 0
    assert ours["shuffle_written"] == sum(stage["shuffleWriteBytes"] for stage in theirs) > 0


def test_the_cases_of_partitions_have_that_many(spark: Any, tmp_path: Path) -> None:
    for name, case in every_case().items():
        if name.startswith("partitions_"):
            with settings(spark, case.settings):
                frame = read(spark, case, 10_000, tmp_path)
                assert frame.rdd.getNumPartitions() == int(name.rpartition("_")[2])


def test_every_kernel_has_its_case() -> None:
    """A case of the kernel's name, or one that is named here."""
    other_names = {
        "ewm_mean": "smoothing_groups_of_40",
        "rolling": "rolling_mean",
        "top_k": "top_k_of_1000",
        "within": "point_in_polygon_50",
        "point_in_polygon": "point_in_polygon_many",
    }
    assert {other_names.get(name, name) for name in {*SAMPLES, *kernels.CATALOGUE}} <= set(every_case())
