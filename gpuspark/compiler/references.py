"""What travels to Spark's workers by reference. A function of an importable module is pickled as its module and name,
and so is a module: the worker imports it, and sees the values that it has there. A program has the driver's.

So what is read by reference while a function is rewritten is read again in the worker: where anything differs, the
function runs there in plain Python, as it does in PySpark.
"""

from __future__ import annotations

import importlib
import operator
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gpuspark.compiler.constants import why_unusable
from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.source import UNBOUND, CannotCompile, Read, value_of
from gpuspark.compiler.vocabulary import plain_function

_LONGEST = 40


@dataclass(frozen=True)
class Reference:
    """Something that a worker reads from a module of its own."""

    module: str
    function: str
    """The function of the module that reads it; empty for an attribute of the module."""
    name: str
    """The name that is read; empty for the code of the function itself."""
    digest: str
    shown: str
    """What it is on the driver, for people to read."""

    def difference(self) -> str | None:
        """What is not as it was on the driver, in words; ``None`` where all is the same."""
        spoken = ".".join(part for part in (self.module, self.name or self.function) if part)
        try:
            value = self._read()
        except (ImportError, AttributeError) as error:
            return f"{spoken} cannot be read in this worker ({error})"
        if _digest(value) == self.digest:
            return None
        if not self.name or plain_function(value) is not None:
            return f"{spoken} is another function on the driver than in this worker"
        return f"{spoken} is {self.shown} on the driver and {_shown(value)} in this worker"

    def _read(self) -> Any:
        module = importlib.import_module(self.module)
        if not self.function:
            return vars(module).get(self.name, UNBOUND)
        function = operator.attrgetter(self.function)(module)
        if not isinstance(function, types.FunctionType):
            return function
        return value_of(function, self.name) if self.name else _own(function)


def references_among(reads: Iterable[Read]) -> tuple[Reference, ...]:
    """Those of ``reads`` that a worker makes for itself, each once."""
    found: dict[Reference, None] = {}
    for read in reads:
        if not by_reference(read.owner):
            continue
        value = read.value if read.name else _own(read.value)
        if isinstance(read.owner, types.ModuleType):
            reference = Reference(read.owner.__name__, "", read.name, _digest(value), _shown(value))
        else:
            function = read.owner
            reference = Reference(function.__module__, function.__qualname__, read.name, _digest(value), _shown(value))
        found[reference] = None
    return tuple(found)


def by_reference(thing: types.FunctionType | types.ModuleType) -> bool:
    """Whether PySpark pickles a function or a module by its name. Where it is not loaded, nothing travels."""
    name = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    if name == "__main__" and isinstance(thing, types.FunctionType):
        return False
    if name not in sys.modules or "pyspark" not in sys.modules:
        return False
    from pyspark.cloudpickle import cloudpickle

    rule: Any = cloudpickle._should_pickle_by_reference  # noqa: SLF001  (it has no public name)
    return bool(rule(thing))


def _own(function: types.FunctionType) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _digest(value: Any) -> str:
    """The digest of a value. A module, and a function that is itself pickled by reference, count by their names:
    what is read of them is recorded too."""
    if value is UNBOUND:
        return "not bound"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, types.FunctionType) and by_reference(value):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return digest_of(value)
    except CannotCompile:
        function = plain_function(value)
        return why_unusable(value) if function is None else digest_of(function.__code__)


def _shown(value: Any) -> str:
    if value is UNBOUND:
        return "not bound"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
