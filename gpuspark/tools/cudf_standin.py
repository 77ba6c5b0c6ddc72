"""A strict stand-in for cuDF's Series and DataFrame, for the portability of series bodies. **It proves nothing about
cuDF's values**: what it accepts, pandas computes.

What it refuses is no opinion of ours. ``cudf_record.json`` holds the names, signatures and refused conversions of a
real cuDF (``make contracts`` writes it), and whatever is not there is refused with ``AttributeError`` or ``TypeError``
as there: an unknown method, an unknown parameter, iteration, a silent conversion to a NumPy array. Where neither the
record nor pandas can tell, such as a CuPy array or a function that cuDF would compile, :class:`Unknown` is raised.

So is a parameter of any value but one where cuDF's method begins with that refusal. Not covered: other values that
cuDF refuses, what ``**kwargs`` takes, and types of results.

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
    """cuDF may accept it, and the stand-in cannot compute it: nothing follows for or against the body."""


class Refusal(NamedTuple):
    """What cuDF refuses, and the line of the body where it was asked for."""

    text: str
    line: int


class _Notes(NamedTuple):
    file: str
    refusals: list[Refusal]


_notes: ContextVar[_Notes | None] = ContextVar("notes", default=None)


@contextmanager
def noting(file: str, refusals: list[Refusal]) -> Iterator[None]:
    """Within, a refusal is added to ``refusals`` with its line of ``file``, and pandas answers, so that the next
    ones are found too."""
    token = _notes.set(_Notes(file, refusals))
    try:
        yield
    finally:
        _notes.reset(token)


def standin(value: Any) -> Any:
    """``value``, an object of pandas, as cuDF's of the same class; other things as they are."""
    module = type(value).__module__
    if isinstance(value, tuple | list):
        return type(value)(map(standin, value)) if type(value) in (tuple, list) else value
    if isinstance(value, Iterator):
        return map(standin, value)
    if not module.startswith("pandas"):
        return value
    for kind in type(value).__mro__:
        if kind.__name__ in _KINDS:
            return _KINDS[kind.__name__](value)
        if kind.__name__ in _INDEXERS:
            return _Indexer(value)
    if isinstance(value, pd.api.typing.Resampler | pd.api.typing.Expanding):
        raise Unknown(f"{type(value).__name__} is not in the record of cuDF's names")
    return value


def original(value: Any) -> Any:
    """``value`` with each stand-in replaced by its object of pandas."""
    match value:
        case _Standin():
            return object.__getattribute__(value, "_pandas")
        case list() | tuple() if type(value) in (list, tuple):
            return type(value)(map(original, value))
        case dict():
            return {key: original(one) for key, one in value.items()}
        case slice():
            return slice(original(value.start), original(value.stop), original(value.step))
    return value


def signature(text: str) -> inspect.Signature:
    """A recorded signature, such as ``(n=5, *, keep='first')``, to bind arguments with."""
    function = ast.parse(f"def f{text}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    kind, given = inspect.Parameter, function.args
    places, first = [*given.posonlyargs, *given.args], len(given.posonlyargs)
    required = len(places) - len(given.defaults)
    found = [
        kind(
            one.arg,
            kind.POSITIONAL_ONLY if n < first else kind.POSITIONAL_OR_KEYWORD,
            default=kind.empty if n < required else ...,
        )
        for n, one in enumerate(places)
    ]
    if given.vararg:
        found.append(kind(given.vararg.arg, kind.VAR_POSITIONAL))
    for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found.append(kind(a.arg, kind.KEYWORD_ONLY, default=kind.empty if default is None else ...))
    if given.kwarg:
        found.append(kind(given.kwarg.arg, kind.VAR_KEYWORD))
    return inspect.Signature(found)


_signature = cache(signature)


def refuses(kind: str, name: str) -> bool:
    """Whether cuDF's class ``kind`` has no usable ``name``, which pandas has."""
    return CLASSES[kind].get(name, "raises").startswith("raises")


class _Standin:
    """An object of cuDF, played by ``_pandas``. Its subclasses are made from the record."""

    def __init__(self, value: Any) -> None:
        object.__setattr__(self, "_pandas", value)

    def __getattr__(self, name: str) -> Any:
        kind, own = type(self).__name__, original(self)
        entry = CLASSES[kind].get(name)
        if entry is None:
            if kind == "DataFrame" and name in own.columns:
                return standin(own[name])
            if name.startswith("__"):  # what Python itself asks for: no method of the body's
                raise AttributeError(f"cuDF's {kind} has no {name}")
            _refuse(AttributeError(f"cuDF's {kind} has no {name}"))
        elif name in _CUPY:
            raise Unknown(f"{kind}.{name} gives a CuPy array, which there is none of without a GPU")
        elif name in _EXPLICIT:
            return lambda **_options: _EXPLICIT[name](own)
        elif not hasattr(type(own), name):
            raise Unknown(f"{kind}.{name} is cuDF's own: pandas has none")
        value = getattr(own, name)
        if entry == "property" or not callable(value):
            return standin(value)
        return _method(kind, name, entry, value)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        if CLASSES[kind].get(name) != "property":
            _refuse(AttributeError(f"cuDF's {kind} has no {name} to set"))
        setattr(original(self), name, original(value))

    def __repr__(self) -> str:
        return f"<stand-in of cudf.{type(self).__name__}>\n{original(self)!r}"

    def __iter__(self) -> Iterator[Any]:
        _refuse_if_recorded(self, "__iter__", "iterated over")
        return iter(map(standin, original(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        _refuse_if_recorded(self, "__array__", "made a NumPy array without asking: use .to_numpy()")
        return np.asarray(original(self), dtype)

    def __arrow_array__(self, **options: Any) -> Any:
        import pyarrow as pa

        _refuse_if_recorded(self, "__arrow_array__", "made an Arrow array without asking: use .to_arrow()")
        return pa.array(original(self), **options)

    def __bool__(self) -> bool:
        return bool(original(self))

    def __array_ufunc__(self, function: Any, method: str, *given: Any, **options: Any) -> Any:
        # cuDF knows some by its operators, and hands the others on to CuPy's of the same name.
        name = f"numpy.{function.__name__}"
        if method != "__call__" or name not in _NUMPY or "out" in options:
            _refuse(TypeError(f"cuDF cannot compute {name}{'' if method == '__call__' else '.' + method}"))
        return standin(getattr(function, method)(*original(list(given)), **original(options)))

    def __array_function__(self, function: Any, types: Any, given: Any, options: Any) -> Any:
        # cuDF takes its own method of that name, or CuPy's function where each argument is a Series.
        kind, name = type(self).__name__, function.__name__
        cupys = f"{function.__module__}.{name}" in _NUMPY and kind == "Series"
        try:
            if not refuses(kind, name):
                return getattr(given[0], name)(*given[1:], **options)
            if cupys and all(isinstance(one, _KINDS["Series"]) for one in given):
                return standin(function(*original(list(given)), **options))
        except (AttributeError, TypeError, ValueError, IndexError):
            pass  # cuDF too answers any error within with this refusal
        _refuse(TypeError(f"cuDF cannot compute {function.__module__}.{name} of these arguments"))
        return standin(function(*original(list(given)), **original(options)))


class _Indexer:
    """``loc``, ``iloc``, ``at`` and ``iat``: their keys are values, of which the record knows nothing."""

    def __init__(self, indexer: Any) -> None:
        self._indexer = indexer

    def __getitem__(self, key: Any) -> Any:
        return standin(self._indexer[original(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._indexer[original(key)] = original(value)


def _method(kind: str, name: str, entry: str | None, value: Callable[..., Any]) -> Callable[..., Any]:
    """cuDF's method, whose arguments are held against the record and given to pandas' one."""

    def call(*given: Any, **named: Any) -> Any:
        accepted = entry is not None and _accepts(kind, name, entry, given, named)
        if name == "pipe" and given and callable(given[0]):
            raise Unknown("pipe hands a Series on: call the function itself")
        if name in _COMPILED and any(map(callable, [*given, *named.values()])):
            raise Unknown(f"the function given to {kind}.{name} is compiled by cuDF, which is not tried here")
        arguments, options = original(list(given)), original(named)
        if any(isinstance(one, pd.Series | pd.DataFrame | pd.Index) for one in [*given, *named.values()]):
            raise Unknown(f"{kind}.{name} is given an object of pandas")
        if accepted:
            try:
                inspect.signature(value).bind(*arguments, **options)
            except TypeError as refused:
                raise Unknown(f"pandas' {kind}.{name} does not know what cuDF's does: {refused}") from None
            except ValueError:
                pass  # a function in C tells no signature
        result = value(*arguments, **options)
        if isinstance(result, np.ndarray | pd.api.extensions.ExtensionArray) and name != "to_numpy":
            result = pd.Series(result)  # arrays of cuDF's are on the GPU
        return standin(result)

    call.__name__ = name
    return call


def _accepts(kind: str, name: str, entry: str, given: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether the recorded method takes these arguments. It is refused where it does not."""
    if entry.startswith("raises "):
        _refuse((NotImplementedError if "NotImpl" in entry else TypeError)(f"cuDF's {kind}.{name} always {entry}"))
        return False
    if entry.startswith("("):
        try:
            bound = _signature(entry).bind(*given, **named)
        except TypeError as refused:
            _refuse(TypeError(f"cuDF's {kind}.{name}: {refused}"))
            return False
        for parameter, only in RECORD["only"][kind].get(name, {}).items():
            value = bound.arguments.get(parameter, only)
            if value is not only and (only is None or (bool(value) if isinstance(only, bool) else value) != only):
                _refuse(NotImplementedError(f"cuDF's {kind}.{name} takes no {parameter} but {only!r}"))
                return False
    return True


def _operator(kind: str, name: str) -> Callable[..., Any]:
    """An operator or other special method that cuDF has: pandas' own."""

    def operate(self: Any, *given: Any) -> Any:
        _accepts(kind, name, CLASSES[kind][name], given, {})
        if any(isinstance(one, pd.Series | pd.DataFrame | pd.Index) for one in given):
            raise Unknown(f"{kind}.{name} is given an object of pandas")
        result = getattr(original(self), name)(*original(list(given)))
        return result if result is NotImplemented else standin(result)

    operate.__name__ = name
    return operate


def _to_arrow(own: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(own) if isinstance(own, pd.DataFrame) else pa.Array.from_pandas(own)


_EXPLICIT: dict[str, Callable[[Any], Any]] = {"to_pandas": lambda own: own, "to_arrow": _to_arrow}
"""cuDF's own ways to host memory."""


def _kind(name: str) -> type[_Standin]:
    special = {n for n in CLASSES[name] if n.startswith("__")} - _OWN_PROTOCOLS
    return type(name, (_Standin,), {"__slots__": ("_pandas",)} | {n: _operator(name, n) for n in sorted(special)})


_KINDS = {name: _kind(name) for name in CLASSES}


def _refuse_if_recorded(thing: _Standin, name: str, what: str) -> None:
    kind = type(thing).__name__
    if refuses(kind, name):
        _refuse(TypeError(f"cuDF's {kind} cannot be {what}"))


def _refuse(error: Exception) -> None:
    """Raises ``error``; within :func:`noting`, notes it instead."""
    notes = _notes.get()
    if notes is None:
        raise error
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != notes.file:
        frame = frame.f_back
    refusal = Refusal(str(error), frame.f_lineno if frame else 0)
    if refusal not in notes.refusals:
        notes.refusals.append(refusal)
