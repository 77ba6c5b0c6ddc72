"""What a kernel is: an operation with a name, described parameters, a reference and a declared cost.

An element-wise kernel (:func:`kernel`) is a scalar core, a plain Python function of numbers. A kernel over columns
(:func:`column_kernel`) is a function of Arrow columns around array functions. From either come the compiled programs
of every device; the kernel object is called on columns, Series or Spark columns alike. A new kernel is one file that
imports this module, and one line in the catalogue (``kernels/__init__.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpuspark.column_kernel import ColumnKernel, by_name
from gpuspark.scalar_udf import ScalarUDF

__all__ = ["AnyKernel", "ColumnKernel", "Cost", "Kernel", "Nulls", "Spec", "column_kernel", "kernel"]

Nulls = Literal["propagate", "pass"]


@dataclass(frozen=True)
class Cost:
    """Per element: bytes read and written, and floating-point operations (a function of ``math`` is one)."""

    bytes_in: int
    bytes_out: int
    operations: int


@dataclass(frozen=True)
class Spec:
    """What is known of a kernel besides its core."""

    result: str
    """Spark's name of the result's type."""
    parameters: Mapping[str, str]
    """What each parameter means, with its unit; in the core's order."""
    unit: str
    """The result's unit."""
    reference: str
    """The paper, book or standard that the formula is from."""
    cost: Cost
    nulls: Nulls = "propagate"
    """``propagate``: any null gives null. ``pass``: the core is given ``None``."""


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
