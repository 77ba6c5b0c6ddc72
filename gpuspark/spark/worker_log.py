"""Writes to Spark's log of its Python workers, which carries the ledger, and corrects two of its flaws.

*Long runs of log lines hang the executor.* Workers write the log to standard output, mixed with whatever else is
printed there, and Spark's executor extracts it. Its reader (``CaptureWorkerLogsInputStream.read`` in Spark 4.1 to 4.3)
recurses once per log line and returns at the first output that is not one. After about ten thousand consecutive log
lines from all workers together, the reading thread dies of a ``StackOverflowError``, the pipe fills, and every worker
blocks at its next line. A space before a log line ends the recursion (:func:`break_runs`); the executor passes the
space on to its own standard error.

*Log lines name gpuspark's function, not the user's.* The ``context`` of a line names the outermost function outside
PySpark, which would be one of gpuspark's (:func:`name_users_functions`).
"""

from __future__ import annotations

import inspect
import itertools
import logging
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from types import FrameType
from typing import Any

_MARK = "PYTHON_WORKER_LOGGING:"
_RUN = 16
"""One in this many log lines of a worker gets a space before it. Executors have up to a few hundred workers."""


def write(logger: str, lines: Iterable[str]) -> None:
    """Writes ``lines`` to Spark's worker log only; does nothing if worker logging is off.

    While Spark runs a task, its handler is on the root logger. After the task, ``capture_outputs`` adds one
    again if worker logging is on.
    """
    from pyspark.logger.worker_io import capture_outputs

    handlers = _spark_handlers()
    with nullcontext() if handlers else capture_outputs():
        for handler, line in itertools.product(handlers or _spark_handlers(), lines):
            handler.handle(logging.LogRecord(logger, logging.INFO, __file__, 0, line, None, None))


def break_runs() -> None:
    """Patches this process's standard output to put a space before some of its log lines (see the module's docstring).

    It stays in effect until the process ends, and covers every log line: a user's ``print``, Spark's own marks of a
    task's end, and later tasks without gpuspark.
    """
    out = sys.__stdout__
    if out is None or "write" in vars(out):
        return
    original_write, numbers = out.write, itertools.count()

    def write(text: str) -> int:
        if text.startswith(_MARK) and next(numbers) % _RUN == 0:
            return original_write(f" {text}") - 1
        return original_write(text)

    out.write = write  # type: ignore[method-assign]


def name_users_functions() -> None:
    """Makes the log lines of the running task name the user's function, not gpuspark's function around it."""
    if "pyspark.logger.worker_io" not in sys.modules:
        return
    formatters: list[Any] = [handler.formatter for handler in _spark_handlers()]
    formatters += [getattr(stream, "_formatter", None) for stream in (sys.stdout, sys.stderr)]
    for formatter in formatters:
        if hasattr(formatter, "_context_provider"):
            formatter._context_provider = users_function  # noqa: SLF001  (no public way to say who logs)


def users_function() -> dict[str, str]:
    """Returns the outermost function outside PySpark and gpuspark, and the class of its ``self`` or ``cls``, if any.

    Replaces ``pyspark.logger.worker_io.context_provider``, which skips PySpark's functions only.
    """
    outermost: FrameType | None = None
    frame = inspect.currentframe()
    while frame is not None and frame.f_back is not None:
        if _is_machinery(frame.f_back) and not _is_machinery(frame):
            outermost = frame
        frame = frame.f_back
    if outermost is None:
        return {}
    context = {"func_name": outermost.f_code.co_name}
    if "self" in outermost.f_locals:
        context["class_name"] = type(outermost.f_locals["self"]).__name__
    elif "cls" in outermost.f_locals:
        context["class_name"] = outermost.f_locals["cls"].__name__
    return context


def _is_machinery(frame: FrameType) -> bool:
    """Returns whether ``frame`` belongs to PySpark or gpuspark; PySpark's worker runs as ``__main__``."""
    module = str(frame.f_globals.get("__name__", ""))
    if module == "__main__":
        module = str(getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", module))
    return module.split(".")[0] in ("pyspark", "gpuspark") and ".tests." not in module


def _spark_handlers() -> list[logging.Handler]:
    from pyspark.logger.worker_io import JSONFormatterWithMarker

    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if isinstance(handler.formatter, JSONFormatterWithMarker)]
