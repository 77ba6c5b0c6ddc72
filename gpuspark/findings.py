"""What becomes of a batch that failed: its finding for the ledger and, where the user asked for it, a capsule.

The error itself is raised all the same: a fault in a compiled program is a bug, and never hidden.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuspark.config import OFF
from gpuspark.errors import DeviceError, DeviceFault, VerificationError
from gpuspark.records import FOUND

if TYPE_CHECKING:
    import pyarrow as pa

    from gpuspark.worker import Runner

MOST = 16
"""Capsules that one worker process writes: a job that fails everywhere must not fill the disk."""
_number = itertools.count(1)


def report(error: BaseException, runner: Runner, columns: Sequence[pa.Array], first_row: int) -> list[str]:
    """What the ledger is to say of ``error``, which ended the batch ``columns`` of ``runner``'s function: nothing
    where it is an error of the body. With ``spark.gpuspark.capsule.folder`` the batch is kept in a file, and a
    note of the error says where."""
    if runner.config.capsule_folder != OFF:
        error.add_note(_keep(error, runner, columns, first_row))
    return finding(error, runner.plan.device)


def finding(error: BaseException, device: str) -> list[str]:
    """The reason that names what was found on ``device``, and by which checker."""
    if isinstance(error, VerificationError):
        checker = "comparison with Python"
    elif isinstance(error, DeviceFault) and error.checker:
        checker = error.checker
    elif isinstance(error, DeviceError):
        checker = type(error).__name__
    else:
        return []
    return [f"{FOUND}{device}: {checker}: {error}"]


def _keep(error: BaseException, runner: Runner, columns: Sequence[pa.Array], first_row: int) -> str:
    """Keeps the batch in a capsule; where, or why not."""
    from gpuspark.capsule import save, seal

    if next(_number) > MOST:
        return f"gpuspark: no capsule was kept: this worker has written {MOST} already"
    try:
        capsule = seal(
            error, runner.function, columns, device=runner.plan.device, config=runner.config, first_row=first_row
        )
        path = save(capsule, Path(runner.config.capsule_folder))
    except (OSError, pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError) as problem:
        return f"gpuspark: no capsule could be kept: {type(problem).__name__}: {problem}"
    return f"gpuspark: the batch is kept in {path}; see it without Spark: gpuspark replay {path}"
