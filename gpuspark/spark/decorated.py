"""What a decorated function shows of the function that it holds: its names, and none of its own attributes.

:func:`functools.update_wrapper` copies those as well, and so a body with an attribute of the name of one of ours, such
as ``nulls``, would change what the decorated function does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gpuspark.errors import DeclarationError

_SHOWN = ("__module__", "__qualname__", "__doc__")


def name_after(decorated: Any, function: Callable[..., Any]) -> None:
    """Gives ``decorated`` the name, documentation and module of ``function``, and ``__wrapped__``; nothing else.

    A function without a name, such as a :func:`functools.partial`, has that of its class, as in PySpark.
    """
    decorated.__name__ = getattr(function, "__name__", type(function).__name__)
    for attribute in _SHOWN:
        with suppress(AttributeError):
            setattr(decorated, attribute, getattr(function, attribute))
    decorated.__wrapped__ = function


def declaration_error(message: str) -> DeclarationError:
    """A :class:`DeclarationError` that code written for PySpark catches too: it is a ``PySparkTypeError`` as well."""
    from pyspark.errors import PySparkTypeError

    names = {"__module__": DeclarationError.__module__}
    both: type[DeclarationError] = type(DeclarationError.__name__, (DeclarationError, PySparkTypeError), names)
    return both(message)
