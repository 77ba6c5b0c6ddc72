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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gpuspark.errors import GpusparkError

if TYPE_CHECKING:
    import pandas as pd

ARITHMETIC = frozenset(
    prefix + name for prefix in ("", "r") for name in "add sub mul truediv floordiv mod pow div".split()
) | {"subtract", "multiply", "divide"}
COMPARISONS = frozenset("eq ne lt le gt ge and or xor rand ror rxor invert".split())
OPERATORS = frozenset(f"__{name}__" for name in ARITHMETIC | COMPARISONS | {"neg", "pos", "abs", "round"})
OTHER_OPERATORS = frozenset("__divmod__ __rdivmod__ __matmul__ __rmatmul__ __getitem__ __setitem__".split())
METHODS = frozenset(
    "abs all any astype bfill between clip copy count cummax cummin cumprod cumsum diff ffill fillna head isin "
    "isna isnull kurt kurtosis mask max mean median min notna notnull nunique pct_change prod product quantile "
    "round shift skew squeeze std sum var where".split()
)
UNTOUCHED = frozenset(
    "attrs dtype dtypes empty flags iloc index is_monotonic_decreasing is_monotonic_increasing is_unique name ndim "
    "null_count pipe shape size".split()
)
UFUNCS = frozenset(
    "absolute add arcsin arctan2 cbrt ceil copysign cos degrees divide equal exp exp2 expm1 floor floor_divide "
    "fmax greater greater_equal hypot isfinite isinf isnan less less_equal log log10 log1p log2 logical_and "
    "logical_not maximum minimum multiply negative not_equal power radians remainder rint sign sin sinh sqrt "
    "square subtract tan trunc".split()
)
NUMPY_FUNCTIONS = frozenset("around clip cumsum mean round sum".split())
TEXT = frozenset(
    "cat center contains count endswith find get len ljust pad removeprefix removesuffix repeat replace rfind "
    "rjust rsplit slice slice_replace split startswith zfill".split()
)
ASCII_TEXT = frozenset(
    "capitalize isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper lower lstrip rstrip "
    "strip swapcase title upper".split()
)
"""Equal for ASCII: other letters have other capitals and classes in cuDF."""
TIME = frozenset(
    "ceil day day_name day_of_week day_of_year dayofweek dayofyear days days_in_month daysinmonth floor hour "
    "is_leap_year is_month_end is_month_start is_quarter_end is_quarter_start is_year_end is_year_start "
    "microsecond minute month month_name nanosecond quarter round second seconds strftime total_seconds weekday "
    "year".split()
)
PATTERNS = frozenset("contains count replace rsplit split".split())
"""Methods of texts whose first argument may be a regular expression."""
SPECIAL = frozenset("\\.^$*+?{}[]|()")
FORMATS = frozenset("YmdHMSy")
NUMBERS = "iufb"
"""NumPy's kinds of the types whose results are checked."""


class Different(NotImplementedError, GpusparkError):
    """cuDF's result is not known to be that of pandas."""


_guarding: ContextVar[bool] = ContextVar("guarding", default=False)


@contextmanager
def pandas_meaning() -> Iterator[None]:
    """Context manager in which operations on ``cudf.Series`` give pandas' values or raise :class:`Different`."""
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
        if name in UNTOUCHED or (name.startswith("_") and name not in OPERATORS | OTHER_OPERATORS):
            continue
        attribute = inspect.getattr_static(series, name)
        if isinstance(attribute, classmethod | staticmethod):
            continue
        if name in ("to_arrow", "to_numpy", "to_pandas"):
            replacement: Any = _unchecked(series, name, attribute)
        elif name in ("str", "dt"):
            replacement = _accessor(name, attribute)
        elif name in OPERATORS | METHODS | ARITHMETIC | COMPARISONS | {"__getitem__"}:
            replacement = _checked(series, name, attribute)
        elif inspect.isfunction(attribute) or name in OTHER_OPERATORS:
            replacement = _refused(series, name, attribute)
        else:
            replacement = _refused_property(name, attribute)
        setattr(series, name, replacement)
    series.__array_ufunc__ = _checked_ufunc(series.__array_ufunc__)
    series.__array_function__ = _checked_function(series.__array_function__)


# Wrappers


def _checked(series: Any, name: str, attribute: Any) -> Callable[..., Any]:
    plain = name.strip("_")

    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if not _guarding.get():
            return original(self, *arguments, **named)
        with cudf_meaning():
            _check(plain, self, arguments, named)
            becomes_float = plain in ARITHMETIC and _becomes_float(plain, self, arguments)
            result = original(self.astype("float64") if becomes_float else self, *arguments, **named)
            if result is NotImplemented:
                return result
            result = _with_nan(result)
            if plain not in ("where", "mask", "shift", "fillna", "getitem"):
                _check_type(name, self, arguments, named, result)
            return result

    return _method(series, name, attribute, method)


def _unchecked(series: Any, name: str, attribute: Any) -> Callable[..., Any]:
    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with cudf_meaning():
            return original(self, *arguments, **named)

    return _method(series, name, attribute, method)


def _refused(series: Any, name: str, attribute: Any) -> Callable[..., Any]:
    def method(self: Any, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if _guarding.get():
            raise _different(f"Series.{name}")
        return original(self, *arguments, **named)

    return _method(series, name, attribute, method)


def _method(series: Any, name: str, attribute: Any, wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the method ``name`` of the class ``series``, which passes what was there before to ``wrapper``.

    cuDF makes its operators when they are first used, and puts them in the class: the method puts itself back.
    """

    def original(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return attribute.__get__(self, type(self))(*arguments, **named)
        finally:
            if vars(series).get(name) is not method:
                setattr(series, name, method)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return wrapper(self, original, *arguments, **named)

    method.__name__, method.__doc__ = name, getattr(attribute, "__doc__", None)
    return method


def _becomes_float(name: str, series: Any, arguments: tuple[Any, ...]) -> bool:
    """Returns whether pandas computes with doubles, where cuDF has floats for integers of less than 64 bits."""
    narrow = series.dtype.kind in "iu" and series.dtype.itemsize < 8
    return narrow and (name.removeprefix("r") in ("truediv", "div", "divide") or isinstance(arguments[0], float))


def _refused_property(name: str, original: Any) -> property:
    def get(self: Any) -> Any:
        if _guarding.get():
            raise _different(f"Series.{name}")
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
            return _with_nan(self._original[key])

    def __getattr__(self, name: str) -> Any:
        if name not in (TEXT | ASCII_TEXT if self._name == "str" else TIME):
            raise _different(f"Series.{self._name}.{name}")
        with cudf_meaning():
            if name in ASCII_TEXT and not self._is_ascii():
                raise Different(f"cuDF's Series.str.{name} differs from pandas' for texts that are not ASCII")
            attribute = getattr(self._original, name)
        return (
            functools.partial(self._call, name, attribute)
            if callable(attribute)
            else self._like_pandas(name, attribute)
        )

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with cudf_meaning():
            _check_text(name, arguments, named)
            return self._like_pandas(name, method(*arguments, **named), *arguments, **named)

    def _like_pandas(self, name: str, result: Any, *arguments: Any, **named: Any) -> Any:
        """Returns the numbers of ``result``, which count something, in the type that pandas has for them."""
        with cudf_meaning():
            if getattr(result, "dtype", None) is not None and result.dtype.kind in "iu":
                accessor = getattr(_sample(self._series), self._name)
                attribute = getattr(accessor, name)
                expected = attribute(*map(_sample, arguments), **named) if callable(attribute) else attribute
                result = result.astype(expected.dtype)
            return _with_nan(result)

    def _is_ascii(self) -> bool:
        return bool((self._original.byte_count() == self._original.len()).all())


def _checked_ufunc(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if not _guarding.get():
            return original(self, ufunc, method, *inputs, **named)
        name = ufunc.__name__
        if name not in UFUNCS or method != "__call__" or named:
            raise _different(f"np.{name}")
        with cudf_meaning():
            operation = {"floor_divide": "floordiv", "power": "pow", "remainder": "mod"}.get(name, name)
            _check_operands(operation, inputs)
            result = original(self, ufunc, method, *inputs, **named)
            _check_result(f"np.{name}", result, lambda: ufunc(*map(_sample, inputs)))
            return _with_nan(result)

    return array_ufunc


def _checked_function(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def array_function(self: Any, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        if _guarding.get() and function.__name__ not in NUMPY_FUNCTIONS:
            raise _different(f"np.{function.__name__}")
        return original(self, function, types, arguments, named)

    return array_function


def _different(name: str) -> Different:
    return Different(f"cuDF's {name} is not known to give pandas' values")


# Checks


def _check(name: str, series: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raises :class:`Different` for operands with which ``name`` has another result than in pandas."""
    operands = (series, *arguments)
    if name in COMPARISONS or name in ("between", "isin"):
        if any(_is_series(operand) and operand.null_count for operand in operands):
            raise Different("cuDF compares nulls differently from pandas")
    elif name in ARITHMETIC:
        _check_operands(name.removeprefix("r"), operands, reflected=name.startswith("r"))
    elif name == "astype":
        _check_cast(series, *arguments, **named)
    elif name in ("where", "mask"):
        _check_replacement(name, series, *arguments[1:], **{k: v for k, v in named.items() if k != "cond"})
    elif name == "shift":
        _check_replacement(
            name, series, *(value for value in (*arguments[3:], named.get("fill_value")) if value is not None)
        )
    elif name == "fillna":
        _check_replacement(name, series, *arguments, **named)
    elif name == "clip":
        _check_replacement(name, series, *(bound for bound in (*arguments, *named.values()) if bound is not None))
    elif name == "getitem" and not (isinstance(arguments[0], int) or _kind(arguments[0]) == "b"):
        raise _different("Series[...] by labels or slices")


def _check_operands(name: str, operands: tuple[Any, ...], *, reflected: bool = False) -> None:
    """Raises :class:`Different` where a division, a remainder or a power has another result than in pandas."""
    lengths = {len(operand) for operand in operands if _is_series(operand)}
    if len(lengths) > 1:
        raise Different("cuDF may align Series of different lengths differently from pandas")
    if len(operands) < 2:
        return
    left, right = operands[1::-1] if reflected else operands[:2]
    whole = _kind(left) in "iub" and _kind(right) in "iub"
    if name == "floordiv" and not whole:
        raise Different("cuDF rounds quotients of floats differently from pandas where one is not finite")
    if name in ("floordiv", "mod") and whole and (_is_series(right) or not right):
        raise Different("cuDF divides integers by zero differently from pandas")
    if name == "pow" and whole and (_is_series(right) or right < 0):
        raise Different("cuDF has values for negative powers of integers, where pandas raises an error")


def _check_cast(series: Any, dtype: Any, **named: Any) -> None:
    import numpy as np

    target = np.dtype(np.str_ if dtype in (str, "str", "string") else dtype)
    source = series.dtype.kind
    if source == "f" and target.kind == "i":
        exact = bool((series.abs() < 2.0 ** (8 * target.itemsize - 1)).all())  # of NaN too it is False
    else:
        exact = (target.kind in "fb" and source in NUMBERS) or (source in "iub" and target.kind in "iuU")
    if named or not exact:
        raise _different(f"Series.astype from {series.dtype} to {target.name}")


def _check_replacement(name: str, series: Any, *others: Any, **named: Any) -> None:
    """Raises :class:`Different` unless the values that take the place of others are of the type of ``series``."""
    for other in (*others, *named.values()):
        same = other.dtype == series.dtype and name != "clip" if _is_series(other) else _fits(other, series.dtype)
        if not same:
            raise _different(f"Series.{name} with a {type(other).__name__} beside {series.dtype}")


def _fits(value: Any, dtype: Any) -> bool:
    if isinstance(value, bool) or dtype.kind == "b":
        return isinstance(value, bool) and dtype.kind == "b"
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize - (dtype.kind == "i")
        return isinstance(value, int) and (-(2**bits) if dtype.kind == "i" else 0) <= value < 2**bits
    return isinstance(value, (int, float) if dtype.kind == "f" else str) and dtype.kind not in "mM"


def _check_text(name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    texts = [value for value in (*arguments, *named.values()) if isinstance(value, str)]
    if name == "strftime" and any(set(part[:1]) - FORMATS for text in texts for part in text.split("%")[1:]):
        raise _different("Series.dt.strftime with other directives than %Y %m %d %H %M %S %y")
    if name in PATTERNS and named.get("regex") is not False and any(SPECIAL & set(text) for text in texts):
        raise Different(f"cuDF's regular expressions differ from Python's (Series.str.{name})")
    if name in PATTERNS and {"case", "flags"} & set(named):
        raise _different(f"Series.str.{name} with case or flags")


def _check_type(name: str, series: Any, arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
    keywords = {key: _sample(value) for key, value in named.items()}
    _check_result(
        f"Series.{name}", result, lambda: getattr(_sample(series), name)(*map(_sample, arguments), **keywords)
    )


def _check_result(name: str, result: Any, with_pandas: Callable[[], Any]) -> None:
    """Raises :class:`Different` where ``result`` has another type of numbers than pandas has."""
    if not _is_series(result) or result.dtype.kind not in NUMBERS:
        return
    expected = getattr(with_pandas(), "dtype", result.dtype)
    if expected != result.dtype:
        raise Different(f"cuDF's {name} gives {result.dtype}, pandas' {expected}")


def _sample(value: Any) -> Any:
    """Returns a pandas Series of one row and the type of ``value``, if it is a Series, and ``value`` otherwise."""
    import numpy as np
    import pandas as pd

    if not _is_series(value):
        return value
    if value.dtype.kind in NUMBERS:
        return pd.Series(np.ones(1, value.dtype))
    return _other_sample(value.dtype.kind)


def _other_sample(kind: str) -> pd.Series[Any]:
    import pandas as pd

    examples: dict[str, Any] = {"M": pd.Timestamp(2024, 2, 29), "m": pd.Timedelta(days=1)}
    return pd.Series([examples.get(kind, "a")])


def _with_nan(result: Any) -> Any:
    """Returns numbers with NaN in place of nulls, as in pandas; other results as they are."""
    if not _is_series(result) or result.dtype.kind not in "iuf" or not result.null_count:
        return result
    wide = result if result.dtype.kind == "f" else result.astype("float64")
    return wide.fillna(float("nan"))


def _is_series(value: Any) -> bool:
    return hasattr(value, "null_count")


def _kind(operand: Any) -> str:
    """Returns NumPy's kind of a Series or a scalar: ``b``, ``i``, ``u``, ``f``, or another letter."""
    import numpy as np

    dtype = getattr(operand, "dtype", None)
    return str(getattr(dtype, "kind", "O")) if dtype is not None else np.min_scalar_type(operand).kind
