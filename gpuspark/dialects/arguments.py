"""Binds the arguments of a call to a function's parameters, ``*args`` and ``**kwargs`` included."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gpuspark.errors import CallError


def bind(
    function: str, signature: inspect.Signature, columns: Sequence[Any], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the arguments of a call of ``function`` by parameter name, in the parameters' order. Those of
    ``*values`` are called ``values[0]`` and so on; those of ``**names`` keep their own names.

    Raises :class:`~gpuspark.errors.CallError` for too few or too many arguments, or a wrong name.

    >>> bind("f", inspect.signature(lambda a, *more, **rest: a), ["x", "y"], {"z": "q"})
    {'a': 'x', 'more[0]': 'y', 'z': 'q'}
    """
    try:
        bound = signature.bind(*columns, **named).arguments
    except TypeError as error:
        raise CallError(
            f"{function}{signature} was given {len(columns)} columns"
            f"{' and ' + ', '.join(named) if named else ''}: {error}. Give one column per parameter."
        ) from None
    arguments: dict[str, Any] = {}
    for name, value in bound.items():
        match signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                arguments |= {f"{name}[{n}]": column for n, column in enumerate(value)}
            case inspect.Parameter.VAR_KEYWORD:
                if duplicates := sorted(value.keys() & arguments.keys()):
                    raise CallError(
                        f"{function}{signature} was given {', '.join(duplicates)} by name, the name of a parameter "
                        "given by position. Give the column another name."
                    )
                arguments |= value
            case _:
                arguments[name] = value
    return arguments
