"""The state of the threads that run together: their registers and their private memory.

A *lane* is one thread. A :class:`Crew` is the lanes of one run (whole blocks); a :class:`Team` is those
of them that are at the same place of the program and take the next step together. A register is one
array with a value for each lane of the crew, or a single value that all lanes share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.devices.emulator.faults import AccessFault
from gpuspark.devices.emulator.memory import POISON
from gpuspark.devices.emulator.syntax import Function, Register

Values = NDArray[Any]
Index = NDArray[np.intp]
Dimensions = tuple[int, int, int]

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
            raise AccessFault(lane, f"no private memory for {dtype.itemsize} bytes at {int(addresses[lane]):#x}")
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

    def __init__(self, threads: NDArray[np.int64], grid: Dimensions, block: Dimensions) -> None:
        self.threads = threads
        self.grid = grid
        self.block = block
        self.local = LocalMemory(len(threads))
        self.frames: dict[tuple[str, int], Frame] = {}
        self._specials: dict[str, Values] = {}

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
        self._specials.clear()
        self.local.keep(lanes)
        for frame in self.frames.values():
            frame.registers = [r[lanes] if r is not None and len(r) == size else r for r in frame.registers]
            frame.parameters = {
                name: rows[lanes] if len(rows) == size else rows for name, rows in frame.parameters.items()
            }

    # ---- who a lane is

    def block_and_thread(self, lane: int) -> tuple[Dimensions, Dimensions]:
        """Where the lane's thread is: its block in the grid, and its place in the block."""
        block, inner = divmod(int(self.threads[lane]), math.prod(self.block))
        return _spread(block, self.grid), _spread(inner, self.block)

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
            return (inner % 32).astype(np.uint32)
        sizes = {"%ntid": self.block, "%nctaid": self.grid}
        if word in sizes and place >= 0:
            return np.array([sizes[word][place]], np.uint32)
        spread = {"%tid": (inner, self.block), "%ctaid": (blocks, self.grid)}
        if word in spread and place >= 0:
            return np.asarray(_spread(*spread[word])[place], np.uint32)
        raise KeyError(name)


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
        chosen = np.flatnonzero(mask) if self.index is None else self.index[mask]
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
