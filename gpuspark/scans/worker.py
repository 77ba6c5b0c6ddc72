"""What Spark pickles for the tasks of a scan. Each row that it gets is the number of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gpuspark.dialects.batch_worker import BatchWorker
from gpuspark.scans.reader import SplitReader
from gpuspark.scans.splits import Split

if TYPE_CHECKING:
    import pyarrow as pa


class ScanWorker:
    """Reads the splits that Spark names, and runs a scan's steps over them."""

    def __init__(self, splits: Sequence[Split], reader: SplitReader, steps: BatchWorker) -> None:
        self.splits, self.reader, self.steps = tuple(splits), reader, steps
        self.__name__ = steps.__name__

    # No type hints: PySpark would read them, and cannot for a callable object.
    def __call__(self, batches):  # type: ignore[no-untyped-def]
        return self.steps(self.reader.read(self._named(batches)))

    def _named(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Split]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield self.splits[number]
