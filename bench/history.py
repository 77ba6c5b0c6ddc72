"""The committed records and the pages generated from them.

``python -m gpuspark.bench.history DIR`` commits the records of a run in ``DIR`` to ``bench/history`` and regenerates
``docs/performance.md`` and the README's table. ``make measure`` does so with a run of the core suite; ``make sweep``,
with ``--larger``, with the cases that only the full suite has.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuspark.bench.cases import EXPRESSION, FLOOR, every_case
from gpuspark.bench.command import LIMITS, RECORDS
from gpuspark.bench.device_model import computing_share
from gpuspark.bench.markdown import markdown
from gpuspark.bench.markdown import table as markdown_table
from gpuspark.bench.results import OURS, CaseResult, load

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "bench" / "history"
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
LARGER = HISTORY / "larger.jsonl"
_SECTION = re.compile(r"(<!-- core -->\n).*?(<!-- /core -->)", re.DOTALL)

_INTRODUCTION = """# Performance of every case

`make measure` generated this page: it runs `gpuspark bench --suite core`, and then `python -m gpuspark.bench.history`
on the records, which are committed as `bench/history/records.jsonl`. [The benchmark](benchmark.md) explains each
figure. The seconds of a path that was measured on fewer elements are scaled up, and with them Spark's fixed cost per
job: such a path looks somewhat slower than it is.

**No GPU has run any of this.** All of it is the CPU path.

"""
_SUMMARY_HEAD = (
    "case", "gpuspark, seconds", "as an expression", "transport alone", "computing", "against", "times as long",
)  # fmt: skip


def page(cases: Sequence[CaseResult], larger: Sequence[CaseResult]) -> str:
    """Returns ``docs/performance.md``."""
    core_names, larger_names = ([case.name for case in results] for results in (cases, larger))
    paragraphs = []
    if missing := set(every_case()) - {*core_names, *larger_names}:
        paragraphs.append(f"Not measured: {', '.join(sorted(missing))}.")
    if larger:
        machine = larger[0].facts["machine"]
        paragraphs.append(
            f"Not in the core suite, but measured by `make sweep` (`bench/history/larger.jsonl`) on {machine['cores']} "
            f"cores ({machine['processor']}), load {machine['load'][0]:.1f} at the start: {', '.join(larger_names)}."
        )
    return _INTRODUCTION + "".join(f"{text}\n\n" for text in paragraphs) + markdown([*cases, *larger])


def records() -> tuple[list[CaseResult], list[CaseResult]]:
    """Returns the committed results: those of the core suite, and those of larger cases."""
    return load(HISTORY / RECORDS), load(LARGER) if LARGER.exists() else []


def summary(cases: Sequence[CaseResult]) -> str:
    """Returns the README's table: the times of gpuspark's compiled program, its Spark expression and the transport
    alone, the share of computing, which is all that a faster device could save, and the rivals of each case."""
    return markdown_table(_SUMMARY_HEAD, [_summary_row(case) for case in cases if OURS in case.paths])


def _summary_row(case: CaseResult) -> tuple[str, ...]:
    rivals = [name for name in case.paths if not name.startswith((OURS, FLOOR))]
    ratios = [str(case.compare(name, OURS).ratio) for name in rivals]
    share = computing_share(case)
    computing = "-" if share is None else f"{min(share, 1):.0%}"
    title = f"{case.name}, {case.facts['elements']:,} {case.facts['unit']}"
    seconds, floor_seconds = str(case.paths[OURS].time), str(case.paths[FLOOR].time)
    expression = str(case.paths[EXPRESSION].time) if EXPRESSION in case.paths else "-"
    return title, seconds, expression, floor_seconds, computing, "<br>".join(rivals), "<br>".join(ratios)


def readme(text: str, cases: Sequence[CaseResult], limits: Mapping[str, Any]) -> str:
    """Returns the README's text with a new table of cases and the machine's limits."""
    machine = (
        f"This machine's limits, all cores: {limits['bandwidth'] / 1e9:.1f} GB/s of memory, "
        f"{limits['operations'] / 1e9:.1f} billion operations a second."
    )
    return _SECTION.sub(lambda section: f"{section[1]}{summary(cases)}\n\n{machine}\n{section[2]}", text)


def main(
    folder: Annotated[Path, typer.Argument(help="the folder of records that `gpuspark bench` wrote")],
    larger: Annotated[bool, typer.Option(help="the records are of cases beyond the core suite")] = False,
) -> None:
    """Copies the records of ``folder`` to ``bench/history`` and regenerates the pages."""
    HISTORY.mkdir(exist_ok=True)
    if larger:
        shutil.copy(folder / RECORDS, LARGER)
    else:
        for name in (RECORDS, LIMITS):
            shutil.copy(folder / name, HISTORY / name)
    cases, larger_cases = records()
    PAGE.write_text(page(cases, larger_cases))
    README.write_text(readme(README.read_text(), cases, json.loads((HISTORY / LIMITS).read_text())))


if __name__ == "__main__":
    typer.run(main)
