"""The plots of the HTML page, drawn by matplotlib as SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.device_model import roofline_point
from gpuspark.bench.results import OURS, CaseResult
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import Interval
from gpuspark.bench.tables import Points, nanoseconds, sweep_paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY, _GREEN, _RED, _BLACK = "#999999", "#1b7837", "#b2182b", "#444444"
_PHASE_COLORS = {
    "wait": "#c7c7c7",
    "compile": "#9467bd",
    "copy_in": "#aec7e8",
    "run": "#1f77b4",
    "copy_out": "#98df8a",
}


def svg(draw: Callable[[Axes], None], *, height: float) -> str:
    """Returns what ``draw`` draws on the given axes as an SVG element, ``height`` inches high."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context({"svg.hashsalt": "gpuspark", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(10, height), layout=ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.12))
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    document = buffer.getvalue()
    return document[document.index("<svg") :]


def draw_ratios(axes: Axes, cases: Sequence[CaseResult]) -> None:
    """Draws every path's time relative to gpuspark's on a logarithmic scale: right of 1, gpuspark is faster."""
    labels: list[str] = []
    for case in cases:
        if OURS not in case.paths:
            continue
        for name in case.paths:
            if name in (OURS, FLOOR_AGAIN):
                continue
            ratio, height = case.compare(name, OURS).ratio, len(labels)
            color = _GREY if name == FLOOR else _ratio_color(ratio)
            axes.plot([ratio.low, ratio.high], [height, height], color=color, linewidth=2)
            axes.plot([ratio.median], [height], "o", color=color)
            labels.append(f"{case.name}: {name}")
    axes.axvline(1, color="#222222", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("time / gpuspark's\n(green: slower, red: faster, black: undecided, grey: transport)")
    axes.grid(axis="x", alpha=0.3)


def _ratio_color(ratio: Interval) -> str:
    if ratio.low > 1:
        return _GREEN
    return _RED if ratio.high < 1 else _BLACK


def draw_roofline(axes: Axes, cases: Sequence[CaseResult], limits: Mapping[str, Any]) -> None:
    """Draws operations per second over operations per byte of gpuspark's programs, below the machine's two roofs."""
    import numpy as np

    intensities = np.logspace(-2, 4, 100)
    axes.plot(intensities, np.minimum(intensities * limits["bandwidth"], limits["operations"]), color="#222222")
    styles = [(f"C{color}", marker) for marker in "os^vD*" for color in range(10)]
    points = [(case.name, point) for case in cases if (point := roofline_point(case)) is not None]
    for (name, (x, y)), (color, marker) in zip(points, styles, strict=False):
        axes.plot([x], [y], color=color, marker=marker, linestyle="none", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("operations per second")
    axes.grid(alpha=0.3)
    _legend_beside(axes)


def draw_sweep(axes: Axes, axis: str, points: Points) -> None:
    """Draws the time per element of every path over the positions of a sweep."""
    for name in sweep_paths(points):
        positions = [position for position, case in points if name in case.paths]
        paths = [case.paths[name] for _, case in points if name in case.paths]
        medians = [nanoseconds(path.time.median, path) for path in paths]
        below = [nanoseconds(path.time.median - path.time.low, path) for path in paths]
        above = [nanoseconds(path.time.high - path.time.median, path) for path in paths]
        axes.errorbar(positions, medians, [below, above], label=name, marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel("nanoseconds per element")
    axes.grid(alpha=0.3)
    _legend_beside(axes)


def draw_phases(axes: Axes, case: CaseResult) -> None:
    """Draws how the tasks' time splits into phases, for one run of each path."""
    paths = [path for name, path in case.paths.items() if name != FLOOR_AGAIN and path.record.get("spark")]
    for height, path in enumerate(paths):
        phases = path.record.get("phases") or {}
        left = 0.0
        for phase, color in _PHASE_COLORS.items():
            axes.barh(height, phases.get(phase, 0.0), left=left, color=color, label=None if height else phase)
            left += phases.get(phase, 0.0)
        rest = max(path.record["spark"]["run"] - left, 0.0)
        axes.barh(height, rest, left=left, color="#eeeeee", edgecolor="#bbbbbb", label=None if height else "Spark")
    axes.set_yticks(range(len(paths)), [path.name for path in paths])
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds, summed over the tasks ({case.name})")
    _legend_beside(axes)


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
