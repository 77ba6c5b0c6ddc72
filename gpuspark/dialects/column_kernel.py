"""Kernels over whole columns, for what a row-wise function cannot express: strings, lists, groups, a prepared constant.

Their author writes array functions, and a function over Arrow columns that calls them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import call_id
from gpuspark.columns.conversion import as_columns
from gpuspark.compiler.digest import digest_of
from gpuspark.compiler.source import CannotCompile
from gpuspark.dialects.kernel_worker import KernelWorker, computed
from gpuspark.errors import CallError
from gpuspark.spark.builder import Prepared, UdfCache, arrow_udf, is_spark_column, prepare
from gpuspark.spark.decorated import name_after
from gpuspark.spark.session import running_task

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

    from gpuspark.dialects.kernel_spec import Spec

    Compute = Callable[..., pa.Array]


class ColumnKernel:
    """A named operation over columns. Positional arguments are columns (of gpuspark or Arrow, Series, one-dimensional
    NumPy arrays, or Spark columns and their names), or numbers, which are repeated for every row. Keyword-only
    arguments are options."""

    __name__: str

    def __init__(self, compute: Compute, spec: Spec, result: str | Callable[..., str]) -> None:
        name_after(self, compute)
        self.compute = compute
        self.spec = spec
        self._result = result
        self.signature = inspect.signature(compute)
        self._built = UdfCache()
        if list(spec.parameters) != list(self.signature.parameters):
            raise TypeError(f"{self.__name__}{self.signature} has a spec for the parameters {list(spec.parameters)}")

    def __reduce__(self) -> Any:
        return by_name(self) or (ColumnKernel, (self.compute, self.spec, self._result))

    def __repr__(self) -> str:
        return f"<gpuspark kernel {self.__name__}{self.signature}>"

    @property
    def columns(self) -> list[str]:
        """The names of the parameters that take columns."""
        return [p.name for p in self.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]

    def result(self, **options: Any) -> str:
        """Returns Spark's name of the result type for these options."""
        return self._result if isinstance(self._result, str) else self._result(**options)

    def __call__(self, *columns: Any, **options: Any) -> Any:
        bound = self._bind(columns, options)
        values = [bound[name] for name in self.columns if name in bound]
        options = {name: value for name, value in bound.items() if name not in self.columns}
        if any(map(is_spark_column, values)) or (any(isinstance(v, str) for v in values) and running_task() is None):
            return self._column(values, options)
        arrays, like = as_columns(self.__name__, self.columns, values)
        return like(computed(self, arrays, options))

    def _bind(self, columns: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self.signature.bind(*columns, **options).arguments
        except TypeError as error:
            raise CallError(f"{self.__name__}{self.signature}: {error}") from None

    def _column(self, columns: Sequence[Any], options: Mapping[str, Any]) -> Column:
        from pyspark.sql import functions

        udf = self._spark_udf(prepare(), options)
        made: Column = udf(*(v if isinstance(v, str) or is_spark_column(v) else functions.lit(v) for v in columns))
        return made

    def _spark_udf(self, session: Prepared, options: Mapping[str, Any]) -> Any:
        """Returns PySpark's UDF of the kernel with these options. Cached per options, so that Spark can recognise
        repeated expressions."""
        try:
            key = session.application, digest_of(dict(sorted(options.items())))
        except CannotCompile:  # an option of a class whose objects cannot be compared by content
            key = None
        return self._built.get(
            key, lambda: arrow_udf(KernelWorker(self, options, call_id(self, options)), self.result(**options))
        )


def by_name(kernel: Any) -> tuple[Any, ...] | None:
    """Returns how to pickle a kernel by the name that its module holds it under; ``None`` if workers cannot import it
    (from a notebook, for example), so that it is pickled by value."""
    if kernel.__module__ == "__main__" or not _is_importable(kernel):
        return None
    return _import, (kernel.__module__, kernel.__name__)


def _is_importable(kernel: Any) -> bool:
    try:
        return _import(kernel.__module__, kernel.__name__) is kernel
    except (ImportError, AttributeError):
        return False


def _import(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
