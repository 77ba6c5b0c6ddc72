"""Computes a scalar function that is called on Arrow, pandas or gpuspark columns, at once and in this process.

In a task the plan, the program and the captured values are fixed at the first call for each set of column types.
Elsewhere (in a notebook or a test) each call reads the captured values anew.
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
    """A function for columns of certain types, and the number of rows that it has computed so far."""

    runner: Runner
    rows: int = 0


def apply_now(
    owner: Hashable, prepare: Callable[[Sequence[str]], ScalarFunction], name: str, bound: Mapping[str, Any]
) -> Any:
    """Returns the results of the function ``name`` for the arguments ``bound``, in the class of the first column among
    them: a gpuspark column, an Arrow array or a Series; a NumPy array if there is no other column.

    ``bound`` maps parameters to arguments. ``prepare`` returns the function for the names of its columns; ``owner`` is
    the key under which a task remembers it. Numbers among the columns are repeated for every row. In a Series NaN
    counts as null, and null comes back as NaN, as in PySpark's pandas UDFs; in Arrow and gpuspark columns and in
    arrays NaN is a value. Series are matched by position, so their indexes must be equal; the result has that index,
    and the name that all of them share.

    Raises :class:`~gpuspark.errors.CallError` for columns of different lengths, for Series of different indexes, and
    for lists, multi-dimensional arrays and other containers that are not columns.
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
