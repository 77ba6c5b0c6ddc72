"""The errors of reading and running PTX.

:class:`AccessFault` is raised by the memories and checkers, which see many threads at once and only say *which* of
them failed. The interpreter turns it into a :class:`~gpuspark.errors.DeviceFault` that names the kernel, the
instruction, the block and the thread.
"""

from __future__ import annotations

from typing import Literal

from gpuspark.errors import DeviceError

Checker = Literal[
    "bounds", "alignment", "uninitialised reads", "races", "barriers", "warps", "read-only memory", "steps", "traps"
]
"""The checkers, named as in docs/seeded-bugs.md; ``traps``: the program executed ``trap``."""


class PtxError(DeviceError):
    """The PTX text cannot be read, or uses an instruction that the emulator does not know."""

    def __init__(self, line: int, text: str, problem: str) -> None:
        super().__init__(f"PTX line {line}: {problem}: {text!r}. Use another device for this program.")
        self.line = line


class AccessFault(Exception):
    """An illegal operation of one thread, such as an access out of bounds.

    ``thread`` is its position among the threads that executed the instruction.
    """

    def __init__(self, thread: int, problem: str, checker: Checker) -> None:
        super().__init__(problem)
        self.thread = thread
        self.problem = problem
        self.checker = checker
