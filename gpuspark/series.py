"""``gs.pandas_udf``: pandas Series on the CPU, cuDF Series on a GPU, PySpark's own pandas UDF around both.

The UDF that Spark sees is PySpark's, built when columns are given, with a wrapper inside that keeps the
body's signature and type hints. So on the CPU every form, type and time zone is PySpark's by construction.
Bodies see Spark's own batches on every device, and may be run once more, on pandas, where cuDF refuses a
method: they must be pure, as Spark demands anyway.

The cuDF half has not run on a device (docs/evidence.md).
"""

from __future__ import annotations

import functools
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gpuspark import types
from gpuspark.config import Config
from gpuspark.errors import DeclarationError, FallbackError, locate, nearest
from gpuspark.plan import DeviceName, Plan, devices_of, enforce, plan
from gpuspark.records import Entry, entry
from gpuspark.session import active_session, driver_config, enable_ledger, task_config

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

Missing = Literal["pandas", "cudf"]
LEAST_ROWS = 10_000
"""Groups and windows of fewer rows are not worth a launch, and run on pandas."""
_WITHOUT_CUDF_FORM = ("decimal", "date", "array", "map", "struct", "binary", "interval")
_log = logging.getLogger("gpuspark")


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
        functools.update_wrapper(self, func)

    def __call__(self, *columns: Any, **named: Any) -> Column:
        built: Column = self.spark_udf()(*columns, **named)
        return built

    def __repr__(self) -> str:
        return f"<gpuspark pandas_udf {getattr(self.func, '__name__', self.func)} -> {self.returnType}>"

    def asNondeterministic(self) -> SeriesUDF:
        """The same function, which Spark must not call more or less often than it is written."""
        changed = SeriesUDF(self.func, self.returnType, self.functionType, self.missing)
        changed.deterministic = False
        return changed

    def spark_udf(self) -> Any:
        """PySpark's pandas UDF, for this kind of session and its flag as it is now."""
        from pyspark.sql import functions

        spark = active_session()
        config = driver_config(spark)
        make: Any = functions.pandas_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
        plain = make(self.func, self.returnType, self.functionType)
        if config.enabled:
            if spark is not None:
                enable_ledger(spark, config)
            wrapper = _wrapper(self.func, plain.evalType, self.missing)
            plain = make(wrapper, self.returnType, self.functionType)
        return plain if self.deterministic else plain.asNondeterministic()

    def explain(self, types_: Sequence[str] = ()) -> Plan:
        """Where the body would run for columns of these types, and why not elsewhere."""
        names = [types.parse(name).name for name in types_]
        found = [f"a column of {n} has no equal cuDF form" for n in names if n.startswith(_WITHOUT_CUDF_FORM)]
        return decide(self.func.__name__, driver_config(), found)


def decide(function: str, config: Config, without_cudf: Sequence[str] = ()) -> Plan:
    """A series body runs on cuDF or on pandas; there is no emulated cuDF."""
    devices = devices_of(config)
    absent: dict[DeviceName, str] = {}
    if "cuda" in devices:
        from gpuspark.devices.discover import discover

        absent = discover().absent()
    obstacles: dict[DeviceName, Sequence[str]] = {
        "cuda": without_cudf,
        "emulated": ["a series body needs cuDF, which the emulated device does not have"],
    }
    return plan(function, obstacles, config, {d: why for d, why in absent.items() if d == "cuda"})


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


class SeriesWorker:
    """Runs a series body in a task: on pandas as PySpark would, or on cuDF."""

    def __init__(self, body: Callable[..., Any], call: str, missing: Missing, least_rows: int) -> None:
        self.body, self.call, self.missing, self.least_rows = body, call, missing, least_rows
        self.name = getattr(body, "__name__", type(body).__name__)
        self._plan: Plan | None = None
        self._entry: Entry | None = None
        self._rows = 0

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _plan=None, _entry=None, _rows=0)

    def once(self, columns: Sequence[Any], named: dict[str, Any]) -> Any:
        """One call: a batch, a group or a window."""
        decision = self._decide()
        given = [*columns, *named.values()]
        rows = len(given[0]) if given else 0
        reasons, device = [str(reason) for reason in decision.reasons], decision.device
        start = time.perf_counter()
        with _Located(self.name, lambda: f"{self._rows}-{self._rows + rows - 1}", device):
            if device == "cuda":
                result, device, why = self._on_gpu(given, columns, named, rows)
                reasons += why
            else:
                result = self.body(*columns, **named)
        self._account(device, rows, _nbytes(given), _nbytes([result]), {"run": time.perf_counter() - start}, reasons)
        return result

    def iterate(self, batches: Iterator[Any], *more: Any) -> Iterator[Any]:
        """A body over iterators: entered once, never again."""
        yield from self._counted_results(self.body(self._incoming(batches), *more))

    def reduce(self, batches: Iterator[Any], *more: Any) -> Any:
        """A body that makes one value of an iterator of batches."""
        start = time.perf_counter()
        with _Located(self.name, lambda: f"0-{self._rows - 1}", self._decide().device):
            result = self.body(self._incoming(batches), *more)
        self._account(self._decide().device, 0, 0, 0, {"run": time.perf_counter() - start}, (), batches=0)
        return result

    def _counted_results(self, results: Iterable[Any]) -> Iterator[Any]:
        device = self._decide().device
        own = _Gpu(self.missing) if device == "cuda" else None
        iterator = iter(results)
        while True:
            start = time.perf_counter()
            with _Located(self.name, lambda: f"0-{self._rows - 1}", device):
                try:
                    result = next(iterator)
                except StopIteration:
                    return
            result = own.to_host(result) if own else result
            self._account(device, 0, 0, _nbytes([result]), {"run": time.perf_counter() - start}, (), batches=0)
            yield result

    def _incoming(self, batches: Iterator[Any]) -> Iterator[Any]:
        decision = self._decide()
        gpu = _Gpu(self.missing) if decision.device == "cuda" else None
        for batch in batches:
            columns = batch if isinstance(batch, tuple) else (batch,)
            reasons = [str(reason) for reason in decision.reasons]
            self._account(decision.device, len(columns[0]), _nbytes(columns), 0, {}, reasons)
            if gpu is None:
                yield batch
            else:
                moved = tuple(gpu.to_device(column) for column in columns)
                yield moved if isinstance(batch, tuple) else moved[0]

    def _decide(self) -> Plan:
        if self._plan is None:
            config = task_config()
            self._plan = decide(self.name, config)
            enforce(self._plan, config)
            self._entry = entry(self.name, self.call, self)
        return self._plan

    def _account(
        self, device: DeviceName, rows: int, bytes_in: int, bytes_out: int, seconds: dict[str, float],
        reasons: Sequence[str], batches: int = 1,
    ) -> None:  # fmt: skip
        assert self._entry is not None
        self._rows += rows
        self._entry.add(
            device=device, rows=rows, bytes_in=bytes_in, bytes_out=bytes_out, seconds=seconds, reasons=reasons,
            batches=batches,
        )  # fmt: skip

    def _on_gpu(
        self, given: Sequence[Any], columns: Sequence[Any], named: dict[str, Any], rows: int
    ) -> tuple[Any, DeviceName, list[str]]:
        """The result, where it was computed, and why not on the GPU."""
        why = _retired.get(self.call) or next((p for p in map(cudf_obstacle, given) if p), None)
        if why is None and rows < self.least_rows:
            why = f"cuda: {rows} rows in one call, fewer than {self.least_rows}"
        if why is None:
            gpu = _Gpu(self.missing)
            try:
                moved = [gpu.to_device(column) for column in given]
                answer = self.body(*moved[: len(columns)], **dict(zip(named, moved[len(columns) :], strict=True)))
                return gpu.to_host(answer), "cuda", []
            except (NotImplementedError, AttributeError, TypeError) as refused:
                if not raised_by_cudf(refused):
                    raise
                why = _retired[self.call] = f"cuda: cuDF has not {refused} ({_line_of(refused, self.body)})"
        if task_config().fallback == "raise":
            raise FallbackError(f"{self.name}: {why}\nspark.gpuspark.fallback=raise forbids pandas here.")
        return self.body(*columns, **named), "cpu", [why]


_retired: dict[str, str] = {}
"""Calls whose body cuDF refused in this process, each with the reason."""


class _Gpu:
    """The way to cuDF and back."""

    def __init__(self, missing: Missing) -> None:
        self._nan_as_null = missing == "cudf"

    def to_device(self, column: Any) -> Any:
        from gpuspark.devices.rapids import import_rapids

        cudf = import_rapids().cudf
        make = cudf.DataFrame if hasattr(column, "columns") else cudf.Series
        return make.from_pandas(column, nan_as_null=self._nan_as_null)

    def to_host(self, result: Any) -> Any:
        return result.to_pandas() if hasattr(result, "to_pandas") else result


def cudf_obstacle(column: Any) -> str | None:
    """Why a pandas column has no equal cuDF form, if so: objects that are no text, and nested columns."""
    if hasattr(column, "columns"):
        return "cuda: a struct column has no equal cuDF form"
    if str(column.dtype) != "object":
        return None
    first = next((v for v in column if v is not None), None)
    if first is None or isinstance(first, str | bool):
        return None
    return f"cuda: a column of {type(first).__name__} has no equal cuDF form"


def raised_by_cudf(error: BaseException) -> bool:
    """Whether the innermost frame of the traceback is cuDF's: the body did nothing wrong."""
    last = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        last = frame
    return last is not None and str(last.f_globals.get("__name__", "")).startswith(("cudf", "pylibcudf"))


def _line_of(error: BaseException, body: Callable[..., Any]) -> str:
    name = getattr(getattr(body, "__code__", None), "co_filename", "")
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == name]
    return f"{name.rsplit('/', 1)[-1]}, line {lines[-1] if lines else '?'}"


def _nbytes(columns: Iterable[Any]) -> int:
    """Bytes of pandas columns as pandas counts them; a scalar has none."""
    total = 0
    for column in columns:
        used = column.memory_usage(index=False) if hasattr(column, "memory_usage") else 0
        total += int(used.sum()) if hasattr(used, "sum") else int(used)
    return total


class _Located:
    """Names function, rows and device in an error of the body, which keeps its type and traceback."""

    def __init__(self, function: str, rows: Callable[[], str], device: str) -> None:
        self._where = (function, rows, device)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        function, rows, device = self._where
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            locate(error, function=function, rows=rows(), device=device)
