"""Synchronisation: barriers of a block, and the instructions that the lanes of a warp execute together (``.sync``).

Threads that arrive go on at once if all required threads are there; else they wait until no other thread can run.
Then those that wait at the same instruction are merged. If still none can go on, the program would deadlock or be
undefined on a GPU: an :class:`~.faults.AccessFault` says which threads are missing.

Stricter than the hardware: a barrier requires every thread of its block, at the same instruction. A thread that has
exited counts as missing (so ``if (i >= n) return;`` before ``__syncthreads()`` is a fault).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import Checker
from gpuspark.devices.emulator.operands import Read, Values, Write
from gpuspark.devices.emulator.threads import ActiveThreads, ThreadBlocks
from gpuspark.devices.emulator.warps import LANE_BITS, Exchange, MaskGroups, group_by_mask

Mask = NDArray[np.bool_]
Reduction = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
"""``reduction(true_counts, thread_counts)``, both counted per block; returns the result of each block."""


@dataclass(frozen=True)
class Barrier:
    """``bar.sync`` and ``bar.red``: no thread of a block goes on before all have arrived."""

    checker: ClassVar[Checker] = "barriers"
    number: Read
    reduction: Reduction | None = None
    predicate: Read | None = None
    write: Write | None = None

    def is_complete(self, active: ActiveThreads, _expected: Mask) -> Mask:
        """Returns, for each thread of ``active``, whether all threads of its block have arrived."""
        blocks = active.blocks
        block_of = blocks.block_of[active.indices()]
        arrived = np.bincount(block_of, minlength=len(blocks.block_barriers))
        number = np.broadcast_to(self.number(active), block_of.shape)
        lowest, highest = np.full(len(arrived), 1 << 31), np.zeros(len(arrived), np.int64)
        np.minimum.at(lowest, block_of, number)
        np.maximum.at(highest, block_of, number)
        complete = (arrived == np.prod(blocks.block)) & (lowest == highest)
        return np.asarray(complete[block_of])

    def complete(self, active: ActiveThreads) -> None:
        """Computes the reduction, if there is one, and counts the barrier as passed."""
        blocks = active.blocks
        block_of = blocks.block_of[active.indices()]
        if self.reduction is not None and self.predicate is not None and self.write is not None:
            predicates = np.broadcast_to(self.predicate(active), block_of.shape)
            true_counts = np.bincount(block_of, predicates, len(blocks.block_barriers))
            thread_counts = np.bincount(block_of, minlength=len(blocks.block_barriers))
            self.write(active, self.reduction(true_counts.astype(np.int64), thread_counts)[block_of])
        blocks.block_barriers[np.unique(block_of)] += 1

    def describe_missing(self, active: ActiveThreads, _expected: Mask) -> str:
        """Returns where the threads of the first waiting block are, in words."""
        blocks = active.blocks
        threads_per_block = int(np.prod(blocks.block))
        block_of = blocks.block_of[active.indices()]
        block = int(block_of[0])
        here = int((block_of == block).sum())
        exited = threads_per_block - int((blocks.alive & (blocks.block_of == block)).sum())
        elsewhere = threads_per_block - here - exited
        return (
            f"a barrier that not every thread of the block reaches: {here} wait here, "
            f"{exited} have ended and {elsewhere} wait elsewhere"
        )


@dataclass(frozen=True)
class WarpSynchronisation:
    """``bar.warp.sync``, or an exchange between the lanes of a warp that ``mask`` names."""

    checker: ClassVar[Checker] = "warps"
    mask: Read
    exchange: Exchange | None = None
    sources: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()

    def is_complete(self, active: ActiveThreads, expected: Mask) -> Mask:
        """Returns, for each thread of ``active``, whether all lanes of its mask have arrived.

        ``expected`` marks the threads that had not exited when the first one arrived."""
        groups = group_by_mask(active, self.mask(active))
        return np.asarray((self._required(groups, active.blocks, expected) == groups.present)[groups.group_of])

    def complete(self, active: ActiveThreads) -> None:
        """Exchanges the values, or counts the warp's barrier as passed."""
        if self.exchange is None:
            active.blocks.warp_barriers[np.unique(active.blocks.warp_of[active.indices()])] += 1
            return
        groups = group_by_mask(active, self.mask(active))
        results = self.exchange(groups, *(read(active) for read in self.sources))
        for write, values in zip(self.writes, results, strict=False):
            write(active, values)

    def describe_missing(self, active: ActiveThreads, expected: Mask) -> str:
        """Returns which lanes of the first waiting group are missing or not in the mask, in words."""
        groups = group_by_mask(active, self.mask(active))
        group = int(groups.group_of[0])
        mask, present = int(groups.mask[group]), int(groups.present[group])
        if present & ~mask:
            return f"the lanes {present & ~mask:#010x} of its warp take part and are not in the mask {mask:#010x}"
        absent = int(self._required(groups, active.blocks, expected)[group]) & ~present
        return f"the lanes {absent:#010x} of its warp are in the mask {mask:#010x} and do not take part"

    def _required(self, groups: MaskGroups, blocks: ThreadBlocks, expected: Mask) -> NDArray[np.uint64]:
        """Returns the lanes of each group's mask that are in ``expected``, as bits."""
        lanes = np.zeros(len(blocks.warp_barriers), np.uint64)
        np.bitwise_or.at(lanes, blocks.warp_of[expected], LANE_BITS[blocks.lane_id[expected]])
        return groups.mask & lanes[groups.warp]


Synchronisation = Barrier | WarpSynchronisation


def _popc(true_counts: NDArray[np.int64], _thread_counts: NDArray[np.int64]) -> Values:
    """Returns the number of threads whose predicate is true."""
    return true_counts.astype(np.uint32)


REDUCTIONS: dict[str, Reduction] = {
    "popc": _popc,
    "and": lambda true_counts, thread_counts: true_counts == thread_counts,
    "or": lambda true_counts, _thread_counts: true_counts > 0,
}
"""The reductions of ``bar.red`` by their PTX name."""


@dataclass
class WaitingGroup:
    """Threads that wait at one instruction.

    ``expected`` marks all threads that had not exited when the first of them arrived."""

    active: ActiveThreads
    expected: Mask


class SynchronisationQueue:
    """The threads that wait for others, grouped by program counter and call stack."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, tuple[int, ...]], WaitingGroup] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, active: ActiveThreads, expected: Mask | None = None) -> None:
        """Adds ``active``, merged with the threads that wait at the same instruction already."""
        group = self._groups.get((active.pc, active.call_stack))
        if group is None:
            expected = active.blocks.alive.copy() if expected is None else expected
            self._groups[active.pc, active.call_stack] = WaitingGroup(active, expected)
            return
        group.active.index = np.sort(np.concatenate([group.active.indices(), active.indices()]))
        group.expected |= active.blocks.alive
        if group.active.size == active.blocks.size:
            group.active.index = None

    def take_all(self) -> list[WaitingGroup]:
        """Removes and returns all groups."""
        groups = list(self._groups.values())
        self._groups.clear()
        return groups
