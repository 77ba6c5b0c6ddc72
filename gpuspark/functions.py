"""The kernel catalogue as Spark column functions: ``functions.haversine("lat1", "lon1", "lat2", "lon2")``.

Like :mod:`pyspark.sql.functions`: they take Spark columns or column names and give a Spark column. Numbers
among them stand for every row. Everything else a kernel can do is in :mod:`gpuspark.kernels`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from gpuspark import kernels
from gpuspark.errors import CallError

if TYPE_CHECKING:
    from pyspark.sql import Column

__all__ = [
    "asian_option",
    "cosine_similarity",
    "dot_product",
    "euclidean_distance",
    "haversine",
    "point_in_polygon",
    "top_k",
    "within",
]


def _column_function(kernel: kernels.AnyKernel) -> Callable[..., Column]:
    @wraps(kernel)
    def function(*columns: Any, **named: Any) -> Column:
        given = [_column(kernel, value) for value in columns]
        called = {name: _column(kernel, v) if name in kernel.columns else v for name, v in named.items()}
        made: Column = kernel(*given, **called)
        return made

    function.__module__ = __name__
    function.__doc__ = _documentation(kernel)
    return function


def _documentation(kernel: kernels.AnyKernel) -> str:
    """The kernel's own words, what its spec knows, and an example for Spark in place of that for numbers."""
    text = inspect.getdoc(kernel) or ""
    parameters = "\n".join(f"{name}: {meaning}" for name, meaning in kernel.spec.parameters.items())
    call = f"{kernel.__name__}({', '.join(repr(name) for name in kernel.columns)})"
    return "\n\n".join(
        [
            text.partition(">>>")[0].rstrip(),
            parameters,
            f"Result: {kernel.spec.result}, {kernel.spec.unit}",
            f"Example::\n\n    frame.select(functions.{call})",
            f"Reference: {kernel.spec.reference}",
        ]
    )


def _column(kernel: kernels.AnyKernel, value: Any) -> Any:
    """A number as a literal column; a column or its name as it is."""
    from pyspark.sql import Column, functions

    if isinstance(value, str | Column):
        return value
    if isinstance(value, int | float):
        return functions.lit(value)
    raise CallError(
        f"functions.{kernel.__name__} takes Spark columns, their names and numbers, not a {type(value).__name__}: "
        f"kernels.{kernel.__name__} takes gpuspark columns, Arrow arrays and Series."
    )


asian_option = _column_function(kernels.asian_option)
cosine_similarity = _column_function(kernels.cosine_similarity)
dot_product = _column_function(kernels.dot_product)
euclidean_distance = _column_function(kernels.euclidean_distance)
haversine = _column_function(kernels.haversine)
point_in_polygon = _column_function(kernels.point_in_polygon)
within = _column_function(kernels.within)
top_k = _column_function(kernels.top_k)
