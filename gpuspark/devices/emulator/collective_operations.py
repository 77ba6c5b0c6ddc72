"""The instructions by which threads cooperate: barriers, exchanges within a warp, atomic operations.

This module reads their PTX forms; what they do is in :mod:`.barriers`, :mod:`.warps` and :mod:`.atomics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gpuspark.devices.emulator.access import check_alignment
from gpuspark.devices.emulator.atomics import UPDATES, flushing_add, update_values
from gpuspark.devices.emulator.barriers import REDUCTIONS, Barrier, Synchronisation, WarpSynchronisation
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.operands import Read, Write
from gpuspark.devices.emulator.syntax import DTYPES, Address, Arguments, Instruction, Operand, Pair, Space
from gpuspark.devices.emulator.threads import ActiveThreads
from gpuspark.devices.emulator.warps import LANE_BITS, Exchange, match, reduce, shuffle, vote

_ATOMIC_MODIFIERS = {
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "cta",
    "cluster",
    "gpu",
    "sys",
    "noftz",
    "global",
    "shared",
}
_U32, _PRED = DTYPES["u32"], DTYPES["pred"]


class Translator(Protocol):
    """The part of :class:`~.program._FunctionTranslator` that reads operands and writes results."""

    memory: AddressSpace

    def reader(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Read: ...
    def writer(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Write: ...
    def address(self, address: Address, instruction: Instruction) -> Read: ...
    def space(self, instruction: Instruction) -> Space: ...


def _operand(instruction: Instruction, number: int) -> Operand:
    """Returns the operand ``number``; raises :class:`~.faults.PtxError` where there is none."""
    operand = instruction.operands[number] if number < len(instruction.operands) else None
    if operand is None or isinstance(operand, Arguments):
        raise _unknown(instruction)
    return operand


def _unknown(instruction: Instruction) -> PtxError:
    return PtxError(instruction.line, instruction.text, "the emulator does not know this form of the instruction")


def _type_of(instruction: Instruction) -> np.dtype:
    """Returns the type that the instruction works on: its last modifier."""
    dtype = DTYPES.get(instruction.modifiers[-1])
    if dtype is None:
        raise _unknown(instruction)
    return dtype


# ---- barriers and exchanges, at which threads wait for others


def synchronisation(translator: Translator, instruction: Instruction) -> Synchronisation | None:
    """Returns the barrier or warp exchange that ``instruction`` executes; ``None`` for other instructions."""
    build = _SYNCHRONISATIONS.get(instruction.name)
    return build(translator, instruction) if build else None


def _barrier(translator: Translator, instruction: Instruction) -> Synchronisation:
    """Reads ``bar.sync a``, ``barrier.sync.aligned a``, ``bar.red.op.type d, a, p`` and ``bar.warp.sync mask``."""
    words = [word for word in instruction.modifiers if word not in ("cta", "aligned")]
    if words == ["warp", "sync"]:
        return WarpSynchronisation(translator.reader(_operand(instruction, 0), _U32, instruction))
    if words == ["sync"] and len(instruction.operands) == 1:
        return Barrier(translator.reader(_operand(instruction, 0), _U32, instruction))
    if len(words) == 3 and words[0] == "red" and words[1] in REDUCTIONS and len(instruction.operands) == 3:
        return Barrier(
            translator.reader(_operand(instruction, 1), _U32, instruction),
            REDUCTIONS[words[1]],
            translator.reader(_operand(instruction, 2), _PRED, instruction),
            translator.writer(_operand(instruction, 0), DTYPES[words[2]], instruction),
        )
    raise _unknown(instruction)


def _exchange(
    translator: Translator,
    instruction: Instruction,
    exchange: Exchange,
    results: list[np.dtype],
    sources: list[np.dtype],
) -> Synchronisation:
    """Reads the operands ``d, a, …, mask``, or ``d|p, a, …, mask``."""
    result = _operand(instruction, 0)
    targets = (result.first, result.second) if isinstance(result, Pair) else (result,)
    if len(instruction.operands) != len(sources) + 2 or len(targets) > len(results):
        raise _unknown(instruction)
    return WarpSynchronisation(
        translator.reader(_operand(instruction, len(sources) + 1), _U32, instruction),
        exchange,
        tuple(translator.reader(_operand(instruction, n + 1), dtype, instruction) for n, dtype in enumerate(sources)),
        tuple(translator.writer(target, dtype, instruction) for target, dtype in zip(targets, results, strict=False)),
    )


def _shuffle(translator: Translator, instruction: Instruction) -> Synchronisation:
    """Reads ``shfl.sync``."""
    match instruction.modifiers:
        case ("sync", "up" | "down" | "bfly" | "idx" as mode, "b32"):
            return _exchange(translator, instruction, shuffle(mode), [_U32, _PRED], [_U32, _U32, _U32])
    raise _unknown(instruction)


def _vote(translator: Translator, instruction: Instruction) -> Synchronisation:
    """Reads ``vote.sync``."""
    match instruction.modifiers:
        case ("sync", "ballot", "b32"):
            return _exchange(translator, instruction, vote("ballot"), [_U32], [_PRED])
        case ("sync", "all" | "any" | "uni" as mode, "pred"):
            return _exchange(translator, instruction, vote(mode), [_PRED], [_PRED])
    raise _unknown(instruction)


def _match(translator: Translator, instruction: Instruction) -> Synchronisation:
    """Reads ``match.sync``."""
    words = instruction.modifiers
    if len(words) == 3 and words[0] in ("any", "all") and words[1] == "sync" and words[2] in ("b32", "b64"):
        return _exchange(translator, instruction, match(words[0]), [_U32, _PRED], [DTYPES[words[2]]])
    raise _unknown(instruction)


def _redux(translator: Translator, instruction: Instruction) -> Synchronisation:
    """Reads ``redux.sync``."""
    match instruction.modifiers:
        case ("sync", "add" | "min" | "max" | "and" | "or" | "xor" as mode, "u32" | "s32" | "b32"):
            dtype = _type_of(instruction)
            return _exchange(translator, instruction, reduce(mode), [dtype], [dtype])
    raise _unknown(instruction)


_SYNCHRONISATIONS: dict[str, Callable[[Translator, Instruction], Synchronisation]] = {
    "bar": _barrier,
    "barrier": _barrier,
    "shfl": _shuffle,
    "vote": _vote,
    "match": _match,
    "redux": _redux,
}


# ---- atomic operations and activemask, at which no thread waits


def unsynchronised(translator: Translator, instruction: Instruction) -> Callable[[ActiveThreads], None] | None:
    """Returns the action of ``atom``, ``red`` and ``activemask``; ``None`` for other instructions."""
    if instruction.name == "activemask":
        return _activemask(translator, instruction)
    if instruction.name in ("atom", "red"):
        return _atomic(translator, instruction)
    return None


def _activemask(translator: Translator, instruction: Instruction) -> Callable[[ActiveThreads], None]:
    """Returns the action of ``activemask``: writes which lanes of the warp execute this instruction together."""
    write = translator.writer(_operand(instruction, 0), _U32, instruction)

    def execute(active: ActiveThreads) -> None:
        threads = active.indices()
        warps = active.blocks.warp_of[threads]
        masks = np.zeros(len(active.blocks.warp_barriers), np.uint64)
        np.bitwise_or.at(masks, warps, LANE_BITS[active.blocks.lane_id[threads]])
        write(active, masks[warps].astype(np.uint32))

    return execute


def _atomic(translator: Translator, instruction: Instruction) -> Callable[[ActiveThreads], None]:
    """Reads ``atom.space.op.type d, [a], b, c``, and ``red``, which has no ``d``."""
    words = [word.removesuffix("::cta") for word in instruction.modifiers]
    names = [word for word in words if word in UPDATES]
    dtype = _type_of(instruction)
    if len(names) != 1 or set(words[:-1]) - _ATOMIC_MODIFIERS - {names[0]}:
        raise _unknown(instruction)
    update, space = UPDATES[names[0]], translator.space(instruction)
    if names[0] == "add" and dtype == DTYPES["f32"] and space != "shared" and "noftz" not in words:
        update = flushing_add
    has_result = instruction.name == "atom"
    write = translator.writer(_operand(instruction, 0), dtype, instruction) if has_result else None
    target = _operand(instruction, 1 if has_result else 0)
    if not isinstance(target, Address):
        raise _unknown(instruction)
    read_address = translator.address(target, instruction)
    count = len(instruction.operands) - (2 if has_result else 1)
    if count != (2 if names[0] == "cas" else 1):
        raise _unknown(instruction)
    first = len(instruction.operands) - count
    reads = [translator.reader(_operand(instruction, first + n), dtype, instruction) for n in range(count)]

    def execute(active: ActiveThreads) -> None:
        addresses = read_address(active)
        check_alignment(addresses, dtype.itemsize)
        operands = [read(active) for read in reads]
        previous = update_values(translator.memory, active, space, addresses, update, operands)
        if write is not None:
            write(active, previous)

    return execute
