"""``gs.udf``: a plain Python function of numbers as a Spark column function, compiled on every device.

The PySpark UDF behind it is built when columns are given, not at decoration: only then is it known
whether the session is classic or Connect, and what the session flag says. It is PySpark's scalar Arrow
UDF, so several functions in one select, and chains, share one Python node.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, overload

from gpuspark import types
from gpuspark.errors import CallError, DeclarationError, nearest
from gpuspark.plan import Plan
from gpuspark.scalar import Nulls, ScalarFunction

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

    Raises :class:`~gpuspark.errors.DeclarationError` for a type that Spark does not have.

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


class ScalarUDF:
    """A decorated scalar function. Called with columns (or their names) it gives a Spark column; with
    Arrow, pandas or gpuspark columns it computes them now; with numbers it is the plain function."""

    def __init__(self, function: Callable[..., Any], declared: TypeLike, nulls: Nulls = "propagate") -> None:
        if not callable(function):
            raise DeclarationError(f"gs.udf decorates a function, not {function!r}")
        self.__gpuspark_body__ = function
        self.declared = declared
        self.nulls: Nulls = nulls
        self.deterministic = True
        self.result = types.parse(declared if isinstance(declared, str) else declared.simpleString())
        self.signature = inspect.signature(function)
        update_wrapper(self, function)
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *columns: Any, **named: Any) -> Any:
        given = [*columns, *named.values()]
        if given and all(isinstance(value, str) or _is_spark_column(value) for value in given):
            return self._column(columns, named)
        if any(hasattr(value, "__arrow_c_array__") or hasattr(value, "iloc") for value in given):
            from gpuspark.columns import apply_now

            return apply_now(self, columns, named)
        return self.__gpuspark_body__(*columns, **named)

    def __getstate__(self) -> dict[str, Any]:
        """Bodies are rewritten before they travel: a worker may not have their source."""
        kept = {name: value for name, value in self.__dict__.items() if name != "_runners"}
        return {**kept, "_prepared": {variant.columns: variant for variant in self._variants()}}

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
        from gpuspark.session import driver_config
        from gpuspark.worker import decide

        names, column_types = types.named(schema_or_types, tuple(self.signature.parameters))
        return decide(self.scalar_function(names), column_types, driver_config())

    def scalar_function(self, columns: Sequence[str]) -> ScalarFunction:
        """The function as it travels to workers, with columns for these parameters."""
        prepared: dict[tuple[str, ...], ScalarFunction] = self.__dict__.get("_prepared", {})
        return prepared.get(tuple(columns)) or ScalarFunction.of(
            self.__gpuspark_body__, columns, nulls=self.nulls, result=self.result, arrow=self._arrow_type()
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

        return self._pyspark_udf(lambda call: SqlWorker(self._variants(), call))

    def _variants(self) -> list[ScalarFunction]:
        """The function for each number of leading columns that its defaults allow."""
        names = tuple(self.signature.parameters)
        needed = sum(p.default is p.empty for p in self.signature.parameters.values())
        return [self.scalar_function(names[:count]) for count in range(max(needed, 1), len(names) + 1)]

    def _column(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Column:
        from gpuspark.worker import ScalarWorker

        bound = self.bind(columns, named)
        built = self._pyspark_udf(lambda call: ScalarWorker(self.scalar_function(tuple(bound)), call))
        if getattr(built, "func", None) is self.__gpuspark_body__:
            return built(*columns, **named)  # type: ignore[no-any-return]
        return built(*bound.values())  # type: ignore[no-any-return]

    def _pyspark_udf(self, worker: Callable[[str], Any]) -> Any:
        """PySpark's own UDF where the session flag is off, else its Arrow UDF around our worker."""
        from pyspark.sql import functions

        from gpuspark.session import active_session, driver_config, enable_ledger

        spark = active_session()
        config = driver_config(spark)
        if not config.enabled:
            built = functions.udf(self.__gpuspark_body__, self.declared)
        else:
            if spark is not None:
                enable_ledger(spark, config)
            make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
            built = make(worker(uuid.uuid4().hex[:12]), self.declared)
        return built if self.deterministic else built.asNondeterministic()

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


def _is_spark_column(value: Any) -> bool:
    return any(c.__name__ == "Column" and c.__module__.startswith("pyspark.") for c in type(value).__mro__)
