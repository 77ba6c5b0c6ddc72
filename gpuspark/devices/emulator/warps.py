"""What the lanes of a warp do together: shuffles, votes, matches and reductions (``….sync``).

A *group* is the lanes of one warp that name the same ``membermask``. An exchange sees whole groups only:
:mod:`.meetings` waits until every lane of the mask has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.lanes import WARP, Team

Values = NDArray[Any]
LANE_BITS = np.uint64(1) << np.arange(WARP, dtype=np.uint64)


@dataclass(frozen=True)
class Groups:
    """The groups among a team's lanes."""

    number: NDArray[np.intp]
    """Each lane's group."""
    lane: NDArray[np.intp]
    """Each lane's place in its warp."""
    mask: NDArray[np.uint64]
    """Each group's ``membermask``."""
    warp: NDArray[np.intp]
    """Each group's warp in the crew."""
    present: NDArray[np.uint64]
    """The lanes of each group that take part, as bits."""

    def bits(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """For each group the chosen lanes, as bits."""
        found = np.zeros(len(self.mask), np.uint64)
        np.bitwise_or.at(found, self.number[chosen], LANE_BITS[self.lane[chosen]])
        return found

    def table(self, values: Values) -> tuple[Values, NDArray[np.bool_]]:
        """``values`` by group and lane, and which of them are there."""
        rows = np.zeros((len(self.mask), WARP), values.dtype)
        there = np.zeros(rows.shape, np.bool_)
        rows[self.number, self.lane] = values
        there[self.number, self.lane] = True
        return rows, there


def groups(team: Team, masks: Values) -> Groups:
    """The groups of a team whose lanes name ``masks``."""
    lanes = team.lanes()
    warps, inner = team.crew.warps[lanes], team.crew.lane_in_warp[lanes]
    named = np.broadcast_to(masks, lanes.shape).astype(np.uint64)
    keys, number = np.unique(warps.astype(np.uint64) << np.uint64(32) | named, return_inverse=True)
    present = np.zeros(len(keys), np.uint64)
    np.bitwise_or.at(present, number, LANE_BITS[inner])
    return Groups(number, inner, keys & np.uint64(0xFFFFFFFF), (keys >> np.uint64(32)).astype(np.intp), present)


Exchange = Callable[..., tuple[Values, ...]]
"""``exchange(groups, *sources)``: the results, one value for each lane."""


def shuffle(mode: str) -> Exchange:
    """``shfl.sync``: each lane takes the value of another. The source lane is found as the PTX ISA's text for
    ``shfl`` says; a lane that does not take part has no value."""

    def exchange(found: Groups, values: Values, choice: Values, clamp: Values) -> tuple[Values, ...]:
        lane = found.lane
        b = np.broadcast_to(choice, lane.shape).astype(np.int64) & 31
        c = np.broadcast_to(clamp, lane.shape).astype(np.int64)
        segment, limit = c >> 8 & 31, c & 31
        first, last = lane & segment, (lane & segment) | (limit & ~segment & 31)
        source = {
            "up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": first | (b & ~segment & 31),
        }[mode]  # fmt: skip
        valid = source >= last if mode == "up" else source <= last
        source = np.where(valid, source, lane)
        rows, there = found.table(np.broadcast_to(values, lane.shape))
        missing = ~there[found.number, source]
        if missing.any():
            place = int(np.flatnonzero(missing)[0])
            problem = f"takes a value from lane {source[place]} of its warp, which does not take part"
            raise AccessFault(place, problem, "warps")
        return rows[found.number, source], valid

    return exchange


def vote(mode: str) -> Exchange:
    """``vote.sync``."""

    def exchange(found: Groups, values: Values) -> tuple[Values, ...]:
        yes = found.bits(np.broadcast_to(values, found.lane.shape))
        if mode == "ballot":
            return (yes[found.number].astype(np.uint32),)
        everybody, nobody = yes == found.present, yes == 0
        answer = {"all": everybody, "any": ~nobody, "uni": everybody | nobody}[mode]
        return (answer[found.number],)

    return exchange


def match(mode: str) -> Exchange:
    """``match.sync``: the lanes that hold the same value."""

    def exchange(found: Groups, values: Values) -> tuple[Values, ...]:
        rows, there = found.table(np.broadcast_to(values, found.lane.shape))
        equal = (rows[found.number] == rows[found.number, found.lane][:, None]) & there[found.number]
        bits = np.where(equal, LANE_BITS, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        if mode == "any":
            return (bits.astype(np.uint32),)
        same = bits == found.present[found.number]
        return np.where(same, bits, np.uint64(0)).astype(np.uint32), same

    return exchange


def reduce(mode: str) -> Exchange:
    """``redux.sync``."""
    ufunc = {
        "add": np.add, "min": np.minimum, "max": np.maximum,
        "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    }[mode]  # fmt: skip

    def exchange(found: Groups, values: Values) -> tuple[Values, ...]:
        everyone = np.broadcast_to(values, found.lane.shape)
        first = np.unique(found.number, return_index=True)[1]
        result = everyone[first].copy()
        rest = np.ones(len(everyone), np.bool_)
        rest[first] = False
        ufunc.at(result, found.number[rest], everyone[rest])
        return (result[found.number],)

    return exchange
