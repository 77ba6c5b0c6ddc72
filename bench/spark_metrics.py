"""Spark's own figures of a run, read from its status store, which also feeds its REST API and web page.

They are the figures that sparkMeasure reports, summed over all tasks of the run, including failed ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass
class SparkMetrics:
    """Sums over all tasks of one run: times in seconds, sizes in bytes."""

    tasks: int = 0
    run: float = 0.0
    """Executor run time: the wall time of the tasks."""
    jvm_cpu: float = 0.0
    gc: float = 0.0
    shuffle_read: int = 0
    shuffle_written: int = 0
    spilled: int = 0
    """Spilled to disk."""
    to_python: int = 0
    """Sent to the Python workers, as Spark's Python nodes count it."""
    from_python: int = 0
    """Returned by the Python workers."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def collect_metrics(spark: SparkSession) -> Iterator[SparkMetrics]:
    """Yields the metrics of what ``spark`` runs inside the block, complete when the block ends.

    Jobs are recognised by a job group that is set inside the block.
    """
    context, metrics, group = spark.sparkContext, SparkMetrics(), f"gpuspark-bench-{uuid.uuid4().hex[:8]}"
    executions_before = _execution_count(spark)
    context.setJobGroup(group, "gpuspark benchmark")
    try:
        yield metrics
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # None unsets it
    context._jsc.sc().listenerBus().waitUntilEmpty()  # noqa: SLF001
    _add_stages(metrics, context, group)
    _add_python_traffic(metrics, spark, executions_before)


def _add_stages(metrics: SparkMetrics, context: Any, group: str) -> None:
    store, tracker = context._jsc.sc().statusStore(), context.statusTracker()  # noqa: SLF001
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info else ():
            data = store.lastStageAttempt(stage)
            metrics.tasks += data.numCompleteTasks()
            metrics.run += data.executorRunTime() / 1e3
            metrics.jvm_cpu += data.executorCpuTime() / 1e9
            metrics.gc += data.jvmGcTime() / 1e3
            metrics.shuffle_read += data.shuffleReadBytes()
            metrics.shuffle_written += data.shuffleWriteBytes()
            metrics.spilled += data.diskBytesSpilled()


def _add_python_traffic(metrics: SparkMetrics, spark: SparkSession, first_execution: int) -> None:
    store = _sql_store(spark)
    for number in range(first_execution, _execution_count(spark)):
        execution = store.executionsList(number, 1).head()
        values = store.executionMetrics(execution.executionId())
        for metric in _elements(execution.metrics()):
            text = values.get(metric.accumulatorId())
            if text.isDefined() and metric.name() == "data sent to Python workers":
                metrics.to_python += parse_size(text.get())
            elif text.isDefined() and metric.name() == "data returned from Python workers":
                metrics.from_python += parse_size(text.get())


def _sql_store(spark: SparkSession) -> Any:
    return spark._jsparkSession.sharedState().statusStore()  # noqa: SLF001


def _execution_count(spark: SparkSession) -> int:
    return int(_sql_store(spark).executionsCount())


def _elements(scala_sequence: Any) -> Iterator[Any]:
    for index in range(scala_sequence.size()):
        yield scala_sequence.apply(index)


def parse_size(text: str) -> int:
    """Returns the bytes of a size as Spark prints it; of a total with minimum, median and maximum, the total.

    >>> parse_size("total (min, med, max (stageId: taskId))\\n1.5 KiB (0.0 B, 768.0 B, 768.0 B (stage 1.0: task 2))")
    1536
    """
    number, unit = text.splitlines()[-1].split()[:2]
    return int(float(number.replace(",", "")) * _UNITS[unit])
