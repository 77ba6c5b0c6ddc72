"""The table of the operations that have a Spark expression."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from gpuspark.compiler.catalyst.paths import Path
from gpuspark.compiler.catalyst.trees import Refused
from gpuspark.compiler.catalyst.values import Operand
from gpuspark.compiler.vocabulary import as_written, bare_name

Lowering = Callable[..., Operand]
"""Takes the path and the operands, and returns the result. It may note errors on the path."""
_F = TypeVar("_F", bound=Callable[..., Any])
_LOWERINGS: dict[str, Lowering] = {}
_ALIKE_FOR_NUMPY = ("add", "sub", "mul", "neg", "pos", "abs")
"""The operations that mean for NumPy's floats what they mean for Python's, and raise nothing."""


def lowers(*names: str) -> Callable[[_F], _F]:
    """Registers a function as the lowering of the operations ``names``."""

    def register(function: _F) -> _F:
        _LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def lowered_operations() -> Collection[str]:
    """Returns the names of all operations that have a lowering."""
    return _LOWERINGS.keys()


def lowering(operation: str) -> Lowering:
    """Returns the lowering of an operation, whatever its form. Raises :class:`Refused` if it has none.

    A value that is whole on some path only is a :class:`~gpuspark.compiler.catalyst.values.Choice` here, so forms for
    such values need nothing of their own.
    """
    name = operation if operation in _LOWERINGS else bare_name(operation)
    if name not in _LOWERINGS:
        raise Refused(f"{as_written(operation)}, which has no equal Spark expression")
    if "numpy_" not in operation or name == operation:
        return _LOWERINGS[name]
    return _of_numpy(name, surely=not operation.startswith("maybe_"))


def _of_numpy(name: str, *, surely: bool) -> Lowering:
    """Returns the lowering of an operation of which an operand is a NumPy scalar, ``surely`` or maybe."""

    def lower(path: Path, *operands: Any) -> Operand:
        operands = tuple(path.settled(operand) for operand in operands)
        if name == "invert" and surely and operands[0].kind == "boolean":
            return _LOWERINGS["not"](path, *operands)
        if name not in _ALIKE_FOR_NUMPY or not any(operand.kind == "float" for operand in operands):
            raise Refused(f"{as_written(name)} of a NumPy scalar")
        return _LOWERINGS[name](path, *operands)

    return lower
