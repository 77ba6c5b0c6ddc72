"""``gpuspark bench`` and ``gpuspark report``: choose the cases, show progress, write records and reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpuspark.bench import limits
from gpuspark.bench.cases import Case, every_case
from gpuspark.bench.comparison import changes
from gpuspark.bench.html_page import page
from gpuspark.bench.markdown import markdown
from gpuspark.bench.results import CaseResult, load
from gpuspark.bench.run import SUITES, run_case, session, write
from gpuspark.bench.tables import HEAD, notes, rows
from gpuspark.errors import nearest

RECORDS, LIMITS = "records.jsonl", "limits.json"


class Unknown(Exception):
    """There is no suite, case or path of that name."""


def bench(
    *, suite: str, only: Sequence[str], path: str | None, rounds: int | None, out: Path, master: str, device: str,
    mlflow: str | None = None,
) -> list[CaseResult]:  # fmt: skip
    """Runs the cases of ``suite``, or those named in ``only``, writes records and reports to ``out``, and returns the
    results. Each case has its own Spark session, and so its own Python workers."""
    if suite not in SUITES:
        raise Unknown(f"there is no suite {suite!r}. {nearest(suite, SUITES)}")
    cases = chosen(suite, only, path)
    console = Console(stderr=True)
    records = out / RECORDS
    records.unlink(missing_ok=True)
    amount = SUITES[suite] if rounds is None else replace(SUITES[suite], rounds=rounds)
    with console.status("measuring the limits of this machine") as status:
        write_limits(out, device)
        for case in cases:
            spark = session(master, {"spark.gpuspark.device": device})
            write(run_case(spark, case, amount, out / "data", path, status.update), records)
            spark.stop()
            console.print(table(load(records)[-1]))
    results = load(records)
    for file in write_report(out):
        console.print(file)
    if mlflow:  # which takes seconds to import
        from gpuspark.bench.mlflow_run import log

        log(mlflow, results, suite, out)
    return results


def chosen(suite: str, only: Sequence[str], path: str | None) -> list[Case]:
    """Returns the cases named in ``only``, or else those of the suite; with ``path``, those that have this path.

    Raises :class:`Unknown` for a name that does not exist.
    """
    cases = every_case()
    for name in only:
        if name not in cases:
            raise Unknown(f"there is no case {name!r}. {nearest(name, cases)}")
    suites = list(SUITES)
    included = suites[: suites.index(suite) + 1]
    selected = [case for name, case in cases.items() if name in only or (not only and case.suite in included)]
    if path is not None:
        paths = {name for case in selected for name in case.paths}
        if path not in paths:
            raise Unknown(f"none of the chosen cases has a path {path!r}. {nearest(path, paths)}")
        selected = [case for case in selected if path in case.paths]
    return selected


def table(case: CaseResult) -> Table:
    """Returns the case's table for a terminal."""
    terminal_table = Table(title=case.name, caption="\n".join(notes(case)))
    for name in HEAD:
        terminal_table.add_column(name, overflow="fold")  # long words are broken, not cut off
    for row in rows(case):
        terminal_table.add_row(*row)
    return terminal_table


def write_limits(out: Path, device: str) -> None:
    """Writes the limits of this machine, and of its GPU if there is one to be used, beside the records."""
    out.mkdir(parents=True, exist_ok=True)
    measured = limits.measure_machine().to_dict()
    gpu = limits.measure_gpu() if device in ("auto", "cuda") else None
    (out / LIMITS).write_text(json.dumps(measured | ({"gpu": gpu.to_dict()} if gpu else {})))


def write_report(folder: Path) -> list[Path]:
    """Writes ``report.md`` and ``report.html`` of the records in ``folder`` and returns their paths."""
    cases = load(folder / RECORDS)
    known_limits = json.loads((folder / LIMITS).read_text()) if (folder / LIMITS).exists() else None
    markdown_file, html_file = folder / "report.md", folder / "report.html"
    markdown_file.write_text(markdown(cases, (known_limits or {}).get("gpu")))
    html_file.write_text(page(cases, known_limits))
    return [markdown_file, html_file]


def comparison(before: Path, after: Path) -> str:
    """Returns a line for each path that both runs measured. A run is its folder, or its file of records."""
    old, new = (load(run / RECORDS if run.is_dir() else run) for run in (before, after))
    return "\n".join(map(str, changes(old, new))) or "the two runs have no path in common"
