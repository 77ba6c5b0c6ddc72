"""Atomic operations: ``atom`` and ``red``. Lanes that meet at one address take their turns in the order of
their numbers, which is one of the orders that a GPU may choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.access import lanes_of, load_values, meeting_place, store_values
from gpuspark.devices.emulator.conversions import flushed
from gpuspark.devices.emulator.lanes import Team
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.syntax import Space

Values = NDArray[Any]
Change = Callable[..., Values]
"""``change(old, b)``, or ``change(old, b, c)``: what the memory holds afterwards."""


def _choose(condition: Values, yes: Any, no: Any) -> Values:
    return np.asarray(np.where(condition, yes, no))


CHANGES: dict[str, Change] = {
    "add": lambda old, b: old + b,
    "min": np.fmin,
    "max": np.fmax,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda _old, b: b,
    "cas": lambda old, b, c: _choose(old == b, c, old),
    "inc": lambda old, b: _choose(old >= b, old.dtype.type(0), old + old.dtype.type(1)),
    "dec": lambda old, b: _choose((old == 0) | (old > b), b, old - old.dtype.type(1)),
}
"""Each operation by its PTX name."""


def flushing_add(old: Values, b: Values) -> Values:
    """``add.f32`` in global memory flushes subnormal numbers, unlike the one in shared memory (PTX ISA, atom)."""
    return flushed(flushed(old) + flushed(b))


def change_values(
    memory: AddressSpace, team: Team, space: Space, addresses: Values, change: Change, operands: list[Values]
) -> Values:
    """Changes the memory at ``addresses``, one value for each lane; gives what each lane found there."""
    size = team.size
    places = np.broadcast_to(addresses, (size,))
    dtype = operands[0].dtype
    wide = [np.broadcast_to(values, (size,)) for values in operands]
    found = np.empty(size, dtype)
    turns = _turns(meeting_place(team, space, places))
    for turn in range(int(turns.max()) + 1 if size else 0):
        mask = turns == turn
        some, at = team.where(mask), places[mask]
        with lanes_of(mask):
            old = load_values(memory, some, space, at, dtype, strong=True)
            store_values(memory, some, space, at, change(old, *(values[mask] for values in wide)), strong=True)
        found[mask] = old
    return found


def _turns(places: Values) -> NDArray[np.intp]:
    """How many lanes before each one are at the same place."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    firsts = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
    turns = np.empty(len(ordered), np.intp)
    turns[order] = np.arange(len(ordered)) - firsts
    return turns
