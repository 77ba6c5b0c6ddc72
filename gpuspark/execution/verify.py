"""``spark.gpuspark.verify.fraction``: computes a fraction of the batches in plain Python too, and compares."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpuspark.columns.values import same, to_python
from gpuspark.config import Config
from gpuspark.devices.protocol import DeviceName
from gpuspark.errors import VerificationError
from gpuspark.execution.rowwise import interpret
from gpuspark.execution.scalar import ScalarFunction

if TYPE_CHECKING:
    import pyarrow as pa


LIBM_ULP = 8
"""The most units in the last place by which mathematical functions may differ between libraries, with some room for
bodies that combine several."""
_EXACT = frozenset(
    f"{module}_{name}"
    for module in ("math", "np")
    for name in (
        "sqrt fabs absolute floor ceil trunc sign isnan isinf isfinite copysign fmod degrees radians deg2rad rad2deg "
        "maximum minimum fmax fmin"
    ).split()
)
"""The functions with the same result in every library: they are exact, or all use Python's formula."""


def tolerance(function: ScalarFunction) -> int:
    """Returns the units in the last place by which a device may differ from Python: 0 for plain arithmetic."""
    operations = function.body.operations if function.body else ()
    libm = [name for name in operations if "pow" in name.split("_") or _is_libm(name)]
    return LIBM_ULP if libm else 0


def _is_libm(operation: str) -> bool:
    return operation.startswith(("math_", "np_")) and operation not in _EXACT


def verify(
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    result: pa.Array,
    device: DeviceName,
    config: Config,
    first_row: int,
) -> None:
    """Compares ``result`` with plain Python's if this batch is in the fraction, which its first row number decides.

    Raises :class:`~gpuspark.errors.VerificationError` at the first row that differs.
    """
    fraction = config.verify_fraction
    if fraction <= 0 or device == "python" or config.arithmetic == "native":
        return
    if zlib.crc32(str(first_row).encode()) / 2**32 >= fraction:
        return
    expected = interpret(function, columns, range(first_row, first_row + len(result)))
    ulp = tolerance(function)
    for row, (ours, theirs) in enumerate(zip(to_python(result), to_python(expected), strict=True)):
        if not same(ours, theirs, ulp):
            raise VerificationError(
                f"{function.name} gave {ours!r} on {device} and {theirs!r} in Python for row "
                f"{first_row + row}. Where the body subtracts nearly equal numbers, both may be right to within "
                "rounding; otherwise set spark.gpuspark.device=python for this job, and report it."
            )
