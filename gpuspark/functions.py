"""The kernel catalogue as Spark column functions: ``functions.haversine("lat1", "lon1", "lat2", "lon2")``.

As in :mod:`pyspark.sql.functions`, a function takes Spark columns or column names and returns a Spark column. A number
stands for every row. There is one function for each kernel in :data:`gpuspark.kernels.CATALOGUE`, under its name.
:mod:`gpuspark.kernels` takes other columns too.
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


def _column_function(kernel: kernels.AnyKernel) -> Callable[..., Column]:
    """Returns the kernel as a function of Spark columns, column names and numbers."""

    @wraps(kernel)
    def function(*columns: Any, **named: Any) -> Column:
        positional = [_column(kernel, value) for value in columns]
        keywords = {name: _column(kernel, v) if name in kernel.columns else v for name, v in named.items()}
        result: Column = kernel(*positional, **keywords)
        return result

    function.__module__ = __name__
    function.__doc__ = _documentation(kernel)
    function.__signature__ = _signature(kernel)  # type: ignore[attr-defined]
    return function


def _signature(kernel: kernels.AnyKernel) -> inspect.Signature:
    """Returns the kernel's signature with the types that Spark users give and get."""
    parameters = [
        parameter.replace(annotation="Column | str | float") if name in kernel.columns else parameter
        for name, parameter in kernel.signature.parameters.items()
    ]
    return inspect.Signature(parameters, return_annotation="Column")


def _documentation(kernel: kernels.AnyKernel) -> str:
    """Returns the kernel's description, parameters, result and reference, and an example that selects it."""
    description = (inspect.getdoc(kernel) or "").partition(">>>")[0].rstrip()
    parameters = "\n".join(f"{name}: {meaning}" for name, meaning in kernel.spec.parameters.items())
    call = f"{kernel.__name__}({', '.join(repr(name) for name in kernel.columns)})"
    return "\n\n".join(
        [
            description,
            parameters,
            f"Result: {kernel.spec.result}, {kernel.spec.unit}",
            f"Example::\n\n    frame.select(functions.{call})",
            f"Reference: {kernel.spec.reference}",
        ]
    )


def _column(kernel: kernels.AnyKernel, value: Any) -> Any:
    """Returns a number as a literal column, and a column or its name unchanged."""
    from pyspark.sql import Column, functions

    if isinstance(value, str | Column):
        return value
    if isinstance(value, int | float):
        return functions.lit(value)
    raise CallError(
        f"functions.{kernel.__name__} takes Spark columns, their names and numbers, not a {type(value).__name__}: "
        f"kernels.{kernel.__name__} takes gpuspark columns, Arrow arrays and Series."
    )


_FUNCTIONS = {name: _column_function(kernel) for name, kernel in kernels.CATALOGUE.items()}
globals().update(_FUNCTIONS)

__all__ = list(_FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Column]: ...
