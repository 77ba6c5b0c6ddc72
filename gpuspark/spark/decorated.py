"""Names a decorated function after the user's function, without copying that function's attributes.

:func:`functools.update_wrapper` copies attributes too, so a user's attribute called ``nulls``, say, would overwrite
gpuspark's own and change what the decorated function does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gpuspark.errors import DeclarationError

_SHOWN = ("__module__", "__qualname__", "__doc__")


def name_after(decorated: Any, function: Callable[..., Any]) -> None:
    """Copies the name, docstring and module of ``function`` to ``decorated``, and sets ``__wrapped__``.

    A callable without a name, such as a :func:`functools.partial`, gets the name of its class, as in PySpark.
    """
    decorated.__name__ = getattr(function, "__name__", type(function).__name__)
    for attribute in _SHOWN:
        with suppress(AttributeError):
            setattr(decorated, attribute, getattr(function, attribute))
    decorated.__wrapped__ = function


def declaration_error(message: str) -> DeclarationError:
    """Returns a :class:`DeclarationError` that is also a ``PySparkTypeError``, so that PySpark code catches it."""
    from pyspark.errors import PySparkTypeError

    namespace = {"__module__": DeclarationError.__module__}
    error: type[DeclarationError] = type(DeclarationError.__name__, (DeclarationError, PySparkTypeError), namespace)
    return error(message)
