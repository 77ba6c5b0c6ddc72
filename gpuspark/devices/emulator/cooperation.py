"""The instructions by which lanes work together: barriers, exchanges within a warp, atomic operations.

What they do is in :mod:`.meetings`, :mod:`.warps` and :mod:`.atomics`; here their PTX forms are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from gpuspark.devices.emulator.access import check_alignment
from gpuspark.devices.emulator.atomics import CHANGES, change_values, flushing_add
from gpuspark.devices.emulator.faults import PtxError
from gpuspark.devices.emulator.lanes import Team
from gpuspark.devices.emulator.meetings import REDUCTIONS, Barrier, Meeting, WarpMeeting
from gpuspark.devices.emulator.memory import AddressSpace
from gpuspark.devices.emulator.operands import Read, Write
from gpuspark.devices.emulator.syntax import DTYPES, Address, Arguments, Instruction, Operand, Pair, Space
from gpuspark.devices.emulator.warps import LANE_BITS, Exchange, match, reduce, shuffle, vote

_SCOPES = {"relaxed", "acquire", "release", "acq_rel", "cta", "cluster", "gpu", "sys", "noftz", "global", "shared"}
_U32, _PRED = DTYPES["u32"], DTYPES["pred"]


class Linker(Protocol):
    """What is needed to read operands and write results: :class:`~.program._Linker`."""

    memory: AddressSpace

    def reader(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Read: ...
    def writer(self, operand: Operand | None, dtype: np.dtype, instruction: Instruction) -> Write: ...
    def address(self, address: Address, instruction: Instruction) -> Read: ...
    def space(self, instruction: Instruction) -> Space: ...


def _operand(instruction: Instruction, place: int) -> Operand:
    found = instruction.operands[place] if place < len(instruction.operands) else None
    if found is None or isinstance(found, Arguments):
        raise _unknown(instruction)
    return found


def _unknown(instruction: Instruction) -> PtxError:
    return PtxError(instruction.line, instruction.text, "the emulator does not know this form of the instruction")


def _kind(instruction: Instruction) -> np.dtype:
    return DTYPES.get(instruction.modifiers[-1]) or _refuse(instruction)


def _refuse(instruction: Instruction) -> np.dtype:
    raise _unknown(instruction)


# ---- meetings


def meeting(linker: Linker, instruction: Instruction) -> Meeting | None:
    """What lanes wait for at ``instruction``; ``None`` where it is no meeting."""
    build = _MEETINGS.get(instruction.name)
    return build(linker, instruction) if build else None


def _barrier(linker: Linker, instruction: Instruction) -> Meeting:
    """``bar.sync a``, ``barrier.sync.aligned a``, ``bar.red.op.type d, a, p`` and ``bar.warp.sync mask``."""
    words = [word for word in instruction.modifiers if word not in ("cta", "aligned")]
    if words == ["warp", "sync"]:
        return WarpMeeting(linker.reader(_operand(instruction, 0), _U32, instruction))
    if words == ["sync"] and len(instruction.operands) == 1:
        return Barrier(linker.reader(_operand(instruction, 0), _U32, instruction))
    if len(words) == 3 and words[0] == "red" and words[1] in REDUCTIONS and len(instruction.operands) == 3:
        return Barrier(
            linker.reader(_operand(instruction, 1), _U32, instruction),
            REDUCTIONS[words[1]],
            linker.reader(_operand(instruction, 2), _PRED, instruction),
            linker.writer(_operand(instruction, 0), DTYPES[words[2]], instruction),
        )
    raise _unknown(instruction)


def _exchange(
    linker: Linker, instruction: Instruction, exchange: Exchange, results: list[np.dtype], sources: list[np.dtype]
) -> Meeting:
    """``d, a, …, mask``, or ``d|p, a, …, mask``."""
    first = _operand(instruction, 0)
    targets = (first.first, first.second) if isinstance(first, Pair) else (first,)
    if len(instruction.operands) != len(sources) + 2 or len(targets) > len(results):
        raise _unknown(instruction)
    return WarpMeeting(
        linker.reader(_operand(instruction, len(sources) + 1), _U32, instruction),
        exchange,
        tuple(linker.reader(_operand(instruction, n + 1), kind, instruction) for n, kind in enumerate(sources)),
        tuple(linker.writer(target, kind, instruction) for target, kind in zip(targets, results, strict=False)),
    )


def _shuffle(linker: Linker, instruction: Instruction) -> Meeting:
    match instruction.modifiers:
        case ("sync", "up" | "down" | "bfly" | "idx" as mode, "b32"):
            return _exchange(linker, instruction, shuffle(mode), [_U32, _PRED], [_U32, _U32, _U32])
    raise _unknown(instruction)


def _vote(linker: Linker, instruction: Instruction) -> Meeting:
    match instruction.modifiers:
        case ("sync", "ballot", "b32"):
            return _exchange(linker, instruction, vote("ballot"), [_U32], [_PRED])
        case ("sync", "all" | "any" | "uni" as mode, "pred"):
            return _exchange(linker, instruction, vote(mode), [_PRED], [_PRED])
    raise _unknown(instruction)


def _match(linker: Linker, instruction: Instruction) -> Meeting:
    words = instruction.modifiers
    if len(words) == 3 and words[0] in ("any", "all") and words[1] == "sync" and words[2] in ("b32", "b64"):
        return _exchange(linker, instruction, match(words[0]), [_U32, _PRED], [DTYPES[words[2]]])
    raise _unknown(instruction)


def _redux(linker: Linker, instruction: Instruction) -> Meeting:
    match instruction.modifiers:
        case ("sync", "add" | "min" | "max" | "and" | "or" | "xor" as mode, "u32" | "s32" | "b32"):
            kind = _kind(instruction)
            return _exchange(linker, instruction, reduce(mode), [kind], [kind])
    raise _unknown(instruction)


_MEETINGS: dict[str, Callable[[Linker, Instruction], Meeting]] = {
    "bar": _barrier,
    "barrier": _barrier,
    "shfl": _shuffle,
    "vote": _vote,
    "match": _match,
    "redux": _redux,
}


# ---- what a lane does alone


def alone(linker: Linker, instruction: Instruction) -> Callable[[Team], None] | None:
    """``atom``, ``red`` and ``activemask``; ``None`` for other instructions."""
    if instruction.name == "activemask":
        return _activemask(linker, instruction)
    if instruction.name in ("atom", "red"):
        return _atomic(linker, instruction)
    return None


def _activemask(linker: Linker, instruction: Instruction) -> Callable[[Team], None]:
    """The lanes of the warp that are at this instruction together."""
    write = linker.writer(_operand(instruction, 0), _U32, instruction)

    def run(team: Team) -> None:
        lanes = team.lanes()
        warps = team.crew.warps[lanes]
        bits = np.zeros(len(team.crew.warp_barriers), np.uint64)
        np.bitwise_or.at(bits, warps, LANE_BITS[team.crew.lane_in_warp[lanes]])
        write(team, bits[warps].astype(np.uint32))

    return run


def _atomic(linker: Linker, instruction: Instruction) -> Callable[[Team], None]:
    """``atom.space.op.type d, [a], b, c`` and ``red``, which has no ``d``."""
    words = [word.removesuffix("::cta") for word in instruction.modifiers]
    names = [word for word in words if word in CHANGES]
    kind = _kind(instruction)
    if len(names) != 1 or set(words[:-1]) - _SCOPES - {names[0]}:
        raise _unknown(instruction)
    change, space = CHANGES[names[0]], linker.space(instruction)
    if names[0] == "add" and kind == DTYPES["f32"] and space != "shared" and "noftz" not in words:
        change = flushing_add
    has_result = instruction.name == "atom"
    write = linker.writer(_operand(instruction, 0), kind, instruction) if has_result else None
    place = _operand(instruction, 1 if has_result else 0)
    if not isinstance(place, Address):
        raise _unknown(instruction)
    read = linker.address(place, instruction)
    count = len(instruction.operands) - (2 if has_result else 1)
    if count != (2 if names[0] == "cas" else 1):
        raise _unknown(instruction)
    first = len(instruction.operands) - count
    sources = [linker.reader(_operand(instruction, first + n), kind, instruction) for n in range(count)]

    def run(team: Team) -> None:
        addresses = read(team)
        check_alignment(addresses, kind.itemsize)
        found = change_values(linker.memory, team, space, addresses, change, [source(team) for source in sources])
        if write is not None:
            write(team, found)

    return run
