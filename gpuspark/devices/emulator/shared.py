"""Shared memory: the bytes that the threads of one block have together.

Each block has its own, all laid out alike: :class:`Layout` gives every ``.shared`` variable of a module its
place, and the dynamic part, whose size is known at the launch only, comes last.
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
"""Where shared memory lies in the generic address space; each lane sees its block's own there."""
LOW_WORD = np.uint64(0xFFFFFFFF)
"""An address in the shared space is 32 bits wide: where it is known to be one, the rest does not count."""

_GAP = 256
"""Bytes that belong to nobody, between two variables: an access just outside one of them is found."""


@dataclass(frozen=True)
class Area:
    """One variable's bytes."""

    name: str
    start: int
    end: int
    dynamic: bool = False


class Layout:
    """Where the variables lie. ``offsets`` has each one's first byte."""

    def __init__(self, variables: Iterable[Variable]) -> None:
        self.offsets: dict[str, int] = {}
        self._areas: list[Area] = []
        self._dynamic: list[str] = []
        self._end = _GAP
        for variable in variables:
            if variable.nbytes:
                self.offsets[variable.name] = self._end
                self._areas.append(Area(variable.name, self._end, self._end + variable.nbytes))
                self._end += -(-(variable.nbytes + _GAP) // _GAP) * _GAP
            else:
                self._dynamic.append(variable.name)
        self.offsets |= dict.fromkeys(self._dynamic, self._end)

    def areas(self, dynamic_bytes: int) -> list[Area]:
        """Every variable's area; those without a size of their own share the dynamic part."""
        name = " and ".join(self._dynamic) or "dynamic shared memory"
        return [*self._areas, *([Area(name, self._end, self._end + dynamic_bytes, True)] if dynamic_bytes else [])]


class SharedMemory:
    """The shared bytes of every block of a crew: a row for each."""

    def __init__(self, blocks: int, areas: list[Area]) -> None:
        self.areas = areas
        self.width = -(-max((area.end for area in areas), default=0) // 16) * 16
        self._bytes = np.full((blocks, self.width), POISON, np.uint8)
        self._written = np.zeros((blocks, self.width), np.bool_)

    @property
    def nbytes(self) -> int:
        """Of all blocks together."""
        return self._bytes.size

    def size(self, *, dynamic: bool) -> int:
        """The bytes of one block: of all variables, or of the dynamic part."""
        return sum(area.end - area.start for area in self.areas if area.dynamic or not dynamic)

    def describe(self, place: int) -> str:
        """The byte at ``place`` among those of all blocks, in words."""
        return f"{self._near(place % self.width)} in shared memory"

    def load(self, blocks: Index, offsets: Values, dtype: np.dtype) -> Values:
        place = self.check(offsets, dtype.itemsize)
        written = self._written.reshape(len(self._written), -1, dtype.itemsize)[blocks, place].all(axis=-1)
        if not written.all():
            lane = int(np.flatnonzero(~written)[0])
            where = self._near(int(np.broadcast_to(offsets, written.shape)[lane]))
            problem = f"reads {dtype.itemsize} bytes of shared memory that nothing has written: {where}"
            raise AccessFault(lane, problem, "uninitialised reads")
        return self._bytes.view(dtype)[blocks, place]

    def store(self, blocks: Index, offsets: Values, values: Values) -> None:
        size = values.dtype.itemsize
        place = self.check(offsets, size)
        self._bytes.view(values.dtype)[blocks, place] = values
        self._written.reshape(len(self._written), -1, size)[blocks, place] = True

    def check(self, offsets: Values, size: int) -> Index:
        """The places of values of ``size`` bytes. An access must lie in one variable."""
        signed = offsets.astype(np.int64)
        inside = np.zeros(signed.shape, np.bool_)
        for area in self.areas:
            inside |= (signed >= area.start) & (signed + size <= area.end)
        if not inside.all():
            lane = int(np.flatnonzero(~inside)[0])
            raise AccessFault(lane, f"no shared memory for {size} bytes: {self._near(int(signed[lane]))}", "bounds")
        return signed // size

    def _near(self, offset: int) -> str:
        if not self.areas:
            return "the program has none"
        nearest = min(self.areas, key=lambda area: max(area.start - offset, offset - area.end, 0))
        size = f"{nearest.name} of {nearest.end - nearest.start:,} bytes"
        if offset < nearest.start:
            return f"{nearest.start - offset:,} bytes before the start of {size}"
        if offset >= nearest.end:
            return f"{offset - nearest.end:,} bytes after the end of {size}"
        return f"byte {offset - nearest.start:,} of {size}"
