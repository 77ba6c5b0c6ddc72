"""Keeps a series body on cuDF to the operations that give pandas' values there.

Under pandas' names cuDF also has operations with other results: ``np.fmod`` has another sign, a boolean times 2.5 is an
8-bit integer, ``rank`` counts NaN, letters such as ß have other capitals. Inside :func:`pandas_meaning` only what is
listed here runs on ``cudf.Series``, and only for the types and values for which it was found equal on a GPU
(``python -m tests.proof.cudf_meaning``, ``docs/device/meaning.log``). Everything else raises :class:`Different`, and
the body runs on pandas. Nulls that an operation makes become NaN, as in pandas.

Sums, means and cumulative sums add in another order than pandas: their last digits may differ.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gpuspark.columns.cudf_operations import (
    ARITHMETIC,
    ASCII_TEXT,
    COMPARISONS,
    METHODS,
    NUMPY_FUNCTIONS,
    OPERATORS,
    OTHER_OPERATORS,
    TEXT,
    TIME,
    UFUNCS,
    UNTOUCHED,
    Different,
    becomes_float,
    check,
    check_nulls,
    check_operands,
    check_result,
    check_text,
    check_type,
    different,
    sample,
    with_nan,
)

_guarding: ContextVar[bool] = ContextVar("guarding", default=False)


@contextmanager
def pandas_meaning(guarded: Any = None) -> Iterator[None]:
    """Context manager in which operations on ``cudf.Series`` give pandas' values or raise :class:`Different`; or those
    on the class ``guarded``, if :func:`guard` has changed that."""
    if guarded is None:
        _install()
    token = _guarding.set(True)
    try:
        yield
    finally:
        _guarding.reset(token)


@contextmanager
def cudf_meaning() -> Iterator[None]:
    """Context manager in which nothing is checked: for cuDF's own code, and for conversions."""
    token = _guarding.set(False)
    try:
        yield
    finally:
        _guarding.reset(token)


@functools.cache
def _install() -> None:
    """Replaces the public operations of ``cudf.Series`` in this process by checked ones, which check nothing outside
    :func:`pandas_meaning`."""
    from gpuspark.devices import rapids

    guard(rapids.import_rapids().cudf.Series)


def guard(series: Any) -> None:
    """Replaces the public operations of the class ``series``, which has the interface of ``cudf.Series``."""
    for name in dir(series):
        if name in UNTOUCHED or (name.startswith("_") and name not in OPERATORS | OTHER_OPERATORS | {"__len__"}):
            continue
        getattr(series, name, None)  # cuDF makes an operator when it is first asked for, and puts it into the class
        attribute = inspect.getattr_static(series, name)
        if isinstance(attribute, classmethod | staticmethod):
            continue
        if name in ("__len__", "to_arrow", "to_numpy", "to_pandas"):
            replacement: Any = _unchecked(name, attribute)
        elif name == "empty":
            replacement = _unchecked_property(attribute)
        elif name in ("str", "dt"):
            replacement = _accessor(name, attribute)
        elif name in OPERATORS | METHODS | ARITHMETIC | COMPARISONS | {"__getitem__"}:
            replacement = _checked(name, attribute)
        elif inspect.isfunction(attribute) or name in OTHER_OPERATORS:
            replacement = _refused(name, attribute)
        else:
            replacement = _refused_property(name, attribute)
        setattr(series, name, replacement)
    series.__array_ufunc__ = _checked_ufunc(series.__array_ufunc__)
    series.__array_function__ = _checked_function(series.__array_function__)


# Wrappers


def _checked(name: str, attribute: Any) -> Callable[..., Any]:
    plain = name.strip("_")

    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if not _guarding.get():
            return original(self, *arguments, **named)
        with cudf_meaning():
            check(plain, self, arguments, named)
            wide = plain in ARITHMETIC and becomes_float(plain, self, arguments)
            result = original(self.astype("float64") if wide else self, *arguments, **named)
            if result is NotImplemented:
                return result
            result = with_nan(result)
            if plain not in ("where", "mask", "shift", "fillna", "getitem"):
                check_type(name, self, arguments, named, result)
            return result

    return _method(name, attribute, method)


def _unchecked(name: str, attribute: Any) -> Callable[..., Any]:
    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with cudf_meaning():
            return original(self, *arguments, **named)

    return _method(name, attribute, method)


def _unchecked_property(original: Any) -> property:
    def get(self: Any) -> Any:
        with cudf_meaning():
            return original.__get__(self, type(self))

    return property(get)


def _refused(name: str, attribute: Any) -> Callable[..., Any]:
    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if _guarding.get():
            raise different(f"Series.{name}")
        return original(self, *arguments, **named)

    return _method(name, attribute, method)


def _method(name: str, attribute: Any, wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the method ``name``, which passes what the class had under that name to ``wrapper``."""

    def original(self: Any, *arguments: Any, **named: Any) -> Any:
        return attribute.__get__(self, type(self))(*arguments, **named)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return wrapper(self, original, *arguments, **named)

    method.__name__, method.__doc__ = name, getattr(attribute, "__doc__", None)
    return method


def _refused_property(name: str, original: Any) -> property:
    def get(self: Any) -> Any:
        if _guarding.get():
            raise different(f"Series.{name}")
        return original.__get__(self, type(self))

    return property(get, getattr(original, "__set__", None))


def _accessor(name: str, original: Any) -> property:
    def get(self: Any) -> Any:
        if not _guarding.get():
            return original.__get__(self, type(self))
        with cudf_meaning():
            return CheckedAccessor(name, self, original.__get__(self, type(self)))

    return property(get)


class CheckedAccessor:
    """``series.str`` or ``series.dt`` inside :func:`pandas_meaning`."""

    def __init__(self, name: str, series: Any, accessor: Any) -> None:
        self._name, self._series, self._original = name, series, accessor

    def __getitem__(self, key: Any) -> Any:
        with cudf_meaning():
            return with_nan(self._original[key])

    def __getattr__(self, name: str) -> Any:
        if name not in (TEXT | ASCII_TEXT if self._name == "str" else TIME):
            raise different(f"Series.{self._name}.{name}")
        with cudf_meaning():
            if name in ASCII_TEXT and not self._is_ascii():
                raise Different(f"cuDF's Series.str.{name} differs from pandas' for texts that are not ASCII")
            attribute = getattr(self._original, name)
            is_method = callable(attribute)
            return functools.partial(self._call, name, attribute) if is_method else self._wide(name, attribute)

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with cudf_meaning():
            check_text(name, arguments, named)
            return self._wide(name, method(*arguments, **named), *arguments, **named)

    def _wide(self, name: str, result: Any, *arguments: Any, **named: Any) -> Any:
        """Returns whole numbers, such as lengths and months, in the type that pandas has for them."""
        if getattr(result, "dtype", None) is not None and result.dtype.kind in "iu":
            attribute = getattr(getattr(sample(self._series), self._name), name)
            expected = attribute(*map(sample, arguments), **named) if callable(attribute) else attribute
            result = result.astype(expected.dtype)
        return with_nan(result)

    def _is_ascii(self) -> bool:
        return bool((self._original.byte_count() == self._original.len()).all())


def _checked_ufunc(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if not _guarding.get():
            return original(self, ufunc, method, *inputs, **named)
        name = ufunc.__name__
        if name not in UFUNCS or method != "__call__" or named:
            raise different(f"np.{name}")
        with cudf_meaning():
            check_nulls(inputs)
            operation = {"floor_divide": "floordiv", "power": "pow", "remainder": "mod"}.get(name, name)
            check_operands(operation, inputs)
            result = original(self, ufunc, method, *inputs, **named)
            check_result(f"np.{name}", result, lambda: ufunc(*map(sample, inputs)))
            return with_nan(result)

    return array_ufunc


def _checked_function(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def array_function(self: Any, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        if _guarding.get() and function.__name__ not in NUMPY_FUNCTIONS:
            raise different(f"np.{function.__name__}")
        return original(self, function, types, arguments, named)

    return array_function
