"""Loads and stores by state space: global memory, local memory of a thread, shared memory of a block, parameters.

Every access is checked here or in the memory itself: alignment, bounds, bytes that nothing has written (:mod:`.memory`,
:mod:`.shared`, :mod:`.threads`) and races (:mod:`.races`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.memory import AddressSpace, Buffer
from gpuspark.devices.emulator.operands import Read, Values, Write
from gpuspark.devices.emulator.races import RaceFault
from gpuspark.devices.emulator.shared import LOW_WORD, SHARED_WINDOW, SHARED_WINDOW_END
from gpuspark.devices.emulator.syntax import Space
from gpuspark.devices.emulator.threads import LOCAL_WINDOW, LOCAL_WINDOW_END, ActiveThreads

_GLOBAL, _LOCAL, _SHARED = 0, 1, 2
"""The memories that an address can refer to. Constant memory is part of global memory here."""
_MEMORY_OF: dict[Space, int] = {"local": _LOCAL, "shared": _SHARED, "global": _GLOBAL, "const": _GLOBAL}


def check_alignment(addresses: Values, size: int) -> None:
    """Raises :class:`~.faults.AccessFault` where an address is not a multiple of ``size``, that of the whole vector."""
    misaligned = addresses & np.uint64(size - 1)
    if misaligned.any():
        thread = int(np.flatnonzero(misaligned)[0])
        problem = f"misaligned access of {size} bytes at {int(addresses[thread]):#x}"
        raise AccessFault(thread, problem, "alignment")


def load_values(
    memory: AddressSpace,
    active: ActiveThreads,
    space: Space,
    addresses: Values,
    dtype: np.dtype,
    *,
    atomic: bool = False,
) -> Values:
    """Returns the values at ``addresses``: one for each active thread, or one that all share.

    ``atomic``: the load is part of an atomic operation."""
    memories = _memories(space, addresses)
    if (memories == memories[0]).all():
        return _load(int(memories[0]), memory, active, addresses, dtype, atomic)
    values = np.empty(addresses.shape, dtype)
    for number in np.unique(memories).tolist():
        mask = memories == number
        with faults_of_subset(mask):
            values[mask] = _load(number, memory, active.where(mask), addresses[mask], dtype, atomic)
    return values


def store_values(
    memory: AddressSpace,
    active: ActiveThreads,
    space: Space,
    addresses: Values,
    values: Values,
    *,
    atomic: bool = False,
) -> None:
    """Writes ``values`` to ``addresses``, one for each active thread. ``atomic``: as part of an atomic operation."""
    memories = _memories(space, addresses)
    if (memories == memories[0]).all():
        _store(int(memories[0]), memory, active, addresses, values, atomic)
        return
    values = np.broadcast_to(values, addresses.shape)
    for number in np.unique(memories).tolist():
        mask = memories == number
        with faults_of_subset(mask):
            _store(number, memory, active.where(mask), addresses[mask], values[mask], atomic)


def location_keys(active: ActiveThreads, space: Space, addresses: Values) -> NDArray[np.uint64]:
    """Returns a number for each active thread that is equal where two addresses refer to the same bytes."""
    memories = np.broadcast_to(_memories(space, addresses), addresses.shape)
    threads = active.indices()
    shared = (active.blocks.block_of[threads].astype(np.uint64) << np.uint64(32)) | (addresses & LOW_WORD)
    local = addresses + (threads.astype(np.uint64) << np.uint64(32))
    return np.select([memories == _SHARED, memories == _LOCAL], [np.uint64(SHARED_WINDOW) | shared, local], addresses)


def _load(
    number: int, memory: AddressSpace, active: ActiveThreads, addresses: Values, dtype: np.dtype, atomic: bool
) -> Values:
    """Loads from the one memory ``number`` (``_GLOBAL``, ``_LOCAL`` or ``_SHARED``)."""
    blocks = active.blocks
    if number == _LOCAL:
        return blocks.local.load(active.indices(), addresses, dtype)
    if number == _SHARED:
        shared, offsets = blocks.shared, addresses & LOW_WORD
        values = shared.load(blocks.block_of[active.indices()], offsets, dtype)
        if not atomic:
            byte_offsets = _offsets_over_blocks(active, offsets)
            with _races_located_in(shared):
                blocks.race_detector.read(shared, shared.nbytes, byte_offsets, dtype.itemsize, blocks.accessors(active))
        return values

    def observe(buffer: Buffer, offsets: Values, positions: NDArray[np.intp] | None) -> None:
        if buffer.writable and not atomic:
            accessing = active if positions is None else active.at(positions)
            with _races_located_in(buffer):
                accessors = blocks.accessors(accessing)
                blocks.race_detector.read(buffer, buffer.nbytes, offsets, dtype.itemsize, accessors)

    return memory.load(addresses, dtype, observe)


def _store(
    number: int, memory: AddressSpace, active: ActiveThreads, addresses: Values, values: Values, atomic: bool
) -> None:
    """Stores to the one memory ``number`` (``_GLOBAL``, ``_LOCAL`` or ``_SHARED``)."""
    blocks = active.blocks
    if number == _LOCAL:
        blocks.local.store(active.indices(), addresses, values)
        return
    if number == _SHARED:
        shared, offsets = blocks.shared, addresses & LOW_WORD
        shared.store(blocks.block_of[active.indices()], offsets, values)
        byte_offsets = _offsets_over_blocks(active, offsets)
        with _races_located_in(shared):
            accessors = blocks.accessors(active)
            blocks.race_detector.write(shared, shared.nbytes, byte_offsets, values, accessors, atomic=atomic)
        return

    def observe(buffer: Buffer, offsets: Values, positions: NDArray[np.intp] | None) -> None:
        accessing = active if positions is None else active.at(positions)
        written = values if positions is None or len(values) == 1 else values[positions]
        with _races_located_in(buffer):
            accessors = blocks.accessors(accessing)
            blocks.race_detector.write(buffer, buffer.nbytes, offsets, written, accessors, atomic=atomic)

    memory.store(addresses, values, observe)


def _offsets_over_blocks(active: ActiveThreads, offsets: Values) -> Values:
    """Returns offsets into the shared memory of all blocks, laid out block after block."""
    blocks = active.blocks
    return offsets.astype(np.int64) + blocks.block_of[active.indices()] * blocks.shared.width


def _memories(space: Space, addresses: Values) -> NDArray[np.int8]:
    """Returns which memory each address refers to; one value where that is the same for all."""
    if space != "generic":
        return np.array([_MEMORY_OF[space]], np.int8)
    memories = np.zeros(addresses.shape, np.int8)
    if int(addresses.max(initial=0)) >= LOCAL_WINDOW:
        memories[(addresses >= LOCAL_WINDOW) & (addresses < LOCAL_WINDOW_END)] = _LOCAL
        memories[(addresses >= SHARED_WINDOW) & (addresses < SHARED_WINDOW_END)] = _SHARED
    return memories


@contextmanager
def faults_of_subset(mask: NDArray[np.bool_]) -> Iterator[None]:
    """Context manager that translates the thread of a fault, counted within ``mask``, to one among all threads."""
    try:
        yield
    except AccessFault as fault:
        fault.thread = int(np.flatnonzero(mask)[fault.thread])
        raise


@contextmanager
def _races_located_in(memory: Any) -> Iterator[None]:
    """Context manager that adds to a race which bytes of ``memory`` it is about."""
    try:
        yield
    except RaceFault as race:
        race.where = memory.describe(race.offset)
        raise


def load_parameter(active: ActiveThreads, name: str, offset: int, dtype: np.dtype, writes: list[Write]) -> None:
    """Executes ``ld.param``: passes consecutive values of the parameter ``name`` to ``writes``."""
    rows = active.frame.parameters[name]
    if active.index is not None and len(rows) > 1:
        rows = rows[active.index]
    for write in writes:
        value_bytes = np.ascontiguousarray(rows[:, offset : offset + dtype.itemsize])
        write(active, value_bytes.view(dtype)[:, 0].copy())
        offset += dtype.itemsize


def store_parameter(active: ActiveThreads, name: str, offset: int, dtype: np.dtype, reads: list[Read]) -> None:
    """Executes ``st.param``: copies the values of ``reads`` to consecutive bytes of the parameter ``name``."""
    rows = active.frame.parameters[name]
    for read in reads:
        values = np.ascontiguousarray(read(active)).view(np.uint8).reshape(-1, dtype.itemsize)
        rows[slice(None) if active.index is None else active.index, offset : offset + dtype.itemsize] = values
        offset += dtype.itemsize
