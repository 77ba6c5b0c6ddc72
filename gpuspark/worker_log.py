"""Spark's log of its Python workers, which carries the ledger's lines.

Workers write the log to standard output, between whatever else is printed there, and Spark's executor takes it out.
It reads with a function that calls itself for the next line after each line of the log, and returns at the first thing
that is none (``CaptureWorkerLogsInputStream.read`` of Spark 4.1 to 4.3). So after some ten thousand lines of the log in
a row, of all workers together, its thread ends with a ``StackOverflowError``: nobody reads any more, the pipe fills,
and every worker waits for ever at its next line. A blank before a line ends such a run; the executor passes it on to
its own standard error.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Iterable
from contextlib import nullcontext

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


def _spark_handlers() -> list[logging.Handler]:
    from pyspark.logger.worker_io import JSONFormatterWithMarker

    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if isinstance(handler.formatter, JSONFormatterWithMarker)]
