"""``gs.pandas_udf``: a body over Series, pandas on the CPU and cuDF on a GPU, inside PySpark's own UDFs.

PySpark checks each declaration, so forms and errors are PySpark's. The UDF that Spark sees is a pandas UDF of PySpark
around our worker, built when columns are given: so on the CPU every type and time zone behaves as in PySpark. If a GPU
is expected (``device=cuda``, or executors that declare GPUs), or ``missing="cudf"`` asks for cuDF's own nulls, it is an
Arrow UDF of PySpark instead, so that columns reach the device without pandas. The driver chooses how columns travel
(:mod:`gpuspark.dialects.series_transport`), the worker where they are computed
(:mod:`gpuspark.dialects.series_engine`); every combination works.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.columns import types
from gpuspark.columns.cudf_form import Missing, type_obstacle
from gpuspark.dialects.series_engine import placed
from gpuspark.dialects.series_transport import ArrowTransport
from gpuspark.dialects.series_worker import SeriesWorker
from gpuspark.errors import FallbackError, nearest
from gpuspark.execution.frame_body import PlacedFrameBody
from gpuspark.execution.placement import decide
from gpuspark.execution.plan import Plan
from gpuspark.spark import builder
from gpuspark.spark.builder import UdfCache, prepare
from gpuspark.spark.decorated import declaration_error, name_after
from gpuspark.spark.session import active_session, driver_config, running_task

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.types import DataType

    from gpuspark.config import Config

LEAST_ROWS = 10_000
"""Groups and windows of fewer rows run on pandas: they are too small to pay for a GPU launch."""


def pandas_udf(
    f: Any = None,
    returnType: str | DataType | None = None,
    functionType: int | None = None,
    *,
    missing: Missing = "pandas",
) -> Any:
    """Returns a Spark column function of a body over Series, or a decorator that does.

    A drop-in for :func:`pyspark.sql.functions.pandas_udf`, in all its forms: Series to Series, iterators, Series to
    scalar (in windows too), struct and DataFrame results. No session need exist yet.

    ``missing="pandas"``: nulls are NaN before the body and NaN is null after it, on a GPU as in PySpark.
    ``missing="cudf"``: on a GPU the body sees cuDF's own nulls.

    Misuse raises PySpark's errors, at decoration; a type given as a string is parsed as soon as there is a session.

    >>> import pandas as pd
    >>> @pandas_udf("double")
    ... def centred(v: pd.Series) -> pd.Series:
    ...     return v - v.mean()
    >>> centred.func(pd.Series([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    if missing not in ("pandas", "cudf"):
        raise declaration_error(f"missing={missing!r}: {nearest(str(missing), ('pandas', 'cudf'))}")
    decorates = f is None or isinstance(f, str) or _is_data_type(f)
    declared = (f or returnType) if decorates else returnType
    if declared is None or (isinstance(declared, int) and not _is_data_type(declared)):
        raise declaration_error('gs.pandas_udf needs the type of the result, as in @gs.pandas_udf("double")')
    if not decorates:
        return SeriesUDF(f, declared, functionType, missing)
    form = returnType if functionType is None and isinstance(returnType, int) else functionType
    return lambda body: SeriesUDF(body, declared, form, missing)


def _is_data_type(value: Any) -> bool:
    return any(c.__name__ == "DataType" and c.__module__ == "pyspark.sql.types" for c in type(value).__mro__)


class SeriesUDF:
    """A decorated series body, which returns a Spark column for columns. It has the attributes of PySpark's UDFs."""

    def __init__(
        self,
        body: Callable[..., Any],
        declared: Any,
        functionType: int | None,
        missing: Missing,
        deterministic: bool = True,
    ) -> None:
        if not callable(body):
            raise declaration_error(f"gs.pandas_udf decorates a function, not {body!r}")
        self.__gpuspark_body__ = body
        self.declared, self.functionType = declared, functionType
        self.missing, self.deterministic = missing, deterministic
        self._built = UdfCache()
        self.__name__: str
        name_after(self, body)
        if running_task() is None:
            self.evalType  # noqa: B018  # so that PySpark reports misuse now

    def __call__(self, *columns: Any, **named: Any) -> Column:
        column: Column = (self._arrow_form() or self.spark_udf())(*columns, **named)
        return column

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": UdfCache()}

    def __repr__(self) -> str:
        return f"<gpuspark pandas_udf {self.__name__} -> {self.declared}>"

    @cached_property
    def evalType(self) -> int:
        """PySpark's number of the body's form, from its type hints or ``functionType``.

        Raises PySpark's error for a declaration that PySpark refuses. A type given as a string cannot be parsed
        without a session, so until there is one another type is used in its place.
        """
        from pyspark.sql.types import LongType, StructType
        from pyspark.util import PythonEvalType

        if not isinstance(self.declared, str) or active_session() is not None:
            return int(self._plain(self.declared).evalType)
        is_map = self.functionType in (
            PythonEvalType.SQL_GROUPED_MAP_PANDAS_UDF,
            PythonEvalType.SQL_COGROUPED_MAP_PANDAS_UDF,
            PythonEvalType.SQL_MAP_PANDAS_ITER_UDF,
        )
        return int(self._plain(StructType() if is_map else LongType()).evalType)

    @property
    def returnType(self) -> Any:
        """The declared type, as PySpark's; as the string that it was given as, while there is no session to parse
        it."""
        if not isinstance(self.declared, str) or active_session() is None:
            return self.declared
        from pyspark.sql.types import DataType

        return DataType.fromDDL(self.declared)

    @property
    def func(self) -> Callable[..., Any]:
        """The body; for ``spark.udf.register``, which reads this too, the function of :meth:`spark_udf`, so that SQL
        runs the same as columns do."""
        return self.spark_udf().func if _registration_asks() else self.__gpuspark_body__

    def asNondeterministic(self) -> SeriesUDF:
        """Returns this function marked as nondeterministic, so that Spark does not duplicate or drop calls of it."""
        return SeriesUDF(self.__gpuspark_body__, self.declared, self.functionType, self.missing, deterministic=False)

    def spark_udf(self) -> Any:
        """Returns PySpark's pandas UDF for the active session and its present settings. Cached, so that Spark can
        recognise repeated expressions; the body is pickled once, as in PySpark."""
        session = prepare()
        spark, config = session.spark, session.config
        wrapped = config.enabled and self.evalType in _hints() and not self._left_to_the_profiler(spark, config)
        build = self._wrapped if wrapped else self._plain
        return self._built.get(("pandas", session.application, wrapped), lambda: build(self.declared))

    def explain(self, schema_or_types: Any = None) -> Plan:
        """Returns the plan for columns of these types: where the body would run, and why not elsewhere. Needs no Spark
        and no GPU.

        ``schema_or_types``: as for ``gs.udf``; every parameter a ``double`` by default.
        """
        _, columns = types.named(schema_or_types, inspect.signature(self.__gpuspark_body__))
        reasons = [obstacle for obstacle in (type_obstacle(column.name) for column in columns) if obstacle]
        return decide(self._placed(), driver_config(), {"cuda": reasons} if reasons else {})

    def _placed(self) -> PlacedFrameBody:
        """Returns what decides where the body runs, as far as the driver knows."""
        from pyspark.util import PythonEvalType

        reduce = getattr(PythonEvalType, "SQL_GROUPED_AGG_PANDAS_ITER_UDF", None)  # since PySpark 4.2
        over_batches = self.evalType in (PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF, reduce)
        return placed(self.__name__, "", self.missing, over_batches=over_batches)

    def _plain(self, declared: Any) -> Any:
        """Returns PySpark's own pandas UDF of the body."""
        return builder.pandas_udf(self.__gpuspark_body__, declared, self.functionType, deterministic=self.deterministic)

    def _wrapped(self, declared: Any) -> Any:
        """Returns PySpark's pandas UDF of a wrapper around the body."""
        from pyspark.util import PythonEvalType

        least_rows = LEAST_ROWS if self.evalType == PythonEvalType.SQL_GROUPED_AGG_PANDAS_UDF else 0
        wrapper = self._wrapper(self._worker(least_rows))
        return builder.pandas_udf(wrapper, declared, deterministic=self.deterministic)

    def _arrow_form(self) -> Any:
        """Returns PySpark's Arrow UDF of a wrapper around the body; ``None`` if columns should travel as pandas."""
        from pyspark.util import PythonEvalType

        from gpuspark.columns.pandas_form import Conversion

        session = prepare()
        spark, config = session.spark, session.config
        scalar = (PythonEvalType.SQL_SCALAR_PANDAS_UDF, PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF)
        if spark is None or not config.enabled or self.evalType not in scalar:
            return None
        if not _expects_gpu(spark, config, self.missing) or self._left_to_the_profiler(spark, config):
            return None
        conversion = Conversion.of(spark)

        def build() -> Any:
            transport = ArrowTransport(self.returnType, conversion)
            wrapper = self._wrapper(self._worker(0, transport))
            return builder.arrow_udf(wrapper, transport.declared, deterministic=self.deterministic)

        return self._built.get(("arrow", session.application, conversion), build)

    def _left_to_the_profiler(self, spark: SparkSession | None, config: Config) -> bool:
        """Returns whether PySpark's memory profiler is on. It only watches the lines of the function that PySpark
        calls, so PySpark must get the body itself, and runs it on pandas."""
        if spark is None or not _memory_is_profiled(spark):
            return False
        if config.fallback == "raise" and config.device == "cuda":
            raise FallbackError(
                f"{self.__name__}: cuda: PySpark's memory profiler is on, and it profiles the body on pandas only. "
                "spark.gpuspark.fallback=raise forbids that: unset spark.sql.pyspark.udf.profiler."
            )
        return True

    def _worker(self, least_rows: int, transport: ArrowTransport | None = None) -> SeriesWorker:
        body = self.__gpuspark_body__
        call = call_id(body, str(self.declared), self.evalType, self.missing, self.deterministic)
        return SeriesWorker(body, call, self.missing, least_rows, transport)

    def _wrapper(self, worker: SeriesWorker) -> Callable[..., Any]:
        """Returns the function that PySpark pickles. It calls ``worker``, and its type hints tell PySpark the body's
        form and how columns travel: the body itself may have no hints, or be a callable object."""
        from pyspark.util import PythonEvalType

        def once(*columns, **named):  # type: ignore[no-untyped-def]
            return worker.once(columns, named)

        def iterate(batches):  # type: ignore[no-untyped-def]
            return worker.iterate(batches)

        def reduce(batches):  # type: ignore[no-untyped-def]
            return worker.reduce(batches)

        wrapper = once
        if self.evalType == PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF:
            wrapper = iterate
        elif self.evalType == getattr(PythonEvalType, "SQL_GROUPED_AGG_PANDAS_ITER_UDF", None):  # since PySpark 4.2
            wrapper = reduce
        name_after(wrapper, self.__gpuspark_body__)
        del wrapper.__wrapped__  # type: ignore[attr-defined]  # PySpark would read the hints of that function
        wrapper.__annotations__ = dict(_hints(as_arrow=worker.transport.is_arrow)[self.evalType])
        return wrapper


def _hints(as_arrow: bool = False) -> Mapping[int, Mapping[str, Any]]:
    """Returns, by PySpark's number of each supported form, the type hints that tell PySpark this form."""
    import pandas as pd
    import pyarrow as pa
    from pyspark.util import PythonEvalType

    column: Any = pa.Array if as_arrow else pd.Series
    batches = Iterator[tuple[column, ...]]
    hints = {
        PythonEvalType.SQL_SCALAR_PANDAS_UDF: {"columns": column, "named": column, "return": column},
        PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF: {"batches": batches, "return": Iterator[column]},
        PythonEvalType.SQL_GROUPED_AGG_PANDAS_UDF: {"columns": column, "named": column, "return": float},
    }
    reduce = getattr(PythonEvalType, "SQL_GROUPED_AGG_PANDAS_ITER_UDF", None)  # since PySpark 4.2
    return hints if reduce is None else {**hints, reduce: {"batches": batches, "return": float}}


def _registration_asks() -> bool:
    """Returns whether PySpark's ``spark.udf.register`` reads the property that calls this."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    if frame is None or frame.f_code.co_name != "register":
        return False
    return str(frame.f_globals.get("__name__")).startswith("pyspark.sql.")


def _memory_is_profiled(spark: SparkSession) -> bool:
    by_session = spark.conf.get("spark.sql.pyspark.udf.profiler", None) == "memory"
    return by_session or spark.conf.get("spark.python.profile.memory", None) == "true"


def _expects_gpu(spark: SparkSession, config: Config, missing: Missing) -> bool:
    """Returns whether workers will probably compute on a GPU, as far as the driver can know."""
    if config.device != "auto":
        return config.device == "cuda"
    return missing == "cudf" or str(spark.conf.get("spark.executor.resource.gpu.amount", "0")) != "0"
