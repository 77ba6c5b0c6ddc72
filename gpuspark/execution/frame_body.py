"""A body of whole batches or Series, which works with NumPy and pandas on the CPU, and with CuPy and cuDF on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuspark.devices.protocol import DeviceName


@dataclass(frozen=True)
class PlacedFrameBody:
    """Such a body as :class:`~gpuspark.execution.placement.Placeable`."""

    name: str
    key: str
    needs: str
    """How the reason begins that names missing packages: ``a series body needs``."""
    emulated: str = ""
    """Why the body does not run on the emulated device; empty where only the functions that it calls run there."""

    @property
    def uses_rapids(self) -> bool:
        return True

    @property
    def left_to_python(self) -> Sequence[str]:
        return ()

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """What keeps the body off ``device``: packages of RAPIDS that are missing."""
        if device == "emulated" and self.emulated:
            return [self.emulated]
        if device != "cuda":
            return []
        from gpuspark.devices.discover import missing_rapids

        lacking = missing_rapids()
        return [f"{self.needs} {lacking}"] if lacking else []
