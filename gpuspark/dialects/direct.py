"""A scalar function called on columns: it computes them now, where the task runs.

In a task the plan, the program and what the body captured are settled at the first call for each set of
column types. Elsewhere (a notebook, a test) each call takes what the body captures as it is then.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.work import Work
from gpuspark.columns.conversion import as_columns
from gpuspark.columns.types import of_arrow
from gpuspark.execution.findings import report
from gpuspark.execution.inside import this_task
from gpuspark.execution.runner import Runner
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import verify
from gpuspark.spark.session import task_config

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class _Call:
    """A function for columns of certain types, and the rows that it was given so far."""

    runner: Runner
    rows: int = 0


def apply_now(
    owner: Hashable, prepare: Callable[[Sequence[str]], ScalarFunction], name: str, bound: Mapping[str, Any]
) -> Any:
    """Returns the results of the function ``name`` for the arguments ``bound``, by parameter: a column of the kind that
    was given first: gpuspark's, Arrow's, or a Series; a NumPy array where there is no other column.

    ``prepare`` makes the function for the names of its columns; ``owner`` is what a task remembers it by. Numbers among
    the columns stand for every row. In a Series NaN counts as null, and null comes back as NaN, as in PySpark's pandas
    form; in a column of gpuspark's or Arrow's, and in an array, NaN is a value. Series go by place, so their indexes
    must be equal; the result has that index, and the name that all of them share.

    Raises :class:`~gpuspark.errors.CallError` for columns of different lengths, for Series of different indexes, and
    for lists, arrays of more dimensions and others that hold many values and are no columns.
    """
    arrays, like = as_columns(name, list(bound), list(bound.values()))
    return like(_run(owner, prepare, tuple(bound), arrays))


def _run(
    owner: Hashable,
    prepare: Callable[[Sequence[str]], ScalarFunction],
    names: tuple[str, ...],
    arrays: Sequence[pa.Array],
) -> pa.Array:
    task, work = this_task(), Work()
    key = (owner, names, tuple(array.type for array in arrays))
    call: _Call | None = task.calls.get(key)
    if call is None:
        types = [of_arrow(array.type) for array in arrays]
        call = task.calls[key] = _Call(Runner(prepare(names), types, task_config()))
        work.seconds["compile"] = call.runner.placement.preparing
    runner = call.runner
    try:
        result = runner.run(arrays, work)
        verify(runner.function, arrays, result, runner.plan.device, runner.config, call.rows)
    except Exception as error:
        reasons = report(error, runner.function, arrays, runner.plan.device, runner.config, call.rows)
        if task.inside is not None:
            task.inside.found(runner.function.name, runner.plan, reasons)
        raise
    call.rows += len(result)
    if task.inside is not None:
        task.inside.add(runner.function.name, runner.plan, work)
    return result
