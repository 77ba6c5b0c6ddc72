"""``gs.udf``: declares a plain Python function of numbers as a Spark column function.

What it returns is a :class:`~gpuspark.dialects.scalar.ScalarUDF`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from gpuspark.dialects.hints import vectorised_as
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.errors import DeclarationError, nearest
from gpuspark.execution.scalar import Nulls

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

    TypeLike = str | DataType


@overload
def udf(
    f: Callable[..., Any], returnType: TypeLike, *, useArrow: bool | None = ..., nulls: Nulls = ...
) -> ScalarUDF: ...
@overload
def udf(
    f: TypeLike | None = ..., returnType: TypeLike | None = ..., *, useArrow: bool | None = ..., nulls: Nulls = ...
) -> Callable[[Callable[..., Any]], ScalarUDF]: ...
def udf(f: Any = None, returnType: Any = None, *, useArrow: bool | None = None, nulls: Nulls = "propagate") -> Any:
    """Returns a Spark column function of a Python function of numbers, booleans, dates and timestamps.

    Used as ``@gs.udf("double")``, like :func:`pyspark.sql.functions.udf`; no session need exist yet.

    The body is plain Python: arithmetic, branches, loops, ``math``, NumPy's scalar functions, calls of other plain
    functions, captured numbers and small arrays. It is compiled for the CPU or a GPU when batches arrive, for the types
    that the columns have. What does not compile runs in Python, and the ledger gives the reason
    (:meth:`ScalarUDF.explain` gives it beforehand); this includes built-ins, classes and other callables. Values,
    nulls, types and errors are those of plain Python on every device.

    ``nulls="propagate"``: a row with any null gives null, and the body never sees it.
    ``nulls="pass"``: the body gets ``None``. Either way ``return None`` gives null.

    What the body captures (globals, closure, defaults, and what they hold) is copied once, as in PySpark: when its
    first Spark column is built, or when it is registered for SQL. All later columns, SQL, calls on Arrow columns and
    ``explain`` use this copy; before that, they see the current values. Called with numbers, the function is the body
    itself. A function of an importable module is pickled by name, as in PySpark.

    A body whose type hints say that it takes pandas Series is a pandas UDF for PySpark's ``udf``, and here too:
    it becomes a :func:`gpuspark.pandas_udf`, unless ``useArrow`` is given. ``useArrow`` has no other effect: columns
    always travel as Arrow. With ``spark.gpuspark.enabled=false`` it is passed on to PySpark.

    A function without parameters has no columns to run over: called in a session, it returns a Spark column that
    PySpark computes row by row.

    Raises :class:`~gpuspark.errors.DeclarationError` for a type that Spark does not have, and for hints of Arrow
    arrays.

    >>> @udf("double")
    ... def area(width, height):
    ...     return width * height
    >>> area.explain(["double", "double"]).device
    'sql'
    """
    if nulls not in ("propagate", "pass"):
        raise DeclarationError(f"nulls={nulls!r}: {nearest(str(nulls), ('propagate', 'pass'))}")
    function = None if f is None or _is_type(f) else f
    declared = returnType if function is not None or returnType is not None else f
    if declared is None:
        raise DeclarationError('gs.udf needs the type of the result, as in @gs.udf("double")')
    if not _is_type(declared):
        raise DeclarationError(
            f"returnType={declared!r} is not a type: give a string such as 'double', or DoubleType()"
        )
    if function is not None:
        return _decorated(function, declared, nulls, useArrow)
    return lambda function: _decorated(function, declared, nulls, useArrow)


def _is_type(value: Any) -> bool:
    return isinstance(value, str) or (hasattr(value, "simpleString") and not isinstance(value, type))


def _decorated(function: Any, declared: TypeLike, nulls: Nulls, useArrow: bool | None) -> Any:
    form = vectorised_as(function) if useArrow is None and callable(function) else None
    name = getattr(function, "__name__", type(function).__name__)
    if form == "arrow":
        raise DeclarationError(
            f"the hints of {name} say that it takes Arrow arrays, and gs.udf calls a function row by row. Use "
            "pyspark.sql.functions.arrow_udf or gs.map_in_arrow, or give useArrow=True to have it called row by row."
        )
    if form == "pandas":
        if nulls == "pass":
            raise DeclarationError(
                f'the hints of {name} say that it takes pandas Series, which have their own nulls: omit nulls="pass", '
                "or give useArrow=True to have it called row by row."
            )
        from gpuspark.dialects.series import pandas_udf

        return pandas_udf(function, declared)
    return ScalarUDF(function, declared, nulls, useArrow)
