"""The report of a run: tables as Markdown, and one HTML page with plots that needs no network."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.results import OURS, CaseResult, PathResult
from gpuspark.bench.run import FLOOR_AGAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = ("path", "seconds", "elements/s", "times gpuspark's", "device", "beside our phases")
_GREY, _GREEN, _RED, _BLACK = "#999999", "#1b7837", "#b2182b", "#444444"
_PHASES = ("wait", "compile", "copy_in", "run", "copy_out")


def rows(case: CaseResult) -> list[tuple[str, ...]]:
    """The case's table, the floor first."""
    found: list[tuple[str, ...]] = []
    for name, path in case.paths.items():
        if name == FLOOR_AGAIN:
            continue
        capped = f" (of {path.given:,}, multiplied)" if path.given < path.elements else ""
        beside = "-" if path.remainder is None else f"{path.remainder:.0%}"
        found.append((name, f"{path.time}{capped}", f"{path.rate:,.0f}", _ratio(case, name), path.device, beside))
    return found


def _ratio(case: CaseResult, name: str) -> str:
    if OURS not in case.paths or name == OURS:
        return "1" if name == OURS else "-"
    found = case.against(name, OURS)
    return f"{found.ratio}" + (" (undecided)" if found.verdict == "undecided" else "")


def notes(case: CaseResult) -> list[str]:
    """What stands below the table."""
    facts = case.facts
    told = [f"{facts['elements']:,} {facts['unit']}, {len(case.paths[FLOOR].seconds)} rounds: {case.verdict()}."]
    told += [f"{aim}." for aim in case.aims()]
    told += bound(case)
    told += [facts["note"]] if facts["note"] else []
    fell = {reason for path in case.paths.values() for reason in path.record.get("reasons", ())}
    return told + [f"Fallback: {reason}" for reason in sorted(fell)]


def bound(case: CaseResult) -> list[str]:
    """What no device could beat, of measured terms: the case without its computation. A model, not a measurement."""
    ours = case.paths.get(OURS)
    run = (ours.record.get("phases") or {}).get("run") if ours else None
    if ours is None or not run:
        return []
    computing = run * ours.elements / ours.given / case.facts["machine"]["cores"]
    if computing >= ours.time.median:
        return ["Computing is all of gpuspark's time: how much a GPU could win, only a GPU can say."]
    most = ours.time.median / (ours.time.median - computing)
    share = computing / ours.time.median
    return [f"Computing is {share:.0%} of gpuspark's time: no device could make it more than {most:.2g} times as fast."]


def markdown(cases: Sequence[CaseResult]) -> str:
    """One section for each case."""
    parts = [about(cases)]
    for case in cases:
        lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows(case)]
        parts.append(f"### {case.name}\n\n" + "\n".join(lines) + "\n\n" + "\n".join(f"- {n}" for n in notes(case)))
    return "\n\n".join(parts) + "\n"


def about(cases: Sequence[CaseResult]) -> str:
    """What the figures mean, and where they were taken."""
    machine = cases[0].facts["machine"]
    return (
        f"Taken on {machine['cores']} cores ({machine['processor']}), load {machine['load'][0]:.1f} at the beginning, "
        f"Python {machine['python']}, PySpark {machine['pyspark']}, pyarrow {machine['pyarrow']}. Medians of rounds in "
        "which the paths run in turn, with the 99 % bootstrap interval; every path uses all cores. `transport` is what "
        "Spark itself takes to move the columns to Python and back. `beside our phases` is the share of the tasks' "
        "time that gpuspark has no part in."
    )


def page(cases: Sequence[CaseResult], floors: dict[str, Any] | None) -> str:
    """The report as one HTML page."""
    sections = [
        f"<h1>gpuspark benchmark</h1><p>{html.escape(about(cases))}</p>",
        _figure(lambda axes: _draw_rates(axes, cases), len(cases) * 0.9 + 1.5),
    ]
    if floors:
        roofs = f"{floors['bandwidth'] / 1e9:.1f} GB/s and {floors['operations'] / 1e9:.1f} billion operations a second"
        sections.append(f"<h2>Limits of this machine</h2><p>{floors['cores']} cores: {roofs}.</p>")
        sections.append(_figure(lambda axes: _draw_roofline(axes, cases, floors), 5.0))
    for case in cases:
        head = "".join(f"<th>{html.escape(word)}</th>" for word in _HEAD)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows(case))
        told = "".join(f"<li>{html.escape(note)}</li>" for note in notes(case))
        sections.append(f"<h2>{html.escape(case.name)}</h2><table><tr>{head}</tr>{body}</table><ul>{told}</ul>")
        sections.append(_figure(lambda axes, case=case: _draw_phases(axes, case), 1.2 + 0.35 * len(case.paths)))
    return _PAGE.format(body="\n".join(sections))


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


def _figure(draw: Any, height: float) -> str:
    """What ``draw`` draws on axes, as SVG to stand in the page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "gpuspark", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(10, height), layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    found = text.getvalue()
    return found[found.index("<svg") :]


def _draw_rates(axes: Axes, cases: Sequence[CaseResult]) -> None:
    """Every path's time against ours, on one logarithmic scale: right of 1, we are faster."""
    labels, place = [], 0
    for case in cases:
        for name in case.paths:
            if OURS not in case.paths or name in (OURS, FLOOR_AGAIN):
                continue
            ratio = case.against(name, OURS).ratio
            color = _GREY if name == FLOOR else _GREEN if ratio.low > 1 else _RED if ratio.high < 1 else _BLACK
            axes.plot([ratio.low, ratio.high], [place, place], color=color, linewidth=2)
            axes.plot([ratio.median], [place], "o", color=color)
            labels.append(f"{case.name}: {name}")
            place += 1
    axes.axvline(1, color="#222222", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(place), labels)
    axes.invert_yaxis()
    axes.set_xlabel("times as long as gpuspark (green: slower, red: faster, black: undecided, grey: transport)")
    axes.grid(axis="x", alpha=0.3)


def _draw_roofline(axes: Axes, cases: Sequence[CaseResult], floors: dict[str, Any]) -> None:
    """Operations a second over operations a byte, of our programs' own run time, under the machine's two roofs."""
    import numpy as np

    across = np.logspace(-2, 4, 100)
    axes.plot(across, np.minimum(across * floors["bandwidth"], floors["operations"]), color="#222222")
    for case in cases:
        point = intensity(case)
        if point is not None:
            axes.plot([point[0]], [point[1]], "o")
            axes.annotate(case.name, point, textcoords="offset points", xytext=(6, 4), fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("operations a second")
    axes.grid(alpha=0.3)


def intensity(case: CaseResult) -> tuple[float, float] | None:
    """Operations a byte, and a second of the phase ``run`` on all cores; ``None`` where the case declares none."""
    ours: PathResult | None = case.paths.get(OURS)
    facts = case.facts
    moved = facts["bytes_in"] + facts["bytes_out"]
    run = (ours.record.get("phases") or {}).get("run") if ours else None
    if ours is None or not run or not moved or not facts["operations"]:
        return None
    cores = facts["machine"]["cores"]
    return facts["operations"] / moved, facts["operations"] * ours.given / run * cores


def _draw_phases(axes: Axes, case: CaseResult) -> None:
    """Where the tasks' time went, of one run of each path."""
    shown = [path for name, path in case.paths.items() if name != FLOOR_AGAIN and path.record.get("spark")]
    for place, path in enumerate(shown):
        phases = path.record.get("phases") or {}
        left = 0.0
        for phase, color in zip(_PHASES, ("#c7c7c7", "#9467bd", "#aec7e8", "#1f77b4", "#98df8a"), strict=True):
            axes.barh(place, phases.get(phase, 0.0), left=left, color=color, label=None if place else phase)
            left += phases.get(phase, 0.0)
        rest = max(path.record["spark"]["run"] - left, 0.0)
        axes.barh(place, rest, left=left, color="#eeeeee", edgecolor="#bbbbbb", label=None if place else "Spark")
    axes.set_yticks(range(len(shown)), [path.name for path in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds of the tasks, added up ({case.name})")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
