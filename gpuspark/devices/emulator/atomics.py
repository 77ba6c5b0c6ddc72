"""Atomic operations: ``atom`` and ``red``. Threads that update one address do so in the order of their numbers, which
is one of the orders that a GPU may choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.access import faults_of_subset, load_values, location_keys, store_values
from gpuspark.devices.emulator.conversions import flushed
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.syntax import Space
from gpuspark.devices.emulator.threads import ActiveThreads

Values = NDArray[Any]
Update = Callable[..., Values]
"""``update(old, b)`` or ``update(old, b, c)``: returns the new contents of the memory."""


def _choose(condition: Values, yes: Any, no: Any) -> Values:
    return np.asarray(np.where(condition, yes, no))


UPDATES: dict[str, Update] = {
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
"""The atomic operations by their PTX names."""


def flushing_add(old: Values, b: Values) -> Values:
    """Returns the sum of ``add.f32`` in global memory, which flushes subnormals; in shared memory it does not.

    Source: PTX ISA, atom."""
    return flushed(flushed(old) + flushed(b))


def update_values(
    memory: AddressSpace,
    active: ActiveThreads,
    space: Space,
    addresses: Values,
    update: Update,
    operands: list[Values],
) -> Values:
    """Applies ``update`` at ``addresses``, one for each active thread; returns the value that each thread found."""
    size = active.size
    address_of = np.broadcast_to(addresses, (size,))
    dtype = operands[0].dtype
    operand_values = [np.broadcast_to(values, (size,)) for values in operands]
    previous = np.empty(size, dtype)
    ranks = _ranks(location_keys(active, space, address_of))
    for rank in range(int(ranks.max()) + 1 if size else 0):
        mask = ranks == rank
        turn, targets = active.where(mask), address_of[mask]
        with faults_of_subset(mask):
            old = load_values(memory, turn, space, targets, dtype, atomic=True)
            new = update(old, *(values[mask] for values in operand_values))
            store_values(memory, turn, space, targets, new, atomic=True)
        previous[mask] = old
    return previous


def _ranks(keys: Values) -> NDArray[np.intp]:
    """Returns, for each element, how many elements before it have the same key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.r_[True, ordered[1:] != ordered[:-1]]
    first_of_run = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
    ranks = np.empty(len(ordered), np.intp)
    ranks[order] = np.arange(len(ordered)) - first_of_run
    return ranks
