"""The committed record of the core suite, and the pages that are made of it: ``python -m gpuspark.bench.history DIR``
takes over the records of a run in ``DIR`` (``make measure`` makes one), and writes ``docs/performance.md`` and the
README's table anew."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gpuspark.bench.cases import every_case
from gpuspark.bench.command import LIMITS, RECORDS
from gpuspark.bench.report import markdown
from gpuspark.bench.results import OURS, CaseResult, load

ROOT = Path(__file__).resolve().parents[1]
HISTORY = ROOT / "bench" / "history"
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
_SECTION = re.compile(r"(<!-- core -->\n).*?(<!-- /core -->)", re.DOTALL)

_HEAD = """# Performance of every case

`make measure` made this page: `gpuspark bench --suite core`, and `python -m gpuspark.bench.history` of its records,
which are committed as `bench/history/records.jsonl`. [The benchmark](benchmark.md) says what each figure means. Seconds
of a path that was given fewer elements are multiplied, and with them what Spark takes for any job: such a path looks
somewhat slower than it is.

**No GPU has run any of this.** All of it is the CPU path.

"""


def page(cases: Sequence[CaseResult]) -> str:
    """``docs/performance.md``."""
    measured = {case.name for case in cases}
    others = [name for name in every_case() if name not in measured]
    left = f"Not measured in this run: {', '.join(others)}.\n\n" if others else ""
    return _HEAD + left + markdown(cases)


def summary(cases: Sequence[CaseResult]) -> str:
    """The README's table: each case's closest rival, and what moving the rows alone takes."""
    lines = ["| case | gpuspark, seconds | transport alone | against | times as long |", "|---|---|---|---|---|"]
    for case in cases:
        if OURS in case.paths:
            ours, floor = case.paths[OURS], case.paths["transport"]
            rivals = [name for name in case.paths if not name.startswith((OURS, "transport"))]
            against = [(name, case.against(name, OURS).ratio) for name in rivals]
            words = "<br>".join(name for name, _ in against), "<br>".join(str(ratio) for _, ratio in against)
            row = (f"{case.name}, {case.facts['elements']:,} {case.facts['unit']}", ours.time, floor.time, *words)
            lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def readme(text: str, cases: Sequence[CaseResult]) -> str:
    """The README with its table of cases written anew."""
    return _SECTION.sub(lambda found: f"{found[1]}{summary(cases)}\n{found[2]}", text)


def main(folder: Annotated[Path, typer.Argument(help="where `gpuspark bench` wrote its records")]) -> None:
    """Takes over the records of ``folder``."""
    HISTORY.mkdir(exist_ok=True)
    for name in (RECORDS, LIMITS):
        shutil.copy(folder / name, HISTORY / name)
    cases = load(HISTORY / RECORDS)
    PAGE.write_text(page(cases))
    README.write_text(readme(README.read_text(), cases))


if __name__ == "__main__":
    typer.run(main)
