"""The tables and notes of a run as text, for the terminal, the Markdown report and the HTML page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from gpuspark.bench.cases import FLOOR
from gpuspark.bench.device_model import break_even, upper_bound
from gpuspark.bench.results import OURS, CaseResult, PathResult
from gpuspark.bench.run import FLOOR_AGAIN
from gpuspark.bench.statistics import format_number

Points = Sequence[tuple[float, CaseResult]]
"""The cases of one sweep, with their positions on its axis, in order."""

HEAD = ("path", "seconds", "elements/s", "time / gpuspark's", "device", "outside gpuspark", "peak worker memory")
"""The columns of a case's table."""


def rows(case: CaseResult) -> list[tuple[str, ...]]:
    """Returns the rows of the case's table, the transport floor first."""
    return [_row(case, path) for name, path in case.paths.items() if name != FLOOR_AGAIN]


def _row(case: CaseResult, path: PathResult) -> tuple[str, ...]:
    scaled = f" (scaled from {path.measured_elements:,})" if path.measured_elements < path.elements else ""
    outside = "-" if path.outside_share is None else f"{path.outside_share:.0%}"
    peak = path.record.get("python_memory") or 0
    memory = _mebibytes(peak) if peak else "-"
    return path.name, f"{path.time}{scaled}", f"{path.rate:,.0f}", _ratio(case, path.name), path.device, outside, memory


def _ratio(case: CaseResult, name: str) -> str:
    if name == OURS:
        return "1"
    if OURS not in case.paths:
        return "-"
    comparison = case.compare(name, OURS)
    return f"{comparison.ratio}" + (" (undecided)" if comparison.verdict == "undecided" else "")


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def notes(case: CaseResult, gpu: Mapping[str, float] | None = None) -> list[str]:
    """Returns the notes below the case's table. ``gpu``: the measured limits of a device, if there is one."""
    facts = case.facts
    rounds = len(case.paths[FLOOR].seconds)
    lines = [f"{facts['elements']:,} {facts['unit']}, {rounds} rounds: {case.verdict()}."]
    lines += [f"{aim}." for aim in case.aims()]
    lines += upper_bound(case) + break_even(case, gpu)
    lines += [facts["note"]] if facts["note"] else []
    fallbacks = {reason for path in case.paths.values() for reason in path.record.get("reasons", ())}
    return lines + [f"Fallback: {reason}" for reason in sorted(fallbacks)]


def about(cases: Sequence[CaseResult]) -> str:
    """Returns a paragraph on the machine and the meaning of the columns."""
    machine = cases[0].facts["machine"]
    gpus = "".join(f", {name}" for name in machine.get("gpus", ()))
    return (
        f"Measured on {machine['cores']} cores ({machine['processor']}{gpus}), load {machine['load'][0]:.1f} at the "
        f"start, Python {machine['python']}, PySpark {machine['pyspark']}, pyarrow {machine['pyarrow']}. Figures are "
        "medians over rounds in which the paths run in turn, with 99 % bootstrap intervals; every path uses all cores. "
        "`transport` is the time that Spark takes to move the columns to Python and back. `outside gpuspark` is the "
        "share of the tasks' time that is spent outside gpuspark's code. `peak worker memory` is the largest resident "
        "memory of one Python worker so far: the paths of a case share their workers."
    )


def sweeps(cases: Sequence[CaseResult]) -> dict[str, Points]:
    """Returns the sweeps by axis: the cases that lie on it, if at least two do, in order."""
    by_axis: dict[str, list[tuple[float, CaseResult]]] = defaultdict(list)
    for case in cases:
        if case.facts.get("along"):
            axis, position = case.facts["along"]
            by_axis[axis].append((position, case))
    return {axis: sorted(points, key=lambda point: point[0]) for axis, points in by_axis.items() if len(points) > 1}


def sweep_rows(points: Points) -> list[tuple[str, ...]]:
    """Returns the rows of a sweep's table: position, nanoseconds per element of every path, and peak memory."""
    names = sweep_paths(points)
    table = []
    for position, case in points:
        paths = [case.paths[name] for name in names]
        peak = max(path.record.get("python_memory") or 0 for path in paths)
        cells = [f"{format_number(nanoseconds(path.time.median, path))}{_times(case, path.name)}" for path in paths]
        table.append((f"{position:,.0f}", *cells, _mebibytes(peak)))
    return table


def sweep_paths(points: Points) -> list[str]:
    """Returns the names of the paths of a sweep."""
    return [name for name in points[0][1].paths if name != FLOOR_AGAIN]


def nanoseconds(seconds: float, path: PathResult) -> float:
    """Returns the nanoseconds per element, where all elements take ``seconds``."""
    return seconds / path.elements * 1e9


def _times(case: CaseResult, name: str) -> str:
    if OURS not in case.paths or name == OURS:
        return ""
    return f" ({format_number(case.compare(name, OURS).ratio.median)})"
