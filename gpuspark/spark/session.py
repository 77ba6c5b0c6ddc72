"""The session flag: ``spark.gpuspark.*`` as the driver sees it, and as a running task sees it.

A key that is set on a session travels to every task of that session as a local property, in classic
Spark and in Spark Connect, so a change between two actions takes effect. Built-in defaults do not
travel: they are :class:`~gpuspark.config.Config`'s. PySpark is imported inside the functions only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gpuspark.config import Config

if TYPE_CHECKING:
    from pyspark import TaskContext
    from pyspark.sql import SparkSession

WORKER_LOGGING = "spark.sql.pyspark.worker.logging.enabled"
TIME_ZONE = "spark.sql.session.timeZone"
PROFILER = "spark.sql.pyspark.udf.profiler"
_APPLICATION_PROFILERS = ("spark.python.profile", "spark.python.profile.memory")
_BINARY_AS_BYTES = "spark.sql.execution.pyspark.binaryAsBytes"
_EXECUTION = "spark.sql.execution.id"


# On the driver


def is_connect() -> bool:
    """Whether this process speaks Spark Connect; a process is either classic or Connect, never both."""
    from pyspark.sql.utils import is_remote

    return is_remote()


def application(spark: SparkSession | None) -> str | None:
    """What a PySpark UDF belongs to once a column was made of it: it holds objects of one Spark application's JVM, and
    a later application must not be given it. ``None`` where there is no session yet."""
    if is_connect():
        return "connect"
    return None if spark is None else str(spark.sparkContext.applicationId)


def active_session() -> SparkSession | None:
    """The session of this thread, else the default one; ``None`` where there is none, as on a worker."""
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        return SparkSession.active()
    except PySparkRuntimeError:
        return None


def driver_config(spark: SparkSession | None = None) -> Config:
    """The configuration of ``spark``, or of the active session; the defaults where there is no session.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value.
    """
    spark = spark or active_session()
    return Config() if spark is None else Config.from_mapping(spark.conf.getAll)


def enable_ledger(spark: SparkSession, config: Config) -> None:
    """Asks Spark to collect the Python workers' logs, which carry the ledger's records.

    Does nothing where no ledger is kept. Spark then collects everything that Python workers of this session log or
    print, not only the ledger.
    """
    if keeps_ledger(config):
        spark.conf.set(WORKER_LOGGING, "true")


def keeps_ledger(config: Config) -> bool:
    """Whether tasks with this configuration write records: not so where ``spark.gpuspark.ledger`` is false, or
    ``spark.gpuspark.enabled``, which leaves Spark's own settings alone."""
    return config.ledger and config.enabled


def application_is_profiled(spark: SparkSession | None) -> bool:
    """Whether this application was started with one of PySpark's profilers, which wrap each function on the driver."""
    if spark is None or is_connect():
        return False
    conf = spark.sparkContext.getConf()
    return any(conf.get(key, "false") == "true" for key in _APPLICATION_PROFILERS)


# In a task


@dataclass(frozen=True)
class TaskFacts:
    """Where a task runs, as Spark says."""

    stage: int
    partition: int
    attempt: int
    """0 for the first attempt at this partition."""
    task: int
    """Spark's task attempt id: no other attempt in this application has it."""
    execution: int | None
    """The id of the SQL execution that the task belongs to."""
    gpus: tuple[str, ...]
    """The addresses of the GPUs given to this task: indices or UUIDs, as the discovery script says."""
    time_zone: str | None
    """The session's time zone; ``None`` where it was never set, so that the JVM's own is used."""

    @property
    def gpu(self) -> str | None:
        """The address of the task's GPU, the first one; ``None`` where Spark gave it none."""
        return next(iter(self.gpus), None)


_configs: WeakKeyDictionary[TaskContext, Config] = WeakKeyDictionary()


def running_task() -> TaskContext | None:
    """The task that this worker process is running; ``None`` on a driver."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import TaskContext

    return TaskContext.get()


_here: ContextVar[Config | None] = ContextVar("gpuspark configuration outside of tasks", default=None)


@contextmanager
def configured(config: Config) -> Iterator[None]:
    """Makes ``config`` that of the calls outside of tasks, which have the defaults otherwise."""
    token = _here.set(config)
    try:
        yield
    finally:
        _here.reset(token)


def task_config() -> Config:
    """The configuration that the running task was started with; where there is no task, that of :func:`configured`.

    Remembered for as long as the task lasts, so it may be asked for with each batch.
    Raises :class:`~gpuspark.errors.ConfigError` as :func:`driver_config` does.
    """
    task = running_task()
    if task is None:
        return _here.get() or Config()
    config = _configs.get(task)
    if config is None:
        config = _configs[task] = Config.from_mapping(_properties(task))
    return config


def profiled() -> str | None:
    """Why the running task has to run plain Python: a profiler of PySpark's watches its functions."""
    task = running_task()
    profiler = None if task is None else task.getLocalProperty(PROFILER)
    return f"{PROFILER}={profiler}, which sees plain Python only" if profiler else None


def task_facts() -> TaskFacts | None:
    """The facts of the running task; ``None`` where there is no task."""
    task = running_task()
    if task is None:
        return None
    execution = task.getLocalProperty(_EXECUTION)
    gpu = (task.resources() or {}).get("gpu")
    return TaskFacts(
        stage=task.stageId(),
        partition=task.partitionId(),
        attempt=task.attemptNumber(),
        task=task.taskAttemptId(),
        execution=None if execution is None else int(execution),
        gpus=tuple(gpu.addresses) if gpu else (),
        time_zone=task.getLocalProperty(TIME_ZONE),
    )


def binary_as_bytes() -> bool:
    """Whether a body is given ``bytes`` for a binary value, and not ``bytearray``, as Spark's setting says."""
    task = running_task()
    return task is None or (task.getLocalProperty(_BINARY_AS_BYTES) or "true").lower() == "true"


def _properties(task: TaskContext) -> Mapping[str, str]:
    """Every local property where PySpark lets us see them all (misspelt keys too), else the keys we know."""
    everything = getattr(task, "_localProperties", None)
    if isinstance(everything, Mapping):
        return everything
    known = Config.keys()
    return {key: text for key in known if (text := task.getLocalProperty(key)) is not None}
