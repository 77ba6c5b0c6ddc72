"""Where lanes wait for each other: barriers of a block, and what the lanes of a warp do together.

A team that comes to such a place goes on at once if everybody is there who must be; else it waits until no
other lane can go on. Then those that wait at one place are put together. If even so nobody can go on, the
program would hang, or do what nobody can foretell, on a GPU: a :class:`~.faults.AccessFault` says who is missing.

Stricter than the hardware: a barrier wants every thread of its block, at the same instruction; one that has
ended before is missing (so ``if (i >= n) return;`` before ``__syncthreads()`` is a fault).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import Checker
from gpuspark.devices.emulator.lanes import Crew, Team
from gpuspark.devices.emulator.operands import Read, Values, Write
from gpuspark.devices.emulator.warps import LANE_BITS, Exchange, Groups, groups

Flags = NDArray[np.bool_]
Reduction = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
"""``reduction(yes, all)``: of each block's counts of lanes."""


@dataclass(frozen=True)
class Barrier:
    """``bar.sync`` and ``bar.red``: no lane of a block goes on before all have come."""

    checker: ClassVar[Checker] = "barriers"
    number: Read
    reduction: Reduction | None = None
    predicate: Read | None = None
    write: Write | None = None

    def ready(self, team: Team, _expected: Flags) -> Flags:
        """Which of the lanes may go on, if nobody else comes. ``expected``: the lanes of the crew that had not
        ended when the first of them came."""
        crew = team.crew
        blocks = crew.blocks[team.lanes()]
        here = np.bincount(blocks, minlength=len(crew.block_barriers))
        number = np.broadcast_to(self.number(team), blocks.shape)
        lowest, highest = np.full(len(here), 1 << 31), np.zeros(len(here), np.int64)
        np.minimum.at(lowest, blocks, number)
        np.maximum.at(highest, blocks, number)
        whole = (here == np.prod(crew.block)) & (lowest == highest)
        return np.asarray(whole[blocks])

    def meet(self, team: Team) -> None:
        """All lanes of ``team`` go on."""
        crew = team.crew
        blocks = crew.blocks[team.lanes()]
        if self.reduction is not None and self.predicate is not None and self.write is not None:
            yes = np.bincount(blocks, np.broadcast_to(self.predicate(team), blocks.shape), len(crew.block_barriers))
            everyone = np.bincount(blocks, minlength=len(crew.block_barriers))
            self.write(team, self.reduction(yes.astype(np.int64), everyone)[blocks])
        crew.block_barriers[np.unique(blocks)] += 1

    def missing(self, team: Team, _expected: Flags) -> str:
        crew = team.crew
        block = int(crew.blocks[team.lanes()[0]])
        here = int((crew.blocks[team.lanes()] == block).sum())
        ended = int(np.prod(crew.block)) - int((crew.alive & (crew.blocks == block)).sum())
        others = int(np.prod(crew.block)) - here - ended
        return (
            f"a barrier that not every thread of the block reaches: {here} wait here, "
            f"{ended} have ended and {others} wait elsewhere"
        )


@dataclass(frozen=True)
class WarpMeeting:
    """An exchange between the lanes of a warp that ``mask`` names; or ``bar.warp.sync``, which exchanges nothing."""

    checker: ClassVar[Checker] = "warps"
    mask: Read
    exchange: Exchange | None = None
    sources: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()

    def ready(self, team: Team, expected: Flags) -> Flags:
        found = groups(team, self.mask(team))
        return np.asarray((self._awaited(found, team.crew, expected) == found.present)[found.number])

    def meet(self, team: Team) -> None:
        if self.exchange is None:
            team.crew.warp_barriers[np.unique(team.crew.warps[team.lanes()])] += 1
            return
        found = groups(team, self.mask(team))
        results = self.exchange(found, *(read(team) for read in self.sources))
        for write, values in zip(self.writes, results, strict=False):
            write(team, values)

    def missing(self, team: Team, expected: Flags) -> str:
        found = groups(team, self.mask(team))
        group = int(found.number[0])
        mask, present = int(found.mask[group]), int(found.present[group])
        if present & ~mask:
            return f"the lanes {present & ~mask:#010x} of its warp take part and are not in the mask {mask:#010x}"
        absent = int(self._awaited(found, team.crew, expected)[group]) & ~present
        return f"the lanes {absent:#010x} of its warp are in the mask {mask:#010x} and do not take part"

    def _awaited(self, found: Groups, crew: Crew, expected: Flags) -> NDArray[np.uint64]:
        """The lanes that each group's mask names and that had not ended."""
        lanes = np.zeros(len(crew.warp_barriers), np.uint64)
        np.bitwise_or.at(lanes, crew.warps[expected], LANE_BITS[crew.lane_in_warp[expected]])
        return found.mask & lanes[found.warp]


Meeting = Barrier | WarpMeeting


def count(yes: NDArray[np.int64], _everyone: NDArray[np.int64]) -> Values:
    return yes.astype(np.uint32)


REDUCTIONS: dict[str, Reduction] = {
    "popc": count,
    "and": lambda yes, everyone: yes == everyone,
    "or": lambda yes, _everyone: yes > 0,
}


@dataclass
class Waiting:
    """Lanes that wait at one place, and those that had not ended when the first of them came."""

    team: Team
    expected: Flags


class Parked:
    """The lanes that wait for others, by the place where they wait."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, tuple[int, ...]], Waiting] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, team: Team, expected: Flags | None = None) -> None:
        """``team`` joins those who wait at its place."""
        here = self._waiting.get((team.place, team.stack))
        if here is None:
            expected = team.crew.alive.copy() if expected is None else expected
            self._waiting[team.place, team.stack] = Waiting(team, expected)
            return
        here.team.index = np.sort(np.concatenate([here.team.lanes(), team.lanes()]))
        here.expected |= team.crew.alive
        if here.team.size == team.crew.size:
            here.team.index = None

    def take(self) -> list[Waiting]:
        """Everybody; nobody is parked afterwards."""
        found = list(self._waiting.values())
        self._waiting.clear()
        return found
