"""What Spark's workers import for themselves instead of receiving it from the driver.

A function of an importable module, and a module, are pickled by reference: as a module and a name. The worker imports
it, and sees the values that it has there, while a program was made from the driver's values. So everything that was
read by reference while a function was rewritten is read again in the worker. Where anything differs, the function
runs there in plain Python, as it does in PySpark.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpuspark.compiler.constants import why_unusable
from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.source import UNBOUND, CannotCompile, Read, value_of
from gpuspark.compiler.vocabulary import plain_function

_MAX_SHOWN = 40
"""The most characters of a value that a message shows."""
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
"""The arithmetic of constants that a module's source computes."""


@dataclass(frozen=True)
class Reference:
    """One value that a worker reads from its own import of a module."""

    module: str
    function: str
    """The function of the module that reads the name; empty for an attribute of the module."""
    name: str
    """The name that is read; empty for the code of the function itself."""
    digest: str
    shown: str
    """The driver's value, as messages show it."""

    def difference(self) -> str | None:
        """Returns in words how the worker's value differs from the driver's; ``None`` if it does not."""
        path = ".".join(part for part in (self.module, self.name or self.function) if part)
        try:
            value = self._read()
        except (ImportError, AttributeError) as error:
            return f"{path} cannot be read in this worker ({error})"
        if _digest(value) == self.digest:
            return None
        if not self.name or plain_function(value) is not None:
            return f"{path} is another function on the driver than in this worker"
        return f"{path} is {self.shown} on the driver and {_shown(value)} in this worker"

    def unsure(self) -> str | None:
        """Returns why a worker may have another value, as far as the module's source tells; ``None`` if it has the
        driver's. A name's value is sure if the source writes it out, once, as the driver has it."""
        if not self.name or not self.function:  # the code of a function, or an attribute of an imported module
            return None
        value = self._read()
        if value is UNBOUND or isinstance(value, types.ModuleType | type) or callable(value):
            return None
        if _digest(_written_out(importlib.import_module(self.module), self.name)) == self.digest:
            return None
        return f"{self.module}.{self.name} is not written out there as {self.shown}, so workers may have another value"

    def _read(self) -> Any:
        """Returns the value in this process."""
        module = importlib.import_module(self.module)
        if not self.function:
            return vars(module).get(self.name, UNBOUND)
        function = operator.attrgetter(self.function)(module)
        if not isinstance(function, types.FunctionType):
            return function
        return value_of(function, self.name) if self.name else _code_and_defaults(function)


def references_among(reads: Iterable[Read]) -> tuple[Reference, ...]:
    """Returns the references for those of ``reads`` that a worker repeats for itself, each once."""
    references: dict[Reference, None] = {}
    for read in reads:
        if not by_reference(read.owner):
            continue
        value = read.value if read.name else _code_and_defaults(read.value)
        if isinstance(read.owner, types.ModuleType):
            reference = Reference(read.owner.__name__, "", read.name, _digest(value), _shown(value))
        else:
            function = read.owner
            reference = Reference(function.__module__, function.__qualname__, read.name, _digest(value), _shown(value))
        references[reference] = None
    return tuple(references)


def by_reference(value: types.FunctionType | types.ModuleType) -> bool:
    """Returns whether PySpark pickles a function or module by reference. Without PySpark loaded, nothing is pickled."""
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    if name == "__main__" and isinstance(value, types.FunctionType):
        return False
    if name not in sys.modules or "pyspark" not in sys.modules:
        return False
    from pyspark.cloudpickle import cloudpickle

    rule: Any = cloudpickle._should_pickle_by_reference  # noqa: SLF001  (it has no public name)
    return bool(rule(value))


def _code_and_defaults(function: types.FunctionType) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _digest(value: Any) -> str:
    """Returns the digest of a value. A module, and a function that is pickled by reference, count by name only: what is
    read from them is recorded separately."""
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


def _written_out(module: types.ModuleType, name: str) -> Any:
    """Returns the value that a module's source gives a name by one assignment of literals, or of arithmetic with
    literals and such names; else :data:`UNBOUND`."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return UNBOUND
    stored = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    assigned: dict[str, Any] = {}
    for statement in tree.body:  # in order, as the import runs them
        match statement:
            case ast.Assign(targets=[target], value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                pass
            case _:
                continue
        for named, item in _pairs(target, value):
            if stored.count(named) == 1:
                assigned[named] = _computed(item, assigned)
    return assigned.get(name, UNBOUND)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yields the names that an assignment sets, each with the expression of its value."""
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
            for pair in zip(targets, values, strict=True):
                yield from _pairs(*pair)


def _computed(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Returns the value of an expression of literals, ``names`` and the arithmetic that every machine rounds alike;
    :data:`UNBOUND` for any other expression."""
    match node:
        case ast.Name(id=name):
            return names.get(name, UNBOUND)
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            values = _computed(left, names), _computed(right, names)
            return _ARITHMETIC[type(op)](*values) if all(type(v) in (int, float) for v in values) else UNBOUND
    try:
        return ast.literal_eval(node)
    except ValueError:
        return UNBOUND


def _shown(value: Any) -> str:
    """Returns a value's ``repr``, shortened, for messages."""
    if value is UNBOUND:
        return "not bound"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
