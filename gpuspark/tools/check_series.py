"""Which methods and parameters of a series body cuDF lacks: the body is run on a few rows of the strict stand-in
(:mod:`gpuspark.tools.cudf_standin`), and its text is read for the branches that these rows do not take.

The values prove nothing. What a body does on a few rows that are not its own may fail for reasons of its own, and is
then not known.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import inspect
import io
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from gpuspark.columns.cudf_form import type_obstacle
from gpuspark.dialects.series import SeriesUDF
from gpuspark.tools.cudf_standin import CLASSES, Refusal, Unknown, noting, refuses, standin

SECONDS = 1.5
"""A body that has not ended by then, for all types together, is not known."""
_DAYS = [datetime.date(2024, 2, 28) + datetime.timedelta(n) for n in range(8)]
_SAMPLES: dict[str, Callable[[], pd.Series]] = {
    "boolean": lambda: pd.Series([True, False, True, True, False, True, False, False]),
    "tinyint": lambda: pd.Series([0, 1, -2, 3, 3, 100, -7, 5], dtype="int8"),
    "smallint": lambda: pd.Series([0, 1, -2, 3, 3, 100, -7, 5], dtype="int16"),
    "int": lambda: pd.Series([0, 1, -2, 3, 3, 100, -7, 5], dtype="int32"),
    "bigint": lambda: pd.Series([0, 1, -2, 3, 3, 100, -7, 5], dtype="int64"),
    "float": lambda: pd.Series([0.5, None, -2.0, 3.0, 3.0, 100.0, -7.25, 0.0], dtype="float32"),
    "double": lambda: pd.Series([0.5, None, -2.0, 3.0, 3.0, 100.0, -7.25, 0.0], dtype="float64"),
    "string": lambda: pd.Series(["a 1", "B,b", None, "", "12.5", "ab", "a-b", "é"]),
    "timestamp": lambda: pd.Series(pd.to_datetime(_DAYS)).where(lambda s: s.index != 3),
    "timestamp_ntz": lambda: pd.Series(pd.to_datetime(_DAYS)).where(lambda s: s.index != 3),
}  # fmt: skip
"""By type, a column of eight rows as PySpark gives it."""
_FORMLESS = "a column"


class Verdict(NamedTuple):
    runs: bool | None
    """Whether the body asks for nothing that cuDF lacks, for some types at least; ``None`` where that is not known."""
    types: dict[str, bool]
    """For the types where it is known."""
    reasons: list[str]


class _Found(NamedTuple):
    """What one run showed."""

    refusals: list[Refusal]
    unknown: str | None = None
    """Why it does not show everything."""


def look(udf: SeriesUDF, types: Sequence[str], tried: Sequence[str]) -> Verdict:
    """What cuDF lacks for columns of ``types``, or without them for columns of each type of ``tried``."""
    file = getattr(getattr(udf.func, "__code__", None), "co_filename", "")
    read = _read(udf.func)
    verdicts: dict[str, bool] = {}
    ran: dict[str, bool | None] = {}
    reasons: dict[str, list[str]] = {}
    end = 0.0
    for label, names in {", ".join(types): types}.items() if types else ((one, (one,)) for one in tried):
        given, obstacle = _arguments(udf.func, names)
        if obstacle is not None:
            reasons.setdefault(obstacle, []).append(label)
            if obstacle.startswith(_FORMLESS):
                verdicts[label] = False
            continue
        end = end or time.perf_counter() + SECONDS  # from the first run on
        found = _run(udf, given, file, end)
        refusals = list(dict.fromkeys([*found.refusals, *read]))
        ran[label] = False if refusals else None if found.unknown else True
        for text in [_said(one, file) for one in refusals] or ([found.unknown] if found.unknown else []):
            reasons.setdefault(text, []).append(label)
    verdicts |= {label: answer for label, answer in ran.items() if answer is not None}
    said = [text if labels == list(ran) else f"{', '.join(labels)}: {text}" for text, labels in reasons.items()]
    said.sort(key=lambda text: "not known" in text)
    answers = set(ran.values()) or set(verdicts.values())
    return Verdict(True if True in answers else False if False in answers else None, verdicts, said)


def _said(refusal: Refusal, file: str) -> str:
    return f"{refusal.text} ({file.rsplit('/', 1)[-1]}, line {refusal.line})" if refusal.line else refusal.text


class _Kept:
    """Keeps an error that ends its ``with``, so that it ends nothing else."""

    error: BaseException | None = None

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.error = error
        return True


def _run(udf: SeriesUDF, given: Sequence[Any], file: str, end: float) -> _Found:
    """Runs the body once, in a thread that is left alone where it does not end."""
    left = end - time.perf_counter()
    if left <= 0:
        return _Found([], "not known: other types took all the time")
    refusals: list[Refusal] = []
    kept = _Kept()

    def run() -> None:
        with kept, noting(file, refusals):
            result = udf.func(*given)
            if isinstance(result, Iterator):
                list(result)

    thread = threading.Thread(target=run, daemon=True)
    with contextlib.redirect_stdout(io.StringIO()):
        thread.start()
        thread.join(left)
    if thread.is_alive():
        return _Found([], f"not known: it had not ended after {SECONDS:g} seconds")
    if kept.error is None:
        return _Found(refusals)
    own = not isinstance(kept.error, Unknown)
    return _Found(refusals, f"not known: {f'it raised {type(kept.error).__name__}: ' if own else ''}{kept.error}")


def _arguments(body: Callable[..., Any], names: Sequence[str]) -> tuple[list[Any], str | None]:
    """Stand-ins of columns of these types for the body's parameters; or why there are none."""
    parameters = list(inspect.signature(body).parameters.values())
    hints = [str(p.annotation) for p in parameters]
    if any("DataFrame" in hint for hint in hints):
        return [], "not known: a struct column is not tried"
    many = "terator" in (hints[0] if hints else "") or "terable" in (hints[0] if hints else "")
    width = max(hints[0].count("Series"), 1) if many else len(parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(names) > 1:
        width = len(names)
    columns = []
    for name in [*names, *[names[-1]] * width][:width]:
        obstacle = type_obstacle(name)
        if obstacle is not None:
            return [], obstacle
        if name not in _SAMPLES:
            return [], f"not known: columns of {name} are not tried"
        columns.append(standin(_SAMPLES[name]()))
    if not many:
        return columns, None
    tuples = "uple" in hints[0]
    return [iter([tuple(columns) if tuples else columns[0]] * 2)], None


def _read(body: Callable[..., Any]) -> list[Refusal]:
    """What the text asks of its parameters by name (``x.idxmax``, ``x.str.fullmatch``) that pandas has and cuDF
    has not, in every branch. A parameter that the body assigns to is left out: it may be something else by then."""
    try:
        lines, first = inspect.getsourcelines(body)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # no file, or a lambda within a longer line
        return []
    function = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)
    if function is None:
        return []
    series = {a.arg for a in function.args.args if a.annotation is None or "terat" not in ast.unparse(a.annotation)}
    series -= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    accessors = {"str": "StringMethods", "dt": "DatetimeProperties", "cat": "CategoricalAccessor"}
    found = []
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(name), attr=attribute) if name in series:
                kind, pandas = "Series", pd.Series
            case ast.Attribute(value=ast.Attribute(ast.Name(name), accessor), attr=attribute) if (
                name in series and accessor in accessors
            ):
                kind, pandas = accessors[accessor], getattr(pd.Series, accessor)
            case _:
                continue
        if hasattr(pandas, attribute) and attribute not in CLASSES[kind] and refuses(kind, attribute):
            found.append(Refusal(f"cuDF's {kind} has no {attribute}", first + node.lineno - 1))
    return found
