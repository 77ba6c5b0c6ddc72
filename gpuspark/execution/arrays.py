"""``gs.array_function``: a function over whole arrays that is called once per item, on every device.

An item is the work of one GPU thread: a row, a group, a pair of strings, a query. The function gets the item's number
and then the arrays, and writes into the output arrays among them::

    @gs.array_function
    def smoothed(group, values, offsets, alpha, out):
        level = values[offsets[group]]
        for row in range(offsets[group], offsets[group + 1]):
            level += alpha * (values[row] - level)
            out[row] = level

    result = smoothed(len(segments), segments["x"], segments.offsets, 0.3, gs.Out("float64", segments.num_rows))

On the CPU it runs as a compiled loop over the items; on CUDA and on the emulated device, as one thread per item; on
``python``, as the function itself. Machine rules apply: arrays are indexed from 0 and have no length, 64-bit integers
wrap around, nothing can be allocated, and no two items may write to the same element. There are no nulls: pass the
validity as an array of bytes, and write one as a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any

from gpuspark.accounting.work import Work
from gpuspark.compiler.fingerprint import fingerprint_or_reason
from gpuspark.compiler.source import HoldsItemBody
from gpuspark.errors import CallError, DeviceFault
from gpuspark.execution.array_arguments import Constant, Out, Scratch, argument_of, parameter_of
from gpuspark.execution.array_runner import ArrayRunner, in_python
from gpuspark.execution.inside import this_task
from gpuspark.spark.decorated import name_after
from gpuspark.spark.session import task_config

__all__ = ["ArrayFunction", "Constant", "Out", "Scratch", "array_function"]


def array_function(function: Callable[..., None]) -> ArrayFunction:
    """Returns ``function`` as an array function, which runs once per item on every device; see this module.

    Call it with the number of items and an argument for each parameter but the first: columns of a batch without
    nulls, NumPy and Arrow arrays, :class:`Constant`, integers and floats, :class:`Out` and :class:`Scratch`. It returns
    the array that was written, or a tuple of arrays if there are several ``Out``.

    Raises :class:`~gpuspark.errors.CallError` for a wrong number of arguments, or one of another type.

    >>> @array_function
    ... def doubled(i, x, out):
    ...     out[i] = 2 * x[i]
    >>> import numpy as np
    >>> doubled(3, np.array([1, 2, 3]), Out("int64", 3))
    array([2, 4, 6])
    """
    return ArrayFunction(function)


class ArrayFunction(HoldsItemBody):
    """A decorated array function. Other array functions may call it, as a plain function."""

    def __init__(self, function: Callable[..., None]) -> None:
        if not isinstance(function, FunctionType):
            raise CallError(f"gs.array_function takes a plain function, not a {type(function).__name__}")
        self.__gpuspark_body__ = function
        name_after(self, function)
        self.name = function.__name__
        self.parameters = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        self._signature = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in self.parameters])

    def __repr__(self) -> str:
        return f"<gpuspark array function {self.name}({', '.join(self.parameters)})>"

    def __call__(self, items: int, *arguments: Any, **named: Any) -> Any:
        if in_python.get():
            return self.__gpuspark_body__(items, *arguments, **named)
        values = [argument_of(self.name, name, value) for name, value in self._bind(arguments, named).items()]
        parameters = tuple(map(parameter_of, values))
        task, work = this_task(), Work()
        key = (self, parameters, fingerprint_or_reason(self.__gpuspark_body__))
        runner: ArrayRunner | None = task.calls.get(key)
        if runner is None:
            runner = task.calls[key] = ArrayRunner(self.name, self.__gpuspark_body__, parameters, task_config())
            work.seconds["compile"] = runner.placement.preparing
        try:
            results = runner.run(items, values, work)
        except DeviceFault as fault:
            if task.inside is not None:
                task.inside.found(self.name, runner.plan, [str(fault)])
            raise
        if task.inside is not None:
            task.inside.add(self.name, runner.plan, work)
        return results[0] if len(results) == 1 else tuple(results)

    def _bind(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments by parameter name, in the parameters' order."""
        try:
            return self._signature.bind(*arguments, **named).arguments
        except TypeError as error:
            raise CallError(
                f"{self!r} was given {len(arguments) + len(named)} arguments: {error}. Give the number of items, and "
                "one argument for each parameter, by position or by name."
            ) from None
