"""Finds the methods and parameters in a series body that cuDF lacks: runs the body on a few rows of the strict
stand-in (:mod:`gpuspark.tools.cudf_standin`), and reads its source for the branches that these rows do not take. A body
that lacks nothing runs again on checked Series (:mod:`gpuspark.tools.checked_series`), to find what is left to pandas.

This proves nothing about values. A body may also fail on these rows because they are not its own data; the verdict is
then "not known".
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
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pandas as pd

from gpuspark.columns.cudf_form import type_obstacle
from gpuspark.columns.cudf_meaning import pandas_meaning
from gpuspark.columns.cudf_operations import Different
from gpuspark.dialects.series import SeriesUDF
from gpuspark.dialects.series_engine import NOT_STARTED_AGAIN
from gpuspark.tools.checked_series import checked_class
from gpuspark.tools.cudf_standin import CLASSES, Refusal, Unknown, noting, refuses, standin

SECONDS = 1.5
"""The time for running a body with all types together; what has not ended by then is not known."""
_NOT_ENDED = "not known: it had not ended in time"
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
}
"""A column of eight rows per type, as PySpark passes it."""
_NO_CUDF_FORM = "a column"
"""How the obstacle of a type without an equal cuDF form begins."""


class Verdict(NamedTuple):
    """The result of checking a series body."""

    runs: bool | None
    """Whether the body uses nothing that cuDF lacks, for some types at least; ``None`` if that is not known."""
    types: dict[str, bool]
    """The same for each type, where it is known."""
    reasons: list[str]


class _Run(NamedTuple):
    """The result of running the body once."""

    refusals: list[Refusal]
    unknown: str | None = None
    """Why the run does not show everything; ``None`` if it does."""


def check_series(udf: SeriesUDF, types: Sequence[str], tried: Sequence[str]) -> Verdict:
    """Returns what cuDF lacks for columns of ``types``, or, if that is empty, for columns of each type in ``tried``."""
    file = getattr(getattr(udf.func, "__code__", None), "co_filename", "")
    from_source = _refusals_in_source(udf.func)
    verdicts: dict[str, bool] = {}
    ran: dict[str, bool | None] = {}
    labels_of_reason: dict[str, list[str]] = {}
    end = 0.0
    for label, names in {", ".join(types): types}.items() if types else ((name, (name,)) for name in tried):
        arguments, obstacle = _arguments(udf.func, names, lambda name: standin(_SAMPLES[name]()))
        if obstacle is not None:
            labels_of_reason.setdefault(obstacle, []).append(label)
            if obstacle.startswith(_NO_CUDF_FORM):
                verdicts[label] = False
            continue
        end = end or time.perf_counter() + SECONDS  # from the first run on
        run = _run(udf.func, arguments, file, end)
        refusals = list(dict.fromkeys([*run.refusals, *from_source]))
        if not refusals and run.unknown is None and udf.missing == "pandas":
            run = _run_checked(udf.func, names, file, end)
            refusals = run.refusals
        ran[label] = False if refusals else None if run.unknown else True
        for reason in [_located(refusal, file) for refusal in refusals] or ([run.unknown] if run.unknown else []):
            labels_of_reason.setdefault(reason, []).append(label)
    verdicts |= {label: runs for label, runs in ran.items() if runs is not None}
    reasons = [
        reason if labels == list(ran) else f"{', '.join(labels)}: {reason}"
        for reason, labels in labels_of_reason.items()
    ]
    reasons.sort(key=lambda reason: "not known" in reason)
    answers = set(ran.values()) or set(verdicts.values())
    return Verdict(True if True in answers else False if False in answers else None, verdicts, reasons)


def _located(refusal: Refusal, file: str) -> str:
    return f"{refusal.text} ({file.rsplit('/', 1)[-1]}, line {refusal.line})" if refusal.line else refusal.text


class _KeptError:
    """Context manager that keeps an error instead of raising it, ``SystemExit`` included."""

    error: BaseException | None = None

    def __enter__(self) -> _KeptError:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        self.error = error
        return True


def _run(body: Callable[..., Any], arguments: Sequence[Any], file: str, end: float) -> _Run:
    """Runs the body once on stand-ins."""
    if end <= time.perf_counter():
        return _Run([], "not known: other types took all the time")
    refusals: list[Refusal] = []
    ended, error = _ended(body, arguments, noting(file, refusals), end)
    if not ended:
        return _Run([], _NOT_ENDED)
    if error is None:
        return _Run(refusals)
    raised = "" if isinstance(error, Unknown) else f"it raised {type(error).__name__}: "
    return _Run(refusals, f"not known: {raised}{error}")


def _run_checked(body: Callable[..., Any], names: Sequence[str], file: str, end: float) -> _Run:
    """Runs the body once on checked Series, which refuse the first operation that is left to pandas."""
    if _is_over_batches(body):
        return _Run([Refusal(NOT_STARTED_AGAIN, 0)])
    arguments, _ = _arguments(body, names, lambda name: checked_class()(_without_nulls(name)))
    ended, error = _ended(body, arguments, pandas_meaning(checked_class()), end)
    if not ended:
        return _Run([], _NOT_ENDED)
    if not isinstance(error, Different):
        return _Run([])
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return _Run([Refusal(f"left to pandas: {error}", (lines or [0])[-1] or 0)])


def _ended(
    body: Callable[..., Any], arguments: Sequence[Any], context: AbstractContextManager[None], end: float
) -> tuple[bool, BaseException | None]:
    """Calls the body inside ``context``, in a daemon thread that is abandoned if it has not ended by ``end``. Returns
    whether it has ended, and its error."""
    kept = _KeptError()

    def run() -> None:
        with kept, context:
            result = body(*arguments)
            if isinstance(result, Iterator):
                list(result)

    thread = threading.Thread(target=run, daemon=True)
    with contextlib.redirect_stdout(io.StringIO()):
        thread.start()
        thread.join(max(end - time.perf_counter(), 0.0))
    return not thread.is_alive(), kept.error


def _without_nulls(name: str) -> pd.Series[Any]:
    """Returns a column of a type without nulls and letters beyond ASCII, which alone would leave the body to pandas."""
    column = _SAMPLES[name]().ffill()
    return column.replace("é", "e") if name == "string" else column


def _is_over_batches(body: Callable[..., Any]) -> bool:
    """Returns whether the body takes an iterator of batches."""
    hint = next((str(p.annotation) for p in inspect.signature(body).parameters.values()), "")
    return "terator" in hint or "terable" in hint


def _arguments(
    body: Callable[..., Any], names: Sequence[str], column_of: Callable[[str], Any]
) -> tuple[list[Any], str | None]:
    """Returns what ``column_of`` makes of these types for the body's parameters; or an empty list, and why."""
    parameters = list(inspect.signature(body).parameters.values())
    hints = [str(p.annotation) for p in parameters]
    if any("DataFrame" in hint for hint in hints):
        return [], "not known: a struct column is not tried"
    over_batches = _is_over_batches(body)
    width = max(hints[0].count("Series"), 1) if over_batches else len(parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len(names) > 1:
        width = len(names)
    columns = []
    for name in [*names, *[names[-1]] * width][:width]:
        obstacle = type_obstacle(name)
        if obstacle is not None:
            return [], obstacle
        if name not in _SAMPLES:
            return [], f"not known: columns of {name} are not tried"
        columns.append(column_of(name))
    if not over_batches:
        return columns, None
    tuples = "uple" in hints[0]
    return [iter([tuple(columns) if tuples else columns[0]] * 2)], None


def _refusals_in_source(body: Callable[..., Any]) -> list[Refusal]:
    """Returns the attributes of parameters in the source (``x.idxmax``, ``x.str.fullmatch``), in every branch, that
    pandas has and cuDF lacks. Parameters that the body assigns to are ignored: they may hold something else then."""
    try:
        lines, first = inspect.getsourcelines(body)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # no file, or a lambda that is only a part of a line
        return []
    function = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)
    if function is None:
        return []
    series = {a.arg for a in function.args.args if a.annotation is None or "terat" not in ast.unparse(a.annotation)}
    series -= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    accessors = {"str": "StringMethods", "dt": "DatetimeProperties", "cat": "CategoricalAccessor"}
    refusals = []
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(name), attr=attribute) if name in series:
                class_name, pandas = "Series", pd.Series
            case ast.Attribute(value=ast.Attribute(ast.Name(name), accessor), attr=attribute) if (
                name in series and accessor in accessors
            ):
                class_name, pandas = accessors[accessor], getattr(pd.Series, accessor)
            case _:
                continue
        if hasattr(pandas, attribute) and attribute not in CLASSES[class_name] and refuses(class_name, attribute):
            refusals.append(Refusal(f"cuDF's {class_name} has no {attribute}", first + node.lineno - 1))
    return refusals
