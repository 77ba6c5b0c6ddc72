"""The report of a run: tables as Markdown, and one HTML page with plots that needs no network."""

from __future__ import annotations

import html
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.results import OURS, CaseResult, PathResult
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD = ("path", "seconds", "elements/s", "times gpuspark's", "device", "beside our phases", "a worker's memory")
"""What the columns of a case's table are."""
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
        memory = path.record.get("python_memory") or 0
        held = f"{memory / 2**20:,.0f} MiB" if memory else "-"
        found.append((name, f"{path.time}{capped}", f"{path.rate:,.0f}", _ratio(case, name), path.device, beside, held))
    return found


def _ratio(case: CaseResult, name: str) -> str:
    if OURS not in case.paths or name == OURS:
        return "1" if name == OURS else "-"
    found = case.against(name, OURS)
    return f"{found.ratio}" + (" (undecided)" if found.verdict == "undecided" else "")


def notes(case: CaseResult, gpu: Mapping[str, float] | None = None) -> list[str]:
    """What stands below the table. ``gpu``: a device's floors, if there was one."""
    facts = case.facts
    told = [f"{facts['elements']:,} {facts['unit']}, {len(case.paths[FLOOR].seconds)} rounds: {case.verdict()}."]
    told += [f"{aim}." for aim in case.aims()]
    told += bound(case) + break_even(case, gpu)
    told += [facts["note"]] if facts["note"] else []
    fell = {reason for path in case.paths.values() for reason in path.record.get("reasons", ())}
    return told + [f"Fallback: {reason}" for reason in sorted(fell)]


def bound(case: CaseResult) -> list[str]:
    """What no device could beat, of measured terms: the case without its computation. A model, not a measurement."""
    share = computing_share(case)
    if share is None:
        return []
    if share >= 1:
        return ["Computing is all of gpuspark's time: how much a GPU could win, only a GPU can say."]
    most = 1 / (1 - share)
    return [f"Computing is {share:.0%} of gpuspark's time: no device could make it more than {most:.2g} times as fast."]


def computing_share(case: CaseResult) -> float | None:
    """Of gpuspark's time, with all cores busy; ``None`` where the ledger says nothing of it."""
    each = computing(case)
    if each is None:
        return None
    ours, cores = case.paths[OURS], int(case.facts["machine"]["cores"])
    return each * ours.elements / cores / ours.time.median


def computing(case: CaseResult) -> float | None:
    """Seconds of one core that our programs compute for an element; ``None`` where the ledger says nothing of it."""
    ours = case.paths.get(OURS)
    run = (ours.record.get("phases") or {}).get("run") if ours else None
    return run / ours.given if ours and run else None


def break_even(case: CaseResult, gpu: Mapping[str, float] | None) -> list[str]:
    """How fast a device must be fed, and how large batches must be, before it pays, if computing took it no time at
    all. Of measured terms: our own computing, and the device's floors where there was one."""
    each, facts = computing(case), case.facts
    if each is None or not facts["bytes_in"]:
        return []
    if gpu is None:
        needed = (facts["bytes_in"] + facts["bytes_out"]) / each * facts["machine"]["cores"]
        told = (
            f"A device would pay where {needed / 1e9:.2g} GB/s and more reach its memory and leave it, and where a "
            f"batch has {max(1e-5 / each, 1):,.0f} elements and more for each 10 microseconds that a call of it takes "
            "(a model: no device was measured)."
        )
        return [told]
    moving = facts["bytes_in"] / gpu["copy_in"] + facts["bytes_out"] / gpu["copy_out"]
    if moving >= each:
        return ["The device cannot pay here: moving an element to it and back takes longer than one core computes it."]
    return [f"The device pays from batches of {max(gpu['call'] / (each - moving), 1):,.0f} elements on (a model)."]


def markdown(cases: Sequence[CaseResult], gpu: Mapping[str, float] | None = None) -> str:
    """One section for each case."""
    parts = [about(cases)]
    for case in cases:
        lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows(case)]
        parts.append(f"### {case.name}\n\n" + "\n".join(lines) + "\n\n" + "\n".join(f"- {n}" for n in notes(case, gpu)))
    for axis, points in sweeps(cases).items():
        parts.append(f"### Over {axis}\n\n{_AXIS}\n\n" + "\n".join(_sweep_table(axis, points)))
    return "\n\n".join(parts) + "\n"


_AXIS = "Nanoseconds for an element (times gpuspark's), and the most memory that a worker held on any path."


def _sweep_table(axis: str, points: Sequence[tuple[float, CaseResult]]) -> list[str]:
    """As Markdown: what an element takes on every path, at every place of the sweep."""
    names = [name for name in points[0][1].paths if name != FLOOR_AGAIN]
    lines = [f"| {' | '.join((axis, *names, 'memory'))} |", f"|{'---|' * (len(names) + 2)}"]
    for place, case in points:
        kept = [case.paths[name] for name in names]
        memory = max(path.record.get("python_memory") or 0 for path in kept)
        cells = [f"{short(_nanoseconds(path.time.median, path))}{_times(case, path.name)}" for path in kept]
        lines.append(f"| {' | '.join((f'{place:,.0f}', *cells, f'{memory / 2**20:,.0f} MiB'))} |")
    return lines


def _times(case: CaseResult, name: str) -> str:
    return "" if OURS not in case.paths or name == OURS else f" ({short(case.against(name, OURS).ratio.median)})"


def _nanoseconds(seconds: float, path: PathResult) -> float:
    """For one element."""
    return seconds / path.elements * 1e9


def about(cases: Sequence[CaseResult]) -> str:
    """What the figures mean, and where they were taken."""
    machine = cases[0].facts["machine"]
    return (
        f"Taken on {machine['cores']} cores ({machine['processor']}), load {machine['load'][0]:.1f} at the beginning, "
        f"Python {machine['python']}, PySpark {machine['pyspark']}, pyarrow {machine['pyarrow']}. Medians of rounds in "
        "which the paths run in turn, with the 99 % bootstrap interval; every path uses all cores. `transport` is what "
        "Spark itself takes to move the columns to Python and back. `beside our phases` is the share of the tasks' "
        "time that gpuspark has no part in. `a worker's memory` is the most that one Python worker held resident up to "
        "then: workers live through the paths of a case."
    )


def sweeps(cases: Sequence[CaseResult]) -> dict[str, list[tuple[float, CaseResult]]]:
    """The cases that are points of sweeps: for each axis those at two places and more, in order."""
    found: dict[str, list[tuple[float, CaseResult]]] = defaultdict(list)
    for case in cases:
        if case.facts.get("along"):
            axis, place = case.facts["along"]
            found[axis].append((place, case))
    return {axis: sorted(points, key=lambda point: point[0]) for axis, points in found.items() if len(points) > 1}


def page(cases: Sequence[CaseResult], floors: dict[str, Any] | None) -> str:
    """The report as one HTML page."""
    sections = [
        f"<h1>gpuspark benchmark</h1><p>{html.escape(about(cases))}</p>",
        _figure(lambda axes: _draw_rates(axes, cases), len(cases) * 0.9 + 1.5),
    ]
    if floors:
        roofs = f"{floors['bandwidth'] / 1e9:.1f} GB/s and {floors['operations'] / 1e9:.1f} billion operations a second"
        sections.append(f"<h2>Limits of this machine</h2><p>{floors['cores']} cores: {roofs}.</p>")
        sections.append(_figure(lambda axes: _draw_roofline(axes, cases, floors), max(5.0, 0.2 * len(cases))))
    for axis, points in sweeps(cases).items():
        sections.append(f"<h2>Over {html.escape(axis)}</h2>")
        sections.append(_figure(lambda axes, axis=axis, points=points: _draw_sweep(axes, axis, points), 4.0))
    for case in cases:
        head = "".join(f"<th>{html.escape(word)}</th>" for word in HEAD)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows(case))
        told = "".join(f"<li>{html.escape(note)}</li>" for note in notes(case, (floors or {}).get("gpu")))
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
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context({"svg.hashsalt": "gpuspark", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(10, height), layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12))
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
    axes.set_xlabel("times as long as gpuspark\n(green: slower, red: faster, black: undecided, grey: transport)")
    axes.grid(axis="x", alpha=0.3)


def _draw_roofline(axes: Axes, cases: Sequence[CaseResult], floors: dict[str, Any]) -> None:
    """Operations a second over operations a byte, of our programs' own run time, under the machine's two roofs."""
    import numpy as np

    across = np.logspace(-2, 4, 100)
    axes.plot(across, np.minimum(across * floors["bandwidth"], floors["operations"]), color="#222222")
    styles = [(f"C{color}", marker) for marker in "os^vD*" for color in range(10)]
    points = [(case.name, point) for case in cases if (point := intensity(case)) is not None]
    for (name, point), (color, marker) in zip(points, styles, strict=False):
        axes.plot([point[0]], [point[1]], color=color, marker=marker, linestyle="none", label=name)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("operations a second")
    axes.grid(alpha=0.3)


def _draw_sweep(axes: Axes, axis: str, points: Sequence[tuple[float, CaseResult]]) -> None:
    """What an element takes on every path, at every place of the sweep."""
    for name in points[0][1].paths:
        if name == FLOOR_AGAIN:
            continue
        places = [place for place, case in points if name in case.paths]
        drawn = [case.paths[name] for _, case in points if name in case.paths]
        each, low, high = (
            [_nanoseconds(getattr(path.time, end), path) for path in drawn] for end in ("median", "low", "high")
        )
        beside = [[m - a for m, a in zip(each, low, strict=True)], [b - m for m, b in zip(each, high, strict=True)]]
        axes.errorbar(places, each, beside, label=name, marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel("nanoseconds for an element")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)


def intensity(case: CaseResult) -> tuple[float, float] | None:
    """Operations a byte, and a second of the phase ``run`` on all cores; ``None`` where the case declares none."""
    each, facts = computing(case), case.facts
    moved = facts["bytes_in"] + facts["bytes_out"]
    if each is None or not moved or not facts["operations"]:
        return None
    return facts["operations"] / moved, facts["operations"] / each * facts["machine"]["cores"]


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
