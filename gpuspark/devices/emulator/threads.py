"""The state of the threads that run together: their registers, local memory and position in the grid.

:class:`ThreadBlocks` holds all threads of one run (whole blocks). :class:`ActiveThreads` are those among them that
are at the same program counter and execute the next instruction together. A register is one array with a value for
each thread of the run, or a single value that all threads share.
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
from gpuspark.devices.emulator.races import Accessors, RaceDetector
from gpuspark.devices.emulator.shared import PlacedVariable, SharedMemory
from gpuspark.devices.emulator.syntax import Function, Register

Values = NDArray[Any]
Index = NDArray[np.intp]
Dimensions = tuple[int, int, int]

WARP_SIZE = 32
LOCAL_WINDOW = 1 << 56
LOCAL_WINDOW_END = 1 << 57
"""The range of local memory in the generic address space; each thread sees its own local memory there."""

_LOCAL_GAP = 256
"""Unused bytes around a variable in local memory, so that an access just outside of it is found."""


class LocalMemory:
    """The local memory of all threads: one row of bytes for each thread."""

    def __init__(self, threads: int) -> None:
        self.rows = np.full((threads, _LOCAL_GAP), POISON, np.uint8)
        self._ranges: list[tuple[int, int]] = []

    def allocate(self, nbytes: int) -> int:
        """Adds ``nbytes`` to the local memory of each thread; returns their address."""
        start = self.rows.shape[1]
        width = -(-(nbytes + _LOCAL_GAP) // 16) * 16
        self.rows = np.hstack([self.rows, np.full((len(self.rows), width), POISON, np.uint8)])
        self._ranges.append((start, start + nbytes))
        return LOCAL_WINDOW + start

    def keep(self, threads: Index) -> None:
        """Drops the memory of all other threads."""
        self.rows = self.rows[threads]

    def load(self, threads: Index, addresses: NDArray[np.uint64], dtype: np.dtype) -> Values:
        """Returns the values at ``addresses``, one for each thread."""
        columns = self._columns(addresses, dtype)
        return self.rows.view(dtype)[threads, columns]

    def store(self, threads: Index, addresses: NDArray[np.uint64], values: Values) -> None:
        """Writes ``values`` to ``addresses``, one for each thread."""
        columns = self._columns(addresses, values.dtype)
        self.rows.view(values.dtype)[threads, columns] = values

    def _columns(self, addresses: NDArray[np.uint64], dtype: np.dtype) -> Index:
        """Returns the columns of ``rows``, viewed as ``dtype``, after checking the bounds."""
        offset = addresses.view(np.int64) - LOCAL_WINDOW
        inside = np.zeros(offset.shape, np.bool_)
        for start, end in self._ranges:
            inside |= (offset >= start) & (offset + dtype.itemsize <= end)
        if not inside.all():
            thread = int(np.flatnonzero(~inside)[0])
            address = int(addresses[thread])
            raise AccessFault(thread, f"no private memory for {dtype.itemsize} bytes at {address:#x}", "bounds")
        return offset // dtype.itemsize


@dataclass
class Frame:
    """The registers, parameters and local variables of one function call, for all threads of the run."""

    function: Function
    registers: list[Values | None]
    parameters: dict[str, NDArray[np.uint8]]
    """The bytes of each ``.param`` variable: a row for each thread, or one row that all share."""
    locals: dict[str, int] = field(default_factory=dict)
    """The addresses of the ``.local`` variables."""


class ThreadBlocks:
    """The thread blocks that run at the same time. ``thread_ids`` number the threads in the grid, block by block."""

    def __init__(
        self,
        thread_ids: NDArray[np.int64],
        grid: Dimensions,
        block: Dimensions,
        shared_variables: list[PlacedVariable],
        race_detector: RaceDetector,
    ) -> None:
        self.thread_ids = thread_ids
        self.grid = grid
        self.block = block
        threads_per_block = math.prod(block)
        self.first_block = int(thread_ids[0]) // threads_per_block
        self.warps_per_block = -(-threads_per_block // WARP_SIZE)
        blocks = len(thread_ids) // threads_per_block
        self.block_barriers = np.zeros(blocks, np.int64)
        """The number of barriers that each block has passed."""
        self.warp_barriers = np.zeros(blocks * self.warps_per_block, np.int64)
        """The number of ``bar.warp.sync`` that each warp has passed."""
        self.alive = np.ones(len(thread_ids), np.bool_)
        """The threads that have not exited."""
        self.local = LocalMemory(len(thread_ids))
        self.shared = SharedMemory(blocks, shared_variables)
        self.race_detector = race_detector
        self.frames: dict[tuple[str, int], Frame] = {}
        self._special_registers: dict[str, Values] = {}
        self._locate_threads()

    def _locate_threads(self) -> None:
        """Sets the block, the warp (both counted from the first that runs) and the lane of each thread."""
        blocks, threads = np.divmod(self.thread_ids, math.prod(self.block))
        self.block_of: Index = blocks - self.first_block
        self.warp_of: Index = self.block_of * self.warps_per_block + threads // WARP_SIZE
        self.lane_id: Index = threads % WARP_SIZE

    @property
    def size(self) -> int:
        """The number of threads."""
        return len(self.thread_ids)

    def frame(self, function: Function, depth: int) -> Frame:
        """Returns the frame of ``function`` at recursion depth ``depth``, made at its first use."""
        key = (function.name, depth)
        if key not in self.frames:
            frame = Frame(function, [None] * len(function.registers), {})
            for variable in function.variables.values():
                if variable.space == "local":
                    frame.locals[variable.name] = self.local.allocate(variable.nbytes)
                else:
                    frame.parameters[variable.name] = np.zeros((self.size, variable.nbytes), np.uint8)
            self.frames[key] = frame
        return self.frames[key]

    def keep(self, threads: Index) -> None:
        """Drops all other threads, which have exited, so that those left fill whole arrays again."""
        size = self.size
        self.thread_ids = self.thread_ids[threads]
        self.alive = self.alive[threads]
        self._locate_threads()
        self._special_registers.clear()
        self.local.keep(threads)
        for frame in self.frames.values():
            frame.registers = [r[threads] if r is not None and len(r) == size else r for r in frame.registers]
            frame.parameters = {
                name: rows[threads] if len(rows) == size else rows for name, rows in frame.parameters.items()
            }

    # ---- identity of a thread

    def block_and_thread(self, thread_id: int) -> tuple[Dimensions, Dimensions]:
        """Returns the block index and the thread index of a thread of the grid."""
        block, thread = divmod(thread_id, math.prod(self.block))
        return _unflatten(block, self.grid), _unflatten(thread, self.block)

    def accessors(self, active: ActiveThreads) -> Accessors:
        """Returns the identity of the active threads, for the race detector."""
        index = slice(None) if active.index is None else active.index
        blocks, warps = self.block_of[index], self.warp_of[index]
        return Accessors(
            thread=self.thread_ids[index],
            warp=warps + self.first_block * self.warps_per_block,
            block=blocks + self.first_block,
            block_barriers=self.block_barriers[blocks],
            warp_barriers=self.warp_barriers[warps],
        )

    def special_register(self, name: str) -> Values:
        """Returns the value of a special register, such as ``%tid.x``, in each thread."""
        if name not in self._special_registers:
            self._special_registers[name] = self._compute_special_register(name)
        return self._special_registers[name]

    def _compute_special_register(self, name: str) -> Values:
        blocks, threads = np.divmod(self.thread_ids, math.prod(self.block))
        register, _, axis_name = name.partition(".")
        axis = "xyz".find(axis_name) if axis_name else -1
        if register == "%laneid":
            return self.lane_id.astype(np.uint32)
        if register == "%warpid":
            return (threads // WARP_SIZE).astype(np.uint32)
        if register == "%nwarpid":
            return np.array([self.warps_per_block], np.uint32)
        if register.startswith("%lanemask_"):
            return _LANE_MASKS[register.removeprefix("%lanemask_")](self.lane_id.astype(np.uint64)).astype(np.uint32)
        if register in ("%dynamic_smem_size", "%total_smem_size"):
            return np.array([self.shared.size(dynamic_only=register.startswith("%d"))], np.uint32)
        dimensions = {"%ntid": self.block, "%nctaid": self.grid}
        if register in dimensions and axis >= 0:
            return np.array([dimensions[register][axis]], np.uint32)
        indices = {"%tid": (threads, self.block), "%ctaid": (blocks, self.grid)}
        if register in indices and axis >= 0:
            return np.asarray(_unflatten(*indices[register])[axis], np.uint32)
        raise KeyError(name)


_ONE, _ALL = np.uint64(1), np.uint64(0xFFFFFFFF)
_LANE_MASKS: dict[str, Callable[[NDArray[np.uint64]], NDArray[np.uint64]]] = {
    "eq": lambda lane: _ONE << lane,
    "lt": lambda lane: (_ONE << lane) - _ONE,
    "le": lambda lane: (_ONE << lane + _ONE) - _ONE,
    "gt": lambda lane: _ALL & ~((_ONE << lane + _ONE) - _ONE),
    "ge": lambda lane: _ALL & ~((_ONE << lane) - _ONE),
}
"""The registers ``%lanemask_eq`` and so on, as functions of the lane."""


def _unflatten(number: Any, size: Dimensions) -> tuple[Any, Any, Any]:
    """Returns the x, y and z index of a linear index."""
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])


@dataclass
class ActiveThreads:
    """Threads that execute the next instruction together.

    ``index`` selects them among all threads of the run (``None``: all of them), ``pc`` is their program counter and
    ``call_stack`` holds the program counters of the calls in progress, the innermost last."""

    blocks: ThreadBlocks
    frame: Frame
    index: Index | None
    pc: int
    call_stack: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """The number of active threads."""
        return self.blocks.size if self.index is None else len(self.index)

    def indices(self) -> Index:
        """Returns the indices of the active threads among all threads of the run."""
        return np.arange(self.blocks.size) if self.index is None else self.index

    def where(self, mask: NDArray[np.bool_]) -> ActiveThreads:
        """Returns the active threads for which ``mask`` is true."""
        return self.at(np.flatnonzero(mask))

    def at(self, positions: Index) -> ActiveThreads:
        """Returns the active threads at ``positions``, counted among the active ones."""
        index = positions if self.index is None else self.index[positions]
        return ActiveThreads(self.blocks, self.frame, index, self.pc, self.call_stack)

    def read(self, register: Register) -> Values:
        """Returns the register's value in each active thread, or one value that all share."""
        values = self.frame.registers[register.number]
        if values is None:  # never written: PTX leaves the value undefined
            return _undefined(register)
        return values if self.index is None or len(values) == 1 else values[self.index]

    def write(self, register: Register, values: Values) -> None:
        """Sets the register in the active threads."""
        registers = self.frame.registers
        if self.index is None:
            registers[register.number] = values
            return
        old = registers[register.number]
        if old is None or len(old) != self.blocks.size:
            expanded = np.empty(self.blocks.size, register.dtype)
            expanded[:] = _undefined(register) if old is None else old
            registers[register.number] = old = expanded
        old[self.index] = values


def _undefined(register: Register) -> Values:
    """Returns the value of a register that was never written: a conspicuous one, so that a use is noticed."""
    if register.dtype == np.bool_:
        return np.zeros(1, np.bool_)
    return np.frombuffer(bytes([POISON]) * register.dtype.itemsize, register.dtype)
