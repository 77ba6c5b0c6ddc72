"""The functions of the corpus: their list, which of them are scalar, and how each is called."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.proof.corpus.values import rows

OUTSIDE_MODULES = ("fluids.numba", "fluids.numba_vectorized", "fluids.units", "fluids.design_climate")
"""The modules left out: three need other packages and repeat the same functions, the last one downloads data."""
SECONDS = 0.2
"""The seconds that Python may take for one row."""
CONTAINER = re.compile("not iterable|has no len|not subscriptable|does not support item assignment")
"""Python's error messages for a number where a list was expected."""
MANY = 3
"""Functions that take too long for more rows than this are left out."""


@dataclass(frozen=True)
class Member:
    """One scalar function of the corpus, and its parameters that have columns."""

    function: Callable[..., Any]
    columns: tuple[str, ...]
    result: str
    """Its result type, from what it returned."""

    @property
    def name(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"


class TooSlow(BaseException):
    """Raised if Python takes too long for a row. Bodies cannot catch it as an ``Exception``."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Context manager that raises :class:`TooSlow` after ``seconds`` of processor time in the block."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)  # repeated, in case a destructor swallowed it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@cache
def public_functions() -> tuple[types.FunctionType, ...]:
    """Returns every public plain function of the package once, in the order of modules and lines."""
    for name in ("scipy.interpolate", "scipy.integrate", "scipy.optimize", "scipy.special"):
        importlib.import_module(name)  # bodies import them when they first run
    package = importlib.import_module("fluids")
    functions: dict[int, types.FunctionType] = {}
    for module_info in pkgutil.walk_packages(package.__path__, "fluids."):
        if module_info.name in OUTSIDE_MODULES:
            continue
        module = importlib.import_module(module_info.name)
        own = [f for f in vars(module).values() if isinstance(f, types.FunctionType)]
        for function in own:
            if function.__module__ == module.__name__ and not function.__name__.startswith("_"):
                functions[id(function)] = function
    return tuple(functions.values())


def member(function: types.FunctionType) -> Member | str:
    """Returns the function with the parameters that have columns, or the reason why it is left out, as a string."""
    reason = "no parameters that are numbers"
    for columns in choices(function):
        result = _result(function, columns)
        if result in ("double", "bigint", "boolean"):
            return Member(function, columns, result)
        reason = result
    return reason


def choices(function: types.FunctionType) -> list[tuple[str, ...]]:
    """Returns the choices of parameters that have columns: those without defaults, and all that may be numbers."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return []
    required = tuple(p.name for p in parameters if p.default is p.empty)
    numbers = tuple(p.name for p in parameters if p.default is p.empty or _may_be_number(p.default))
    return [columns for columns in dict.fromkeys((required, numbers)) if columns]


def _may_be_number(default: Any) -> bool:
    return default is None or (isinstance(default, int | float) and not isinstance(default, bool))


def _result(function: types.FunctionType, columns: tuple[str, ...]) -> str:
    """Returns the type of what Python returns for numbers, or why there is none."""
    returned: list[Any] = []
    errors: list[BaseException] = []
    slow = 0
    for row in rows(("double",) * len(columns), 40, function.__qualname__):
        try:
            with limited():
                returned.append(function(**dict(zip(columns, row, strict=True))))
        except TooSlow:
            slow += 1
        except Exception as error:  # noqa: BLE001  (the error is the answer)
            errors.append(error)
    # Roots of negative numbers are complex: no column holds those, so they count as errors below.
    if any(isinstance(e, TypeError) and CONTAINER.search(str(e)) for e in errors):
        return "takes lists on some path"
    values = [value for value in returned if value is not None and not isinstance(value, complex)]
    other = next((v for v in values if not isinstance(v, bool | int | float)), None)
    if other is not None:
        return f"returns {type(other).__name__}"
    if slow > MANY:
        return "takes too long for a test"
    if not values:
        wrong = next((e for e in errors if isinstance(e, TypeError | AttributeError | IndexError | KeyError)), None)
        if wrong is not None or not errors:
            return "takes other things than numbers" if wrong else "returns nothing"
        return "raises for all numbers tried"
    result_types = {type(v) for v in values}
    if result_types == {bool}:
        return "boolean"
    return "bigint" if result_types == {int} else "double"
