"""Kernels over whole columns: what an element-wise core cannot say, since it reads texts, lists, groups or a prepared
constant. Their author writes array functions, and a function that calls them over Arrow columns.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gpuspark.columns import account_inside, as_columns
from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.source import CannotCompile
from gpuspark.decorated import name_after
from gpuspark.errors import CallError, ResultError, locate
from gpuspark.plan import DeviceName
from gpuspark.records import Entry, call_id, entry
from gpuspark.session import active_session, application, driver_config, enable_ledger, running_task, task_facts
from gpuspark.types import of_arrow, parse

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, SparkSession

    from gpuspark.kernels.spec import Spec

    Compute = Callable[..., pa.Array]


class ColumnKernel:
    """A named operation over columns. Positional arguments are columns (gpuspark's, Arrow's, Series, NumPy arrays of
    one dimension, or Spark columns and their names), or numbers that stand for every row; what is given by name only
    are options."""

    __name__: str

    def __init__(self, compute: Compute, spec: Spec, result: str | Callable[..., str]) -> None:
        name_after(self, compute)
        self.compute = compute
        self.spec = spec
        self._result = result
        self.signature = inspect.signature(compute)
        self._built: dict[Any, Any] = {}
        if list(spec.parameters) != list(self.signature.parameters):
            raise TypeError(f"{self.__name__}{self.signature} is described with {list(spec.parameters)}")

    def __reduce__(self) -> Any:
        return by_name(self) or (ColumnKernel, (self.compute, self.spec, self._result))

    def __repr__(self) -> str:
        return f"<gpuspark kernel {self.__name__}{self.signature}>"

    @property
    def columns(self) -> list[str]:
        """The parameters that take columns."""
        return [p.name for p in self.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]

    def result(self, **options: Any) -> str:
        """Spark's name of the result's type, for these options."""
        return self._result if isinstance(self._result, str) else self._result(**options)

    def __call__(self, *columns: Any, **options: Any) -> Any:
        bound = self._bind(columns, options)
        given = [bound[name] for name in self.columns if name in bound]
        options = {name: value for name, value in bound.items() if name not in self.columns}
        if any(map(_is_spark_column, given)) or (any(isinstance(v, str) for v in given) and running_task() is None):
            return self._column(given, options)
        arrays, like = as_columns(self.__name__, self.columns, given)
        return like(computed(self, arrays, options))

    def _bind(self, columns: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self.signature.bind(*columns, **options).arguments
        except TypeError as error:
            raise CallError(f"{self.__name__}{self.signature}: {error}") from None

    def _column(self, columns: Sequence[Any], options: Mapping[str, Any]) -> Column:
        from pyspark.sql import functions

        spark = active_session()
        config = driver_config(spark)
        if config.enabled and spark is not None:
            enable_ledger(spark, config)
        built = self._spark_udf(spark, options)
        made: Column = built(*(v if isinstance(v, str) or _is_spark_column(v) else functions.lit(v) for v in columns))
        return made

    def _spark_udf(self, spark: SparkSession | None, options: Mapping[str, Any]) -> Any:
        """The same one for the same options, so that Spark sees where one expression stands twice."""
        from pyspark.sql import functions

        try:
            key = application(spark), digest_of(dict(sorted(options.items())))
        except CannotCompile:  # an option of some class: nobody can say whether two are the same
            key = None
        found = self._built.get(key)
        if found is None:
            make: Any = functions.arrow_udf  # type: ignore[attr-defined]  # not in PySpark's stubs
            found = make(KernelWorker(self, options, call_id(self, options)), self.result(**options))
            if key is not None:
                self._built[key] = found
        return found


class Operation(Protocol):
    """What makes one column of several."""

    @property
    def __name__(self) -> str: ...

    @property
    def compute(self) -> Compute:
        """The author's function over Arrow columns."""

    def result(self, **options: Any) -> str:
        """Spark's name of the type that it makes."""


def computed(operation: Operation, columns: Sequence[pa.Array], options: Mapping[str, Any]) -> pa.Array:
    """What the author's function makes of ``columns``, if it is one of as many rows, of the type that was declared."""
    result, name = operation.compute(*columns, **options), operation.__name__
    declared = parse(operation.result(**options))
    if not hasattr(result, "type") or not hasattr(result, "nbytes"):
        raise ResultError(f"{name} made a {type(result).__name__}, not an Arrow array: wrap it in pa.array(...)")
    if len(result) != len(columns[0]):
        raise ResultError(f"{name} made {len(result)} rows of {len(columns[0])}")
    found = of_arrow(result.type)
    if declared.compiles and found != declared:
        raise ResultError(f"{name} made a column of {found}, and is declared to make {declared}: cast it")
    return result


class KernelWorker:
    """The callable that Spark pickles for a kernel and its options: Arrow columns in, one out, accounted."""

    def __init__(self, kernel: Operation, options: Mapping[str, Any], call: str) -> None:
        self.kernel, self.options, self.call = kernel, dict(options), call
        self.__name__ = kernel.__name__
        self._entry: Entry | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "options": self.options, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # Without type hints: PySpark reads a UDF's, and cannot read those of an object.
    def __call__(self, *columns):  # type: ignore[no-untyped-def]
        if self._entry is None:
            self._entry = entry(self.__name__, self.call, self)
        inside, start = account_inside(self._entry), time.perf_counter()
        try:
            result = computed(self.kernel, columns, self.options)
        except Exception as error:
            facts = task_facts()
            locate(error, function=self.__name__, partition=facts.partition if facts else None)
            raise
        device: DeviceName = inside.device or "cpu"
        run = max(time.perf_counter() - start - inside.take_seconds(), 0.0)
        self._entry.add(
            device=device, rows=len(result), bytes_in=sum(c.nbytes for c in columns), bytes_out=result.nbytes,
            seconds={"run": run},
        )  # fmt: skip
        return result


def by_name(kernel: Any) -> tuple[Any, ...] | None:
    """How a kernel that a module holds under its own name is pickled: by that name. ``None`` where workers cannot
    import it, as from a notebook: then it travels whole."""
    if kernel.__module__ == "__main__" or not _is_found(kernel):
        return None
    return _find, (kernel.__module__, kernel.__name__)


def _is_found(kernel: Any) -> bool:
    try:
        return _find(kernel.__module__, kernel.__name__) is kernel
    except (ImportError, AttributeError):
        return False


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _is_spark_column(value: Any) -> bool:
    return any(c.__name__ == "Column" and c.__module__.startswith("pyspark.") for c in type(value).__mro__)
