"""The steps of a scan. Each takes an iterator of batches and yields batches, and knows what it needs and what comes
out.

Steps are pickled for Spark's tasks, where :class:`Steps` chains them: a batch goes through all of them before the next
one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from gpuspark.columns.batch import Batch
from gpuspark.dialects.batch_worker import checked
from gpuspark.errors import CallError, locate
from gpuspark.execution.plan import Plan
from gpuspark.scans.asked import Asked, column_of
from gpuspark.scans.filters import Filters

if TYPE_CHECKING:
    import pyarrow as pa

    Body = Callable[[Iterator[Batch]], Iterable[Batch]]
    OfBatch = Callable[[Batch], Any]


class Step(Protocol):
    """One step."""

    @property
    def schema(self) -> pa.Schema:
        """The columns after the step."""

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Returns the columns that this step must be given, if those in ``wanted`` are needed after it."""

    def without(self, wanted: Sequence[str]) -> Step:
        """Returns the step without what only unwanted columns need."""

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches after this step."""

    def __str__(self) -> str:
        """Returns one line that describes the step."""


@dataclass(frozen=True)
class WithColumns:
    """Columns that functions of the batch before this step compute."""

    schema: pa.Schema
    functions: Mapping[str, OfBatch]
    asked: Mapping[str, Asked]
    """What the function of each column asks the batch for."""

    @classmethod
    def after(cls, before: pa.Schema, functions: Mapping[str, OfBatch], asked: Mapping[str, Asked]) -> WithColumns:
        """Returns the step for batches with the columns ``before``."""
        import pyarrow as pa

        fields = {field.name: field for field in before}
        fields |= {name: pa.field(name, column.returns) for name, column in asked.items()}
        return cls(pa.schema(list(fields.values())), dict(functions), asked)

    @property
    def plans(self) -> tuple[Plan, ...]:
        return tuple(plan for asked in self.asked.values() for plan in asked.plans)

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:
        others = [name for name in wanted if name not in self.functions]
        needed = [name for asked in self.asked.values() for name in asked.columns]
        return tuple(dict.fromkeys([*others, *needed]))

    def without(self, wanted: Sequence[str]) -> WithColumns:
        return replace(
            self,
            functions={name: function for name, function in self.functions.items() if name in wanted},
            asked={name: asked for name, asked in self.asked.items() if name in wanted},
        )

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            columns = {}
            for name, function in self.functions.items():
                column = column_of(_called(function, batch.select(self.asked[name].columns), name), batch, name)
                expected = self.schema.field(name).type
                if column.type != expected:
                    raise CallError(
                        f"{name} is {column.type} in this batch, and was {expected} when the scan was built. A column "
                        "has one type: convert it in the function."
                    )
                columns[name] = column
            for name, column in columns.items():
                batch = batch.with_column(name, column)
            yield batch

    def __str__(self) -> str:
        made = [f"{name} from {', '.join(asked.columns) or 'nothing'}" for name, asked in self.asked.items()]
        return f"with_columns: {'; '.join(made)}"


@dataclass(frozen=True)
class Where:
    """The rows that a condition wants: filters, or a function of the batch that returns booleans. Null counts as
    false."""

    schema: pa.Schema
    condition: Filters | OfBatch
    asked: tuple[str, ...]
    plans: tuple[Plan, ...] = ()

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*wanted, *self.asked]))

    def without(self, wanted: Sequence[str]) -> Where:  # noqa: ARG002  (the condition is needed whatever is wanted)
        return self

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        import pyarrow.compute as pc

        for batch in batches:
            if isinstance(self.condition, Filters):
                mask = self.condition.wanted({name: batch[name].to_arrow() for name in self.asked})
            else:
                wanted = _called(self.condition, batch.select(self.asked), "where")
                mask = column_of(wanted, batch, "where").to_arrow()
            kept = batch.to_arrow().filter(pc.fill_null(mask, False))
            yield Batch.from_arrow(kept, batch.device)

    def __str__(self) -> str:
        if isinstance(self.condition, Filters):
            return f"where: {self.condition}"
        return f"where: a function of {', '.join(self.asked) or 'nothing'}"


@dataclass(frozen=True)
class Select:
    """The named columns, in this order."""

    schema: pa.Schema

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:
        return tuple(wanted)

    def without(self, wanted: Sequence[str]) -> Select:
        return replace(self, schema=columns_of(self.schema, [name for name in self.schema.names if name in wanted]))

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            yield batch.select(self.schema.names)

    def __str__(self) -> str:
        return f"select: {', '.join(self.schema.names)}"


@dataclass(frozen=True)
class Mapped:
    """The batches that a batch body yields, as :func:`gpuspark.map_in_arrow` calls it."""

    schema: pa.Schema
    body: Body
    before: tuple[str, ...]
    """The columns of the batches that the body is given: it may ask for any of them."""

    @property
    def name(self) -> str:
        return getattr(self.body, "__name__", type(self.body).__name__)

    def needs(self, wanted: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        return self.before

    def without(self, wanted: Sequence[str]) -> Mapped:  # noqa: ARG002
        return self

    def apply(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for result in self.body(batch.select(self.before) for batch in batches):
            arrow = checked(self.name, result, self.schema)
            yield Batch.from_arrow(arrow.cast(self.schema), result.device)

    def __str__(self) -> str:
        return f"map_in_arrow: {self.name}, from all columns"


def _called(function: OfBatch, batch: Batch, name: str) -> Any:
    try:
        return function(batch)
    except CallError as error:
        locate(error, function=name, note="columns must be asked for in batches without rows too")
        raise


def columns_of(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """Returns the named columns of a schema, in the order of ``names``."""
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in names])


def trimmed(steps: Sequence[Step], wanted: Sequence[str]) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Returns ``steps`` without what the columns ``wanted`` at their end do not need, and the columns that they need at
    their beginning."""
    kept: list[Step] = []
    for step in reversed(steps):
        step = step.without(wanted)
        wanted = step.needs(wanted)
        if not isinstance(step, WithColumns) or step.functions:
            kept.insert(0, step)
    return tuple(kept), tuple(wanted)


class Steps:
    """All steps of a scan as one batch body, which Spark pickles. ``columns``: those that come out, in this order."""

    def __init__(self, name: str, steps: Sequence[Step], columns: Sequence[str]) -> None:
        self.__name__, self.steps, self.columns = name, tuple(steps), tuple(columns)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Where the compiled functions that the steps call would run on this machine, as far as is known."""
        calling = [step for step in self.steps if isinstance(step, WithColumns | Where)]
        return tuple(dict.fromkeys(plan for step in calling for plan in step.plans))

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for step in self.steps:
            batches = step.apply(batches)
        for batch in batches:
            yield batch.select(self.columns)
            del batch
