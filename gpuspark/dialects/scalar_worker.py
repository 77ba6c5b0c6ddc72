"""The worker half of ``gs.udf``: runs a scalar function over Arrow columns on the planned device, and accounts it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

from gpuspark.accounting.entries import Entry, entry
from gpuspark.accounting.work import Work
from gpuspark.columns.types import of_arrow
from gpuspark.compiler.source import own_signature
from gpuspark.dialects.arguments import bind
from gpuspark.errors import CallError, locate
from gpuspark.execution.findings import report
from gpuspark.execution.runner import Runner
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import verify
from gpuspark.spark.session import task_config, task_facts

if TYPE_CHECKING:
    import pyarrow as pa


class ScalarWorker:
    """The callable that Spark pickles for a scalar function. It takes Arrow columns and returns one."""

    def __init__(self, function: ScalarFunction, call: str) -> None:
        self.function, self.call = function, call
        self.__name__ = function.name
        self._runner: Runner | None = None
        self._entry: Entry | None = None
        self._rows = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def __code__(self) -> CodeType:
        """The body's code, which PySpark's memory profiler asks for. Raises ``AttributeError`` if the body has none."""
        code: CodeType = self.function.function.__code__
        return code

    # No type hints: PySpark would read them, and cannot for a callable object.
    def __call__(self, *columns, **named):  # type: ignore[no-untyped-def]
        columns = (*columns, *(named[name] for name in self.function.columns[len(columns) :]))
        if self._runner is None or self._entry is None:
            self._runner = Runner(self.function, [of_arrow(c.type) for c in columns], task_config())
            self._entry = entry(self.function.name, self.call, self)
            work = Work({"compile": self._runner.placement.preparing})
        else:
            work = Work()
        try:
            result = self._runner.run(columns, work, self._rows)
            verify(self.function, columns, result, self._runner.plan.device, self._runner.config, self._rows)
        except Exception as error:
            locate(error, partition=_partition(), rows=f"{self._rows}-{self._rows + len(columns[0]) - 1}")
            if self._runner.device is None and self._runner.reasons:
                reasons = "; ".join(self._runner.reasons)
                error.add_note(f"gpuspark: {self.function.name} ran in plain Python, not on {reasons}")
            device, config = self._runner.plan.device, self._runner.config
            self._entry.add_findings(device, report(error, self.function, columns, device, config, self._rows))
            raise
        self._account(columns, result, work)
        return result

    def _account(self, columns: Sequence[pa.Array], result: pa.Array, work: Work) -> None:
        assert self._runner is not None and self._entry is not None
        self._rows += len(result)
        device = self._runner.plan.device
        for fallback, count in work.rows.items():
            if count and fallback != device:
                self._entry.add(
                    device=fallback, rows=count, batches=0, bytes_in=0, bytes_out=0, seconds={}, reasons=work.reasons
                )
        self._entry.add(
            device=device,
            rows=work.rows.get(device, 0),
            bytes_in=sum(c.nbytes for c in columns),
            bytes_out=result.nbytes,
            seconds=work.seconds,
            reasons=[*self._runner.reasons, *work.reasons],
            retries=work.retries,
        )


class ExpressionVerifier(ScalarWorker):
    """The callable that Spark pickles to verify a Spark expression. It takes the columns of the function and then the
    expression's result, which it returns; a share of the batches is computed in Python too, and compared."""

    def __call__(self, *columns):  # type: ignore[no-untyped-def]
        *arguments, result = columns
        config = task_config()
        self._entry = self._entry or entry(self.function.name, self.call, self)
        start = time.perf_counter()
        try:
            verify(self.function, arguments, result, "sql", config, self._rows)
        except Exception as error:
            locate(error, partition=_partition(), rows=f"{self._rows}-{self._rows + len(result) - 1}")
            self._entry.add_findings("sql", report(error, self.function, arguments, "sql", config, self._rows))
            raise
        self._rows += len(result)
        self._entry.add(
            device="sql",
            rows=len(result),
            bytes_in=sum(c.nbytes for c in arguments),
            bytes_out=result.nbytes,
            seconds={"run": time.perf_counter() - start},
            reasons=[],
        )
        return result


class SqlWorker(ScalarWorker):
    """A scalar function that is registered for SQL: only the worker knows how many columns it is called with."""

    def __init__(self, function: Sequence[ScalarFunction], call: str) -> None:
        super().__init__(function[-1], call)
        self.variants = list(function)

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.variants, "call": self.call}

    def __call__(self, *columns, **named):  # type: ignore[no-untyped-def]
        if self._runner is None:
            self.function = self._variant(columns, named)
        return super().__call__(*columns, **named)  # type: ignore[no-untyped-call]

    def _variant(self, columns: Sequence[Any], named: Mapping[str, Any]) -> ScalarFunction:
        widest = self.variants[-1]
        if not columns and not named:
            raise CallError(
                f"{widest.name} was called from SQL without columns, and gpuspark runs functions over columns. "
                "Give it one, or register what pyspark.sql.functions.udf makes of the function."
            )
        bound = tuple(bind(widest.name, own_signature(widest.function), columns, named))
        for variant in self.variants:
            if variant.columns == bound:
                return variant
        return ScalarFunction.of(widest.function, bound, nulls=widest.nulls, result=widest.result, arrow=widest.arrow)


def _partition() -> int | None:
    facts = task_facts()
    return facts.partition if facts else None
