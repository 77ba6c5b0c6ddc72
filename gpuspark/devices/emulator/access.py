"""Loads and stores, by space: global memory, a lane's private memory, its block's shared memory, parameters.

Every access is checked here or below: alignment, bounds, bytes that nothing has written (:mod:`.memory`,
:mod:`.shared`, :mod:`.lanes`) and races (:mod:`.races`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.lanes import LOCAL_WINDOW, LOCAL_WINDOW_END, Team
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.operands import Read, Values, Write
from gpuspark.devices.emulator.races import RaceFault
from gpuspark.devices.emulator.shared import LOW_WORD, SHARED_WINDOW, SHARED_WINDOW_END
from gpuspark.devices.emulator.syntax import Space

_GLOBAL, _LOCAL, _SHARED = 0, 1, 2
_KINDS: dict[Space, int] = {"local": _LOCAL, "shared": _SHARED, "global": _GLOBAL, "const": _GLOBAL}


def check_alignment(addresses: Values, size: int) -> None:
    """An access must be aligned to its size; a vector's, to that of the whole vector."""
    wrong = addresses & np.uint64(size - 1)
    if wrong.any():
        lane = int(np.flatnonzero(wrong)[0])
        raise AccessFault(lane, f"misaligned access of {size} bytes at {int(addresses[lane]):#x}", "alignment")


def load_values(
    memory: AddressSpace, team: Team, space: Space, addresses: Values, dtype: np.dtype, *, strong: bool = False
) -> Values:
    """The values at ``addresses``, one for each lane, or one for all. ``strong``: as part of an atomic operation."""
    kinds = _kinds(space, addresses)
    if (kinds == kinds[0]).all():
        return _load(int(kinds[0]), memory, team, addresses, dtype, strong)
    values = np.empty(addresses.shape, dtype)
    for kind in np.unique(kinds).tolist():
        mask = kinds == kind
        with lanes_of(mask):
            values[mask] = _load(kind, memory, team.where(mask), addresses[mask], dtype, strong)
    return values


def store_values(
    memory: AddressSpace, team: Team, space: Space, addresses: Values, values: Values, *, strong: bool = False
) -> None:
    """The same for a store."""
    kinds = _kinds(space, addresses)
    if (kinds == kinds[0]).all():
        _store(int(kinds[0]), memory, team, addresses, values, strong)
        return
    values = np.broadcast_to(values, addresses.shape)
    for kind in np.unique(kinds).tolist():
        mask = kinds == kind
        with lanes_of(mask):
            _store(kind, memory, team.where(mask), addresses[mask], values[mask], strong)


def meeting_place(team: Team, space: Space, addresses: Values) -> NDArray[np.uint64]:
    """A number for each lane, equal for those whose addresses mean the same bytes."""
    kinds = np.broadcast_to(_kinds(space, addresses), addresses.shape)
    lanes = team.lanes()
    shared = (team.crew.blocks[lanes].astype(np.uint64) << np.uint64(32)) | (addresses & LOW_WORD)
    private = addresses + (lanes.astype(np.uint64) << np.uint64(32))
    return np.select([kinds == _SHARED, kinds == _LOCAL], [np.uint64(SHARED_WINDOW) | shared, private], addresses)


def _load(kind: int, memory: AddressSpace, team: Team, addresses: Values, dtype: np.dtype, strong: bool) -> Values:
    crew = team.crew
    if kind == _LOCAL:
        return crew.local.load(team.lanes(), addresses, dtype)
    if kind == _SHARED:
        offsets = addresses & LOW_WORD
        values = crew.shared.load(crew.blocks[team.lanes()], offsets, dtype)
        if not strong:
            with _told_as(crew.shared):
                crew.races.read(crew.shared, crew.shared.nbytes, _flat(team, offsets), dtype.itemsize, crew.who(team))
        return values

    def watch(buffer: Buffer, inside: Values, chosen: NDArray[np.intp] | None) -> None:
        if buffer.writable and not strong:
            some = team if chosen is None else team.at(chosen)
            with _told_as(buffer):
                crew.races.read(buffer, buffer.nbytes, inside, dtype.itemsize, crew.who(some))

    return memory.load(addresses, dtype, watch)


def _store(kind: int, memory: AddressSpace, team: Team, addresses: Values, values: Values, strong: bool) -> None:
    crew = team.crew
    if kind == _LOCAL:
        crew.local.store(team.lanes(), addresses, values)
        return
    if kind == _SHARED:
        offsets = addresses & LOW_WORD
        crew.shared.store(crew.blocks[team.lanes()], offsets, values)
        with _told_as(crew.shared):
            crew.races.write(
                crew.shared, crew.shared.nbytes, _flat(team, offsets), values, crew.who(team), strong=strong
            )
        return

    def watch(buffer: Buffer, inside: Values, chosen: NDArray[np.intp] | None) -> None:
        some = team if chosen is None else team.at(chosen)
        written = values if chosen is None or len(values) == 1 else values[chosen]
        with _told_as(buffer):
            crew.races.write(buffer, buffer.nbytes, inside, written, crew.who(some), strong=strong)

    memory.store(addresses, values, watch)


def _flat(team: Team, offsets: Values) -> Values:
    """Places in the shared memory of all blocks of the crew, block after block."""
    rows = team.crew.blocks[team.lanes()]
    return offsets.astype(np.int64) + rows * team.crew.shared.width


def _kinds(space: Space, addresses: Values) -> NDArray[np.int8]:
    """Which memory each address means. Where lanes share one address, one value says it."""
    if space != "generic":
        return np.array([_KINDS[space]], np.int8)
    kinds = np.zeros(addresses.shape, np.int8)
    if int(addresses.max(initial=0)) >= LOCAL_WINDOW:
        kinds[(addresses >= LOCAL_WINDOW) & (addresses < LOCAL_WINDOW_END)] = _LOCAL
        kinds[(addresses >= SHARED_WINDOW) & (addresses < SHARED_WINDOW_END)] = _SHARED
    return kinds


@contextmanager
def lanes_of(mask: NDArray[np.bool_]) -> Iterator[None]:
    """A fault among the lanes of ``mask`` is told as one of all lanes."""
    try:
        yield
    except AccessFault as fault:
        fault.lane = int(np.flatnonzero(mask)[fault.lane])
        raise


@contextmanager
def _told_as(memory: Any) -> Iterator[None]:
    """A race tells which bytes it is about."""
    try:
        yield
    except RaceFault as race:
        race.where = memory.describe(race.offset)
        raise


def load_parameter(team: Team, name: str, offset: int, dtype: np.dtype, writes: list[Write]) -> None:
    rows = team.frame.parameters[name]
    if team.index is not None and len(rows) > 1:
        rows = rows[team.index]
    for write in writes:
        part = np.ascontiguousarray(rows[:, offset : offset + dtype.itemsize])
        write(team, part.view(dtype)[:, 0].copy())
        offset += dtype.itemsize


def store_parameter(team: Team, name: str, offset: int, dtype: np.dtype, reads: list[Read]) -> None:
    rows = team.frame.parameters[name]
    for read in reads:
        values = np.ascontiguousarray(read(team)).view(np.uint8).reshape(-1, dtype.itemsize)
        rows[slice(None) if team.index is None else team.index, offset : offset + dtype.itemsize] = values
        offset += dtype.itemsize
