"""``gpuspark bench`` and ``gpuspark report``: which cases run, what is shown meanwhile, and where it goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpuspark.bench import floors
from gpuspark.bench.cases import Case, every_case
from gpuspark.bench.report import HEAD, markdown, notes, page, rows
from gpuspark.bench.results import CaseResult, differ, load
from gpuspark.bench.run import SUITES, run_case, session, write
from gpuspark.errors import nearest

RECORDS, LIMITS = "records.jsonl", "limits.json"


class Unknown(Exception):
    """A suite, case or path that there is not."""


def bench(
    *, suite: str, only: Sequence[str], path: str | None, rounds: int | None, out: Path, master: str, device: str,
    mlflow: str | None = None,
) -> list[CaseResult]:  # fmt: skip
    """Runs the cases of ``suite``, all or those named, and writes records and report to ``out``. Each case has a
    Spark session, and so Python workers, of its own."""
    if suite not in SUITES:
        raise Unknown(f"there is no suite {suite!r}. {nearest(suite, SUITES)}")
    cases = chosen(suite, only, path)
    console = Console(stderr=True)
    records = out / RECORDS
    records.unlink(missing_ok=True)
    size = SUITES[suite] if rounds is None else replace(SUITES[suite], rounds=rounds)
    with console.status("measuring the limits of this machine") as status:
        write_limits(out, device)
        for case in cases:
            spark = session(master, {"spark.gpuspark.device": device})
            write(run_case(spark, case, size, out / "data", path, status.update), records)
            spark.stop()
            console.print(table(load(records)[-1]))
    found = load(records)
    for file in write_report(out):
        console.print(file)
    if mlflow:  # which takes seconds to import
        from gpuspark.bench.mlflow_run import log

        log(mlflow, found, suite, out)
    return found


def chosen(suite: str, only: Sequence[str], path: str | None) -> list[Case]:
    """The cases to be run: those named, or else those of the suite. Raises :class:`Unknown`."""
    cases = every_case()
    for name in only:
        if name not in cases:
            raise Unknown(f"there is no case {name!r}. {nearest(name, cases)}")
    sizes = list(SUITES)
    within = sizes[: sizes.index(suite) + 1]
    picked = [case for name, case in cases.items() if name in only or (not only and case.suite in within)]
    if path is not None:
        paths = {name for case in picked for name in case.paths}
        if path not in paths:
            raise Unknown(f"no case that was chosen has a path {path!r}. {nearest(path, paths)}")
        picked = [case for case in picked if path in case.paths]
    return picked


def table(case: CaseResult) -> Table:
    """The case for a terminal."""
    shown = Table(*HEAD, title=case.name)
    for row in rows(case):
        shown.add_row(*row)
    shown.caption = "\n".join(notes(case))
    return shown


def write_limits(out: Path, device: str) -> None:
    """What this machine could do at best, and a GPU if there is one to be used, beside the records."""
    out.mkdir(parents=True, exist_ok=True)
    found = floors.measure().to_dict()
    gpu = floors.gpu() if device in ("auto", "cuda") else None
    (out / LIMITS).write_text(json.dumps(found | ({"gpu": gpu.to_dict()} if gpu else {})))


def write_report(folder: Path) -> list[Path]:
    """Writes ``report.md`` and ``report.html`` of the records in ``folder``; their paths."""
    cases = load(folder / RECORDS)
    limits = json.loads((folder / LIMITS).read_text()) if (folder / LIMITS).exists() else None
    found = [folder / "report.md", folder / "report.html"]
    found[0].write_text(markdown(cases, (limits or {}).get("gpu")))
    found[1].write_text(page(cases, limits))
    return found


def comparison(before: Path, after: Path) -> str:
    """A line for each path that both runs have."""
    one, other = (load(place / RECORDS if place.is_dir() else place) for place in (before, after))
    lines = [
        f"{case}: {path} takes {ratio} times as long as before, against its floor: {verdict}"
        for case, path, ratio, verdict in differ(one, other)
    ]
    return "\n".join(lines) or "the two runs have no path in common"
