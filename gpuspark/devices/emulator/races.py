"""Finds races: two lanes that touch the same bytes, at least one of them writing, with nothing between
them that says which comes first.

What orders two accesses: the same lane; a barrier of their block (``bar.sync``) between them; for lanes of
one warp also ``bar.warp.sync``. Nothing orders lanes of different blocks within a launch. Two atomic
operations on the same bytes are no race. Several lanes that write the same value in one step are none
either: whoever wins, the bytes are the same.

So reported too, though some programs mean it: blocks that hand over values through fences and flags.
The rules are those of the PTX ISA's memory consistency model, without its release and acquire patterns.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault

Numbers = NDArray[np.int64]
_NOBODY, _SEVERAL = -1, -2


@dataclass(frozen=True)
class Lanes:
    """Who takes a step: for each lane its thread, warp and block in the grid, and how many barriers of its
    block and its warp it has passed."""

    thread: Numbers
    warp: Numbers
    block: Numbers
    block_barriers: Numbers
    warp_barriers: Numbers

    def repeated(self, times: int) -> Lanes:
        return self if times == 1 else Lanes(*(np.repeat(values, times) for values in vars(self).values()))


class Races:
    """Who touched what since the launch began."""

    def __init__(self) -> None:
        self._shadows: dict[Hashable, _Shadow] = {}

    def read(self, memory: Hashable, nbytes: int, offsets: NDArray[Any], size: int, lanes: Lanes) -> None:
        """``lanes`` read ``size`` bytes each at ``offsets`` of a memory of ``nbytes``."""
        shadow, cells, repeated, times = self._cells(memory, nbytes, offsets, size, lanes)
        shadow.check_writers(cells, repeated, times, "reads", strong=False)
        shadow.note_readers(cells, repeated)

    def write(
        self,
        memory: Hashable,
        nbytes: int,
        offsets: NDArray[Any],
        values: NDArray[Any],
        lanes: Lanes,
        *,
        strong: bool = False,
    ) -> None:
        """``lanes`` write ``values`` at ``offsets``. ``strong``: by an atomic operation."""
        shadow, cells, repeated, times = self._cells(memory, nbytes, offsets, values.dtype.itemsize, lanes)
        shadow.check_writers(cells, repeated, times, "writes", strong=strong)
        shadow.check_readers(cells, repeated, times)
        shadow.note_writers(cells, repeated, strong=strong)
        if not strong:
            shadow.check_collisions(cells, repeated, times, values)

    def _cells(
        self, memory: Hashable, nbytes: int, offsets: NDArray[Any], size: int, lanes: Lanes
    ) -> tuple[_Shadow, Numbers, Lanes, int]:
        shadow = self._shadows.get(memory)
        if shadow is None:
            shadow = self._shadows[memory] = _Shadow(nbytes, size)
        places = np.broadcast_to(offsets, lanes.thread.shape).astype(np.int64)
        shadow.refine(size)
        times = size // shadow.unit
        cells = places // shadow.unit
        if times > 1:
            cells = (cells[:, None] + np.arange(times)).ravel()
        return shadow, cells, lanes.repeated(times), times


class _Shadow:
    """The last writer and the readers of each cell of a memory. A cell is as large as the smallest access."""

    def __init__(self, nbytes: int, unit: int) -> None:
        self.unit = unit
        cells = -(-nbytes // unit) + 16
        self.writer = {name: np.full(cells, _NOBODY) for name in Lanes.__annotations__}
        self.reader = {name: np.full(cells, _NOBODY) for name in Lanes.__annotations__}
        self.strong = np.zeros(cells, np.bool_)

    def refine(self, size: int) -> None:
        """Makes cells small enough for accesses of ``size`` bytes."""
        times = self.unit // size
        if times > 1:
            self.unit = size
            self.writer = {name: np.repeat(values, times) for name, values in self.writer.items()}
            self.reader = {name: np.repeat(values, times) for name, values in self.reader.items()}
            self.strong = np.repeat(self.strong, times)

    def check_writers(self, cells: Numbers, lanes: Lanes, times: int, verb: str, *, strong: bool) -> None:
        conflict = _unordered(self.writer, cells, lanes)
        if strong:
            conflict &= ~self.strong[cells]
        self.stop(conflict, self.writer["thread"], cells, times, f"{verb} what", "wrote")

    def check_readers(self, cells: Numbers, lanes: Lanes, times: int) -> None:
        conflict = _unordered(self.reader, cells, lanes)
        self.stop(conflict, self.reader["thread"], cells, times, "writes what", "read")

    def check_collisions(self, cells: Numbers, lanes: Lanes, times: int, values: NDArray[Any]) -> None:
        """Lanes that write to one place in the same step, not all the same value."""
        winners = self.writer["thread"][cells]
        lost = np.flatnonzero(winners != lanes.thread)
        if not len(lost):
            return
        written = np.repeat(np.broadcast_to(values, (len(cells) // times,)), times)
        place = {thread: n for n, thread in enumerate(lanes.thread.tolist())}
        won = written[[place[thread] for thread in winners[lost].tolist()]]
        differ = np.zeros(len(cells), np.bool_)
        differ[lost] = (won != written[lost]) & ~((won != won) & (written[lost] != written[lost]))
        self.stop(differ, self.writer["thread"], cells, times, "writes what", "writes in the same step")

    def stop(
        self, conflict: NDArray[np.bool_], threads: Numbers, cells: Numbers, times: int, does: str, did: str
    ) -> None:
        """Raises the fault of the first conflict, if there is one."""
        if conflict.any():
            place = int(np.flatnonzero(conflict)[0])
            cell = int(cells[place])
            raise RaceFault(place // times, does, did, int(threads[cell]), cell * self.unit)

    def note_readers(self, cells: Numbers, lanes: Lanes) -> None:
        _join(self.reader, cells, lanes)

    def note_writers(self, cells: Numbers, lanes: Lanes, *, strong: bool) -> None:
        if strong:
            _join(self.writer, cells, lanes)
        else:
            for name, values in vars(lanes).items():
                self.writer[name][cells] = values
        self.strong[cells] = strong


def _join(known: dict[str, Numbers], cells: Numbers, lanes: Lanes) -> None:
    """Notes ``lanes``. Those that nothing orders are kept together: as one thread, warp or block, or several."""
    alone = ~_unordered(known, cells, lanes)
    for name, values in vars(lanes).items():
        noted = known[name]
        noted[cells] = np.where(alone | (noted[cells] == values), values, _SEVERAL)
    for name in ("thread", "warp", "block"):  # lanes of one step at one place: one was noted, the others join it
        noted, values = known[name], getattr(lanes, name)
        noted[cells[noted[cells] != values]] = _SEVERAL


def _unordered(known: dict[str, Numbers], cells: Numbers, lanes: Lanes) -> NDArray[np.bool_]:
    """Where what is noted and what happens now have no order."""
    thread = known["thread"][cells]
    conflict: NDArray[np.bool_] = (thread != _NOBODY) & (thread != lanes.thread)
    if not conflict.any():
        return conflict
    block = known["block"][cells] == lanes.block
    warp = known["warp"][cells] == lanes.warp
    ordered = block & (known["block_barriers"][cells] != lanes.block_barriers)
    ordered |= warp & (known["warp_barriers"][cells] != lanes.warp_barriers)
    unordered: NDArray[np.bool_] = conflict & ~ordered
    return unordered


class RaceFault(AccessFault):
    """A race at byte ``offset`` of a memory. ``other`` is a thread's number in the grid, or negative where
    there are several."""

    def __init__(self, lane: int, does: str, did: str, other: int, offset: int) -> None:
        super().__init__(lane, f"{does} another thread {did}", "races")
        self.does, self.did, self.other, self.offset = does, did, other, offset
        self.where = ""
        """The bytes in question, in words."""
