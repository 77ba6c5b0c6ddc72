"""The exceptions that gpuspark raises. Every message ends in what to do next.

::

    GpusparkError
    ├── ConfigError (ValueError)         a spark.gpuspark.* key or value that does not exist
    ├── DeclarationError (TypeError)     a decorator used wrongly: found when the function is defined
    ├── CallError (TypeError)            a function called with the wrong columns
    ├── ResultError (ValueError)         a body returned what its declared type cannot hold
    ├── VerificationError (RuntimeError) a device and plain Python gave different results
    ├── GroupTooLarge (ValueError)       a group of apply_in_segments exceeds the size limit
    ├── FallbackError (RuntimeError)     fallback=raise, and the device asked for was not used
    ├── CapsuleError (ValueError)        a capsule cannot be read, or cannot be replayed here
    ├── ScanError (OSError)              a file that a scan reads is damaged, gone, or not what it was
    └── DeviceError (RuntimeError)
        ├── DeviceUnavailable            the device is absent or may not be used, and why
        ├── OutOfMemory                  the device's memory is full; a row-wise program halves its batch
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
    """The base class of gpuspark's own errors."""


class ConfigError(GpusparkError, ValueError):
    """A ``spark.gpuspark.*`` key is unknown, or its value cannot be read."""


class DeclarationError(GpusparkError, TypeError):
    """A decorator was given an invalid type, option or function."""


class CallError(GpusparkError, TypeError):
    """A function was called with columns that do not fit its parameters."""


class ResultError(GpusparkError, ValueError):
    """A body returned a value, type or number of rows that it did not declare."""


class GroupTooLarge(GpusparkError, ValueError):
    """A group is larger than ``spark.gpuspark.segment.maxBytes``."""


class FallbackError(GpusparkError, RuntimeError):
    """``spark.gpuspark.fallback=raise`` and the device asked for was not used."""


class VerificationError(GpusparkError, RuntimeError):
    """``spark.gpuspark.verify.fraction`` found a row where a device and plain Python differ."""


class CapsuleError(GpusparkError, ValueError):
    """A capsule is damaged, has another format, or cannot be replayed on this machine."""


class ScanError(GpusparkError, OSError):
    """A file that a scan reads cannot be read exactly, or is not the file that was planned with."""


class DeviceError(GpusparkError, RuntimeError):
    """A device failed; the subclasses say how."""


class DeviceUnavailable(DeviceError):
    """The device is not present or may not be used by this process."""

    @property
    def busy(self) -> bool:
        """Whether the device exists but is in use, so that waiting may help."""
        return False


class OutOfMemory(DeviceError):
    """The device cannot satisfy an allocation. Recoverable: gpuspark retries with a smaller batch."""


class DeviceFault(DeviceError):
    """A program accessed memory illegally, or a checker of the emulator found a fault such as a race.

    ``checker`` is the name of that checker (docs/seeded-bugs.md lists them); empty on other devices.
    """

    def __init__(self, message: str, *, checker: str = "") -> None:
        super().__init__(message)
        self.checker = checker


class DeviceLost(DeviceError):
    """The device's context is broken permanently: this process must not use the device again."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns a hint that names the choice closest to ``word``, or lists all choices.

    >>> nearest("cpuu", ["cpu", "cuda"])
    "Did you mean 'cpu'?"
    """
    known = list(choices)
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose one of: {', '.join(known)}."


@contextmanager
def loading(refusal: Callable[[str], Exception]) -> Iterator[None]:
    """Context manager for importing third-party packages: raises ``refusal(reason)`` for whatever they raise.

    Only imports and library initialisation belong inside, so that no error of gpuspark or of the user is caught.

    >>> with loading(OSError):
    ...     raise AttributeError("numpy has no row_stack")
    Traceback (most recent call last):
    OSError: AttributeError: numpy has no row_stack
    """
    try:
        yield
    except Exception as error:  # an AttributeError with another NumPy, an OSError without a shared library, ...
        text = next(iter(str(error).splitlines()), "")
        raise refusal(f"{type(error).__name__}: {text}" if text else type(error).__name__) from error


def locate(error: BaseException, **where: object) -> None:
    """Adds a note to ``error`` that says where in gpuspark it was raised; its type and traceback stay.

    >>> e = ZeroDivisionError("division by zero")
    >>> locate(e, function="f", row=7)
    >>> e.__notes__
    ['gpuspark: function=f row=7']
    """
    error.add_note("gpuspark: " + " ".join(f"{name}={value}" for name, value in where.items()))
