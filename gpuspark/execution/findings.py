"""Reports a batch that failed: a finding for the ledger and, if the user asked for it, a capsule.

The error itself is raised anyway: a fault in a compiled program is a bug, and is never hidden.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuspark.accounting.entries import FOUND
from gpuspark.config import OFF, Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import DeviceError, DeviceFault, VerificationError

if TYPE_CHECKING:
    import pyarrow as pa

    from gpuspark.execution.scalar import ScalarFunction


MOST = 16
"""The most capsules that one worker process writes, so that a job that fails everywhere does not fill the disk."""
_number = itertools.count(1)


def report(
    error: BaseException,
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    device: DeviceName,
    config: Config,
    first_row: int,
) -> list[str]:
    """Returns the ledger's findings for ``error``, which ended the batch ``columns`` of ``function``: none for an
    error of the body. With ``spark.gpuspark.capsule.folder`` it also writes the batch to a file, and adds a note with
    its path to ``error``."""
    if config.capsule_folder != OFF:
        error.add_note(_keep(error, function, columns, device, config, first_row))
    return finding(error, device)


def finding(error: BaseException, device: str) -> list[str]:
    """Returns the ledger's finding: what went wrong on ``device``, and which checker saw it. Empty for an error of the
    body."""
    if isinstance(error, VerificationError):
        checker = "comparison with Python"
    elif isinstance(error, DeviceFault) and error.checker:
        checker = error.checker
    elif isinstance(error, DeviceError):
        checker = type(error).__name__
    else:
        return []
    return [f"{FOUND}{device}: {checker}: {error}"]


def _keep(
    error: BaseException,
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    device: DeviceName,
    config: Config,
    first_row: int,
) -> str:
    """Writes the batch to a capsule; returns a note that says where, or why it could not."""
    from gpuspark.execution.capsule import save, seal

    if next(_number) > MOST:
        return f"gpuspark: no capsule was written: this worker has written {MOST} already"
    try:
        capsule = seal(error, function, columns, device=device, config=config, first_row=first_row)
        path = save(capsule, Path(config.capsule_folder))
    except (OSError, pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError) as problem:
        return f"gpuspark: no capsule could be written: {type(problem).__name__}: {problem}"
    return f"gpuspark: the batch is kept in {path}; run it without Spark: gpuspark replay {path}"
