"""``gs.udf``: a plain Python function of numbers as a Spark column function, compiled on every device.

The PySpark UDF behind it is built when columns are given, not at decoration: only then is it known
whether the session is classic or Connect, and what the session flag says. It is PySpark's scalar Arrow
UDF, so several functions in one select, and chains, share one Python node.
"""

from __future__ import annotations

import datetime
import decimal
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper, wraps
from typing import TYPE_CHECKING, Any, overload

from gpuspark import types
from gpuspark.compiler.source import HoldsBody, own_signature
from gpuspark.errors import CallError, DeclarationError, nearest
from gpuspark.plan import Plan
from gpuspark.scalar import Nulls, ScalarFunction
from gpuspark.session import application, driver_config, running_task

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

    TypeLike = str | DataType


@overload
def udf(f: Callable[..., Any], returnType: TypeLike, *, nulls: Nulls = ...) -> ScalarUDF: ...
@overload
def udf(
    f: TypeLike | None = ..., returnType: TypeLike | None = ..., *, nulls: Nulls = ...
) -> Callable[[Callable[..., Any]], ScalarUDF]: ...
def udf(f: Any = None, returnType: Any = None, *, nulls: Nulls = "propagate") -> Any:
    """Makes a Spark column function of a Python function of numbers, booleans, dates and timestamps.

    Used as ``@gs.udf("double")``, like :func:`pyspark.sql.functions.udf`; no session need exist yet.

    The body is plain Python: arithmetic, branches, loops, ``math``, NumPy's scalar functions, calls of
    other plain functions, captured numbers and small arrays. It is compiled for the CPU or a GPU when
    batches come, for the types that the columns have. What does not compile runs in Python, with the
    reason on record (:meth:`ScalarUDF.explain` tells it before). Values, nulls, types and errors are
    plain Python's on every device.

    ``nulls="propagate"``: a row with any null gives null, and the body never sees it.
    ``nulls="pass"``: the body sees ``None``. Either way ``return None`` gives null.

    What the body captures is taken when its first column is built, as PySpark does.

    Raises :class:`~gpuspark.errors.DeclarationError` for a type that Spark does not have, and for a function
    without parameters, which has no columns to run over.

    >>> @udf("double")
    ... def area(width, height):
    ...     return width * height
    >>> area.explain(["double", "double"]).device in ("cpu", "cuda")
    True
    """
    if nulls not in ("propagate", "pass"):
        raise DeclarationError(f"nulls={nulls!r}: {nearest(str(nulls), ('propagate', 'pass'))}")
    declared = returnType if callable(f) and not _is_type(f) else returnType or f
    if declared is None:
        raise DeclarationError('gs.udf needs the type of the result, as in @gs.udf("double")')
    if callable(f) and not _is_type(f):
        return ScalarUDF(f, declared, nulls)
    return lambda function: ScalarUDF(function, declared, nulls)


def _is_type(thing: Any) -> bool:
    return isinstance(thing, str) or hasattr(thing, "simpleString")


class ScalarUDF(HoldsBody):
    """A decorated scalar function. Called with columns or their names, numbers among them, it gives a Spark column;
    with Arrow, pandas or gpuspark columns it computes them now; with numbers it is the plain function. In a task,
    a text is a text and no column's name."""

    def __init__(self, function: Callable[..., Any], declared: TypeLike, nulls: Nulls = "propagate") -> None:
        if not callable(function):
            raise DeclarationError(f"gs.udf decorates a function, not {function!r}")
        update_wrapper(self, function)  # first: a wrapper of another decorated function has all that one's attributes
        self.__gpuspark_body__ = function
        self.declared = declared
        self.nulls: Nulls = nulls
        self.deterministic = True
        self.result = types.parse(declared if isinstance(declared, str) else declared.simpleString())
        self.signature = own_signature(function)
        self._built: dict[tuple[Any, ...], Any] = {}
        self._prepared: dict[tuple[str, ...], ScalarFunction] = {}
        """What travelled with the function, by its columns."""
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        if not self.signature.parameters:
            raise DeclarationError(
                f"{self.__name__} has no parameters, and gs.udf runs functions over columns. "
                "Give it one, or use pyspark.sql.functions.udf."
            )

    def __call__(self, *columns: Any, **named: Any) -> Any:
        given = [*columns, *named.values()]
        if any(map(_is_spark_column, given)) or (any(isinstance(v, str) for v in given) and running_task() is None):
            return self._column(columns, named)
        if any(hasattr(value, "__arrow_c_array__") or hasattr(value, "iloc") for value in given):
            from gpuspark.columns import apply_now

            return apply_now(self, columns, named)
        return self.__gpuspark_body__(*columns, **named)

    def __getstate__(self) -> dict[str, Any]:
        """Bodies are rewritten before they travel: a worker may not have their source."""
        kept = {name: value for name, value in self.__dict__.items() if name != "_built"}
        return {**kept, "_built": {}, "_prepared": {variant.columns: variant for variant in self._variants()}}

    def __repr__(self) -> str:
        return f"<gpuspark udf {self.__name__}{self.signature} -> {self.result}>"

    def asNondeterministic(self) -> ScalarUDF:
        """The same function, which Spark must not call more or less often than it is written."""
        changed = ScalarUDF(self.__gpuspark_body__, self.declared, self.nulls)
        changed.deterministic = False
        return changed

    def explain(self, schema_or_types: Any = None) -> Plan:
        """Where the function would run for columns of these types, and why not elsewhere.

        ``schema_or_types``: a list of type names, ``"a double, b int"``, a mapping from parameter to type,
        a Spark or Arrow schema; every parameter a ``double`` by default. Needs no Spark and no GPU.
        """
        from gpuspark.worker import decide

        names, column_types = types.named(schema_or_types, self.signature)
        return decide(self._function_of(names, _not_asked), column_types, driver_config())

    def scalar_function(self, columns: Sequence[str]) -> ScalarFunction:
        """The function as it travels to workers, with columns for these parameters."""
        return self._prepared.get(tuple(columns)) or self._function_of(columns, self._arrow_type)

    def _function_of(self, columns: Sequence[str], arrow: Callable[[], pa.DataType]) -> ScalarFunction:
        return ScalarFunction.of(
            self.__gpuspark_body__, columns, nulls=self.nulls, result=self.result, arrow=arrow()
        )

    def bind(self, columns: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Parameter name to argument, in the parameters' order.

        Raises :class:`~gpuspark.errors.CallError` for too few or too many, or a wrong name.
        """
        try:
            bound = self.signature.bind(*columns, **named).arguments
        except TypeError as error:
            raise CallError(
                f"{self.__name__}{self.signature} was given {len(columns)} columns"
                f"{' and ' + ', '.join(named) if named else ''}: {error}. Give one column per parameter."
            ) from None
        flat: dict[str, Any] = {}
        for name, value in bound.items():
            match self.signature.parameters[name].kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    flat |= {f"{name}[{n}]": column for n, column in enumerate(value)}
                case inspect.Parameter.VAR_KEYWORD:
                    flat |= value
                case _:
                    flat[name] = value
        return flat

    def spark_udf(self) -> Any:
        """A PySpark UDF to register for SQL: ``spark.udf.register("f", f.spark_udf())``."""
        from gpuspark.worker import SqlWorker

        return self._pyspark_udf(("sql",), lambda call: SqlWorker(self._variants(), call))

    # What spark.udf.register asks of a function that it is given as it is.

    @property
    def evalType(self) -> int:
        """Spark's number of this kind of function."""
        return int(self.spark_udf().evalType)

    @property
    def func(self) -> Any:
        """What Spark pickles; the body itself where the session flag is off."""
        return self.spark_udf().func

    @property
    def returnType(self) -> DataType:
        """The declared type as Spark's."""
        found: DataType = self.spark_udf().returnType
        return found

    def _variants(self) -> list[ScalarFunction]:
        """The function for each number of leading columns that its defaults allow."""
        names = tuple(self.signature.parameters)
        needed = sum(p.default is p.empty for p in self.signature.parameters.values())
        return [self.scalar_function(names[:count]) for count in range(max(needed, 1), len(names) + 1)]

    def _column(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Column:
        from gpuspark.worker import ScalarWorker

        bound = self.bind(columns, named)
        built = self._pyspark_udf(tuple(bound), lambda call: ScalarWorker(self.scalar_function(tuple(bound)), call))
        if not driver_config().enabled:  # then it is PySpark's own, which knows the parameters' names
            by_name = {name: self._as_column(name, value) for name, value in named.items()}
            return built(*map(self._as_column, bound, columns), **by_name)  # type: ignore[no-any-return]
        return built(*map(self._as_column, bound, bound.values()))  # type: ignore[no-any-return]

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
        """PySpark's own UDF where the session flag is off, else its Arrow UDF around our worker. The same one for
        each ``form``, so that Spark sees where one expression stands twice, until another Spark is started."""
        from pyspark.sql import functions

        from gpuspark.session import active_session, enable_ledger

        spark = active_session()
        config = driver_config(spark)
        if config.enabled and spark is not None:
            enable_ledger(spark, config)
        key = (form, application(spark), config.enabled)
        if key not in self._built:
            if config.enabled:
                make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
                built = make(worker(uuid.uuid4().hex[:12]), self.declared)
            else:
                body = self.__gpuspark_body__
                built = functions.udf(body if self.nulls == "pass" else _null_for_null(body), self.declared)
            self._built[key] = built if self.deterministic else built.asNondeterministic()
        return self._built[key]

    def _arrow_type(self) -> pa.DataType:
        import pyarrow as pa

        if self.result.name == "timestamp":
            return pa.timestamp("us", tz="UTC")
        if self.result.compiles:
            return pa.type_for_alias(self.result.arrow)
        if self.result.name == "string":
            return pa.string()
        from gpuspark.spark_types import arrow_type

        return arrow_type(self.declared)


def _null_for_null(body: Callable[..., Any]) -> Callable[..., Any]:
    """``body``, which never sees a null: any null gives null."""

    @wraps(body)
    def guarded(*values: Any, **named: Any) -> Any:
        if any(value is None for value in (*values, *named.values())):
            return None
        return body(*values, **named)

    return guarded


def _not_asked() -> pa.DataType:
    """A plan does not ask for the result's Arrow type, which may take a Spark session to know."""
    import pyarrow as pa

    return pa.null()


def _is_spark_column(value: Any) -> bool:
    return any(c.__name__ == "Column" and c.__module__.startswith("pyspark.") for c in type(value).__mro__)
