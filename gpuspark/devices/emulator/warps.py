"""What the lanes of a warp compute together: shuffles, votes, matches and reductions (``….sync``).

An exchange sees complete groups only: :mod:`.barriers` waits until every lane of a ``membermask`` has arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.threads import WARP_SIZE, ActiveThreads

Values = NDArray[Any]
LANE_BITS = np.uint64(1) << np.arange(WARP_SIZE, dtype=np.uint64)
"""The bit of each lane in a ``membermask``."""


@dataclass(frozen=True)
class MaskGroups:
    """Active threads grouped by warp and ``membermask``."""

    group_of: NDArray[np.intp]
    """The group of each thread."""
    lane: NDArray[np.intp]
    """The lane of each thread in its warp."""
    mask: NDArray[np.uint64]
    """The ``membermask`` of each group."""
    warp: NDArray[np.intp]
    """The warp of each group, counted from the first one that runs."""
    present: NDArray[np.uint64]
    """The lanes of each group that take part, as bits."""

    def bits(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Returns the chosen lanes of each group, as bits."""
        bits = np.zeros(len(self.mask), np.uint64)
        np.bitwise_or.at(bits, self.group_of[chosen], LANE_BITS[self.lane[chosen]])
        return bits

    def by_lane(self, values: Values) -> tuple[Values, NDArray[np.bool_]]:
        """Returns ``values`` as a table of groups and lanes, and which of its entries are present."""
        table = np.zeros((len(self.mask), WARP_SIZE), values.dtype)
        present = np.zeros(table.shape, np.bool_)
        table[self.group_of, self.lane] = values
        present[self.group_of, self.lane] = True
        return table, present


def group_by_mask(active: ActiveThreads, masks: Values) -> MaskGroups:
    """Groups active threads by their warp and their value of ``masks``."""
    index = active.indices()
    warps, lanes = active.blocks.warp_of[index], active.blocks.lane_id[index]
    mask_of = np.broadcast_to(masks, index.shape).astype(np.uint64)
    keys, group_of = np.unique(warps.astype(np.uint64) << np.uint64(32) | mask_of, return_inverse=True)
    present = np.zeros(len(keys), np.uint64)
    np.bitwise_or.at(present, group_of, LANE_BITS[lanes])
    return MaskGroups(group_of, lanes, keys & np.uint64(0xFFFFFFFF), (keys >> np.uint64(32)).astype(np.intp), present)


Exchange = Callable[..., tuple[Values, ...]]
"""``exchange(groups, *sources)``: returns the results, one value for each active thread."""


def shuffle(mode: str) -> Exchange:
    """Returns the exchange of ``shfl.sync``, where each lane takes the value of another.

    The source lane is computed as the PTX ISA describes for ``shfl``. Taking the value of a lane that does not take
    part is a fault."""

    def exchange(groups: MaskGroups, values: Values, choice: Values, clamp: Values) -> tuple[Values, ...]:
        lane = groups.lane
        b = np.broadcast_to(choice, lane.shape).astype(np.int64) & 31
        c = np.broadcast_to(clamp, lane.shape).astype(np.int64)
        segment, limit = c >> 8 & 31, c & 31
        first, last = lane & segment, (lane & segment) | (limit & ~segment & 31)
        source = {
            "up": lane - b,
            "down": lane + b,
            "bfly": lane ^ b,
            "idx": first | (b & ~segment & 31),
        }[mode]
        valid = source >= last if mode == "up" else source <= last
        source = np.where(valid, source, lane)
        table, present = groups.by_lane(np.broadcast_to(values, lane.shape))
        missing = ~present[groups.group_of, source]
        if missing.any():
            thread = int(np.flatnonzero(missing)[0])
            problem = f"takes a value from lane {source[thread]} of its warp, which does not take part"
            raise AccessFault(thread, problem, "warps")
        return table[groups.group_of, source], valid

    return exchange


def vote(mode: str) -> Exchange:
    """Returns the exchange of ``vote.sync``: over the predicates of all lanes."""

    def exchange(groups: MaskGroups, values: Values) -> tuple[Values, ...]:
        true_lanes = groups.bits(np.broadcast_to(values, groups.lane.shape))
        if mode == "ballot":
            return (true_lanes[groups.group_of].astype(np.uint32),)
        all_true, none_true = true_lanes == groups.present, true_lanes == 0
        answer = {"all": all_true, "any": ~none_true, "uni": all_true | none_true}[mode]
        return (answer[groups.group_of],)

    return exchange


def match(mode: str) -> Exchange:
    """Returns the exchange of ``match.sync``: which lanes hold the same value."""

    def exchange(groups: MaskGroups, values: Values) -> tuple[Values, ...]:
        table, present = groups.by_lane(np.broadcast_to(values, groups.lane.shape))
        own = table[groups.group_of, groups.lane][:, None]
        equal = (table[groups.group_of] == own) & present[groups.group_of]
        bits = np.where(equal, LANE_BITS, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        if mode == "any":
            return (bits.astype(np.uint32),)
        all_equal = bits == groups.present[groups.group_of]
        return np.where(all_equal, bits, np.uint64(0)).astype(np.uint32), all_equal

    return exchange


def reduce(mode: str) -> Exchange:
    """Returns the exchange of ``redux.sync``: a reduction over all lanes."""
    ufunc = {
        "add": np.add,
        "min": np.minimum,
        "max": np.maximum,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
    }[mode]

    def exchange(groups: MaskGroups, values: Values) -> tuple[Values, ...]:
        value_of = np.broadcast_to(values, groups.lane.shape)
        first = np.unique(groups.group_of, return_index=True)[1]
        result = value_of[first].copy()
        rest = np.ones(len(value_of), np.bool_)
        rest[first] = False
        ufunc.at(result, groups.group_of[rest], value_of[rest])
        return (result[groups.group_of],)

    return exchange
