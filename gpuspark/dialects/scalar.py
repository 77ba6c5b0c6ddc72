"""``gs.udf``: a plain Python function of numbers as a Spark column function, compiled on every device.

The PySpark UDF behind it is built when columns are given, not at decoration: only then is it known
whether the session is classic or Connect, and what the session flag says. It is PySpark's scalar Arrow
UDF, so several functions in one select, and chains, share one Python node.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any, overload

from gpuspark.accounting.entries import call_id
from gpuspark.columns import types
from gpuspark.compiler.source import HoldsBody, own_signature
from gpuspark.config import Config
from gpuspark.dialects.arguments import bind
from gpuspark.dialects.hints import vectorised_as
from gpuspark.dialects.taken import take
from gpuspark.errors import CallError, DeclarationError, nearest
from gpuspark.execution import user_types
from gpuspark.execution.plan import Plan
from gpuspark.execution.scalar import Nulls, ScalarFunction
from gpuspark.spark.builder import UdfCache, arrow_udf, plain_udf, prepare
from gpuspark.spark.decorated import name_after
from gpuspark.spark.session import active_session, application_is_profiled, driver_config, running_task
from gpuspark.spark.worker_log import name_users_functions

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, SparkSession
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
    """Makes a Spark column function of a Python function of numbers, booleans, dates and timestamps.

    Used as ``@gs.udf("double")``, like :func:`pyspark.sql.functions.udf`; no session need exist yet.

    The body is plain Python: arithmetic, branches, loops, ``math``, NumPy's scalar functions, calls of
    other plain functions, captured numbers and small arrays. It is compiled for the CPU or a GPU when
    batches come, for the types that the columns have. What does not compile runs in Python, with the
    reason on record (:meth:`ScalarUDF.explain` tells it before): so do built-ins, classes and other callables. Values,
    nulls, types and errors are plain Python's on every device.

    ``nulls="propagate"``: a row with any null gives null, and the body never sees it.
    ``nulls="pass"``: the body sees ``None``. Either way ``return None`` gives null.

    What the body captures (globals, closure, defaults, and what they hold) is taken once: when its first Spark column
    is built, or when it is registered for SQL, as PySpark does. Every later column in whatever form, SQL, calls on
    Arrow columns and ``explain`` have the same; before, they see what is there. Called with numbers it is the body
    itself. A function of an importable module goes by its name, as in PySpark.

    A body whose hints say that it takes pandas Series is a pandas UDF to PySpark's ``udf``, and so it is here:
    :func:`gpuspark.pandas_udf` makes it, unless ``useArrow`` is given. That has no other effect: columns always come
    as Arrow. With ``spark.gpuspark.enabled=false`` it is handed on to PySpark.

    A function without parameters has no columns to run over: called in a session it gives a Spark column, which PySpark
    computes row by row.

    Raises :class:`~gpuspark.errors.DeclarationError` for a type that Spark does not have, and for hints of Arrow
    arrays.

    >>> @udf("double")
    ... def area(width, height):
    ...     return width * height
    >>> area.explain(["double", "double"]).device in ("cpu", "cuda")
    True
    """
    if nulls not in ("propagate", "pass"):
        raise DeclarationError(f"nulls={nulls!r}: {nearest(str(nulls), ('propagate', 'pass'))}")
    function = None if f is None or _is_type(f) else f
    declared = returnType if function is not None or returnType is not None else f
    if declared is None:
        raise DeclarationError('gs.udf needs the type of the result, as in @gs.udf("double")')
    if not _is_type(declared):
        raise DeclarationError(f"returnType={declared!r} is no type: give a text such as 'double', or DoubleType()")
    if function is not None:
        return _decorated(function, declared, nulls, useArrow)
    return lambda function: _decorated(function, declared, nulls, useArrow)


_HOLD_ROWS = ("__arrow_c_array__", "__arrow_c_stream__", "__arrow_array__", "iloc", "__array_function__",
              "__cuda_array_interface__", "to_series")  # fmt: skip
"""What columns, arrays, frames and indexes have, one or the other."""


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
                f'the hints of {name} say that it takes pandas Series, which have their own nulls: leave nulls="pass" '
                "away, or give useArrow=True to have it called row by row."
            )
        from gpuspark.dialects.series import pandas_udf

        return pandas_udf(function, declared)
    return ScalarUDF(function, declared, nulls, useArrow)


class ScalarUDF(HoldsBody):
    """A decorated scalar function. Called with columns or their names, numbers among them, it gives a Spark column;
    with Arrow, pandas or gpuspark columns it computes them now, and with NumPy arrays of one dimension, whose items are
    rows then; beside them, lists, arrays of more dimensions and frames are refused. With numbers it is the plain
    function. In a task, a text is a text and no column's name."""

    __name__: str

    def __init__(
        self,
        function: Callable[..., Any],
        declared: TypeLike,
        nulls: Nulls = "propagate",
        useArrow: bool | None = None,
    ) -> None:
        if not callable(function):
            raise DeclarationError(f"gs.udf decorates a function, not {function!r}")
        name_after(self, function)
        self.__gpuspark_body__ = function
        self.declared = declared
        self.nulls: Nulls = nulls
        self.useArrow = useArrow
        self.deterministic = True
        self.result = types.declared(declared)
        self.signature = own_signature(function)
        self._taken: Callable[..., Any] | None = None
        """The body with what it captured when the first Spark column was built."""
        self._content = ""
        """The id of what was taken."""
        self._built = UdfCache()
        self._prepared: dict[tuple[str, ...], ScalarFunction] = {}
        """What travelled with the function, by its columns."""

    def __call__(self, *columns: Any, **named: Any) -> Any:
        given = [*columns, *named.values()]
        if any(map(_is_spark_column, given)):
            return self._column(columns, named)
        if running_task() is None and (any(isinstance(v, str) for v in given) or self._stands_without_columns(given)):
            return self._column(columns, named)
        if any(hasattr(value, name) for value in given for name in _HOLD_ROWS):
            from gpuspark.dialects.direct import apply_now

            return apply_now(self, self.scalar_function, self.__name__, self.bind(columns, named))
        return self.__gpuspark_body__(*columns, **named)

    def _stands_without_columns(self, given: Sequence[Any]) -> bool:
        return not given and not self.signature.parameters and active_session() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Bodies are rewritten before they travel: a worker may not have their source."""
        prepared = {variant.columns: variant for variant in self._variants()}
        body = self._taken or self.__gpuspark_body__
        replaced = {
            "__gpuspark_body__": body,
            "__wrapped__": body,
            "_taken": None,
            "_built": UdfCache(),
            "_prepared": prepared,
        }
        return self.__dict__ | replaced

    def __repr__(self) -> str:
        return f"<gpuspark udf {self.__name__}{self.signature} -> {self.result}>"

    def asNondeterministic(self) -> ScalarUDF:
        """The same function, which Spark must not call more or less often than it is written."""
        changed = ScalarUDF(self.__gpuspark_body__, self.declared, self.nulls, self.useArrow)
        changed.deterministic = False
        return changed

    def explain(self, schema_or_types: Any = None) -> Plan:
        """Where the function would run for columns of these types, and why not elsewhere.

        ``schema_or_types``: a list of type names, ``"a double, b int"``, a mapping from parameter to type,
        a Spark or Arrow schema; every parameter a ``double`` by default. Needs no Spark and no GPU.
        """
        from gpuspark.execution.placement import decide
        from gpuspark.execution.runner import PlacedScalar

        names, column_types = types.named(schema_or_types, self.signature)
        config = driver_config()
        return decide(PlacedScalar(self._function_of(names, _not_asked), column_types, config), config)

    def scalar_function(self, columns: Sequence[str]) -> ScalarFunction:
        """The function as it travels to workers, with columns for these parameters."""
        return self._prepared.get(tuple(columns)) or self._function_of(columns, self._arrow_type)

    def _function_of(self, columns: Sequence[str], arrow: Callable[[], pa.DataType]) -> ScalarFunction:
        return ScalarFunction.of(
            self._taken or self.__gpuspark_body__, columns, nulls=self.nulls, result=self.result, arrow=arrow()
        )

    def bind(self, columns: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Parameter name to argument, in the parameters' order.

        Raises :class:`~gpuspark.errors.CallError` for too few or too many, or a wrong name.
        """
        return bind(self.__name__, self.signature, columns, named)

    def spark_udf(self) -> Any:
        """A PySpark UDF to register for SQL: ``spark.udf.register("f", f.spark_udf())``."""
        return self._pyspark_udf(("sql",), self._sql_worker)

    # What spark.udf.register asks of a function that it is given as it is.

    @property
    def evalType(self) -> int:
        """Spark's number of this kind of function."""
        from pyspark.util import PythonEvalType

        spark = active_session()
        if _is_ours(spark, driver_config(spark)) and not self._only_pysparks():
            return int(PythonEvalType.SQL_SCALAR_ARROW_UDF)
        return int(self.spark_udf().evalType)

    @property
    def func(self) -> Any:
        """What Spark pickles; the body itself where the session flag is off."""
        return self.spark_udf().func if active_session() else self.__gpuspark_body__

    @property
    def returnType(self) -> DataType:
        """The declared type as Spark's. Where it was declared by a text, there is none without a session."""
        if not isinstance(self.declared, str):
            return self.declared
        from pyspark.sql.types import DataType

        if active_session() is None:
            raise AttributeError(f"Spark reads the type {self.declared!r}, and there is no session yet")
        return DataType.fromDDL(self.declared)

    def _variants(self) -> list[ScalarFunction]:
        """The function for each number of leading columns that its defaults allow."""
        names = tuple(self.signature.parameters)
        needed = sum(p.default is p.empty for p in self.signature.parameters.values())
        return [self.scalar_function(names[:count]) for count in range(max(needed, 1), len(names) + 1)]

    def _column(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Column:
        from gpuspark.dialects.scalar_worker import ScalarWorker

        bound = tuple(self.bind(columns, named))
        built = self._pyspark_udf(bound, lambda call: ScalarWorker(self.scalar_function(bound), call))
        by_name = {name: self._as_column(name, value) for name, value in named.items()}
        return built(*map(self._as_column, bound, columns), **by_name)  # type: ignore[no-any-return]

    def _as_column(self, name: str, value: Any) -> Any:
        """A number, a date or ``None`` as a literal column; a column or its name as it is."""
        from pyspark.sql import functions

        if isinstance(value, str) or _is_spark_column(value):
            return value
        if value is None or isinstance(value, int | float | decimal.Decimal | datetime.date):
            return functions.lit(value)
        raise CallError(
            f"{self.__name__}{self.signature} was given a {type(value).__name__} for {name} beside Spark columns. "
            "Give columns, their names, or numbers."
        )

    def _pyspark_udf(self, form: tuple[str, ...], worker: Callable[[str], Any]) -> Any:
        """PySpark's Arrow UDF around our worker, or its own UDF of the body. The same one for each ``form``, so that
        Spark sees where one expression stands twice, until another Spark is started."""
        from gpuspark.dialects.row_worker import RowWorker

        session = prepare()
        ours = _is_ours(session.spark, session.config)

        def build() -> Any:
            body, deterministic = self._take(), self.deterministic
            call = call_id((self._content, form, str(self.declared), self.nulls, deterministic))
            obstacles = self._only_pysparks() if ours else []
            if obstacles:
                rows = RowWorker(body, self.__name__, self.nulls, obstacles, call)
                by_arrow = True if self.signature.parameters else self.useArrow  # user-defined types: as Arrow
                return plain_udf(rows, self.declared, by_arrow=by_arrow, deterministic=deterministic)
            if ours:
                return arrow_udf(worker(call), self.declared, deterministic=deterministic)
            body = body if self.nulls == "pass" else _NullForNull(body)
            return plain_udf(body, self.declared, by_arrow=self.useArrow, deterministic=deterministic)

        return self._built.get((form, session.application, ours, user_types.any_loaded()), build)

    def _take(self) -> Callable[..., Any]:
        """The body with what it captured when this was called first."""
        if self._taken is None:
            self._content = call_id(self.__gpuspark_body__)
            self._taken = take(self.__gpuspark_body__)
        return self._taken

    def _sql_worker(self, call: str) -> Any:
        from gpuspark.dialects.scalar_worker import SqlWorker

        return SqlWorker(self._variants(), call)

    def _only_pysparks(self) -> list[str]:
        """Why the function is left to PySpark's own udf, which alone takes functions without parameters, and knows
        user-defined types: it returns one, or may be given one and does not compile. Empty where the function is
        ours."""
        if not self.signature.parameters:
            return [*self._function_of((), _not_asked).refusals]
        if user_types.holds_user_type(self.declared):
            return [f"the result is {self.result}, which only PySpark's own udf can return"]
        if not user_types.any_loaded():
            return []
        function = self._function_of(tuple(self.signature.parameters), _not_asked)
        return list(function.refusals) or user_types.takes_apart(self.__gpuspark_body__)

    def _arrow_type(self) -> pa.DataType:
        import pyarrow as pa

        if self.result.name == "timestamp":
            return pa.timestamp("us", tz="UTC")
        if self.result.compiles:
            return pa.type_for_alias(self.result.arrow)
        if self.result.name == "string":
            return pa.string()
        from gpuspark.spark.arrow_types import arrow_type

        return arrow_type(self.declared)


def _is_ours(spark: SparkSession | None, config: Config) -> bool:
    """Whether a worker of ours runs the function: not where the session flag is off, and not in an application under
    PySpark's profilers, which watch plain Python."""
    return config.enabled and not application_is_profiled(spark)


class _NullForNull:
    """A user's function that never sees a null: any null gives null."""

    def __init__(self, body: Callable[..., Any]):
        name_after(self, body)
        self._body: Any = body
        self._names_are_known = False

    @property
    def __code__(self) -> CodeType:
        """The user's code, whose lines PySpark's profiler of memory counts. Callable objects have none."""
        code: CodeType = self._body.__code__
        return code

    def __call__(self, *values: Any, **named: Any) -> Any:
        if not self._names_are_known:  # in this task
            self._names_are_known = True
            name_users_functions()
        if any(value is None for value in (*values, *named.values())):
            return None
        return self._body(*values, **named)


def _not_asked() -> pa.DataType:
    """A plan does not ask for the result's Arrow type, which may take a Spark session to know."""
    import pyarrow as pa

    return pa.null()


def _is_spark_column(value: Any) -> bool:
    return any(c.__name__ == "Column" and c.__module__.startswith("pyspark.") for c in type(value).__mro__)
