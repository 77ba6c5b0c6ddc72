"""Rewrites a Python function to portable program text.

The text is the same function, in which every operation that may give another result on a processor than in Python is
a call of one of our operations. ``a / b`` becomes ``_gs_op_truediv(a, b, _gs_row)``: the operation computes the
quotient, or marks the row where Python would raise; Python computes marked rows again. Types are not known yet, so
one text serves every column type, both arithmetic modes, the CPU and CUDA. Captured numbers, tuples and small arrays
become named constants; functions that the body calls are rewritten with it.

A construct that :mod:`~gpuspark.compiler.statements`, :mod:`~gpuspark.compiler.expressions` and
:mod:`~gpuspark.compiler.vocabulary` do not list does not compile: the reason names it, with file and line.
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
    """A rewritten function.

    Execute ``text`` in a namespace of ``constants`` and the operations, and call ``ENTRY`` with one value per column,
    the result column and the row. It stores its result at each ``return``, so each ``return`` may have its own type.
    """

    text: str
    constants: dict[str, Any]
    columns: tuple[str, ...]
    operations: tuple[str, ...]
    left_to_python: tuple[str, ...] = ()
    """The constructs that do not compile in branches, with file and line. Rows that reach one are marked."""


def rewrite(function: Any, columns: Sequence[str] | None = None, *, nullable: bool = False) -> Body:
    """Returns ``function`` rewritten for columns: names of its parameters, by default all of them.

    Parameters without a column keep their defaults, as constants. ``nullable``: the columns may hold nulls, which the
    body sees as ``None``.

    Raises :class:`CannotCompile` with every construct that does not compile, one per line.
    """
    source = read(function)
    names = tuple(own_signature(function).parameters) if columns is None else tuple(columns)
    unit = Unit(rewritten)
    try:
        unit.add(Called(source, names, nullable, defaults_of(function, names), (PYTHON,) * len(names)))
        shared = [name for identity, name in unit.used_in_python.items() if identity in unit.containers]
        unit.refusals += [f"{name} is read, and may be changed by what does not compile" for name in shared]
        if unit.refusals:
            raise CannotCompile("\n".join(dict.fromkeys(unit.refusals)))
        compile("\n\n".join(unit.texts), "<gpuspark body>", "exec")
    except (RecursionError, SyntaxError):  # Python parses at most 200 nested brackets
        raise CannotCompile(f"an expression is nested too deeply ({source.where()})") from None
    left = tuple(dict.fromkeys(unit.left_to_python))
    return Body("\n\n".join(unit.texts), unit.constants, names, tuple(sorted(unit.operations)), left)
