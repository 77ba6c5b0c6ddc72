"""``gs.pandas_udf``: pandas Series on the CPU, cuDF Series on a GPU, PySpark's own UDFs around both.

The UDF that Spark sees is PySpark's pandas UDF, built when columns are given, with a wrapper inside that keeps the
body's signature and type hints. So on the CPU every form, type and time zone is PySpark's by construction. Where a
GPU is to be expected (``device=cuda``, executors that declare GPUs) or ``missing="cudf"`` asks for cuDF's own nulls,
it is PySpark's Arrow UDF instead, so that columns need no pandas on their way to the device: the driver chooses how
columns travel, the worker where they are computed (:mod:`gpuspark.series_worker`), and either works with either.
"""

from __future__ import annotations

import functools
import inspect
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpuspark import types
from gpuspark.cudf_form import Missing, type_obstacle
from gpuspark.errors import CallError, DeclarationError, nearest
from gpuspark.plan import Plan
from gpuspark.series_worker import ArrowTransport, SeriesWorker, decide
from gpuspark.session import active_session, application, driver_config, enable_ledger

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession
    from pyspark.sql.types import DataType

    from gpuspark.config import Config

LEAST_ROWS = 10_000
"""Groups and windows of fewer rows are not worth a launch, and run on pandas."""


def pandas_udf(
    f: Any = None,
    returnType: str | DataType | None = None,
    functionType: int | None = None,
    *,
    missing: Missing = "pandas",
) -> Any:
    """A drop-in for :func:`pyspark.sql.functions.pandas_udf`, in all its forms: Series to Series, iterators,
    Series to scalar (in windows too), struct and DataFrame results. No session need exist yet.

    ``missing="pandas"``: nulls are NaN before the body and NaN is null after it, on a GPU as in PySpark.
    ``missing="cudf"``: on a GPU the body sees cuDF's own nulls.

    >>> import pandas as pd
    >>> @pandas_udf("double")
    ... def centred(v: pd.Series) -> pd.Series:
    ...     return v - v.mean()
    >>> centred.func(pd.Series([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    if missing not in ("pandas", "cudf"):
        raise DeclarationError(f"missing={missing!r}: {nearest(str(missing), ('pandas', 'cudf'))}")
    if callable(f) and not hasattr(f, "simpleString"):
        return SeriesUDF(f, _declared(returnType), functionType, missing)
    declared = _declared(returnType if f is None else f)
    kind = returnType if isinstance(returnType, int) else functionType
    return lambda body: SeriesUDF(body, declared, kind, missing)


def _declared(given: Any) -> Any:
    if given is None or isinstance(given, int):
        raise DeclarationError('gs.pandas_udf needs the type of the result, as in @gs.pandas_udf("double")')
    return given


class SeriesUDF:
    """A decorated series body. Called with columns it gives a Spark column; ``func`` is the body itself."""

    def __init__(self, func: Callable[..., Any], returnType: Any, functionType: int | None, missing: Missing) -> None:
        if not callable(func):
            raise DeclarationError(f"gs.pandas_udf decorates a function, not {func!r}")
        self.func, self.returnType, self.functionType, self.missing = func, returnType, functionType, missing
        self.deterministic = True
        self._built: dict[tuple[Any, ...], Any] = {}
        functools.update_wrapper(self, func)

    def __call__(self, *columns: Any, **named: Any) -> Column:
        config = driver_config(active_session())
        arrow = self._arrow_form(config, tuple(named))
        built: Column = self.spark_udf()(*columns, **named) if arrow is None else arrow(*columns, *named.values())
        return built

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": {}}

    @property
    def evalType(self) -> int:
        """Only to say what ``spark.udf.register`` takes, which asks for it."""
        name = getattr(self.func, "__name__", "f")
        raise CallError(f"register what {name}.spark_udf() gives: spark.udf.register({name!r}, {name}.spark_udf())")

    def __repr__(self) -> str:
        return f"<gpuspark pandas_udf {getattr(self.func, '__name__', self.func)} -> {self.returnType}>"

    def asNondeterministic(self) -> SeriesUDF:
        """The same function, which Spark must not call more or less often than it is written."""
        changed = SeriesUDF(self.func, self.returnType, self.functionType, self.missing)
        changed.deterministic = False
        return changed

    def spark_udf(self) -> Any:
        """PySpark's pandas UDF, for this kind of session and its flag as it is now. The same one each time, so that
        Spark sees where one expression stands twice; the body is pickled once, as PySpark's own is."""
        from pyspark.sql import functions

        spark = active_session()
        config = driver_config(spark)
        if config.enabled and spark is not None:
            enable_ledger(spark, config)
        key = ("pandas", application(spark), config.enabled)
        if key not in self._built:
            plain = self._plain()
            if config.enabled:
                make: Any = functions.pandas_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
                plain = make(_wrapper(self.func, plain.evalType, self.missing), self.returnType, self.functionType)
            self._built[key] = plain if self.deterministic else plain.asNondeterministic()
        return self._built[key]

    def explain(self, schema_or_types: Any = None) -> Plan:
        """Where the body would run for columns of these types, and why not elsewhere. Needs no Spark and no GPU.

        ``schema_or_types``: as for ``gs.udf``; every parameter a ``double`` by default.
        """
        _, columns = types.named(schema_or_types, inspect.signature(self.func))
        found = [why for why in (type_obstacle(column.name) for column in columns) if why]
        return decide(self.func.__name__, driver_config(), {"cuda": found} if found else {})

    def _plain(self) -> Any:
        """PySpark's own pandas UDF of the body, which also finds its form."""
        from pyspark.sql import functions

        make: Any = functions.pandas_udf  # type: ignore[attr-defined]
        return make(self.func, self.returnType, self.functionType)

    def _arrow_form(self, config: Config, named: tuple[str, ...]) -> Any:
        """PySpark's Arrow UDF around the body, where columns shall travel as Arrow; else ``None``."""
        from pyspark.sql import functions
        from pyspark.sql.types import DataType
        from pyspark.util import PythonEvalType

        from gpuspark.pandas_form import Conversion

        spark = active_session()
        if spark is None or not config.enabled or not _expects_gpu(spark, config, self.missing):
            return None
        eval_type = self._plain().evalType
        if eval_type not in (PythonEvalType.SQL_SCALAR_PANDAS_UDF, PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF):
            return None
        enable_ledger(spark, config)
        conversion = Conversion.of(spark)
        key = ("arrow", application(spark), conversion, named)
        if key not in self._built:
            declared = DataType.fromDDL(self.returnType) if isinstance(self.returnType, str) else self.returnType
            transport = ArrowTransport(declared, conversion, named)
            worker = SeriesWorker(self.func, uuid.uuid4().hex[:12], self.missing, 0, transport)
            make: Any = functions.arrow_udf  # type: ignore[attr-defined]
            built = make(_arrow_wrapper(worker, eval_type == PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF), declared)
            self._built[key] = built if self.deterministic else built.asNondeterministic()
        return self._built[key]


def _expects_gpu(spark: SparkSession, config: Config, missing: Missing) -> bool:
    """Whether workers will probably compute on a GPU, as far as the driver can know."""
    if config.device != "auto":
        return config.device == "cuda"
    return missing == "cudf" or str(spark.conf.get("spark.executor.resource.gpu.amount", "0")) != "0"


def _wrapper(body: Callable[..., Any], eval_type: int, missing: Missing) -> Callable[..., Any]:
    """What PySpark pickles: a function with the body's signature and hints around a :class:`SeriesWorker`."""
    from pyspark.util import PythonEvalType

    aggregates = eval_type == PythonEvalType.SQL_GROUPED_AGG_PANDAS_UDF
    worker = SeriesWorker(body, uuid.uuid4().hex[:12], missing, LEAST_ROWS if aggregates else 0)
    reduces = getattr(PythonEvalType, "SQL_GROUPED_AGG_PANDAS_ITER_UDF", None)  # since PySpark 4.2
    if eval_type not in (PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF, reduces):

        @functools.wraps(body)
        def once(*columns: Any, **named: Any) -> Any:
            return worker.once(columns, named)

        return once
    if eval_type == PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF:

        @functools.wraps(body)
        def iterate(batches: Any, *more: Any) -> Any:
            return worker.iterate(batches, *more)

        return iterate

    @functools.wraps(body)
    def reduce(batches: Any, *more: Any) -> Any:
        return worker.reduce(batches, *more)

    return reduce


def _arrow_wrapper(worker: SeriesWorker, iterates: bool) -> Callable[..., Any]:
    """The same for PySpark's Arrow UDF, whose form is told by the hints."""
    from collections.abc import Iterator

    import pyarrow as pa

    def once(*columns):  # type: ignore[no-untyped-def]
        return worker.once(columns, {})

    def iterate(batches):  # type: ignore[no-untyped-def]
        return worker.iterate(batches)

    wrapper = iterate if iterates else once
    several = tuple[pa.Array, ...]
    wrapper.__annotations__ = (
        {"batches": Iterator[several], "return": Iterator[pa.Array]}
        if iterates
        else {"columns": pa.Array, "return": pa.Array}
    )
    wrapper.__name__, wrapper.__doc__ = worker.name, worker.body.__doc__
    return wrapper
