"""What a device could win at most, modelled from measured terms. No figure here is a measurement of a device."""

from __future__ import annotations

from collections.abc import Mapping

from gpuspark.bench.results import OURS, CaseResult


def computing_seconds(case: CaseResult) -> float | None:
    """Returns the seconds for which one core computes one element, or ``None`` if the ledger has no such phase."""
    ours = case.paths.get(OURS)
    run = (ours.record.get("phases") or {}).get("run") if ours else None
    return run / ours.measured_elements if ours and run else None


def computing_share(case: CaseResult) -> float | None:
    """Returns the share of gpuspark's time that is computation, with all cores busy, or ``None`` if unknown."""
    seconds = computing_seconds(case)
    if seconds is None:
        return None
    ours, cores = case.paths[OURS], int(case.facts["machine"]["cores"])
    return seconds * ours.elements / cores / ours.time.median


def upper_bound(case: CaseResult) -> list[str]:
    """Returns a note on the speed-up if computing took no time at all; no note if the computing share is unknown."""
    share = computing_share(case)
    if share is None:
        return []
    if share >= 1:
        return ["Upper bound (model): none. Computing is all of gpuspark's time: only a GPU can show what it wins."]
    bound = f"no device can make it more than {1 / (1 - share):.2g} times as fast."
    return [f"Upper bound (model): computing is {share:.0%} of gpuspark's time, so {bound}"]


def break_even(case: CaseResult, gpu: Mapping[str, float] | None) -> list[str]:
    """Returns a note on the bandwidth and batch size from which a device pays if computing takes it no time.

    The terms are our own computing time and ``gpu``, the measured limits of a device, if there is one.
    """
    seconds, facts = computing_seconds(case), case.facts
    if seconds is None or not facts["bytes_in"]:
        return []
    if gpu is None:
        bandwidth = (facts["bytes_in"] + facts["bytes_out"]) / seconds * facts["machine"]["cores"]
        elements = max(1e-5 / seconds, 1)
        needs = f"needs >= {bandwidth / 1e9:.2g} GB/s each way and >= {_elements(elements)} per 10 us of launch latency"
        return [f"Break-even (model, no device measured): the device {needs}."]
    copying = facts["bytes_in"] / gpu["copy_in"] + facts["bytes_out"] / gpu["copy_out"]
    if copying >= seconds:
        return ["Break-even (model): never. Copying an element both ways takes longer than computing it on one core."]
    return [f"Break-even (model): batches of >= {_elements(max(gpu['call'] / (seconds - copying), 1))}."]


def roofline_point(case: CaseResult) -> tuple[float, float] | None:
    """Returns operations per byte, and operations per second of the phase ``run`` on all cores, or ``None`` if the
    case declares neither."""
    seconds, facts = computing_seconds(case), case.facts
    bytes_moved = facts["bytes_in"] + facts["bytes_out"]
    if seconds is None or not bytes_moved or not facts["operations"]:
        return None
    return facts["operations"] / bytes_moved, facts["operations"] / seconds * facts["machine"]["cores"]


def _elements(count: float) -> str:
    text = f"{count:,.0f}"
    return f"{text} element" if text == "1" else f"{text} elements"
