"""The state of the threads that run together: their registers and their private memory.

A *lane* is one thread. A :class:`Crew` is the lanes of one run (whole blocks); a :class:`Team` is those
of them that are at the same place of the program and take the next step together. A register is one
array with a value for each lane of the crew, or a single value that all lanes share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.memory import POISON
from gpuspark.devices.emulator.races import Lanes, Races
from gpuspark.devices.emulator.shared import Area, SharedMemory
from gpuspark.devices.emulator.syntax import Function, Register

Values = NDArray[Any]
Index = NDArray[np.intp]
Dimensions = tuple[int, int, int]

WARP = 32
LOCAL_WINDOW = 1 << 56
LOCAL_WINDOW_END = 1 << 57
"""Where local memory lies in the generic address space; each lane sees its own there."""

_LOCAL_GAP = 256


class LocalMemory:
    """The private bytes of each lane: a row for each, areas of columns for each frame's variables."""

    def __init__(self, lanes: int) -> None:
        self.rows = np.full((lanes, _LOCAL_GAP), POISON, np.uint8)
        self._areas: list[tuple[int, int]] = []

    def allocate(self, nbytes: int) -> int:
        """The address of ``nbytes`` more in each lane."""
        start = self.rows.shape[1]
        grown = -(-(nbytes + _LOCAL_GAP) // 16) * 16
        self.rows = np.hstack([self.rows, np.full((len(self.rows), grown), POISON, np.uint8)])
        self._areas.append((start, start + nbytes))
        return LOCAL_WINDOW + start

    def keep(self, lanes: Index) -> None:
        self.rows = self.rows[lanes]

    def load(self, lanes: Index, addresses: NDArray[np.uint64], dtype: np.dtype) -> Values:
        place = self._place(addresses, dtype)
        return self.rows.view(dtype)[lanes, place]

    def store(self, lanes: Index, addresses: NDArray[np.uint64], values: Values) -> None:
        place = self._place(addresses, values.dtype)
        self.rows.view(values.dtype)[lanes, place] = values

    def _place(self, addresses: NDArray[np.uint64], dtype: np.dtype) -> Index:
        offset = addresses.view(np.int64) - LOCAL_WINDOW
        inside = np.zeros(offset.shape, np.bool_)
        for start, end in self._areas:
            inside |= (offset >= start) & (offset + dtype.itemsize <= end)
        if not inside.all():
            lane = int(np.flatnonzero(~inside)[0])
            address = int(addresses[lane])
            raise AccessFault(lane, f"no private memory for {dtype.itemsize} bytes at {address:#x}", "bounds")
        return offset // dtype.itemsize


@dataclass
class Frame:
    """One function's registers, parameters and local variables, for all lanes of the crew."""

    function: Function
    registers: list[Values | None]
    parameters: dict[str, NDArray[np.uint8]]
    """Bytes of each ``.param`` variable: a row for each lane, or one row that all share."""
    locals: dict[str, int] = field(default_factory=dict)
    """Addresses of the ``.local`` variables."""


class Crew:
    """The lanes of one run. ``threads`` holds each lane's number in the whole grid, block by block."""

    def __init__(
        self,
        threads: NDArray[np.int64],
        grid: Dimensions,
        block: Dimensions,
        areas: list[Area],
        races: Races,
    ) -> None:
        self.threads = threads
        self.grid = grid
        self.block = block
        inside = math.prod(block)
        self.first_block = int(threads[0]) // inside
        self.warps_per_block = -(-inside // WARP)
        blocks = len(threads) // inside
        self.block_barriers = np.zeros(blocks, np.int64)
        self.warp_barriers = np.zeros(blocks * self.warps_per_block, np.int64)
        self.alive = np.ones(len(threads), np.bool_)
        self.local = LocalMemory(len(threads))
        self.shared = SharedMemory(blocks, areas)
        self.races = races
        self.frames: dict[tuple[str, int], Frame] = {}
        self._specials: dict[str, Values] = {}
        self._place_lanes()

    def _place_lanes(self) -> None:
        """Each lane's block and warp, counted within the crew, and its place in the warp."""
        blocks, inner = np.divmod(self.threads, math.prod(self.block))
        self.blocks: Index = blocks - self.first_block
        self.warps: Index = self.blocks * self.warps_per_block + inner // WARP
        self.lane_in_warp: Index = inner % WARP

    @property
    def size(self) -> int:
        return len(self.threads)

    def frame(self, function: Function, level: int) -> Frame:
        """The frame of ``function`` where it is on the call stack for the ``level``-th time."""
        key = (function.name, level)
        if key not in self.frames:
            frame = Frame(function, [None] * len(function.registers), {})
            for variable in function.variables.values():
                if variable.space == "local":
                    frame.locals[variable.name] = self.local.allocate(variable.nbytes)
                else:
                    frame.parameters[variable.name] = np.zeros((self.size, variable.nbytes), np.uint8)
            self.frames[key] = frame
        return self.frames[key]

    def keep(self, lanes: Index) -> None:
        """The other lanes are done: forget them, so that those left fill whole arrays again."""
        size = self.size
        self.threads = self.threads[lanes]
        self.alive = self.alive[lanes]
        self._place_lanes()
        self._specials.clear()
        self.local.keep(lanes)
        for frame in self.frames.values():
            frame.registers = [r[lanes] if r is not None and len(r) == size else r for r in frame.registers]
            frame.parameters = {
                name: rows[lanes] if len(rows) == size else rows for name, rows in frame.parameters.items()
            }

    # ---- who a lane is

    def block_and_thread(self, thread: int) -> tuple[Dimensions, Dimensions]:
        """Where a thread is, by its number in the grid: its block, and its place in the block."""
        block, inner = divmod(thread, math.prod(self.block))
        return _spread(block, self.grid), _spread(inner, self.block)

    def who(self, team: Team) -> Lanes:
        """The lanes of ``team``, for the search for races."""
        lanes = slice(None) if team.index is None else team.index
        blocks, warps = self.blocks[lanes], self.warps[lanes]
        return Lanes(
            thread=self.threads[lanes],
            warp=warps + self.first_block * self.warps_per_block,
            block=blocks + self.first_block,
            block_barriers=self.block_barriers[blocks],
            warp_barriers=self.warp_barriers[warps],
        )

    def special(self, name: str) -> Values:
        """The value of a special register such as ``%tid.x``."""
        if name not in self._specials:
            self._specials[name] = self._special(name)
        return self._specials[name]

    def _special(self, name: str) -> Values:
        blocks, inner = np.divmod(self.threads, math.prod(self.block))
        word, _, axis = name.partition(".")
        place = "xyz".find(axis) if axis else -1
        if word == "%laneid":
            return self.lane_in_warp.astype(np.uint32)
        if word == "%warpid":
            return (inner // WARP).astype(np.uint32)
        if word == "%nwarpid":
            return np.array([self.warps_per_block], np.uint32)
        if word.startswith("%lanemask_"):
            return _LANE_MASKS[word.removeprefix("%lanemask_")](self.lane_in_warp.astype(np.uint64)).astype(np.uint32)
        if word in ("%dynamic_smem_size", "%total_smem_size"):
            return np.array([self.shared.size(dynamic=word.startswith("%d"))], np.uint32)
        sizes = {"%ntid": self.block, "%nctaid": self.grid}
        if word in sizes and place >= 0:
            return np.array([sizes[word][place]], np.uint32)
        spread = {"%tid": (inner, self.block), "%ctaid": (blocks, self.grid)}
        if word in spread and place >= 0:
            return np.asarray(_spread(*spread[word])[place], np.uint32)
        raise KeyError(name)


_ONE, _ALL = np.uint64(1), np.uint64(0xFFFFFFFF)
_LANE_MASKS: dict[str, Callable[[NDArray[np.uint64]], NDArray[np.uint64]]] = {
    "eq": lambda lane: _ONE << lane,
    "lt": lambda lane: (_ONE << lane) - _ONE,
    "le": lambda lane: (_ONE << lane + _ONE) - _ONE,
    "gt": lambda lane: _ALL & ~((_ONE << lane + _ONE) - _ONE),
    "ge": lambda lane: _ALL & ~((_ONE << lane) - _ONE),
}


def _spread(number: Any, size: Dimensions) -> tuple[Any, Any, Any]:
    """A place in x, y and z."""
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])


@dataclass
class Team:
    """Lanes that take the next step together. ``index`` is ``None`` where it is the whole crew.

    ``stack`` holds the places of the calls that are being executed, the innermost last."""

    crew: Crew
    frame: Frame
    index: Index | None
    place: int
    stack: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return self.crew.size if self.index is None else len(self.index)

    def lanes(self) -> Index:
        return np.arange(self.crew.size) if self.index is None else self.index

    def where(self, mask: NDArray[np.bool_]) -> Team:
        """The lanes of this team for which ``mask`` is true."""
        return self.at(np.flatnonzero(mask))

    def at(self, places: Index) -> Team:
        """The lanes at ``places`` of this team."""
        chosen = places if self.index is None else self.index[places]
        return Team(self.crew, self.frame, chosen, self.place, self.stack)

    def read(self, register: Register) -> Values:
        """The register's value in each lane, or one value that all share."""
        values = self.frame.registers[register.place]
        if values is None:  # never written: PTX leaves the value open, so it is a strange one
            return _unset(register)
        return values if self.index is None or len(values) == 1 else values[self.index]

    def write(self, register: Register, values: Values) -> None:
        """Sets the register in the lanes of this team."""
        registers = self.frame.registers
        if self.index is None:
            registers[register.place] = values
            return
        old = registers[register.place]
        if old is None or len(old) != self.crew.size:
            fresh = np.empty(self.crew.size, register.dtype)
            fresh[:] = _unset(register) if old is None else old
            registers[register.place] = old = fresh
        old[self.index] = values


def _unset(register: Register) -> Values:
    if register.dtype == np.bool_:
        return np.zeros(1, np.bool_)
    return np.frombuffer(bytes([POISON]) * register.dtype.itemsize, register.dtype)
