"""What a kernel is: an operation with a name, described parameters, a reference and a declared cost.

An element-wise kernel (:func:`kernel`) is a scalar core, a plain Python function of numbers. A kernel over columns
(:func:`column_kernel`) is a function of Arrow columns around array functions. From either come the compiled programs
of every device; the kernel object is called on columns, Series or Spark columns alike. A new kernel is one file that
imports this module, and one line in the catalogue (``kernels/__init__.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpuspark.columns.batch import Batch, Column
from gpuspark.columns.layout import doubles, list_array, lists, nulls_of, numbers, observations, texts
from gpuspark.dialects.column_kernel import ColumnKernel, by_name
from gpuspark.dialects.kernel_spec import Cost, Nulls, Spec
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.dialects.segments import Segments
from gpuspark.errors import CallError
from gpuspark.execution.array_arguments import Constant, Out, Scratch
from gpuspark.execution.arrays import ArrayFunction, array_function
from gpuspark.execution.placement import planned_device

__all__ = [
    "AnyKernel",
    "ArrayFunction",
    "Batch",
    "CallError",
    "Column",
    "ColumnKernel",
    "Constant",
    "Cost",
    "Kernel",
    "Nulls",
    "Out",
    "Scratch",
    "Segments",
    "Spec",
    "array_function",
    "column_kernel",
    "doubles",
    "kernel",
    "list_array",
    "lists",
    "nulls_of",
    "numbers",
    "observations",
    "planned_device",
    "texts",
]


class Kernel(ScalarUDF):
    """A named element-wise operation. ``kernel(...)`` takes what a ``gs.udf`` function takes."""

    def __init__(self, core: Callable[..., Any], spec: Spec) -> None:
        super().__init__(core, spec.result, spec.nulls)
        self.spec = spec
        if list(spec.parameters) != list(self.signature.parameters):
            raise TypeError(f"{self.__name__}{self.signature} is described with {list(spec.parameters)}")

    def __reduce__(self) -> Any:
        return by_name(self) or super().__reduce_ex__(2)

    @property
    def columns(self) -> list[str]:
        """The parameters that take columns: all."""
        return list(self.spec.parameters)


AnyKernel = Kernel | ColumnKernel


def kernel(
    result: str,
    *,
    parameters: Mapping[str, str],
    unit: str,
    reference: str,
    cost: Cost,
    nulls: Nulls = "propagate",
) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a kernel of a scalar core, by the fields of :class:`Spec`.

    Raises ``TypeError`` where ``parameters`` are not the core's.
    """
    return lambda core: Kernel(core, Spec(result, parameters, unit, reference, cost, nulls))


def column_kernel(
    result: str | Callable[..., str],
    *,
    parameters: Mapping[str, str],
    unit: str,
    reference: str,
    cost: Cost,
    nulls: Nulls = "propagate",
) -> Callable[[Callable[..., Any]], ColumnKernel]:
    """Makes a kernel of a function over Arrow columns, which calls array functions; by the fields of :class:`Spec`.

    Its positional parameters are the columns, the others its options. ``result``: Spark's name of the result's type,
    or a function that gives it for the options. Raises ``TypeError`` where ``parameters`` are not the function's.
    """
    shown = result if isinstance(result, str) else "by the options"
    return lambda compute: ColumnKernel(compute, Spec(shown, parameters, unit, reference, cost, nulls), result)
