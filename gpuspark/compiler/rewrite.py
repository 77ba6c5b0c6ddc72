"""A Python function to portable program text: the same function, with every operation that Python and
a processor may disagree on spelled as a call of an operation of ours.

``a / b`` becomes ``_gs_truediv(a, b, _gs_row)``: the operation computes the quotient, or marks the row
where Python would raise; a marked row is computed again by Python itself. Types are not known yet, so
one text serves every column type, both arithmetic modes, the CPU and CUDA. Captured numbers, tuples
and small arrays become named constants; functions that the body calls are rewritten with it.

What is not listed in :mod:`~gpuspark.compiler.statements`, :mod:`~gpuspark.compiler.expressions` and
:mod:`~gpuspark.compiler.vocabulary` is not compiled: the reason names the construct, the file and the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpuspark.compiler.calls import defaults_of
from gpuspark.compiler.origins import PYTHON
from gpuspark.compiler.source import CannotCompile, own_signature, read
from gpuspark.compiler.statements import rewritten
from gpuspark.compiler.unit import Called, Unit


@dataclass(frozen=True)
class Body:
    """A rewritten function: exec ``text`` over ``constants`` and the operations, and call ``ENTRY`` with one
    value per column, where results go, and the row. It stores its result itself, at each ``return``: so
    each has its own type."""

    text: str
    constants: dict[str, Any]
    columns: tuple[str, ...]
    operations: tuple[str, ...]
    left_to_python: tuple[str, ...] = ()
    """What does not compile on some path of the body, with file and line: rows that come there are marked."""


def rewrite(function: Any, columns: Sequence[str] | None = None, *, nullable: bool = False) -> Body:
    """Rewrites ``function`` for the given columns (parameter names; all parameters by default).

    Parameters that no column is given for keep their defaults, as constants. ``nullable`` means that
    columns may hold nulls, which the body sees as ``None``.

    Raises :class:`CannotCompile` with every construct that stands in the way, one per line.
    """
    source = read(function)
    names = tuple(own_signature(function).parameters) if columns is None else tuple(columns)
    unit = Unit(rewritten)
    try:
        unit.add(Called(source, names, nullable, defaults_of(function, names), (PYTHON,) * len(names)))
        shared = [name for which, name in unit.used_in_python.items() if which in unit.containers]
        unit.refusals += [f"{name} is read, and may be changed by what does not compile" for name in shared]
        if unit.refusals:
            raise CannotCompile("\n".join(dict.fromkeys(unit.refusals)))
        compile("\n\n".join(unit.texts), "<gpuspark body>", "exec")
    except (RecursionError, SyntaxError):  # Python reads no more than 200 brackets inside each other
        raise CannotCompile(f"an expression is nested too deeply ({source.where()})") from None
    left = tuple(dict.fromkeys(unit.left_to_python))
    return Body("\n\n".join(unit.texts), unit.constants, names, tuple(sorted(unit.operations)), left)
