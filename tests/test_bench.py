"""The benchmark: what it may say, what it counts, and a small run of it in a Spark of its own."""

from __future__ import annotations

import importlib
import json
import math
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from gpuspark import kernels
from gpuspark.bench import floors, history, mlflow_run
from gpuspark.bench.cases import FLOOR, Aim, Case, every_case, modules
from gpuspark.bench.command import Unknown, chosen, comparison
from gpuspark.bench.report import bound, break_even, intensity, markdown, page, sweeps
from gpuspark.bench.results import CaseResult, PathResult, load
from gpuspark.bench.run import FLOOR_AGAIN, Suite, WrongResults, read, run_case, settings, verify, write
from gpuspark.bench.spark_metrics import measured
from gpuspark.bench.verify import differences
from gpuspark.cli import app
from tests.support.kernel_samples import SAMPLES
from tests.test_bench_statistics import times

MACHINE = {
    "cores": 2, "processor": "x", "load": [0.1, 0.1, 0.1], "python": "3", "pyspark": "4", "pyarrow": "26",
}  # fmt: skip


def result(aims: list[Any] | None = None, again: float = 1.0, **paths: Any) -> CaseResult:
    """A case whose paths take so many seconds, or such a record."""
    facts = {
        "elements": 1000, "of": 1000, "unit": "rows", "aims": aims or [], "note": "", "machine": MACHINE,
        "bytes_in": 8, "bytes_out": 8, "operations": 4,
    }  # fmt: skip
    made = {FLOOR: {"seconds": times(1)}, FLOOR_AGAIN: {"seconds": times(2, again)}}
    for n, (name, given) in enumerate(paths.items()):
        made[name] = given if isinstance(given, dict) else {"seconds": times(10 + n, given)}
    shown = {name: PathResult(name, tuple(r["seconds"]), 1000, 1000, {**facts, **r}) for name, r in made.items()}
    return CaseResult("case", shown, facts)


def test_a_winner_is_named_where_intervals_are_apart() -> None:
    assert result(gpuspark=1.0, numpy=2.0).verdict() == "gpuspark is the fastest"
    assert result(gpuspark=1.0, numpy=1.001).verdict() == "undecided between gpuspark and numpy"
    assert result(gpuspark=2.0, numpy=1.0).verdict() == "numpy is the fastest"


def test_no_winner_on_a_noisy_machine() -> None:
    assert "too noisy" in result(again=1.3, gpuspark=1.0, numpy=2.0).verdict()


@pytest.mark.parametrize("devices", [{"emulated": 5}, {"python": 5}, {"cuda": 5, "python": 1}])
def test_nothing_is_said_of_a_gpu_that_did_not_do_the_work(devices: dict[str, int]) -> None:
    record = {"seconds": times(3), "devices": devices}
    assert "says nothing of a GPU" in result(gpuspark=record, numpy=2.0).verdict()


def test_aims_say_what_was_reached() -> None:
    aims = [["gpuspark", "numpy", 1.5, "unused"], ["gpuspark", "numpy", 5.0, ""], ["gpuspark", "numpy", 6.0, "why"]]
    told = list(result(aims, gpuspark=1.0, numpy=2.0).aims())
    assert told[0].endswith("aim 1.5: reached")
    assert told[1].endswith("aim 5: MISSED")
    assert told[2].endswith("aim 6: MISSED: why")


def test_a_capped_path_is_multiplied_and_said_to_be(tmp_path: Path) -> None:
    common = {**result().facts, "run": "r", "case": "c", "reasons": []}
    records = [
        {**common, "path": name, "given": given, "seconds": [1.0] * 7}
        for name, given in ((FLOOR, 1000), (FLOOR_AGAIN, 1000), ("gpuspark", 1000), ("slow", 10))
    ]
    write(records, tmp_path / "records.jsonl")
    (case,) = load(tmp_path / "records.jsonl")
    assert case.paths["slow"].time.median == 100
    assert "100 [100, 100] (of 10, multiplied)" in markdown([case])


def test_a_newer_run_is_held_against_an_older_one(tmp_path: Path) -> None:
    for name, factor in (("before", 1.0), ("after", 1.3)):
        common = {**result().facts, "run": "r", "case": "c", "given": 1000}
        paths = {FLOOR: times(1), FLOOR_AGAIN: times(1), "gpuspark": times(2, factor), "numpy": times(3)}
        write([{**common, "path": p, "seconds": s} for p, s in paths.items()], tmp_path / name / "records.jsonl")
    told = comparison(tmp_path / "before", tmp_path / "after").splitlines()
    assert [line.rsplit(": ", 1)[1] for line in told] == ["slower", "undecided"]


def test_the_pages_are_made_of_the_committed_records() -> None:
    cases, larger = history.records()
    assert history.PAGE.read_text() == history.page(cases, larger)
    text = history.README.read_text()
    limits = json.loads((history.HISTORY / "limits.json").read_text())
    assert text == history.readme(text, cases, limits)
    assert "gpuspark, seconds" in text


def test_what_no_device_could_beat() -> None:
    record = {"seconds": [2.0] * 7, "devices": {"cpu": 1}, "phases": {"run": 2.0}}
    (told,) = bound(result(gpuspark=record))  # half of it, on two cores
    assert told.startswith("Computing is 50% of gpuspark's time: no device could make it more than 2 times")


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
    """The tags that are open, and the links out of the page."""

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


def test_the_page_is_whole_and_asks_for_nothing_from_outside() -> None:
    record = {"seconds": times(3), "devices": {"cpu": 9}, "phases": {"run": 0.5}, "spark": {"run": 2.0}}
    case = result(gpuspark=record, **{"a < b": 2.0})
    text = page([case], {"bandwidth": 2e10, "operations": 1e10, "cores": 2})
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.links == []
    assert "a &lt; b" in text
    assert text.count("<svg") == 3
    assert intensity(case) == (4 / 16, 4 * 1000 / 0.5 * 2)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ({"a": [2, 1], "b": [0.5, None]}, ""),
        ({"a": [1, 2], "b": [None, 0.5 + 1e-12]}, ""),
        ({"a": [1, 2], "b": [None, 0.6]}, "{'a': 2, 'b': 0.6}, not {'a': 2, 'b': 0.5}"),
        ({"a": [1, 2], "b": [0.0, 0.5]}, "{'a': 1, 'b': 0.0}, not {'a': 1, 'b': None}"),
        ({"a": [1], "b": [None]}, "1 rows, not 2"),
        ({"a": [1, 2]}, "the columns ['a'], not ['a', 'b']"),
    ],
)
def test_results_are_compared_row_by_row(found: dict[str, Any], wrong: str) -> None:
    assert differences(pa.table(found), pa.table({"a": [1, 2], "b": [None, 0.5]}), (), 1e-9) == wrong


def test_rows_that_come_in_order_are_not_put_in_another() -> None:
    """Sorted by their first digits these change places: 57.555 is rounded up in one of them, and down in the other."""
    one = pa.table({"a": [[57.555001, 2.0], [57.5551, 1.0]]})
    other = pa.table({"a": [[57.554999, 2.0], [57.5551, 1.0]]})
    assert differences(one, other, (), 1e-6) == ""
    assert differences(one, other.take([1, 0]), (), 1e-6) != differences(one, one.take([1, 0]), (), 1e-6) == ""


def test_nan_is_nan_and_lists_are_compared_inside() -> None:
    right = pa.table({"a": [[math.nan, 1.0], None]})
    assert differences(right, right, (), 0) == ""
    assert differences(pa.table({"a": [[math.nan, 2.0], None]}), right, (), 1e-3) != ""


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


def test_a_case_is_run_whole(records: list[dict[str, Any]], spark: Any) -> None:
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
"""The others are verified where they are run: no path is timed before."""


@pytest.mark.parametrize("name", FIRST_OF_EACH_FILE)
def test_every_case_gives_its_oracles_answers(spark: Any, tmp_path: Path, name: str) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    verify(spark, every_case()[name], tmp_path, elements=300)


def test_wrong_results_are_never_timed(spark: Any, tmp_path: Path) -> None:
    wrong = Case(
        name="wrong", data=CASE.data, elements=100, unit="rows", oracle="Spark SQL",
        paths={"gpuspark": lambda frame: frame.selectExpr("a + 1"), "Spark SQL": CASE.paths["Spark SQL"]},
    )  # fmt: skip
    with pytest.raises(WrongResults, match="wrong: gpuspark differs from Spark SQL"):
        run_case(spark, wrong, Suite(1.0, 1), tmp_path, None, lambda _: None)


def test_cases_and_paths_are_chosen_by_name() -> None:
    assert [case.name for case in chosen("smoke", ["cosine_similarity"], None)] == ["cosine_similarity"]
    with pytest.raises(Unknown, match="Did you mean 'cosine_similarity'"):
        chosen("core", ["cosine_similarty"], None)
    with pytest.raises(Unknown, match="no case that was chosen has a path"):
        chosen("core", [], "fortran")


def test_each_suite_has_the_cases_of_those_before_it() -> None:
    smoke, core, full = ({case.name for case in chosen(suite, [], None)} for suite in ("smoke", "core", "full"))
    assert smoke < core < full == set(every_case())
    largest = {name: every_case()[name].elements for name in full - core}
    assert largest["rows_100_million"] == 100_000_000
    assert max(every_case()[name].elements for name in core) <= 10_000_000


def test_a_sweep_is_drawn_over_its_axis() -> None:
    def at(place: float | None) -> CaseResult:
        made = result(gpuspark=1.0, numpy=2.0)
        return CaseResult(f"at {place}", made.paths, {**made.facts, "along": place and ["rows", place]})

    cases = [at(100), at(None), at(1)]
    assert {axis: [place for place, _ in points] for axis, points in sweeps(cases).items()} == {"rows": [1, 100]}
    assert sweeps(cases[:2]) == {}
    text = page(cases, None)
    assert "Over rows" in text
    assert text.count("<svg") == 1 + 1 + 3
    table = markdown(cases).partition("### Over rows\n\n")[2].splitlines()[2:]
    assert table[2].startswith("| 1 | ")
    assert table[3].startswith("| 100 | ")


def test_when_a_device_pays_is_said_of_measured_terms() -> None:
    record = {"seconds": [2.0] * 7, "devices": {"cpu": 1}, "phases": {"run": 1.0}}  # a millisecond for each of 1,000
    case = result(gpuspark=record)
    (model,) = break_even(case, None)
    assert "where 3.2e-05 GB/s" in model  # 16 bytes in a millisecond, by each of two cores
    assert "no device was measured" in model
    (told,) = break_even(case, {"copy_in": 16e3, "copy_out": 32e3, "call": 1.0})  # 0.75 ms to move what takes 1 ms
    assert "from batches of 4,000 elements on" in told
    (told,) = break_even(case, {"copy_in": 8e3, "copy_out": 32e3, "call": 1.0})
    assert "cannot pay" in told


def test_the_floors_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "_CALLS", 3)
    monkeypatch.setattr(floors, "_COPIED", 2**20)
    found = floors.of_device("emulated")
    assert found.copy_in > 1e6
    assert found.copy_out > 1e6
    assert 0 < found.call < 60
    assert floors.gpu() is None


def test_the_commands_refuse_what_there_is_not(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "--suite", "cor", "--out", str(tmp_path)])
    assert (done.exit_code, "there is no suite 'cor'" in done.stderr) == (2, True)


def test_sparks_figures_are_those_of_its_rest_api(spark: Any) -> None:
    frame = spark.range(100_000).selectExpr("id % 10 as k").repartition("k")
    api = f"{spark.sparkContext.uiWebUrl}/api/v1/applications/{spark.sparkContext.applicationId}/stages"

    def stages() -> list[dict[str, Any]]:
        with urllib.request.urlopen(api) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    before = {stage["stageId"] for stage in stages()}
    with measured(spark) as found:
        frame.write.format("noop").mode("overwrite").save()
    ours, told = found.to_dict(), [stage for stage in stages() if stage["stageId"] not in before]
    assert ours["tasks"] == sum(stage["numCompleteTasks"] for stage in told)
    assert ours["run"] == pytest.approx(sum(stage["executorRunTime"] for stage in told) / 1e3)
    assert ours["jvm_cpu"] == pytest.approx(sum(stage["executorCpuTime"] for stage in told) / 1e9)
    assert ours["gc"] == pytest.approx(sum(stage["jvmGcTime"] for stage in told) / 1e3)
    assert ours["shuffle_read"] == sum(stage["shuffleReadBytes"] for stage in told) > 0
    assert ours["shuffle_written"] == sum(stage["shuffleWriteBytes"] for stage in told) > 0


def test_a_case_of_so_many_partitions_has_them(spark: Any, tmp_path: Path) -> None:
    for name, case in every_case().items():
        if name.startswith("partitions_"):
            with settings(spark, case.settings):
                frame = read(spark, case, 10_000, tmp_path)
                assert frame.rdd.getNumPartitions() == int(name.rpartition("_")[2])


def test_every_kernel_has_its_case() -> None:
    """By its own name, or in the cases that are named here."""
    told = {
        "ewm_mean": "smoothing_groups_of_40", "rolling": "rolling_mean", "top_k": "top_k_of_1000",
        "within": "point_in_polygon_50", "point_in_polygon": "point_in_polygon_many",
    }  # fmt: skip
    assert {told.get(name, name) for name in {*SAMPLES, *kernels.CATALOGUE}} <= set(every_case())
