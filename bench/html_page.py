"""The report of a run as one HTML page with plots, which loads nothing from a network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gpuspark.bench import plots
from gpuspark.bench.results import CaseResult
from gpuspark.bench.tables import HEAD, about, notes, rows, sweeps

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>gpuspark benchmark</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; width: 100%; margin: 0.5rem 0; }}
th, td {{ border-bottom: 1px solid #ddd; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top; }}
svg {{ max-width: 100%; height: auto; display: block; }}
</style></head><body>
{body}
</body></html>
"""


def page(cases: Sequence[CaseResult], limits: Mapping[str, Any] | None) -> str:
    """Returns the page. ``limits``: those of the machine, and of its GPU if there is one."""
    sections = [
        f"<h1>gpuspark benchmark</h1><p>{html.escape(about(cases))}</p>",
        plots.svg(partial(plots.draw_ratios, cases=cases), height=len(cases) * 0.9 + 1.5),
    ]
    if limits:
        roofs = f"{limits['bandwidth'] / 1e9:.1f} GB/s and {limits['operations'] / 1e9:.1f} billion operations a second"
        sections.append(f"<h2>Limits of this machine</h2><p>{limits['cores']} cores: {roofs}.</p>")
        draw_roofline = partial(plots.draw_roofline, cases=cases, limits=limits)
        sections.append(plots.svg(draw_roofline, height=max(5.0, 0.2 * len(cases))))
    for axis, points in sweeps(cases).items():
        sections.append(f"<h2>Over {html.escape(axis)}</h2>")
        sections.append(plots.svg(partial(plots.draw_sweep, axis=axis, points=points), height=4.0))
    for case in cases:
        sections.append(_case(case, (limits or {}).get("gpu")))
        sections.append(plots.svg(partial(plots.draw_phases, case=case), height=1.2 + 0.35 * len(case.paths)))
    return _PAGE.format(body="\n".join(sections))


def _case(case: CaseResult, gpu: Mapping[str, float] | None) -> str:
    """Returns the heading, the table and the notes of a case."""
    head = _elements("th", HEAD)
    body = "".join(f"<tr>{_elements('td', row)}</tr>" for row in rows(case))
    bullets = _elements("li", notes(case, gpu))
    return f"<h2>{html.escape(case.name)}</h2><table><tr>{head}</tr>{body}</table><ul>{bullets}</ul>"


def _elements(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)
