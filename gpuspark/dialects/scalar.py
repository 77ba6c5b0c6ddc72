"""The driver half of the scalar dialect: the decorated function, which becomes an Arrow UDF of PySpark.

That UDF is built when columns are given, not at decoration: only then is it known whether the session is classic or
Connect, and what its ``spark.gpuspark.*`` configuration is. As a scalar Arrow UDF, it shares one Python node with other
functions in the same select, and with those that it is chained to.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import CodeType
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.accounting.expressions import note_expression
from gpuspark.columns import types
from gpuspark.compiler.catalyst import Expression, expression_of
from gpuspark.compiler.references import references_among
from gpuspark.compiler.source import HoldsBody, own_signature, recorded_reads
from gpuspark.config import Config
from gpuspark.dialects.arguments import bind
from gpuspark.dialects.body_copy import copy_body
from gpuspark.dialects.expression_column import (
    expression_column,
    label_of,
    labelled,
    may_be_repeated,
    why_not_chosen,
)
from gpuspark.errors import CallError, DeclarationError
from gpuspark.execution import user_types
from gpuspark.execution.plan import Plan, Reason
from gpuspark.execution.scalar import Nulls, ScalarFunction
from gpuspark.spark.builder import Prepared, UdfCache, arrow_udf, is_spark_column, plain_udf, prepare
from gpuspark.spark.decorated import name_after
from gpuspark.spark.session import active_session, application_is_profiled, driver_config, keeps_ledger, running_task
from gpuspark.spark.worker_log import name_users_functions

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.types import DataType

    TypeLike = str | DataType


_COLUMN_ATTRIBUTES = (
    "__arrow_c_array__ __arrow_c_stream__ __arrow_array__ iloc __array_function__ __cuda_array_interface__ to_series"
).split()
"""Attributes that tell columns, arrays, frames and indexes from numbers: each has at least one of them."""


class ScalarUDF(HoldsBody):
    """A decorated scalar function.

    Called with Spark columns or their names (numbers may be among them), it returns a Spark column. Called with Arrow,
    pandas or gpuspark columns, or one-dimensional NumPy arrays, it computes the result at once; lists,
    multi-dimensional arrays and frames among them are refused. Called with numbers, it is the plain function. In a
    task, a string is a value, not the name of a column.
    """

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
        self._body_copy: Callable[..., Any] | None = None
        """The copy of the body, with its captured values, made when the first Spark column was built."""
        self._content = ""
        """The digest of that copy."""
        self._built = UdfCache()
        self._prepared: dict[tuple[str, ...], ScalarFunction] = {}
        """The functions that were pickled with this one, by the names of their columns."""
        self._expressions: dict[tuple[str, ...], Expression] = {}
        """The function as Spark expressions, by the names of its columns."""

    def __call__(self, *columns: Any, **named: Any) -> Any:
        arguments = [*columns, *named.values()]
        if any(map(is_spark_column, arguments)):
            return self._column(columns, named)
        if running_task() is None and self._makes_column(arguments):
            return self._column(columns, named)
        if any(hasattr(value, name) for value in arguments for name in _COLUMN_ATTRIBUTES):
            from gpuspark.dialects.direct import apply_now

            return apply_now(self, self.scalar_function, self.__name__, self.bind(columns, named))
        return self.__gpuspark_body__(*columns, **named)

    def _makes_column(self, arguments: Sequence[Any]) -> bool:
        """Returns whether a call outside a task makes a Spark column: with a column's name, or, in a session, of a
        function without parameters."""
        if any(isinstance(value, str) for value in arguments):
            return True
        return not arguments and not self.signature.parameters and active_session() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state with the body rewritten for the compiler, since a worker may not have its source."""
        prepared = {variant.columns: variant for variant in self._variants()}
        body = self._body_copy or self.__gpuspark_body__
        replaced = {
            "__gpuspark_body__": body,
            "__wrapped__": body,
            "_body_copy": None,
            "_built": UdfCache(),
            "_prepared": prepared,
            "_expressions": {},
        }
        return self.__dict__ | replaced

    def __repr__(self) -> str:
        return f"<gpuspark udf {self.__name__}{self.signature} -> {self.result}>"

    def asNondeterministic(self) -> ScalarUDF:
        """Returns this function marked as nondeterministic, so that Spark does not duplicate or drop calls of it."""
        changed = ScalarUDF(self.__gpuspark_body__, self.declared, self.nulls, self.useArrow)
        changed.deterministic = False
        return changed

    def explain(self, schema_or_types: Any = None) -> Plan:
        """Returns the plan for columns of these types: where the function would run, and why not elsewhere.

        ``schema_or_types``: a list of type names, ``"a double, b int"``, a mapping from parameter to type, or a Spark
        or Arrow schema; every parameter a ``double`` by default. Needs no Spark and no GPU.
        """
        from gpuspark.execution.placement import decide
        from gpuspark.execution.runner import PlacedScalar

        names, column_types = types.named(schema_or_types, self.signature)
        config = driver_config()
        function = self._function_of(names, _unused_type)
        if not config.enabled or config.device not in ("auto", "sql"):
            return decide(PlacedScalar(function, column_types, config), config)
        types_by_name = {name: column.name for name, column in zip(names, column_types, strict=True)}
        refusals = self._refusals_of_sql(config, names, types_by_name)
        if not refusals:
            return Plan(function.name, "sql", (), fell_back=False)
        plan = decide(PlacedScalar(replace(function, not_sql=refusals), column_types, config), config)
        if config.device == "sql":
            return plan
        return replace(plan, reasons=(*(Reason("sql", text) for text in refusals), *plan.reasons))

    def scalar_function(self, columns: Sequence[str]) -> ScalarFunction:
        """Returns the function that is pickled for workers, with columns for these parameters."""
        return self._prepared.get(tuple(columns)) or self._function_of(columns, self._arrow_type)

    def _function_of(self, columns: Sequence[str], arrow: Callable[[], pa.DataType]) -> ScalarFunction:
        return ScalarFunction.of(
            self._body_copy or self.__gpuspark_body__, columns, nulls=self.nulls, result=self.result, arrow=arrow()
        )

    def bind(self, columns: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of a call by parameter name, in the parameters' order.

        Raises :class:`~gpuspark.errors.CallError` for too few or too many arguments, or a wrong name.
        """
        return bind(self.__name__, self.signature, columns, named)

    def spark_udf(self) -> Any:
        """Returns a PySpark UDF to register for SQL: ``spark.udf.register("f", f.spark_udf())``."""
        return self._pyspark_udf(("sql",), self._sql_worker)

    # The attributes that spark.udf.register reads.

    @property
    def evalType(self) -> int:
        """PySpark's number of this type of UDF."""
        from pyspark.util import PythonEvalType

        spark = active_session()
        if _runs_in_our_worker(spark, driver_config(spark)) and not self._reasons_for_pyspark():
            return int(PythonEvalType.SQL_SCALAR_ARROW_UDF)
        return int(self.spark_udf().evalType)

    @property
    def func(self) -> Any:
        """The callable that Spark pickles; the body itself while there is no session."""
        return self.spark_udf().func if active_session() else self.__gpuspark_body__

    @property
    def returnType(self) -> DataType:
        """The declared type, as PySpark's. Raises ``AttributeError`` if it is a string and there is no session to parse
        it."""
        if not isinstance(self.declared, str):
            return self.declared
        from pyspark.sql.types import DataType

        if active_session() is None:
            raise AttributeError(f"Spark parses the type {self.declared!r}, and there is no session yet")
        return DataType.fromDDL(self.declared)

    def _variants(self) -> list[ScalarFunction]:
        """Returns the function for each number of leading columns that its default arguments allow."""
        names = tuple(self.signature.parameters)
        required = sum(p.default is p.empty for p in self.signature.parameters.values())
        return [self.scalar_function(names[:count]) for count in range(max(required, 1), len(names) + 1)]

    def _column(self, columns: Sequence[Any], named: Mapping[str, Any]) -> Column:
        from gpuspark.dialects.scalar_worker import ScalarWorker

        session = prepare()
        values = {name: self._as_column(name, value) for name, value in self.bind(columns, named).items()}
        bound = tuple(values)
        refusals = self._not_sql(session, bound)

        def worker(call: str) -> ScalarWorker:
            return ScalarWorker(replace(self.scalar_function(bound), not_sql=refusals or _NOT_THESE_TYPES), call)

        pyspark_udf = self._pyspark_udf((*bound, *refusals), worker, session)
        by_name = {name: values[name] for name in named}
        made: Column = pyspark_udf(*list(values.values())[: len(columns)], **by_name)
        arguments = {name: values[name] for name in [*bound[: len(columns)], *named]}  # as the call gives them
        if not self.deterministic:
            return made
        label = label_of(self.__name__, arguments, named)
        if refusals or not all(map(may_be_repeated, arguments.values())):
            return labelled(made, label)
        if session.spark is not None and keeps_ledger(session.config):
            note_expression(session.spark, self.__name__)
        verified = self._verified(bound, values, session) if session.config.verify_fraction > 0 else None
        chosen = expression_column(self.expression(bound), self.__name__, arguments, made, session.spark, verified)
        return labelled(chosen.alias(label), label)

    def _verified(
        self, bound: tuple[str, ...], values: Mapping[str, Any], session: Prepared
    ) -> Callable[[Column], Column]:
        """Returns what makes of the function's Spark expression a column that compares it with Python."""
        from gpuspark.dialects.scalar_worker import ExpressionVerifier

        verifier = self._pyspark_udf(
            (*bound, "verified"), lambda call: ExpressionVerifier(self.scalar_function(bound), call), session
        )
        return lambda native: verifier(*values.values(), native)

    def _not_sql(self, session: Prepared, bound: tuple[str, ...]) -> tuple[str, ...]:
        """Returns why columns of this function are no Spark expressions; an empty tuple if they are, where the types
        of the columns have one."""
        config = session.config
        if config.device not in ("auto", "sql") or not _runs_in_our_worker(session.spark, config):
            return (f"spark.gpuspark.device was {config.device} when the column was built",)
        self._copy_of_body()
        return self._refusals_of_sql(config, bound)

    def _refusals_of_sql(
        self, config: Config, columns: tuple[str, ...], types: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Returns why calls with these columns are no Spark expressions. ``types``: Spark's names of their types, if
        they are known."""
        if not columns:
            return ("it is called without columns",)
        if not self.deterministic:
            return ("the function is marked as nondeterministic",)
        return tuple(why_not_chosen(config, self.expression(columns), types))

    def expression(self, columns: tuple[str, ...]) -> Expression:
        """Returns the function as Spark expressions of columns for these parameters."""
        if columns in self._expressions:
            return self._expressions[columns]
        body = self._body_copy or self.__gpuspark_body__
        hints = {name: parameter.annotation for name, parameter in self.signature.parameters.items()}
        with recorded_reads() as reads:
            expression = expression_of(body, columns, nullable=self.nulls == "pass", result=self.result, hints=hints)
        unsure = [problem for reference in references_among(reads) if (problem := reference.unsure())]
        if unsure:
            expression = replace(expression, variants=(), refusals=tuple(unsure))
        if self._body_copy is not None:  # else the captured values may still change
            self._expressions[columns] = expression
        return expression

    def _as_column(self, name: str, value: Any) -> Any:
        """Returns a number, a date or ``None`` as a literal column, and a column or its name unchanged."""
        from pyspark.sql import functions

        if isinstance(value, str) or is_spark_column(value):
            return value
        if value is None or isinstance(value, int | float | decimal.Decimal | datetime.date):
            return functions.lit(value)
        raise CallError(
            f"{self.__name__}{self.signature} was given a {type(value).__name__} for {name} beside Spark columns. "
            "Give columns, their names, or numbers."
        )

    def _pyspark_udf(self, form: tuple[str, ...], worker: Callable[[str], Any], session: Prepared | None = None) -> Any:
        """Returns PySpark's Arrow UDF of our worker, or PySpark's own UDF of the body. Cached per ``form`` and Spark
        application, so that Spark can recognise repeated expressions."""
        from gpuspark.dialects.row_worker import RowWorker

        session = session or prepare()
        by_our_worker = _runs_in_our_worker(session.spark, session.config)

        def build() -> Any:
            body, deterministic = self._copy_of_body(), self.deterministic
            call = call_id((self._content, form, str(self.declared), self.nulls, deterministic))
            obstacles = self._reasons_for_pyspark() if by_our_worker else []
            if obstacles:
                rows = RowWorker(body, self.__name__, self.nulls, obstacles, call)
                by_arrow = True if self.signature.parameters else self.useArrow  # user-defined types need Arrow
                return plain_udf(rows, self.declared, by_arrow=by_arrow, deterministic=deterministic)
            if by_our_worker:
                return arrow_udf(worker(call), self.declared, deterministic=deterministic)
            body = body if self.nulls == "pass" else _NullForNull(body)
            return plain_udf(body, self.declared, by_arrow=self.useArrow, deterministic=deterministic)

        return self._built.get((form, session.application, by_our_worker, user_types.any_loaded()), build)

    def _copy_of_body(self) -> Callable[..., Any]:
        """Returns the copy of the body with its captured values, which is made at the first call."""
        if self._body_copy is None:
            self._content = call_id(self.__gpuspark_body__)
            self._body_copy = copy_body(self.__gpuspark_body__)
        return self._body_copy

    def _sql_worker(self, call: str) -> Any:
        from gpuspark.dialects.scalar_worker import SqlWorker

        return SqlWorker(self._variants(), call)

    def _reasons_for_pyspark(self) -> list[str]:
        """Returns why PySpark's own udf must run the function; empty if gpuspark can.

        Only PySpark's udf calls functions without parameters, and converts user-defined types. So it runs functions
        that return such a type, and those that may get one and do not compile.
        """
        if not self.signature.parameters:
            return [*self._function_of((), _unused_type).refusals]
        if user_types.holds_user_type(self.declared):
            return [f"the result is {self.result}, which only PySpark's own udf can return"]
        if not user_types.any_loaded():
            return []
        function = self._function_of(tuple(self.signature.parameters), _unused_type)
        return list(function.refusals) or user_types.object_uses(self.__gpuspark_body__)

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


def _runs_in_our_worker(spark: SparkSession | None, config: Config) -> bool:
    """Returns whether gpuspark's worker runs the function: not with ``spark.gpuspark.enabled=false``, and not in an
    application under PySpark's profilers, which watch plain Python."""
    return config.enabled and not application_is_profiled(spark)


_NOT_THESE_TYPES = ("the body has no Spark expression for columns of these types",)


class _NullForNull:
    """A callable around the user's function that returns null for any null argument."""

    def __init__(self, body: Callable[..., Any]):
        name_after(self, body)
        self._body: Any = body
        self._names_are_known = False

    @property
    def __code__(self) -> CodeType:
        """The code of the user's function, which PySpark's memory profiler asks for. Callable objects have none."""
        code: CodeType = self._body.__code__
        return code

    def __call__(self, *values: Any, **named: Any) -> Any:
        if not self._names_are_known:  # in this task
            self._names_are_known = True
            name_users_functions()
        if any(value is None for value in (*values, *named.values())):
            return None
        return self._body(*values, **named)


def _unused_type() -> pa.DataType:
    """Returns a placeholder: a plan does not need the result's Arrow type, which may take a Spark session to know."""
    import pyarrow as pa

    return pa.null()
