"""Detects data races: two threads access the same bytes, at least one of them writes, and nothing orders the accesses.

Two accesses are ordered if the same thread makes them, or a barrier of their block (``bar.sync``) lies between them,
or, for lanes of one warp, ``bar.warp.sync``. Nothing orders threads of different blocks within a launch. Two atomic
operations on the same bytes are not a race. Neither are several threads that write the same value in one step:
whichever wins, the bytes are the same.

Therefore some programs that are correct are reported too: blocks that pass values through fences and flags. The rules
are those of the PTX ISA's memory consistency model, without its release and acquire patterns.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault

Numbers = NDArray[np.int64]
_NONE, _SEVERAL = -1, -2
"""Marks in shadow memory: no thread has accessed a cell, or several threads that nothing orders."""


@dataclass(frozen=True)
class Accessors:
    """The threads that make an access: for each its thread, warp and block in the grid, and how many barriers its
    block and its warp have passed."""

    thread: Numbers
    warp: Numbers
    block: Numbers
    block_barriers: Numbers
    warp_barriers: Numbers

    def repeated(self, times: int) -> Accessors:
        """Returns each thread ``times`` times: once for each cell that it accesses."""
        return self if times == 1 else Accessors(*(np.repeat(values, times) for values in vars(self).values()))


class RaceDetector:
    """Which threads accessed which bytes since the launch began."""

    def __init__(self) -> None:
        self._shadows: dict[Hashable, _ShadowMemory] = {}

    def read(self, memory: Hashable, nbytes: int, offsets: NDArray[Any], size: int, accessors: Accessors) -> None:
        """Records that ``accessors`` read ``size`` bytes each at ``offsets`` of a memory of ``nbytes``.

        Raises :class:`RaceFault` for a race."""
        shadow, cells, repeated, times = self._cells(memory, nbytes, offsets, size, accessors)
        shadow.check_writers(cells, repeated, times, "reads", atomic=False)
        shadow.record_readers(cells, repeated)

    def write(
        self,
        memory: Hashable,
        nbytes: int,
        offsets: NDArray[Any],
        values: NDArray[Any],
        accessors: Accessors,
        *,
        atomic: bool = False,
    ) -> None:
        """Records that ``accessors`` write ``values`` at ``offsets``. ``atomic``: by an atomic operation.

        Raises :class:`RaceFault` for a race."""
        shadow, cells, repeated, times = self._cells(memory, nbytes, offsets, values.dtype.itemsize, accessors)
        shadow.check_writers(cells, repeated, times, "writes", atomic=atomic)
        shadow.check_readers(cells, repeated, times)
        shadow.record_writers(cells, repeated, atomic=atomic)
        if not atomic:
            shadow.check_collisions(cells, repeated, times, values)

    def _cells(
        self, memory: Hashable, nbytes: int, offsets: NDArray[Any], size: int, accessors: Accessors
    ) -> tuple[_ShadowMemory, Numbers, Accessors, int]:
        """Returns the shadow of ``memory``, the accessed cells, their accessors, and the cells per access."""
        shadow = self._shadows.get(memory)
        if shadow is None:
            shadow = self._shadows[memory] = _ShadowMemory(nbytes, size)
        byte_offsets = np.broadcast_to(offsets, accessors.thread.shape).astype(np.int64)
        shadow.refine(size)
        times = size // shadow.cell_size
        cells = byte_offsets // shadow.cell_size
        if times > 1:
            cells = (cells[:, None] + np.arange(times)).ravel()
        return shadow, cells, accessors.repeated(times), times


class _ShadowMemory:
    """The last writer and the readers of each cell of a memory. A cell is as large as the smallest access."""

    def __init__(self, nbytes: int, cell_size: int) -> None:
        self.cell_size = cell_size
        cells = -(-nbytes // cell_size) + 16
        self.writer = {name: np.full(cells, _NONE) for name in Accessors.__annotations__}
        self.reader = {name: np.full(cells, _NONE) for name in Accessors.__annotations__}
        self.atomic = np.zeros(cells, np.bool_)
        """Whether the last write of a cell was atomic."""

    def refine(self, size: int) -> None:
        """Splits the cells until they are no larger than ``size`` bytes."""
        times = self.cell_size // size
        if times > 1:
            self.cell_size = size
            self.writer = {name: np.repeat(values, times) for name, values in self.writer.items()}
            self.reader = {name: np.repeat(values, times) for name, values in self.reader.items()}
            self.atomic = np.repeat(self.atomic, times)

    def check_writers(self, cells: Numbers, accessors: Accessors, times: int, verb: str, *, atomic: bool) -> None:
        """Raises :class:`RaceFault` where another thread wrote a cell."""
        conflict = _unordered(self.writer, cells, accessors)
        if atomic:
            conflict &= ~self.atomic[cells]
        self.raise_first(conflict, self.writer["thread"], cells, times, f"{verb} what", "wrote")

    def check_readers(self, cells: Numbers, accessors: Accessors, times: int) -> None:
        """Raises :class:`RaceFault` where another thread read a cell that is written now."""
        conflict = _unordered(self.reader, cells, accessors)
        self.raise_first(conflict, self.reader["thread"], cells, times, "writes what", "read")

    def check_collisions(self, cells: Numbers, accessors: Accessors, times: int, values: NDArray[Any]) -> None:
        """Raises :class:`RaceFault` where threads wrote different values to one cell in the same step."""
        winners = self.writer["thread"][cells]
        lost = np.flatnonzero(winners != accessors.thread)
        if not len(lost):
            return
        written = np.repeat(np.broadcast_to(values, (len(cells) // times,)), times)
        position_of = {thread: n for n, thread in enumerate(accessors.thread.tolist())}
        won = written[[position_of[thread] for thread in winners[lost].tolist()]]
        differ = np.zeros(len(cells), np.bool_)
        differ[lost] = (won != written[lost]) & ~((won != won) & (written[lost] != written[lost]))
        self.raise_first(differ, self.writer["thread"], cells, times, "writes what", "writes in the same step")

    def raise_first(
        self, conflict: NDArray[np.bool_], others: Numbers, cells: Numbers, times: int, does: str, did: str
    ) -> None:
        """Raises the fault of the first conflict, if there is one. ``others`` holds the other thread of each cell."""
        if conflict.any():
            position = int(np.flatnonzero(conflict)[0])
            cell = int(cells[position])
            raise RaceFault(position // times, does, did, int(others[cell]), cell * self.cell_size)

    def record_readers(self, cells: Numbers, accessors: Accessors) -> None:
        """Adds ``accessors`` to the readers of ``cells``."""
        _merge(self.reader, cells, accessors)

    def record_writers(self, cells: Numbers, accessors: Accessors, *, atomic: bool) -> None:
        """Makes ``accessors`` the last writers of ``cells``; atomic writers are added to those before."""
        if atomic:
            _merge(self.writer, cells, accessors)
        else:
            for name, values in vars(accessors).items():
                self.writer[name][cells] = values
        self.atomic[cells] = atomic


def _merge(recorded: dict[str, Numbers], cells: Numbers, accessors: Accessors) -> None:
    """Records ``accessors``; those that are not ordered after the recorded ones become "several" together."""
    replaces = ~_unordered(recorded, cells, accessors)
    for name, values in vars(accessors).items():
        column = recorded[name]
        column[cells] = np.where(replaces | (column[cells] == values), values, _SEVERAL)
    for name in ("thread", "warp", "block"):  # several threads of this step in one cell: only the last was recorded
        column, values = recorded[name], getattr(accessors, name)
        column[cells[column[cells] != values]] = _SEVERAL


def _unordered(recorded: dict[str, Numbers], cells: Numbers, accessors: Accessors) -> NDArray[np.bool_]:
    """Returns where the recorded access and the new one are not ordered."""
    thread = recorded["thread"][cells]
    conflict: NDArray[np.bool_] = (thread != _NONE) & (thread != accessors.thread)
    if not conflict.any():
        return conflict
    same_block = recorded["block"][cells] == accessors.block
    same_warp = recorded["warp"][cells] == accessors.warp
    ordered = same_block & (recorded["block_barriers"][cells] != accessors.block_barriers)
    ordered |= same_warp & (recorded["warp_barriers"][cells] != accessors.warp_barriers)
    unordered: NDArray[np.bool_] = conflict & ~ordered
    return unordered


class RaceFault(AccessFault):
    """A race at byte ``offset`` of a memory. ``other`` is the other thread's number in the grid, negative if there
    are several."""

    def __init__(self, thread: int, does: str, did: str, other: int, offset: int) -> None:
        super().__init__(thread, f"{does} another thread {did}", "races")
        self.does, self.did, self.other, self.offset = does, did, other, offset
        self.where = ""
        """A description of the bytes at ``offset``."""
