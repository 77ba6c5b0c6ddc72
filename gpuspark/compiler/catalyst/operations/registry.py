"""The table of the operations that have a Spark expression."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from gpuspark.compiler.catalyst.paths import Path
from gpuspark.compiler.catalyst.trees import Refused
from gpuspark.compiler.catalyst.values import Operand

Lowering = Callable[..., Operand]
"""Takes the path and the operands, and returns the result. It may note errors on the path."""
_F = TypeVar("_F", bound=Callable[..., Any])
_LOWERINGS: dict[str, Lowering] = {}
_FORMS = re.compile(r"^(?P<numpy>maybe_numpy_|numpy_)?(?:mixed_)?(?P<name>.+?)(?:_(?:left|right|both))?$")
"""The form of an operation's name: whether an operand is a NumPy scalar, and whether one is whole on some path only,
which a :class:`~gpuspark.compiler.catalyst.values.Choice` tells here."""
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
    """Returns the lowering of an operation. Raises :class:`Refused` if it has none."""
    form = _FORMS.match(operation) if operation not in _LOWERINGS else None
    if form is None:
        return _LOWERINGS[operation]
    name = form["name"]
    if name not in _LOWERINGS:
        raise Refused(f"{in_words(operation)}, which has no equal Spark expression")
    return _of_numpy(name) if form["numpy"] else _LOWERINGS[name]


def _of_numpy(name: str) -> Lowering:
    """Returns the lowering of an operation of which an operand is, or may be, a NumPy scalar."""

    def lower(path: Path, *operands: Any) -> Operand:
        operands = tuple(path.settled(operand) for operand in operands)
        if name == "invert" and operands[0].kind == "boolean":
            return _LOWERINGS["not"](path, *operands)
        if name not in _ALIKE_FOR_NUMPY or not any(operand.kind == "float" for operand in operands):
            raise Refused(f"{in_words(name)} of a NumPy scalar")
        return _LOWERINGS[name](path, *operands)

    return lower


_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "lshift": "<<",
    "rshift": ">>", "and": "&", "or": "|", "xor": "^", "neg": "-", "pos": "+", "invert": "~", "real": ".real",
    "imag": ".imag", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "round_to": "round(x, n)",
    "is_element": "in", "contains": "in", "begin_try": "try", "startswith": ".startswith", "endswith": ".endswith",
}  # fmt: skip


def in_words(operation: str) -> str:
    """Returns an operation as a body writes it: ``np.sign`` for ``np_sign``."""
    form = _FORMS.match(operation)
    bare = form["name"] if form else operation
    return _SYMBOLS.get(bare) or re.sub("^(math|np)_", r"\1.", bare)
