"""Everything that the author of a kernel needs: the two decorators, and what their functions are made with.

A kernel is an operation with a name, described parameters and a reference. :func:`kernel` makes an element-wise kernel
of a scalar function, a plain Python function of numbers. :func:`column_kernel` makes a kernel of a function of Arrow
columns that calls array functions. Both are compiled for every device, and both are called on columns, Series or Spark
columns alike. A new kernel is one file beside this one, with its name in ``__all__``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpuspark.columns.batch import Batch, Column
from gpuspark.columns.layout import doubles, list_array, lists, nulls_of, numbers, observations, texts
from gpuspark.devices.protocol import DeviceName
from gpuspark.dialects.column_kernel import ColumnKernel, by_name
from gpuspark.dialects.kernel_spec import Nulls, Spec
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
    "DeviceName",
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
        """The names of the parameters that take columns: all of them."""
        return list(self.spec.parameters)


AnyKernel = Kernel | ColumnKernel


def kernel(
    result: str,
    *,
    parameters: Mapping[str, str],
    unit: str,
    reference: str,
    nulls: Nulls = "propagate",
) -> Callable[[Callable[..., Any]], Kernel]:
    """Returns a decorator that makes a kernel of a scalar function. The arguments are the fields of :class:`Spec`.

    The decorator raises ``TypeError`` where ``parameters`` are not those of the function.
    """
    return lambda core: Kernel(core, Spec(result, parameters, unit, reference, nulls))


def column_kernel(
    result: str | Callable[..., str],
    *,
    parameters: Mapping[str, str],
    unit: str,
    reference: str,
    nulls: Nulls = "propagate",
) -> Callable[[Callable[..., Any]], ColumnKernel]:
    """Returns a decorator that makes a kernel of a function over Arrow columns, which calls array functions. The
    arguments are the fields of :class:`Spec`.

    The function's positional parameters are columns, its keyword-only parameters are options. ``result``: Spark's name
    of the result's type, or a function that returns it for the options. The decorator raises ``TypeError`` where
    ``parameters`` are not those of the function.
    """
    documented = result if isinstance(result, str) else "depends on the options"
    return lambda compute: ColumnKernel(compute, Spec(documented, parameters, unit, reference, nulls), result)
