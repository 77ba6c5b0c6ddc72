"""What Spark itself says of a run: the figures of its status store, which its REST API and web page show too.

sparkMeasure reports the same ones. They are added up over all tasks of the run, failed ones included.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass
class SparkMetrics:
    """Of all tasks of one run. Times in seconds, sizes in bytes."""

    tasks: int = 0
    run: float = 0.0
    """Executor run time: wall time of the tasks, added up."""
    jvm_cpu: float = 0.0
    gc: float = 0.0
    shuffle_read: int = 0
    shuffle_written: int = 0
    spilled: int = 0
    """To disk."""
    to_python: int = 0
    """Sent to the Python workers, and returned by them: as Spark's Python nodes count them."""
    from_python: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def measured(spark: SparkSession) -> Iterator[SparkMetrics]:
    """Fills the metrics of what ``spark`` runs in the block, by the job group that it is given."""
    context, found, group = spark.sparkContext, SparkMetrics(), f"gpuspark-bench-{uuid.uuid4().hex[:8]}"
    seen = _executions(spark)
    context.setJobGroup(group, "gpuspark benchmark")
    try:
        yield found
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # None unsets it
    context._jsc.sc().listenerBus().waitUntilEmpty()  # noqa: SLF001
    _add_stages(found, context, group)
    _add_python(found, spark, seen)


def _add_stages(found: SparkMetrics, context: Any, group: str) -> None:
    store, tracker = context._jsc.sc().statusStore(), context.statusTracker()  # noqa: SLF001
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info else ():
            data = store.lastStageAttempt(stage)
            found.tasks += data.numCompleteTasks()
            found.run += data.executorRunTime() / 1e3
            found.jvm_cpu += data.executorCpuTime() / 1e9
            found.gc += data.jvmGcTime() / 1e3
            found.shuffle_read += data.shuffleReadBytes()
            found.shuffle_written += data.shuffleWriteBytes()
            found.spilled += data.diskBytesSpilled()


def _add_python(found: SparkMetrics, spark: SparkSession, seen: int) -> None:
    store = spark._jsparkSession.sharedState().statusStore()  # noqa: SLF001
    for number in range(seen, _executions(spark)):
        execution = store.executionsList(number, 1).head()
        shown = store.executionMetrics(execution.executionId())
        for metric in _all(execution.metrics()):
            text = shown.get(metric.accumulatorId())
            if text.isDefined() and metric.name() == "data sent to Python workers":
                found.to_python += size(text.get())
            elif text.isDefined() and metric.name() == "data returned from Python workers":
                found.from_python += size(text.get())


def _executions(spark: SparkSession) -> int:
    store = spark._jsparkSession.sharedState().statusStore()  # noqa: SLF001
    return int(store.executionsCount())


def _all(sequence: Any) -> Iterator[Any]:
    for number in range(sequence.size()):
        yield sequence.apply(number)


def size(shown: str) -> int:
    """Bytes, of a size as Spark shows it; of several values the total, which comes first.

    >>> size("total (min, med, max (stageId: taskId))\\n1.5 KiB (0.0 B, 768.0 B, 768.0 B (stage 1.0: task 2))")
    1536
    """
    number, unit = shown.splitlines()[-1].split()[:2]
    return int(float(number.replace(",", "")) * _SIZES[unit])
