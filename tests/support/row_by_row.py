"""A compiled function against plain Python, row by row: values, nulls, types, and errors.

Rows at which Python raises run alone, so that each is seen; the others run together, as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pyarrow as pa

from gpuspark.columns.types import ColumnType
from gpuspark.columns.values import same, to_python
from gpuspark.devices.protocol import Device
from gpuspark.execution import rowwise
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.verify import tolerance
from tests.support.host_ir import results
from tests.support.last_bits import Answer, excused

Row = tuple[Any, ...]


@dataclass
class Comparison:
    """What came of comparing one function."""

    rows: int = 0
    """Rows that were compared."""
    recomputed: int = 0
    """Rows among them that the program left to Python."""
    excused: int = 0
    """Rows whose answer hangs on the last bits of a function of mathematics."""
    differences: list[str] = field(default_factory=list)


def columns_of(kinds: Sequence[ColumnType], rows: Sequence[Row]) -> list[pa.Array]:
    """The rows as columns of these types."""
    columns = zip(*rows, strict=True)
    return [pa.array(values, pa.type_for_alias(kind.arrow)) for values, kind in zip(columns, kinds, strict=True)]


def compare_rows(
    function: ScalarFunction, kinds: list[ColumnType], known: Sequence[tuple[Row, Answer]], device: Device
) -> Comparison:
    """Compares what ``device`` gives for rows with the answers that Python is known to give."""
    run = _Run(function, kinds, device, Comparison())
    run.batch([(row, theirs) for row, theirs in known if not theirs.error])
    for row, theirs in known:
        if theirs.error:
            run.batch([(row, theirs)])
    return run.comparison


@dataclass
class _Run:
    function: ScalarFunction
    kinds: list[ColumnType]
    device: Device
    comparison: Comparison

    def batch(self, known: list[tuple[Row, Answer]]) -> None:
        """Runs the rows together, and compares each; where an error ends them, each alone."""
        if not known:
            return
        columns = columns_of(self.kinds, [row for row, _ in known])
        with mock.patch.object(rowwise, "_recompute", self._counting(rowwise._recompute)):
            outcome = results(self.function, self.kinds, columns, self.device)
        if outcome.column is not None:
            ours = [Answer(value) for value in to_python(outcome.column)]
        elif len(known) == 1:
            ours = [Answer(None, outcome.error.partition(":")[0])]
        else:
            for pair in known:
                self.batch([pair])
            return
        for (row, theirs), one in zip(known, ours, strict=True):
            self._row(row, one, theirs)

    def _counting(self, recompute: Any) -> Any:
        def counted(function: Any, columns: Any, result: Any, marked: Any, *rest: Any) -> Any:
            self.comparison.recomputed += len(marked)
            return recompute(function, columns, result, marked, *rest)

        return counted

    def _row(self, row: Row, ours: Answer, theirs: Answer) -> None:
        self.comparison.rows += 1
        if ours.error == theirs.error and (ours.error or same(ours.value, theirs.value, tolerance(self.function))):
            return
        if excused(self.function, columns_of(self.kinds, [row]), ours, theirs):
            self.comparison.excused += 1
            return
        named = ", ".join(f"{name}={value!r}" for name, value in zip(self.function.columns, row, strict=True))
        self.comparison.differences.append(f"{named}: {ours}, in Python {theirs}")
