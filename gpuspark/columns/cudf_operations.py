"""The operations of ``cudf.Series`` that give pandas' values, and for which types and values they do.

They were found on a GPU: ``python -m tests.proof.cudf_meaning``, ``docs/device/meaning.log``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    "attrs dtype dtypes flags iloc is_monotonic_decreasing is_monotonic_increasing is_unique name ndim "
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
PARAMETERS = frozenset(
    "cond ddof decimals dtype fill_value inclusive lower min_count n other periods regex repl sep skipna upper "
    "value".split()
)
"""What may be given by name. Operands of arithmetic and comparisons are given by position."""
PATTERNS = frozenset("contains count endswith find replace rfind rsplit split startswith".split())
"""Methods of texts whose first argument must be a text; without characters that are special in regular expressions,
unless ``regex=False`` is given or the method is among the next."""
LITERAL = frozenset("endswith find rfind startswith".split())
"""Those that take no regular expression."""
SPECIAL = frozenset("\\.^$*+?{}[]|()")
FORMATS = frozenset("YmdHMSy")
NUMBERS = "iufb"
"""NumPy's kinds of the types whose results are checked."""


class Different(NotImplementedError, GpusparkError):
    """cuDF's result is not known to be that of pandas."""


def different(name: str) -> Different:
    return Different(f"cuDF's {name} is not known to give pandas' values")


def becomes_float(name: str, series: Any, arguments: tuple[Any, ...]) -> bool:
    """Returns whether pandas computes with doubles, where cuDF has floats for integers of less than 64 bits."""
    narrow = series.dtype.kind in "iu" and series.dtype.itemsize < 8
    return narrow and (name.removeprefix("r") in ("truediv", "div", "divide") or isinstance(arguments[0], float))


def check(name: str, series: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raises :class:`Different` for operands with which ``name`` has another result than in pandas."""
    _check_parameters(name, named)
    operands = (series, *arguments)
    if name in ARITHMETIC | COMPARISONS and "other" in named:
        raise different(f"Series.{name} with its operand by name")
    if name in COMPARISONS or name in ("between", "isin"):
        check_nulls(operands)
    elif name in ARITHMETIC:
        check_operands(name.removeprefix("r"), operands, reflected=name.startswith("r"))
    elif name == "astype":
        _check_cast(series, *arguments, **named)
    elif name in ("where", "mask"):
        _check_condition(name, arguments[0] if arguments else named.get("cond"))
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
        raise different("Series[...] by labels or slices")


def check_nulls(operands: Iterable[Any]) -> None:
    """Raises :class:`Different` if an operand holds nulls: booleans, texts and times have no NaN."""
    if any(_is_series(operand) and operand.null_count for operand in operands):
        raise Different("cuDF compares nulls differently from pandas")


def check_operands(name: str, operands: tuple[Any, ...], *, reflected: bool = False) -> None:
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
        raise different(f"Series.astype from {series.dtype} to {target.name}")


def _check_condition(name: str, condition: Any) -> None:
    if not _is_series(condition) or _kind(condition) != "b":
        raise different(f"Series.{name} by other than a Series of booleans")
    check_nulls([condition])


def _check_parameters(name: str, named: Mapping[str, Any]) -> None:
    unknown = sorted(set(named) - PARAMETERS)
    if unknown:
        raise different(f"{name} with the parameter {unknown[0]}")


def _check_replacement(name: str, series: Any, *others: Any, **named: Any) -> None:
    """Raises :class:`Different` unless the values that take the place of others are of the type of ``series``."""
    for other in (*others, *named.values()):
        same = other.dtype == series.dtype and name != "clip" if _is_series(other) else _fits(other, series.dtype)
        if not same:
            raise different(f"Series.{name} with a {type(other).__name__} beside {series.dtype}")


def _fits(value: Any, dtype: Any) -> bool:
    if isinstance(value, bool) or dtype.kind == "b":
        return isinstance(value, bool) and dtype.kind == "b"
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize - (dtype.kind == "i")
        return isinstance(value, int) and (-(2**bits) if dtype.kind == "i" else 0) <= value < 2**bits
    return isinstance(value, (int, float) if dtype.kind == "f" else str) and dtype.kind not in "mM"


def check_text(name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raises :class:`Different` for a regular expression, or a format of times with other than plain numbers."""
    _check_parameters(name, named)
    texts = [value for value in (*arguments, *named.values()) if isinstance(value, str)]
    if name == "strftime" and any(set(part[:1]) - FORMATS for text in texts for part in text.split("%")[1:]):
        raise different("Series.dt.strftime with other directives than %Y %m %d %H %M %S %y")
    if name in PATTERNS and not (arguments and isinstance(arguments[0], str)):
        raise different(f"Series.str.{name} with other than a text as its first argument")
    if name in PATTERNS - LITERAL and named.get("regex") is not False and any(SPECIAL & set(text) for text in texts):
        raise Different(f"cuDF's regular expressions differ from Python's (Series.str.{name})")


def check_type(name: str, series: Any, arguments: tuple[Any, ...], named: Mapping[str, Any], result: Any) -> None:
    """Raises :class:`Different` where the result of the method ``name`` has another type of numbers than in pandas."""
    keywords = {key: sample(value) for key, value in named.items()}
    check_result(f"Series.{name}", result, lambda: getattr(sample(series), name)(*map(sample, arguments), **keywords))


def check_result(name: str, result: Any, with_pandas: Callable[[], Any]) -> None:
    """Raises :class:`Different` where ``result`` has another type of numbers than pandas has."""
    if not _is_series(result) or result.dtype.kind not in NUMBERS:
        return
    expected = getattr(with_pandas(), "dtype", result.dtype)
    if expected != result.dtype:
        raise Different(f"cuDF's {name} gives {result.dtype}, pandas' {expected}")


def sample(value: Any) -> Any:
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


def with_nan(result: Any) -> Any:
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
