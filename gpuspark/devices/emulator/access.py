"""Loads and stores, by space: global and generic memory, a lane's private memory, parameters."""

from __future__ import annotations

import numpy as np

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.lanes import LOCAL_WINDOW, Team
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.operands import Read, Values, Write


def check_vector(addresses: Values, size: int) -> None:
    """A vector access must be aligned to the whole vector."""
    wrong = addresses & np.uint64(size - 1)
    if wrong.any():
        lane = int(np.flatnonzero(wrong)[0])
        raise AccessFault(lane, f"misaligned access of {size} bytes at {int(addresses[lane]):#x}")


def load_values(memory: AddressSpace, team: Team, addresses: Values, dtype: np.dtype) -> Values:
    private = addresses >= LOCAL_WINDOW
    if not private.any():
        return memory.load(addresses, dtype)
    if private.all():
        return team.crew.local.load(team.lanes(), addresses, dtype)
    values = np.empty(addresses.shape, dtype)
    values[~private] = memory.load(addresses[~private], dtype)
    values[private] = team.crew.local.load(team.lanes()[private], addresses[private], dtype)
    return values


def store_values(memory: AddressSpace, team: Team, addresses: Values, values: Values) -> None:
    private = addresses >= LOCAL_WINDOW
    if not private.any():
        memory.store(addresses, values)
    elif private.all():
        team.crew.local.store(team.lanes(), addresses, values)
    else:
        values = np.broadcast_to(values, addresses.shape)
        memory.store(addresses[~private], values[~private])
        team.crew.local.store(team.lanes()[private], addresses[private], values[private])


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
