"""The committed records, and the pages that are made of them: ``python -m gpuspark.bench.history DIR`` takes over the
records of a run of the core suite in ``DIR`` (``make measure`` makes one), or with ``--larger`` of cases that only the
full suite has (``make sweep``), and writes ``docs/performance.md`` and the README's table anew."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuspark.bench.cases import every_case
from gpuspark.bench.command import LIMITS, RECORDS
from gpuspark.bench.report import computing_share, markdown
from gpuspark.bench.results import OURS, CaseResult, load

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "bench" / "history"
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
LARGER = HISTORY / "larger.jsonl"
_SECTION = re.compile(r"(<!-- core -->\n).*?(<!-- /core -->)", re.DOTALL)

_HEAD = """# Performance of every case

`make measure` made this page: `gpuspark bench --suite core`, and `python -m gpuspark.bench.history` of its records,
which are committed as `bench/history/records.jsonl`. [The benchmark](benchmark.md) says what each figure means. Seconds
of a path that was given fewer elements are multiplied, and with them what Spark takes for any job: such a path looks
somewhat slower than it is.

**No GPU has run any of this.** All of it is the CPU path.

"""


def page(cases: Sequence[CaseResult], larger: Sequence[CaseResult]) -> str:
    """``docs/performance.md``."""
    names, more = ([case.name for case in some] for some in (cases, larger))
    told = [f"Not measured: {', '.join(sorted(left))}."] if (left := set(every_case()) - {*names, *more}) else []
    if larger:
        machine = larger[0].facts["machine"]
        told.append(
            f"Not of the core suite, but measured by `make sweep` (`bench/history/larger.jsonl`) on {machine['cores']} "
            f"cores ({machine['processor']}), load {machine['load'][0]:.1f} at its beginning: {', '.join(more)}."
        )
    return _HEAD + "".join(f"{line}\n\n" for line in told) + markdown([*cases, *larger])


def records() -> tuple[list[CaseResult], list[CaseResult]]:
    """The committed ones: of the core suite, and those larger than it."""
    return load(HISTORY / RECORDS), load(LARGER) if LARGER.exists() else []


def summary(cases: Sequence[CaseResult]) -> str:
    """The README's table: each case's rivals, what moving the rows alone takes, and which part of our time is
    computing, all that a faster device could take away."""
    lines = [
        "| case | gpuspark, seconds | transport alone | computing | against | times as long |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        if OURS in case.paths:
            ours, floor = case.paths[OURS], case.paths["transport"]
            rivals = [name for name in case.paths if not name.startswith((OURS, "transport"))]
            against = [(name, case.against(name, OURS).ratio) for name in rivals]
            words = "<br>".join(name for name, _ in against), "<br>".join(str(ratio) for _, ratio in against)
            share = computing_share(case)
            limit = "-" if share is None else f"{min(share, 1):.0%}"
            what = f"{case.name}, {case.facts['elements']:,} {case.facts['unit']}"
            row = (what, ours.time, floor.time, limit, *words)
            lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def readme(text: str, cases: Sequence[CaseResult], limits: Mapping[str, Any]) -> str:
    """The README with its table of cases written anew, and what the machine could do at best."""
    machine = (
        f"This machine's limits, all cores: {limits['bandwidth'] / 1e9:.1f} GB/s of memory, "
        f"{limits['operations'] / 1e9:.1f} billion operations a second."
    )
    return _SECTION.sub(lambda found: f"{found[1]}{summary(cases)}\n\n{machine}\n{found[2]}", text)


def main(
    folder: Annotated[Path, typer.Argument(help="where `gpuspark bench` wrote its records")],
    larger: Annotated[bool, typer.Option(help="they are of cases that the core suite has not")] = False,
) -> None:
    """Takes over the records of ``folder``."""
    HISTORY.mkdir(exist_ok=True)
    if larger:
        shutil.copy(folder / RECORDS, LARGER)
    else:
        for name in (RECORDS, LIMITS):
            shutil.copy(folder / name, HISTORY / name)
    cases, more = records()
    PAGE.write_text(page(cases, more))
    README.write_text(readme(README.read_text(), cases, json.loads((HISTORY / LIMITS).read_text())))


if __name__ == "__main__":
    typer.run(main)
