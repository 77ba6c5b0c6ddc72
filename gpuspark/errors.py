"""The exceptions that gpuspark raises. Every message ends in what to do next.

::

    GpusparkError
    ├── ConfigError (ValueError)         a spark.gpuspark.* key or value that does not exist
    ├── DeclarationError (TypeError)     a decorator used wrongly: found when the function is defined
    ├── CallError (TypeError)            a function called with the wrong columns
    ├── ResultError (ValueError)         a body returned what its declared type cannot hold
    ├── VerificationError (RuntimeError) a device and plain Python gave two answers
    ├── GroupTooLarge (ValueError)       a group of apply_in_segments that a worker may not hold
    ├── FallbackError (RuntimeError)     fallback=raise, and the device asked for was not used
    ├── CapsuleError (ValueError)        a capsule that cannot be read, or not be replayed here
    └── DeviceError (RuntimeError)
        ├── DeviceUnavailable            there is no such device here, and why
        ├── OutOfMemory                  the device has no room; a row-wise program halves its batch
        ├── DeviceFault                  an illegal access, found by the emulator
        └── DeviceLost                   a sticky error: the process cannot use the device again

Errors of the user's own body keep their type and traceback; :func:`locate` adds a note that says
which function, rows and device they happened in.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class GpusparkError(Exception):
    """The base of every error that gpuspark raises on its own account."""


class ConfigError(GpusparkError, ValueError):
    """A ``spark.gpuspark.*`` key is unknown, or its value cannot be read."""


class DeclarationError(GpusparkError, TypeError):
    """A decorator was given a type, option or function that it cannot take."""


class CallError(GpusparkError, TypeError):
    """A function was called with columns that do not fit its parameters."""


class ResultError(GpusparkError, ValueError):
    """A body returned a value, type or number of rows that it did not declare."""


class GroupTooLarge(GpusparkError, ValueError):
    """A group has more bytes than ``spark.gpuspark.segment.maxBytes`` allows a worker to hold."""


class FallbackError(GpusparkError, RuntimeError):
    """``spark.gpuspark.fallback=raise`` and the device asked for was not used."""


class VerificationError(GpusparkError, RuntimeError):
    """``spark.gpuspark.verify.fraction`` found a row where a device and plain Python differ."""


class CapsuleError(GpusparkError, ValueError):
    """A capsule is broken, of another format, or cannot be replayed on this machine."""


class DeviceError(GpusparkError, RuntimeError):
    """A device could not do what was asked of it."""


class DeviceUnavailable(DeviceError):
    """The device is not present or may not be used by this process."""

    @property
    def busy(self) -> bool:
        """Whether the device is there and taken for now, so that waiting helps."""
        return False


class OutOfMemory(DeviceError):
    """The device has no room for an allocation. Recoverable: the batch is made smaller."""


class DeviceFault(DeviceError):
    """A program touched memory that is not its own, or a checker of the emulator found a race.

    ``checker``: which of the emulator's found it (docs/seeded-bugs.md names them); empty on other devices."""

    def __init__(self, message: str, *, checker: str = "") -> None:
        super().__init__(message)
        self.checker = checker


class DeviceLost(DeviceError):
    """The device's context is broken for good: this process must not use the device again."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The hint that names the choice nearest to ``word``, or lists them all.

    >>> nearest("cpuu", ["cpu", "cuda"])
    "Did you mean 'cpu'?"
    """
    known = list(choices)
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose one of: {', '.join(known)}."


@contextmanager
def loading(refusal: Callable[[str], Exception]) -> Iterator[None]:
    """Within, packages of others are imported and their libraries started, and nothing else is done: whatever they
    raise there is theirs, and becomes ``refusal(why)``.

    >>> with loading(OSError):
    ...     raise AttributeError("numpy has no row_stack")
    Traceback (most recent call last):
    OSError: AttributeError: numpy has no row_stack
    """
    try:
        yield
    except Exception as error:  # with another NumPy an AttributeError, without a library an OSError, ...
        text = next(iter(str(error).splitlines()), "")
        raise refusal(f"{type(error).__name__}: {text}" if text else type(error).__name__) from error


def locate(error: BaseException, **where: object) -> None:
    """Adds one note to ``error`` that says where in gpuspark it happened; type and traceback stay.

    >>> e = ZeroDivisionError("division by zero")
    >>> locate(e, function="f", row=7)
    >>> e.__notes__
    ['gpuspark: function=f row=7']
    """
    error.add_note("gpuspark: " + " ".join(f"{name}={value}" for name, value in where.items()))
