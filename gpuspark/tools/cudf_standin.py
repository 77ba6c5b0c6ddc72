"""A strict stand-in for cuDF's Series and DataFrame, which checks whether series bodies can run on cuDF. **It proves
nothing about cuDF's values**: pandas computes them.

``cudf_record.json`` contains the names, signatures and refused conversions of a real cuDF; ``make contracts`` writes
it. What it does not contain is refused with ``AttributeError`` or ``TypeError``, as cuDF does: an unknown method or
parameter, iteration, an implicit conversion to a NumPy array. A value is refused if cuDF's method starts by accepting
only one value for that parameter. If neither the record nor pandas can tell, as for a CuPy array or a function that
cuDF would compile, :class:`Unknown` is raised.

Not covered: other values that cuDF refuses, ``**kwargs``, and the types of results.

>>> import pandas as pd
>>> s = standin(pd.Series([1.0, 4.0]))
>>> original(s * 2 + s.max()).tolist()
[6.0, 12.0]
>>> s.idxmax()
Traceback (most recent call last):
AttributeError: cuDF's Series has no idxmax
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from inspect import Parameter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gpuspark.errors import GpusparkError

RECORD: dict[str, Any] = json.loads((files("gpuspark.tools") / "cudf_record.json").read_text())
CLASSES: dict[str, dict[str, str]] = RECORD["classes"]
_NUMPY = frozenset(RECORD["numpy"])
_INDEXERS = ("_LocIndexer", "_iLocIndexer", "_AtIndexer", "_iAtIndexer")
_CUPY = ("values", "to_cupy", "to_dlpack")
_COMPILED = ("apply", "map", "agg", "aggregate", "transform", "filter")
_OWN_PROTOCOLS = frozenset(
    "__array__ __arrow_array__ __array_function__ __array_ufunc__ __array_priority__ __cuda_array_interface__ "
    "__copy__ __deepcopy__ __iter__ __getattr__ __setattr__ __class_getitem__ __bool__".split()
)


class Unknown(GpusparkError):
    """cuDF may accept the call, but the stand-in cannot compute it: nothing is known about the body."""


class Refusal(NamedTuple):
    """Something that cuDF refuses, and the line of the body that uses it; 0 if the line is not known."""

    text: str
    line: int


class _Notes(NamedTuple):
    file: str
    refusals: list[Refusal]


_notes: ContextVar[_Notes | None] = ContextVar("notes", default=None)


@contextmanager
def noting(file: str, refusals: list[Refusal]) -> Iterator[None]:
    """Context manager in which refusals are added to ``refusals``, with their line of ``file``, instead of raised.
    pandas answers in their place, so that later ones are found too."""
    token = _notes.set(_Notes(file, refusals))
    try:
        yield
    finally:
        _notes.reset(token)


def standin(value: Any) -> Any:
    """Returns a pandas object as the stand-in of cuDF's class of that name, and other values unchanged."""
    module = type(value).__module__
    if isinstance(value, tuple | list):
        return type(value)(map(standin, value)) if type(value) in (tuple, list) else value
    if isinstance(value, Iterator):
        return map(standin, value)
    if not module.startswith("pandas"):
        return value
    for base in type(value).__mro__:
        if base.__name__ in _STANDINS:
            return _STANDINS[base.__name__](value)
        if base.__name__ in _INDEXERS:
            return _Indexer(value)
    if isinstance(value, pd.api.typing.Resampler | pd.api.typing.Expanding):
        raise Unknown(f"{type(value).__name__} is not in the record of cuDF's names")
    return value


def original(value: Any) -> Any:
    """Returns ``value`` with each stand-in replaced by its pandas object."""
    match value:
        case _Standin():
            return object.__getattribute__(value, "_pandas")
        case list() | tuple() if type(value) in (list, tuple):
            return type(value)(map(original, value))
        case dict():
            return {key: original(item) for key, item in value.items()}
        case slice():
            return slice(original(value.start), original(value.stop), original(value.step))
    return value


def signature(text: str) -> inspect.Signature:
    """Returns the signature of a recorded text such as ``(n=5, *, keep='first')``, to bind arguments with."""
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    positional, only = [*arguments.posonlyargs, *arguments.args], len(arguments.posonlyargs)
    required = len(positional) - len(arguments.defaults)
    parameters = [
        Parameter(
            argument.arg,
            Parameter.POSITIONAL_ONLY if n < only else Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if n < required else ...,
        )
        for n, argument in enumerate(positional)
    ]
    if arguments.vararg:
        parameters.append(Parameter(arguments.vararg.arg, Parameter.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default_value = Parameter.empty if default is None else ...
        parameters.append(Parameter(argument.arg, Parameter.KEYWORD_ONLY, default=default_value))
    if arguments.kwarg:
        parameters.append(Parameter(arguments.kwarg.arg, Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


_signature = cache(signature)


def refuses(class_name: str, name: str) -> bool:
    """Returns whether cuDF's class lacks ``name``, or always raises for it."""
    return CLASSES[class_name].get(name, "raises").startswith("raises")


class _Standin:
    """The stand-in of a cuDF object, computed by the pandas object ``_pandas``. The record defines its subclasses."""

    def __init__(self, value: Any) -> None:
        object.__setattr__(self, "_pandas", value)

    def __getattr__(self, name: str) -> Any:
        class_name, own = type(self).__name__, original(self)
        entry = CLASSES[class_name].get(name)
        if entry is None:
            if class_name == "DataFrame" and name in own.columns:
                return standin(own[name])
            if name.startswith("__"):  # Python itself asks for it, not the body
                raise AttributeError(f"cuDF's {class_name} has no {name}")
            _refuse(AttributeError(f"cuDF's {class_name} has no {name}"))
        elif name in _CUPY:
            raise Unknown(f"{class_name}.{name} returns a CuPy array, which needs a GPU")
        elif name in _EXPLICIT:
            return lambda **_options: _EXPLICIT[name](own)
        elif not hasattr(type(own), name):
            raise Unknown(f"{class_name}.{name} exists in cuDF only, not in pandas")
        value = getattr(own, name)
        if entry == "property" or not callable(value):
            return standin(value)
        return _method(class_name, name, entry, value)

    def __setattr__(self, name: str, value: Any) -> None:
        class_name = type(self).__name__
        if CLASSES[class_name].get(name) != "property":
            _refuse(AttributeError(f"cuDF's {class_name} has no {name} to set"))
        setattr(original(self), name, original(value))

    def __repr__(self) -> str:
        return f"<stand-in of cudf.{type(self).__name__}>\n{original(self)!r}"

    def __iter__(self) -> Iterator[Any]:
        _refuse_if_recorded(self, "__iter__", "iterated over")
        return iter(map(standin, original(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        _refuse_if_recorded(self, "__array__", "converted to a NumPy array implicitly: use .to_numpy()")
        return np.asarray(original(self), dtype)

    def __arrow_array__(self, **options: Any) -> Any:
        import pyarrow as pa

        _refuse_if_recorded(self, "__arrow_array__", "converted to an Arrow array implicitly: use .to_arrow()")
        return pa.array(original(self), **options)

    def __bool__(self) -> bool:
        return bool(original(self))

    def __array_ufunc__(self, function: Any, method: str, *arguments: Any, **options: Any) -> Any:
        # cuDF computes some by its operators, and passes the others to CuPy's function of the same name.
        name = f"numpy.{function.__name__}"
        if method != "__call__" or name not in _NUMPY or "out" in options:
            _refuse(TypeError(f"cuDF cannot compute {name}{'' if method == '__call__' else '.' + method}"))
        return standin(getattr(function, method)(*original(list(arguments)), **original(options)))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        # cuDF calls its own method of that name, or CuPy's function if every argument is a Series.
        class_name, name = type(self).__name__, function.__name__
        in_cupy = f"{function.__module__}.{name}" in _NUMPY and class_name == "Series"
        try:
            if not refuses(class_name, name):
                return getattr(arguments[0], name)(*arguments[1:], **options)
            if in_cupy and all(isinstance(argument, _STANDINS["Series"]) for argument in arguments):
                return standin(function(*original(list(arguments)), **options))
        except (AttributeError, TypeError, ValueError, IndexError):
            pass  # cuDF raises this refusal for any error inside, too
        _refuse(TypeError(f"cuDF cannot compute {function.__module__}.{name} of these arguments"))
        return standin(function(*original(list(arguments)), **original(options)))


class _Indexer:
    """The stand-in of ``loc``, ``iloc``, ``at`` and ``iat``. The record does not cover their keys."""

    def __init__(self, indexer: Any) -> None:
        self._indexer = indexer

    def __getitem__(self, key: Any) -> Any:
        return standin(self._indexer[original(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._indexer[original(key)] = original(value)


def _method(class_name: str, name: str, entry: str | None, value: Callable[..., Any]) -> Callable[..., Any]:
    """Returns cuDF's method: it checks its arguments against the record and passes them to pandas' method."""

    def call(*arguments: Any, **named: Any) -> Any:
        accepted = entry is not None and _accepts(class_name, name, entry, arguments, named)
        if name == "pipe" and arguments and callable(arguments[0]):
            raise Unknown("pipe passes a Series on: call the function itself")
        if name in _COMPILED and any(map(callable, [*arguments, *named.values()])):
            raise Unknown(f"the function given to {class_name}.{name} is compiled by cuDF, which is not tried here")
        if any(isinstance(v, pd.Series | pd.DataFrame | pd.Index) for v in [*arguments, *named.values()]):
            raise Unknown(f"{class_name}.{name} is given a pandas object")
        pandas_arguments, options = original(list(arguments)), original(named)
        if accepted:
            try:
                inspect.signature(value).bind(*pandas_arguments, **options)
            except TypeError as error:
                raise Unknown(f"pandas' {class_name}.{name} does not accept what cuDF's does: {error}") from None
            except ValueError:
                pass  # a function in C, without a signature
        result = value(*pandas_arguments, **options)
        if isinstance(result, np.ndarray | pd.api.extensions.ExtensionArray) and name != "to_numpy":
            result = pd.Series(result)  # cuDF's arrays are on the GPU
        return standin(result)

    call.__name__ = name
    return call


def _accepts(class_name: str, name: str, entry: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Returns whether the recorded method takes these arguments, after refusing the call if it does not."""
    if entry.startswith("raises "):
        error_type = NotImplementedError if "NotImpl" in entry else TypeError
        _refuse(error_type(f"cuDF's {class_name}.{name} always {entry}"))
        return False
    if entry.startswith("("):
        try:
            bound = _signature(entry).bind(*arguments, **named)
        except TypeError as error:
            _refuse(TypeError(f"cuDF's {class_name}.{name}: {error}"))
            return False
        for parameter, only in RECORD["only"][class_name].get(name, {}).items():
            value = bound.arguments.get(parameter, only)
            if value is not only and (only is None or (bool(value) if isinstance(only, bool) else value) != only):
                _refuse(NotImplementedError(f"cuDF's {class_name}.{name} accepts no {parameter} but {only!r}"))
                return False
    return True


def _operator(class_name: str, name: str) -> Callable[..., Any]:
    """Returns an operator or other special method that cuDF has, computed by pandas."""

    def operate(self: Any, *operands: Any) -> Any:
        _accepts(class_name, name, CLASSES[class_name][name], operands, {})
        if any(isinstance(operand, pd.Series | pd.DataFrame | pd.Index) for operand in operands):
            raise Unknown(f"{class_name}.{name} is given a pandas object")
        result = getattr(original(self), name)(*original(list(operands)))
        return result if result is NotImplemented else standin(result)

    operate.__name__ = name
    return operate


def _to_arrow(own: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(own) if isinstance(own, pd.DataFrame) else pa.Array.from_pandas(own)


_EXPLICIT: dict[str, Callable[[Any], Any]] = {"to_pandas": lambda own: own, "to_arrow": _to_arrow}
"""cuDF's explicit conversions to host memory."""


def _standin_class(name: str) -> type[_Standin]:
    special = {n for n in CLASSES[name] if n.startswith("__")} - _OWN_PROTOCOLS
    return type(name, (_Standin,), {"__slots__": ("_pandas",)} | {n: _operator(name, n) for n in sorted(special)})


_STANDINS = {name: _standin_class(name) for name in CLASSES}


def _refuse_if_recorded(value: _Standin, name: str, use: str) -> None:
    class_name = type(value).__name__
    if refuses(class_name, name):
        _refuse(TypeError(f"cuDF's {class_name} cannot be {use}"))


def _refuse(error: Exception) -> None:
    """Raises ``error``; inside :func:`noting`, notes it instead."""
    notes = _notes.get()
    if notes is None:
        raise error
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != notes.file:
        frame = frame.f_back
    refusal = Refusal(str(error), frame.f_lineno if frame else 0)
    if refusal not in notes.refusals:
        notes.refusals.append(refusal)
