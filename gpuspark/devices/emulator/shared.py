"""Shared memory: the bytes that the threads of one block share.

Every block has its own, with the same layout: :class:`SharedLayout` assigns an offset to each ``.shared`` variable of
a module. The dynamic shared memory, whose size is known at the launch only, comes last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.memory import POISON
from gpuspark.devices.emulator.syntax import Variable

Values = NDArray[Any]
Index = NDArray[np.intp]

SHARED_WINDOW = 1 << 57
SHARED_WINDOW_END = 1 << 58
"""The range of shared memory in the generic address space; each thread sees its block's shared memory there."""
LOW_WORD = np.uint64(0xFFFFFFFF)
"""An address in the shared space is 32 bits wide: the upper half of a 64-bit register is ignored."""

_GAP = 256
"""Unused bytes between two variables, so that an access just outside one of them is found."""


@dataclass(frozen=True)
class PlacedVariable:
    """The range of bytes of one variable in shared memory."""

    name: str
    start: int
    end: int
    dynamic: bool = False


class SharedLayout:
    """The offsets of the ``.shared`` variables: ``offsets`` has the first byte of each."""

    def __init__(self, variables: Iterable[Variable]) -> None:
        self.offsets: dict[str, int] = {}
        self._static: list[PlacedVariable] = []
        self._dynamic_names: list[str] = []
        self._end = _GAP
        for variable in variables:
            if variable.nbytes:
                self.offsets[variable.name] = self._end
                self._static.append(PlacedVariable(variable.name, self._end, self._end + variable.nbytes))
                self._end += -(-(variable.nbytes + _GAP) // _GAP) * _GAP
            else:
                self._dynamic_names.append(variable.name)
        self.offsets |= dict.fromkeys(self._dynamic_names, self._end)

    def place(self, dynamic_bytes: int) -> list[PlacedVariable]:
        """Returns the range of every variable; those without a size share the dynamic shared memory."""
        if not dynamic_bytes:
            return list(self._static)
        name = " and ".join(self._dynamic_names) or "dynamic shared memory"
        return [*self._static, PlacedVariable(name, self._end, self._end + dynamic_bytes, True)]


class SharedMemory:
    """The shared memory of all blocks that run together: one row of bytes for each block."""

    def __init__(self, blocks: int, variables: list[PlacedVariable]) -> None:
        self.variables = variables
        self.width = -(-max((variable.end for variable in variables), default=0) // 16) * 16
        self._bytes = np.full((blocks, self.width), POISON, np.uint8)
        self._written = np.zeros((blocks, self.width), np.bool_)

    @property
    def nbytes(self) -> int:
        """The bytes of all blocks together."""
        return self._bytes.size

    def size(self, *, dynamic_only: bool) -> int:
        """Returns the bytes of one block: of all variables, or of the dynamic shared memory only."""
        return sum(variable.end - variable.start for variable in self.variables if variable.dynamic or not dynamic_only)

    def describe(self, offset: int) -> str:
        """Returns the location of a byte, counted over the rows of all blocks, in words."""
        return f"{self._describe_offset(offset % self.width)} in shared memory"

    def load(self, blocks: Index, offsets: Values, dtype: np.dtype) -> Values:
        """Returns the value at each thread's offset, in the memory of its block."""
        columns = self.check(offsets, dtype.itemsize)
        written = self._written.reshape(len(self._written), -1, dtype.itemsize)[blocks, columns].all(axis=-1)
        if not written.all():
            thread = int(np.flatnonzero(~written)[0])
            location = self._describe_offset(int(np.broadcast_to(offsets, written.shape)[thread]))
            problem = f"reads {dtype.itemsize} bytes of shared memory that nothing has written: {location}"
            raise AccessFault(thread, problem, "uninitialised reads")
        return self._bytes.view(dtype)[blocks, columns]

    def store(self, blocks: Index, offsets: Values, values: Values) -> None:
        """Writes the value of each thread to its offset, in the memory of its block."""
        size = values.dtype.itemsize
        columns = self.check(offsets, size)
        self._bytes.view(values.dtype)[blocks, columns] = values
        self._written.reshape(len(self._written), -1, size)[blocks, columns] = True

    def check(self, offsets: Values, size: int) -> Index:
        """Returns ``offsets`` in units of ``size`` bytes.

        Raises :class:`~.faults.AccessFault` where an access does not lie within one variable."""
        signed = offsets.astype(np.int64)
        inside = np.zeros(signed.shape, np.bool_)
        for variable in self.variables:
            inside |= (signed >= variable.start) & (signed + size <= variable.end)
        if not inside.all():
            thread = int(np.flatnonzero(~inside)[0])
            location = self._describe_offset(int(signed[thread]))
            raise AccessFault(thread, f"no shared memory for {size} bytes: {location}", "bounds")
        return signed // size

    def _describe_offset(self, offset: int) -> str:
        """Returns the position of ``offset`` relative to the nearest variable, in words."""
        if not self.variables:
            return "the program has none"
        nearest = min(self.variables, key=lambda variable: max(variable.start - offset, offset - variable.end, 0))
        name = f"{nearest.name} of {nearest.end - nearest.start:,} bytes"
        if offset < nearest.start:
            return f"{nearest.start - offset:,} bytes before the start of {name}"
        if offset >= nearest.end:
            return f"{offset - nearest.end:,} bytes after the end of {name}"
        return f"byte {offset - nearest.start:,} of {name}"
