"""What the names of PySpark mean in its own tests while they run on gpuspark: the same calls, our functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gpuspark as gs
from gpuspark.columns.batch import Batch

pandas_udf = gs.pandas_udf


def udf(f: Any = None, returnType: Any = "string", **options: Any) -> Any:  # noqa: N803  # PySpark's own name
    """``gs.udf``, which asks for the type of the result where PySpark takes a string."""
    from pyspark.sql.types import DataType

    if f is None or isinstance(f, str | DataType):
        return gs.udf(returnType if f is None else f, **options)
    return gs.udf(f, returnType, **options)


def map_in_arrow(df: Any, func: Any, *more: Any, **named: Any) -> Any:
    """``gs.map_in_arrow``, whose bodies see ``gs.Batch`` where PySpark's see Arrow's record batches."""
    return gs.map_in_arrow(df, _over_batches(func), *more, **named)


def _over_batches(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def over_batches(batches):  # type: ignore[no-untyped-def]
        results = body(batch.to_arrow() for batch in batches)
        if isinstance(results, Iterator):
            return map(_as_batch, results)
        return [_as_batch(each) for each in results] if _can_be_iterated(results) else results

    return over_batches


def _can_be_iterated(value: Any) -> bool:
    return isinstance(value, Iterable) or hasattr(value, "__getitem__")


def _as_batch(result: Any) -> Any:
    import pyarrow as pa

    return Batch.from_arrow(result) if isinstance(result, pa.RecordBatch) else result
