"""The report of a run as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpuspark.bench.results import CaseResult
from gpuspark.bench.tables import HEAD, about, notes, rows, sweep_paths, sweep_rows, sweeps

_SWEEP_CELLS = "Nanoseconds per element (time / gpuspark's), and the peak memory of a worker on any path."


def markdown(cases: Sequence[CaseResult], gpu: Mapping[str, float] | None = None) -> str:
    """Returns the report: a section per case, then one per sweep. ``gpu``: a device's measured limits, if any."""
    sections = [about(cases)]
    for case in cases:
        bullets = "\n".join(f"- {note}" for note in notes(case, gpu))
        sections.append(f"### {case.name}\n\n{table(HEAD, rows(case))}\n\n{bullets}")
    for axis, points in sweeps(cases).items():
        head = (axis, *sweep_paths(points), "memory")
        sections.append(f"### Over {axis}\n\n{_SWEEP_CELLS}\n\n{table(head, sweep_rows(points))}")
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table.

    >>> print(table(["a", "b"], [[1, 2]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *body)]
    lines.insert(1, f"|{'---|' * len(head)}")
    return "\n".join(lines)
