"""``gpuspark replay CAPSULE``: runs the batch of a capsule again on any device, without Spark, and finds the few rows
that still fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from gpuspark.accounting.work import Work
from gpuspark.columns.types import of_arrow
from gpuspark.columns.values import same, to_python
from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import CapsuleError, FallbackError, GpusparkError
from gpuspark.execution.capsule import Capsule, function_of, placed, versions
from gpuspark.execution.runner import Runner
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import tolerance

FEW = 10
"""The most rows that are shown."""
MOST_RUNS = 400
"""The most runs for shrinking the rows."""
DEVICES: tuple[DeviceName, ...] = ("cpu", "emulated", "cuda", "python")

Trouble = Literal["", "mismatch", "fault", "error"]


@dataclass(frozen=True)
class Answer:
    """The results of a function for a batch, or the error that it raised."""

    values: list[Any] = field(default_factory=list)
    error: str = ""
    fault: bool = False
    """Whether the error is the device's, not the body's."""


@dataclass(frozen=True)
class Row:
    """One row: its arguments, and its results when it is computed alone."""

    number: int
    """The row's number in the task."""
    arguments: dict[str, str]
    device: str
    """The result, or the error, on the device."""
    python: str
    """The result, or the error, in Python."""


@dataclass(frozen=True)
class Outcome:
    """The outcome on one device: what failed there, if anything, and the rows that still show it."""

    device: DeviceName
    unusable: str = ""
    """Why the device cannot run this function here."""
    trouble: Trouble = ""
    told: str = ""
    """The first difference, or the error."""
    rows: tuple[Row, ...] = ()
    """The first of the rows that still show it."""
    places: tuple[int, ...] = ()
    """The indices in the capsule of all rows that still show it."""

    def __str__(self) -> str:
        if self.unusable:
            return f"{self.device}: cannot run the function here: {self.unusable}"
        if not self.trouble:
            return f"{self.device}: nothing wrong"
        count = len(self.places)
        heading = "1 row still shows it:" if count == 1 else f"{count} rows still show it; each row computed alone:"
        lines = [f"{self.device}: {self.trouble}: {self.told}", f"  {heading}"]
        for row in self.rows:
            arguments = ", ".join(f"{name}={value}" for name, value in row.arguments.items())
            lines.append(f"  row {row.number}: {arguments} -> {row.device}, in Python {row.python}")
        if count > len(self.rows):
            lines.append(f"  and {count - len(self.rows)} more rows, which are needed to show it")
        return "\n".join(lines)


def describe(capsule: Capsule) -> str:
    """Returns a description of the capsule for a user who is asked whether to run it. Runs nothing from it; control
    characters are shown as escapes."""
    manifest = capsule.manifest
    columns = [
        f"{_line(name)}: {_line(arrow)} ({nulls} nulls)"
        for name, arrow, nulls in zip(manifest.columns, manifest.types, manifest.nulls, strict=True)
    ]
    defaults, config = _settings(Config()), _settings(manifest.config)
    flags = [setting for setting in config if setting not in defaults]
    first = f", the first of them row {manifest.rows[0]} of its task" if manifest.rows else ""
    lines = [
        f"function   {_line(manifest.function)}({', '.join(columns)}) -> {_line(manifest.result)}",
        f"nulls      {_line(manifest.null_rule)}",
        f"batch      {len(manifest.rows):,} rows{first}",
        f"failed     on {_line(manifest.device)}, {_line(manifest.kind)}:",
        *_quoted(manifest.error),
        f"flags      {_line(' '.join(flags)) or 'the defaults'}",
        "source" if manifest.source else "source     not found; this is what is compiled",
        *_quoted(manifest.source or manifest.portable),
        f"versions   {_line(', '.join(f'{name} {version}' for name, version in manifest.versions.items()))}",
    ]
    return "\n".join([*lines, *(f"warning    {_line(warning)}" for warning in warnings(capsule))])


def _settings(config: Config) -> list[str]:
    """Returns ``key=value`` for each setting that matters in a replay."""
    return [f"{f.name}={getattr(config, f.name)}" for f in fields(Config) if f.name not in ("ledger", "enabled")]


def _line(text: str) -> str:
    """Returns ``text`` with escapes in place of characters that are not printable."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _quoted(text: str) -> list[str]:
    return [f"  | {_line(line)}" for line in text.expandtabs().split("\n")]


def warnings(capsule: Capsule) -> list[str]:
    """Returns the differences in versions and time zone between the task and this process."""
    there, here = capsule.manifest.versions, versions()
    differences = [
        f"{name} was {there.get(name, 'not installed')} and is {here.get(name, 'not installed')} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if capsule.manifest.time_zone != (zone := "/".join(time.tzname)):
        differences.append(f"the time zone was {capsule.manifest.time_zone} and is {zone} here")
    return differences


def replay(capsule: Capsule, devices: Sequence[DeviceName] = DEVICES) -> list[Outcome]:
    """Returns the outcomes of the capsule's function on each of ``devices``. **This runs code from the capsule.**

    ``python`` compares plain Python with itself, which shows bodies that are not pure. Results with
    ``arithmetic=native`` are not compared with Python's, from which they differ by design.

    Raises :class:`~gpuspark.errors.CapsuleError` if the function cannot be loaded here.
    """
    function = function_of(capsule)
    return [_Replay(capsule, function, device).outcome() for device in devices]


class _Replay:
    """One capsule on one device."""

    def __init__(self, capsule: Capsule, function: ScalarFunction, device: DeviceName) -> None:
        self.capsule, self.function, self.device = capsule, function, device
        self.config = replace(capsule.manifest.config, enabled=True, fallback="raise")
        self.types = [of_arrow(column.type) for column in capsule.batch.columns]
        self.ulp = tolerance(function)

    def outcome(self) -> Outcome:
        """Returns what failed on the device, with the rows shrunk to those that still show it."""
        try:
            self._runner(self.device)
        except FallbackError as refused:
            reasons = [line.strip() for line in str(refused).splitlines() if line.startswith("  not on ")]
            return Outcome(self.device, unusable="; ".join(reasons))
        every = range(self.capsule.batch.num_rows)
        trouble, told, suspects = self.compare(every)
        if not trouble:
            return Outcome(self.device)
        places = shrink(every, lambda some: self.compare(some)[0] == trouble, first=suspects[:FEW])
        rows = [self._row(place) for place in places[:FEW]]
        return Outcome(self.device, "", trouble, told, tuple(rows), tuple(places))

    def compare(self, places: Sequence[int]) -> tuple[Trouble, str, list[int]]:
        """Computes the rows at the indices ``places`` on the device and in Python. Returns what is wrong, the message,
        and the indices of the rows that differ."""
        ours = self.answer(self.device, places)
        native = self.config.arithmetic == "native" and self.device != "python"
        theirs = ours if native else self.answer("python", places)
        if ours.fault:
            return "fault", ours.error, []
        if ours.error or theirs.error:
            if ours.error != theirs.error:
                return "mismatch", f"{ours.error or 'no error'}; in Python {theirs.error or 'no error'}", []
            return ("error", ours.error, []) if self.capsule.manifest.kind == "error" else ("", "", [])
        pairs = enumerate(zip(ours.values, theirs.values, strict=True))
        differ = [(n, a, b) for n, (a, b) in pairs if not same(a, b, self.ulp)]
        if not differ:
            return "", "", []
        n, a, b = differ[0]
        number = self.capsule.manifest.rows[places[n]]
        told = f"{len(differ)} of {len(places)} rows differ, the first is row {number}: {a!r}, in Python {b!r}"
        return "mismatch", told, [places[n] for n, _, _ in differ]

    def answer(self, device: DeviceName, places: Sequence[int]) -> Answer:
        """Returns what the function answers on ``device`` for the rows at the indices ``places``."""
        part = self.capsule if len(places) == self.capsule.batch.num_rows else self.capsule.take(places)
        try:
            return Answer(to_python(self._runner(device).run(placed(part), Work())))
        except GpusparkError as error:  # a value that does not fit the declared type is the body's answer
            return Answer(error=f"{type(error).__name__}: {error}", fault=not isinstance(error, ValueError))
        except Exception as error:  # noqa: BLE001  # whatever the body raises is its answer for these rows
            return Answer(error=f"{type(error).__name__}: {error}")

    def _runner(self, device: DeviceName) -> Runner:
        return Runner(self.function, self.types, replace(self.config, device=device))

    def _row(self, place: int) -> Row:
        arguments = {
            name: repr(to_python(column.slice(place, 1))[0])
            for name, column in zip(self.capsule.batch.schema.names, self.capsule.batch.columns, strict=True)
        }
        answers = (self.answer(self.device, [place]), self.answer("python", [place]))
        results = [answer.error or repr(answer.values[0]) for answer in answers]
        return Row(self.capsule.manifest.rows[place], arguments, *results)


def shrink(places: Sequence[int], shows: Callable[[Sequence[int]], bool], *, first: Sequence[int] = ()) -> list[int]:
    """Returns as few of ``places`` as possible for which ``shows`` is still true, as it is for all of them.

    Uses Zeller's delta debugging, until no single one can be left out, or ``shows`` was called :data:`MOST_RUNS` times.
    ``first`` is a guess: it is returned if it is smaller and ``shows`` is true for it.

    >>> shrink(range(1000), lambda some: 17 in some and 450 in some)
    [17, 450]
    """
    if first and len(first) < len(places) and shows(first):
        return list(first)
    kept, parts, runs = list(places), 2, 0
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[n : n + size] for n in range(0, len(kept), size)]
        rests = [kept[:n] + kept[n + size :] for n in range(0, len(kept), size)] if len(pieces) > 2 else []
        for candidate in [*pieces, *rests]:
            if runs == MOST_RUNS:
                return kept
            runs += 1
            if shows(candidate):
                parts = 2 if len(candidate) <= size else max(parts - 1, 2)
                kept = candidate
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept


def report(capsule: Capsule, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Returns the manifest, warnings and outcomes as JSON types."""
    return {
        "manifest": asdict(capsule.manifest),
        "warnings": warnings(capsule),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def devices_named(word: str) -> tuple[DeviceName, ...]:
    """Returns the devices that ``--device`` names. Raises :class:`~gpuspark.errors.CapsuleError` for other words."""
    devices = tuple(device for device in DEVICES if word in (device, "all"))
    if not devices:
        raise CapsuleError(f"--device {word}: choose one of {', '.join(DEVICES)}, all.")
    return devices
