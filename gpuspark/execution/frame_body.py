"""Placement of bodies over whole batches or Series, which use NumPy and pandas on the CPU, CuPy and cuDF on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuspark.devices.protocol import DeviceName
from gpuspark.execution.placement import NOT_SCALAR


@dataclass(frozen=True)
class PlacedFrameBody:
    """The :class:`~gpuspark.execution.placement.Placeable` of such a body."""

    name: str
    key: str
    needs: str
    """The beginning of the reason that names missing packages, such as ``a series body needs``."""
    emulated: str = ""
    """Why the body cannot run on the emulated device; empty if it can, because only the functions it calls run
    there."""

    not_cuda: str = ""
    """Why the body cannot use cuDF and CuPy although they are installed; empty if it can."""

    not_sql = NOT_SCALAR

    @property
    def uses_rapids(self) -> bool:
        return True

    @property
    def left_to_python(self) -> Sequence[str]:
        return ()

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """Returns why the body cannot run on ``device``, such as missing RAPIDS packages; empty if it can."""
        if device == "emulated" and self.emulated:
            return [self.emulated]
        if device != "cuda":
            return []
        if self.not_cuda:
            return [self.not_cuda]
        from gpuspark.devices.discover import missing_rapids

        missing = missing_rapids()
        return [f"{self.needs} {missing}"] if missing else []
