"""Loads and stores, by space: global and generic memory, a lane's private memory, parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.lanes import LOCAL_WINDOW, LOCAL_WINDOW_END, Team
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.operands import Read, Values, Write
from gpuspark.devices.emulator.syntax import Space


def check_vector(addresses: Values, size: int) -> None:
    """A vector access must be aligned to the whole vector."""
    wrong = addresses & np.uint64(size - 1)
    if wrong.any():
        lane = int(np.flatnonzero(wrong)[0])
        raise AccessFault(lane, f"misaligned access of {size} bytes at {int(addresses[lane]):#x}")


def load_values(memory: AddressSpace, team: Team, space: Space, addresses: Values, dtype: np.dtype) -> Values:
    """The values at ``addresses``; a generic address may be global, or the lane's own."""
    private = _private(space, addresses)
    if private.all():
        return team.crew.local.load(team.lanes(), addresses, dtype)
    if not private.any():
        return memory.load(addresses, dtype)
    values = np.empty(addresses.shape, dtype)
    with _lanes_of(~private):
        values[~private] = memory.load(addresses[~private], dtype)
    with _lanes_of(private):
        values[private] = team.crew.local.load(team.lanes()[private], addresses[private], dtype)
    return values


def store_values(memory: AddressSpace, team: Team, space: Space, addresses: Values, values: Values) -> None:
    """The same for a store."""
    private = _private(space, addresses)
    if private.all():
        team.crew.local.store(team.lanes(), addresses, values)
        return
    if not private.any():
        memory.store(addresses, values)
        return
    values = np.broadcast_to(values, addresses.shape)
    with _lanes_of(~private):
        memory.store(addresses[~private], values[~private])
    with _lanes_of(private):
        team.crew.local.store(team.lanes()[private], addresses[private], values[private])


def _private(space: Space, addresses: Values) -> NDArray[np.bool_]:
    """Which addresses mean the lane's own memory. Where lanes share one address, one value says it."""
    if space != "generic":
        return np.array([space == "local"])
    return np.asarray((addresses >= LOCAL_WINDOW) & (addresses < LOCAL_WINDOW_END))


@contextmanager
def _lanes_of(mask: NDArray[np.bool_]) -> Iterator[None]:
    """A fault among the lanes of ``mask`` is told as one of all lanes."""
    try:
        yield
    except AccessFault as fault:
        raise AccessFault(int(np.flatnonzero(mask)[fault.lane]), fault.problem) from None


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
