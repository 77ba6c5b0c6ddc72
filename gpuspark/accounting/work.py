"""The measurements of one batch, collected for the ledger: seconds, rows by device, retries and reasons."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Work:
    """The measurements of one batch."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock time by phase of the ledger."""
    retries: int = 0
    reasons: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows by the device that computed them."""

    def lap(self, phase: str, start: float) -> float:
        """Adds the time since ``start`` to ``phase``; returns the time now, the start of the next phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - start
        return now

    def ran(self, device: str, rows: int) -> None:
        """Adds ``rows`` to the rows that ``device`` computed."""
        self.rows[device] = self.rows.get(device, 0) + rows
