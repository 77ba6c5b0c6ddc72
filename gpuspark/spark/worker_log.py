"""Spark's log of its Python workers, which carries the ledger's lines.

Workers write the log to standard output, between whatever else is printed there, and Spark's executor takes it out.
It reads with a function that calls itself for the next line after each line of the log, and returns at the first thing
that is none (``CaptureWorkerLogsInputStream.read`` of Spark 4.1 to 4.3). So after some ten thousand lines of the log in
a row, of all workers together, its thread ends with a ``StackOverflowError``: nobody reads any more, the pipe fills,
and every worker waits for ever at its next line. A blank before a line ends such a run; the executor passes it on to
its own standard error.

Each line says in its ``context`` which function logged: the outermost one that is none of PySpark's. With gpuspark
between PySpark and the user's function, that would be a method of ours.
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
"""Lines of one worker without a blank before them. Executors have up to some hundred workers."""


def write(logger: str, lines: Iterable[str]) -> None:
    """Gives ``lines`` to Spark's worker log, and to nothing else; nowhere where Spark keeps none.

    While Spark runs a task it has a handler on the root logger. After that, ``capture_outputs`` makes
    one, which is there only if worker logging is on.
    """
    from pyspark.logger.worker_io import capture_outputs

    handlers = _spark_handlers()
    with nullcontext() if handlers else capture_outputs():
        for handler, line in itertools.product(handlers or _spark_handlers(), lines):
            handler.handle(logging.LogRecord(logger, logging.INFO, __file__, 0, line, None, None))


def break_runs() -> None:
    """From now on this process breaks the runs of lines that it writes to the log, whoever writes them: a user's
    ``print``, Spark's own marks of a task's end, and tasks that run nothing of ours too."""
    out = sys.__stdout__
    if out is None or "write" in vars(out):
        return
    plain, numbers = out.write, itertools.count()

    def write(text: str) -> int:
        if text.startswith(_MARK) and next(numbers) % _RUN == 0:
            return plain(f" {text}") - 1
        return plain(text)

    out.write = write  # type: ignore[method-assign]


def name_users_functions() -> None:
    """From now on in this task, what is logged or printed names the user's function and not ours around it."""
    if "pyspark.logger.worker_io" not in sys.modules:
        return
    formatters: list[Any] = [handler.formatter for handler in _spark_handlers()]
    formatters += [getattr(stream, "_formatter", None) for stream in (sys.stdout, sys.stderr)]
    for formatter in formatters:
        if hasattr(formatter, "_context_provider"):
            formatter._context_provider = users_function  # noqa: SLF001  (no public way to say who logs)


def users_function() -> dict[str, str]:
    """The function that logs, for Spark's log: the outermost one of neither PySpark nor gpuspark, and the class of its
    ``self`` or ``cls``; empty where there is none. As ``pyspark.logger.worker_io.context_provider``, which knows of
    PySpark only."""
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
    """Whether a module of PySpark's or gpuspark's is running; PySpark's worker runs as ``__main__``."""
    module = str(frame.f_globals.get("__name__", ""))
    if module == "__main__":
        module = str(getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", module))
    return module.split(".")[0] in ("pyspark", "gpuspark") and ".tests." not in module


def _spark_handlers() -> list[logging.Handler]:
    from pyspark.logger.worker_io import JSONFormatterWithMarker

    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if isinstance(handler.formatter, JSONFormatterWithMarker)]
