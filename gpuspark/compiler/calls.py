"""Calls of plain Python functions inside a body: binds their arguments to parameters."""

from __future__ import annotations

import ast
import inspect
import types
from dataclasses import dataclass
from typing import Any

from gpuspark.compiler.scope import Scope
from gpuspark.compiler.source import CannotCompile, Source, own_signature, read


@dataclass(frozen=True)
class Binding:
    """The arguments of a call by parameter, and in ``fixed`` the parameters with one value for all rows."""

    source: Source
    arguments: dict[str, ast.expr]
    fixed: dict[str, Any]


def bind(node: ast.Call, function: types.FunctionType, scope: Scope) -> Binding:
    """Returns the arguments of ``node``, a call of ``function``. Strings, ``None`` and functions are fixed.

    Raises :class:`CannotCompile` for arguments that do not fit the parameters, and for a function without source.
    """
    if function.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise CannotCompile(f"a call of {function.__name__}, which takes *args or **kwargs")
    keywords = {k.arg: k.value for k in node.keywords if k.arg is not None}
    if len(keywords) < len(node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
        raise CannotCompile(f"a call of {function.__name__} with * or **")
    try:
        arguments = dict(own_signature(function).bind(*node.args, **keywords).arguments)
    except TypeError as error:
        raise CannotCompile(f"a call of {function.__name__}: {error}") from None
    fixed = defaults_of(function, tuple(arguments))
    for name, argument in list(arguments.items()):
        value = scope.object_of(argument) or scope.static_value(argument)
        if value is not None and (isinstance(value[0], str | None) or callable(value[0])):
            fixed[name] = value[0]
            del arguments[name]
    return Binding(read(function), arguments, fixed)


def defaults_of(function: Any, columns: tuple[str, ...]) -> dict[str, Any]:
    """Returns the defaults of the parameters that are not among ``columns``."""
    parameters = own_signature(function).parameters
    return {n: p.default for n, p in parameters.items() if n not in columns and p.default is not p.empty}
