"""``gpuspark replay CAPSULE``: runs the batch of a capsule again on any device, without Spark, and finds the few
rows that still show what went wrong."""

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
"""Rows that a person can look at."""
MOST_RUNS = 400
"""Runs after which shrinking is left as it is."""
DEVICES: tuple[DeviceName, ...] = ("cpu", "emulated", "cuda", "python")

Trouble = Literal["", "mismatch", "fault", "error"]


@dataclass(frozen=True)
class Answer:
    """What a function did with a batch: its results, or the error that ended it."""

    values: list[Any] = field(default_factory=list)
    error: str = ""
    fault: bool = False
    """The error is the device's, not the body's."""


@dataclass(frozen=True)
class Row:
    """One row, its number in the task, and what came of it; an error stands in place of a result."""

    number: int
    arguments: dict[str, str]
    device: str
    """What came of the row alone, as ``python`` is."""
    python: str


@dataclass(frozen=True)
class Outcome:
    """One device: what went wrong there, if anything did, and the rows that still show it."""

    device: DeviceName
    unusable: str = ""
    """Why the device cannot run this function here."""
    trouble: Trouble = ""
    told: str = ""
    """The first difference, or the error."""
    rows: tuple[Row, ...] = ()
    places: tuple[int, ...] = ()
    """Where these rows stand in the capsule."""

    def __str__(self) -> str:
        if self.unusable:
            return f"{self.device}: cannot run it here: {self.unusable}"
        if not self.trouble:
            return f"{self.device}: nothing wrong"
        count = len(self.places)
        many = "1 row still shows it:" if count == 1 else f"{count} rows still show it, each alone:"
        lines = [f"{self.device}: {self.trouble}: {self.told}", f"  {many}"]
        for row in self.rows:
            given = ", ".join(f"{name}={value}" for name, value in row.arguments.items())
            lines.append(f"  row {row.number}: {given} -> {row.device}, in Python {row.python}")
        if count > len(self.rows):
            lines.append(f"  and {count - len(self.rows)} more, which could not be left out")
        return "\n".join(lines)


def describe(capsule: Capsule) -> str:
    """What the capsule says of itself, for a person who is asked whether to run it: nothing of it has run. Letters
    that a terminal would obey are shown as escapes."""
    known = capsule.manifest
    columns = [
        f"{_line(name)}: {_line(arrow)} ({nulls} nulls)"
        for name, arrow, nulls in zip(known.columns, known.types, known.nulls, strict=True)
    ]
    usual = Config()
    flags = [f"{f.name}={getattr(known.config, f.name)}" for f in fields(Config) if f.name not in ("ledger", "enabled")]
    first = f", the first of them row {known.rows[0]} of its task" if known.rows else ""
    lines = [
        f"function   {_line(known.function)}({', '.join(columns)}) -> {_line(known.result)}",
        f"nulls      {_line(known.null_rule)}",
        f"batch      {len(known.rows):,} rows{first}",
        f"failed     on {_line(known.device)}, {_line(known.kind)}:",
        *_quoted(known.error),
        f"flags      {_line(' '.join(flag for flag in flags if flag not in _flags_of(usual))) or 'the defaults'}",
        "its text" if known.source else "its text was not to be found; what is compiled of it",
        *_quoted(known.source or known.portable),
        f"versions   {_line(', '.join(f'{name} {found}' for name, found in known.versions.items()))}",
    ]
    return "\n".join([*lines, *(f"warning    {_line(warning)}" for warning in warnings(capsule))])


def _flags_of(config: Config) -> set[str]:
    return {f"{f.name}={getattr(config, f.name)}" for f in fields(Config)}


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _quoted(text: str) -> list[str]:
    return [f"  | {_line(line)}" for line in text.expandtabs().split("\n")]


def warnings(capsule: Capsule) -> list[str]:
    """What is not here as it was in the task."""
    there, here = capsule.manifest.versions, versions()
    found = [
        f"{name} was {there.get(name, 'not installed')} and is {here.get(name, 'not installed')} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if capsule.manifest.time_zone != (zone := "/".join(time.tzname)):
        found.append(f"the time zone was {capsule.manifest.time_zone} and is {zone} here")
    return found


def replay(capsule: Capsule, devices: Sequence[DeviceName] = DEVICES) -> list[Outcome]:
    """Runs the capsule's function on each of ``devices``. **This runs code that is in the capsule.**

    ``python`` compares plain Python with itself: a body that is not pure has two answers there. Results with
    ``arithmetic=native`` are not compared with Python's, which are other ones by design.

    Raises :class:`~gpuspark.errors.CapsuleError` where the function cannot be loaded here.
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
        try:
            self._runner(self.device)
        except FallbackError as refused:
            reasons = [line.strip() for line in str(refused).splitlines() if line.startswith("  not on ")]
            return Outcome(self.device, unusable="; ".join(reasons))
        every = range(self.capsule.batch.num_rows)
        trouble, told, suspects = self.look(every)
        if not trouble:
            return Outcome(self.device)
        places = shrink(every, lambda some: self.look(some)[0] == trouble, first=suspects[:FEW])
        rows = [self._row(place) for place in places[:FEW]]
        return Outcome(self.device, "", trouble, told, tuple(rows), tuple(places))

    def look(self, places: Sequence[int]) -> tuple[Trouble, str, list[int]]:
        """What is wrong with the rows at ``places``, in words, and where each of them differs."""
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
        """What the function gives on ``device`` for the rows at ``places``."""
        some = self.capsule if len(places) == self.capsule.batch.num_rows else self.capsule.take(places)
        try:
            return Answer(to_python(self._runner(device).run(placed(some), Work())))
        except GpusparkError as error:  # a value that does not fit the declared type is an answer
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
        alone = (self.answer(self.device, [place]), self.answer("python", [place]))
        told = [answer.error or repr(answer.values[0]) for answer in alone]
        return Row(self.capsule.manifest.rows[place], arguments, *told)


def shrink(places: Sequence[int], shows: Callable[[Sequence[int]], bool], *, first: Sequence[int] = ()) -> list[int]:
    """As few of ``places`` as can be found for which ``shows`` is true, as it is for all of them: by Zeller's delta
    debugging, until no single one can be left out, or ``shows`` was asked :data:`MOST_RUNS` times. ``first`` is a
    guess: if it shows and is small, it is the answer.

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
    """The manifest, warnings and outcomes, for a machine to read."""
    return {
        "manifest": asdict(capsule.manifest),
        "warnings": warnings(capsule),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def devices_named(word: str) -> tuple[DeviceName, ...]:
    """The devices that ``--device`` stands for. Raises :class:`~gpuspark.errors.CapsuleError` for another word."""
    if word == "all":
        return DEVICES
    found = tuple(device for device in DEVICES if device == word)
    if not found:
        raise CapsuleError(f"--device {word}: choose one of {', '.join(DEVICES)}, all.")
    return found
