"""The tables of ``docs/spark-settings.md``, made from the records of :mod:`gpuspark.bench.spark_settings`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuspark.bench.markdown import table
from gpuspark.bench.statistics import MIN_ROUNDS, compare, format_number, interval, stands_out

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "history" / "spark_settings.jsonl"
PAGE = ROOT / "docs" / "spark-settings.md"

RUNNING = "running"
"""The group of the settings that a running session takes."""
FROM_THE_START = "from the start"
"""The group of the settings that hold from the start of Spark."""
DEFAULT, AGAIN = "as Spark is", "as Spark is, again"
"""What each setting is compared with, and the control."""

Record = Mapping[str, Any]


def load(file: Path) -> list[Record]:
    """Returns the records of a run."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def written(text: str, records: Sequence[Record]) -> str:
    """Returns the page's text with its sections made anew from ``records``."""
    sections = {
        "measured": measured(records),
        "running": ratios(records, RUNNING),
        "batches": batches(records),
        "start": ratios(records, FROM_THE_START),
    }
    for name, content in sections.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}{begin}{content}\n{end}{after}"
    return text


def measured(records: Sequence[Record]) -> str:
    """Returns what was measured and where, and whether that decides anything."""
    first = records[0]
    machine, loads = first["machine"], first["loads"]
    busy = " Other work kept the machine busy, which widens the intervals." if max(loads) > 2 * machine["cores"] else ""
    few = f" **Fewer than {MIN_ROUNDS} rounds decide nothing.**" if len(first["seconds"]) < MIN_ROUNDS else ""
    return (
        f"Measured over {first['rows']:,} rows in {len(first['seconds'])} rounds on {machine['cores']} cores "
        f"({machine['processor']}), load {machine['load'][0]:.1f} at the start and {min(loads):.1f} to "
        f"{max(loads):.1f} at the start of the rounds; Python {machine['python']}, PySpark {machine['pyspark']}, "
        f"pyarrow {machine['pyarrow']}.{busy}{few}"
    )


def ratios(records: Sequence[Record], group: str) -> str:
    """Returns the table of one group: the seconds with Spark as it is, then each setting's time / that time."""
    by_setting = _by_setting(records, group)
    default, again = by_setting[DEFAULT], by_setting[AGAIN]
    body = [[DEFAULT, *(f"{interval(default[hook])} s" for hook in default)]]
    for setting, seconds in by_setting.items():
        if setting != DEFAULT:
            body.append([_code(setting), *(ratio(seconds[h], default[h], again[h]) for h in default)])
    return table(["setting", *(f"`{hook}`" for hook in default)], body)


def ratio(seconds: Sequence[float], default: Sequence[float], again: Sequence[float]) -> str:
    """Returns the time of a setting / the time with Spark as it is, and the verdict.

    >>> ratio([0.5] * 8, [1.0] * 8, [1.0] * 8), ratio([1.1] * 8, [1.0] * 8, [1.2] * 8)
    ('0.5 [0.5, 0.5] faster', '1.1 [1.1, 1.1] undecided')
    """
    comparison = compare(seconds, default)
    verdict = comparison.verdict if stands_out(comparison, compare(again, default)) else "undecided"
    return f"{comparison.ratio} {verdict}"


def batches(records: Sequence[Record]) -> str:
    """Returns the table of the batches that Spark made of the rows, and the rows of one on average."""
    by_setting: dict[str, list[str]] = {}
    for record in records:
        if record["group"] == RUNNING and record["setting"] != AGAIN:
            mean = format_number(record["rows"] / record["batches"])
            by_setting.setdefault(record["setting"], []).append(f"{record['batches']:,} of {mean}")
    head = ["setting", *(f"`{hook}`" for hook in dict.fromkeys(record["hook"] for record in records))]
    return table(head, [[_code(setting), *cells] for setting, cells in by_setting.items()])


def _by_setting(records: Sequence[Record], group: str) -> dict[str, dict[str, list[float]]]:
    """Returns the seconds by setting and hook."""
    result: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if record["group"] == group:
            result.setdefault(record["setting"], {})[record["hook"]] = record["seconds"]
    return result


def _code(setting: str) -> str:
    return setting if setting in (DEFAULT, AGAIN) else f"`{setting}`"
