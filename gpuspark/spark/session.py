"""The ``spark.gpuspark.*`` keys, on the driver and in a task, and facts about the running task.

A key set on a session reaches every task of that session as a local property, in classic Spark and in
Spark Connect, so a change between two actions takes effect. Default values are not sent: they come from
:class:`~gpuspark.config.Config`. PySpark is imported inside functions only.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gpuspark.config import Config, read_bytes

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
    """Returns whether this process uses Spark Connect; a process is either classic or Connect, never both."""
    from pyspark.sql.utils import is_remote

    return is_remote()


def application(spark: SparkSession | None) -> str | None:
    """Returns the id of the Spark application, ``"connect"`` for Spark Connect, or ``None`` without a session.

    A PySpark UDF holds objects of its application's JVM once a column was built from it, so a later application in
    the same process must not reuse it.
    """
    if is_connect():
        return "connect"
    return None if spark is None else str(spark.sparkContext.applicationId)


def active_session() -> SparkSession | None:
    """Returns the session of this thread, else the default one; ``None`` without any, as in a worker."""
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        return SparkSession.active()
    except PySparkRuntimeError:
        return None


def driver_config(spark: SparkSession | None = None) -> Config:
    """Returns the configuration of ``spark``, or of the active session; the defaults without a session.

    Raises :class:`~gpuspark.errors.ConfigError` for an unknown ``spark.gpuspark.*`` key or a bad value.
    """
    spark = spark or active_session()
    return Config() if spark is None else Config.from_mapping(settings(spark))


def settings(spark: SparkSession) -> dict[str, str]:
    """Returns all properties that are set in the session: ``spark.conf.getAll`` with one call of the JVM.

    PySpark's own goes through a Java map with a call for each step, and one that fails at its end, which takes tens of
    milliseconds; each column that is built reads the properties.
    """
    if is_connect():
        return spark.conf.getAll
    separator = uuid.uuid4().hex  # occurs in no property
    conf: Any = spark.conf
    entries: str = conf._jconf.getAll().mkString(separator)  # noqa: SLF001  # PySpark's only way to Spark's own object
    return dict(entry.split(" -> ", 1) for entry in entries.split(separator) if entry)


def enable_ledger(spark: SparkSession, config: Config) -> None:
    """Asks Spark to collect the logs of its Python workers, which carry the ledger's records.

    Does nothing if the ledger is off. Spark then collects everything that the session's Python workers log or
    print, not only the ledger.
    """
    if keeps_ledger(config):
        spark.conf.set(WORKER_LOGGING, "true")


def keeps_ledger(config: Config) -> bool:
    """Returns whether tasks with this configuration write records.

    They do not if ``spark.gpuspark.ledger`` or ``spark.gpuspark.enabled`` is false; the latter leaves Spark's own
    settings alone.
    """
    return config.ledger and config.enabled


def size_setting(spark: SparkSession, key: str) -> int:
    """Returns a setting of Spark's that is a number of bytes."""
    text = str(spark.conf.get(key))
    return 0 if text.lower().rstrip("b") == "0" else read_bytes(text)


def default_parallelism(spark: SparkSession) -> int:
    """Returns the number of tasks that Spark aims at where nothing else tells."""
    configured = spark.conf.get("spark.sql.leafNodeDefaultParallelism", None)
    if configured is not None:
        return int(configured)
    if not is_connect():
        return int(spark.sparkContext.defaultParallelism)
    numbered = "SELECT spark_partition_id() AS number FROM range(10000)"
    return int(spark.sql(f"SELECT count(DISTINCT number) FROM ({numbered})").collect()[0][0])


def working_folder(spark: SparkSession) -> str:
    """Returns the folder to which Spark's driver refers relative paths; in Spark Connect, this process's own, since the
    server does not tell its."""
    if is_connect():
        return os.getcwd()
    jvm: Any = spark.sparkContext._jvm  # noqa: SLF001  # PySpark's only way to Java's properties
    return str(jvm.java.lang.System.getProperty("user.dir"))


def application_is_profiled(spark: SparkSession | None) -> bool:
    """Returns whether the application was started with a PySpark profiler, which wraps functions on the driver."""
    if spark is None or is_connect():
        return False
    conf = spark.sparkContext._conf  # noqa: SLF001  # getConf() copies all properties, with a call of the JVM for each
    return any(conf.get(key, "false") == "true" for key in _APPLICATION_PROFILERS)


# In a task


@dataclass(frozen=True)
class TaskFacts:
    """Spark's description of a task."""

    stage: int
    partition: int
    attempt: int
    """0 for the first attempt at this partition."""
    task: int
    """Spark's task attempt id, unique in the application."""
    execution: int | None
    """The id of the SQL execution that the task belongs to."""
    gpus: tuple[str, ...]
    """The addresses of the GPUs assigned to this task: indices or UUIDs, as the discovery script printed them."""
    time_zone: str | None
    """The session's time zone; ``None`` if it was never set, so that the JVM's is used."""

    @property
    def gpu(self) -> str | None:
        """The address of the task's first GPU; ``None`` if Spark assigned none."""
        return next(iter(self.gpus), None)


_configs: WeakKeyDictionary[TaskContext, Config] = WeakKeyDictionary()


def running_task() -> TaskContext | None:
    """Returns the task that this worker process is running; ``None`` on the driver."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import TaskContext

    return TaskContext.get()


_outside_tasks: ContextVar[Config | None] = ContextVar("gpuspark configuration outside of tasks", default=None)


@contextmanager
def configured(config: Config) -> Iterator[None]:
    """Context manager that sets the configuration of calls outside tasks, which otherwise have the defaults."""
    token = _outside_tasks.set(config)
    try:
        yield
    finally:
        _outside_tasks.reset(token)


def task_config() -> Config:
    """Returns the configuration that the running task was started with; outside tasks, that of :func:`configured`.

    Cached until the task ends, so it is cheap to call for every batch.
    Raises :class:`~gpuspark.errors.ConfigError` as :func:`driver_config` does.
    """
    task = running_task()
    if task is None:
        return _outside_tasks.get() or Config()
    config = _configs.get(task)
    if config is None:
        config = _configs[task] = Config.from_mapping(_properties(task))
    return config


def profiled() -> str | None:
    """Returns why the running task must run plain Python if a PySpark profiler is on, else ``None``."""
    task = running_task()
    profiler = None if task is None else task.getLocalProperty(PROFILER)
    return f"{PROFILER}={profiler}, which sees plain Python only" if profiler else None


def task_facts() -> TaskFacts | None:
    """Returns the facts of the running task; ``None`` outside tasks."""
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
    """Returns whether bodies get binary values as ``bytes`` and not ``bytearray``, as set in Spark."""
    task = running_task()
    return task is None or (task.getLocalProperty(_BINARY_AS_BYTES) or "true").lower() == "true"


def _properties(task: TaskContext) -> Mapping[str, str]:
    """Returns all local properties, misspelt keys included, if PySpark exposes them; else those of known keys."""
    everything = getattr(task, "_localProperties", None)
    if isinstance(everything, Mapping):
        return everything
    known = Config.keys()
    return {key: text for key in known if (text := task.getLocalProperty(key)) is not None}
