"""What can go wrong while PTX is read or run, before it is known in which thread.

:class:`AccessFault` is raised by the parts that see many lanes at once and only say *which* of them
failed; the interpreter turns it into a :class:`~gpuspark.errors.DeviceFault` that names the kernel,
the instruction, the block and the thread.
"""

from __future__ import annotations

from typing import Literal

from gpuspark.errors import DeviceError

Checker = Literal[
    "bounds", "alignment", "uninitialised reads", "races", "barriers", "warps", "read-only memory", "steps", "traps"
]  # fmt: skip
"""Who found it, by the names of docs/seeded-bugs.md; ``traps``: the program gave up by itself."""


class PtxError(DeviceError):
    """The PTX text cannot be read, or uses an instruction that the emulator does not know."""

    def __init__(self, line: int, text: str, problem: str) -> None:
        super().__init__(f"PTX line {line}: {problem}: {text!r}. Use another device for this program.")
        self.line = line


class AccessFault(Exception):
    """One lane touched memory that is not its own.

    ``lane`` counts within the lanes that took part in the access.
    """

    def __init__(self, lane: int, problem: str, checker: Checker) -> None:
        super().__init__(problem)
        self.lane = lane
        self.problem = problem
        self.checker = checker
