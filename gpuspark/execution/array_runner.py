"""Runs an array function in one task, on the planned device."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from contextvars import ContextVar
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.accounting.work import Work
from gpuspark.compiler import ArrayRequest, CannotCompile, Parameter, compile_program
from gpuspark.compiler.fingerprint import fingerprint_or_reason
from gpuspark.config import Config
from gpuspark.devices.protocol import Device, DeviceName, Handle, Pointer, Program
from gpuspark.execution.array_arguments import Constant, Out, Scratch, bytes_of
from gpuspark.execution.placement import NOT_SCALAR, Placement
from gpuspark.execution.plan import Plan
from gpuspark.execution.scalar import TARGETS

THREADS_WITH_SCRATCH = 65_536
"""The most threads of a launch in which each needs scratch memory."""
FEWER_THREADS = 16_384
"""As many threads are started even where they need more than :data:`SCRATCH_BYTES`."""
SCRATCH_BYTES = 256 << 20
"""The scratch memory, in bytes, beyond which a launch has fewer threads."""
in_python: ContextVar[bool] = ContextVar("in_python", default=False)
"""Whether an array function runs in plain Python; array functions that it calls are then plain functions too."""


class PlacedArray:
    """The :class:`~gpuspark.execution.placement.Placeable` of an array function for arguments of certain types."""

    uses_rapids = False
    not_sql = NOT_SCALAR
    left_to_python = ()

    def __init__(self, name: str, function: FunctionType, parameters: tuple[Parameter, ...]) -> None:
        self.name, self.function, self.parameters = name, function, parameters

    @cached_property
    def key(self) -> Hashable:
        """The name, the parameters and what the compiled program depends on."""
        return (self.name, self.parameters, fingerprint_or_reason(self.function))

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """Returns why the function does not compile for ``device``; empty if it does."""
        try:
            self.program(device)
        except CannotCompile as refusal:
            return [str(refusal)]
        return []

    def program(self, device: DeviceName) -> Program:
        """Returns the program for ``device``. Raises :class:`~gpuspark.compiler.source.CannotCompile`."""
        return compile_program(ArrayRequest(self.function, self.parameters), TARGETS[device])


class ArrayRunner:
    """One array function in one task. It never writes its inputs, so a run that fails on one device is repeated from
    the start on another."""

    def __init__(self, name: str, function: FunctionType, parameters: tuple[Parameter, ...], config: Config) -> None:
        self._placed = PlacedArray(name, function, parameters)
        self.placement = Placement(self._placed, config)
        self._programs: dict[DeviceName, Program] = {}

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.placement.plan

    def run(self, items: int, arguments: Sequence[Any], work: Work) -> list[NDArray[Any]]:
        """Returns the array that the function wrote for each :class:`Out` among ``arguments``."""
        start = time.perf_counter()

        def on_device(device: Device) -> list[NDArray[Any]]:
            work.lap("wait", start)
            self.placement.check_room(_room(device, items, arguments))
            return launch(self._program(device), device, items, arguments, work)

        def in_python() -> list[NDArray[Any]]:
            begun = time.perf_counter()
            written = interpret(self._placed.function, items, arguments)
            work.lap("run", begun)
            return written

        written, retries = self.placement.run(on_device, in_python)
        work.retries += retries
        return written

    def _program(self, device: Device) -> Program:
        if device.name not in self._programs:
            self._programs[device.name] = self._placed.program(device.name)
        return self._programs[device.name]


def interpret(function: FunctionType, items: int, arguments: Sequence[Any]) -> list[NDArray[Any]]:
    """Calls ``function`` in Python for each item, on NumPy arrays; returns the array written for each :class:`Out`."""
    outs: list[NDArray[Any]] = []
    values: list[Any] = []
    for value in arguments:
        if isinstance(value, Out):
            outs.append(np.empty(value.length, value.dtype))
            values.append(outs[-1])
        elif isinstance(value, Scratch):
            values.append(np.zeros(value.length, value.dtype))
        else:
            values.append(value.array.reshape(-1) if isinstance(value, Constant) else value)
    before = in_python.set(True)
    try:
        with np.errstate(all="ignore"):  # as on a device: integers wrap, floats become infinite, nothing raises
            for item in range(items):
                function(item, *values)
    finally:
        in_python.reset(before)
    return outs


def launch(program: Program, device: Device, items: int, arguments: Sequence[Any], work: Work) -> list[NDArray[Any]]:
    """Runs ``program`` on ``device``; returns the array that it wrote for each :class:`Out` among ``arguments``."""
    held: list[Handle] = []
    outs: list[tuple[Handle, Out]] = []
    threads = _threads(device, items, arguments)
    start = time.perf_counter()
    try:
        words = [_word(value, device, threads, held, outs) for value in arguments]
        start = work.lap("copy_in", start)
        if items:
            device.launch(program, [*words, items], threads)
            device.synchronize()
        start = work.lap("run", start)
        results = [device.copy_out(handle)[: out.nbytes].view(out.dtype) for handle, out in outs]
    finally:
        for handle in held:
            device.free(handle)
    work.lap("copy_out", start)
    return results


def _word(
    value: Any, device: Device, threads: int, held: list[Handle], outs: list[tuple[Handle, Out]]
) -> Pointer | int:
    """Returns one argument of the program's launch. Memory allocated for it is added to ``held``, and to ``outs`` if
    it is an output."""
    if isinstance(value, Constant):
        return Pointer(device.keep(value.digest, bytes_of(value.array)))
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(np.float64(value).view(np.int64))
    if isinstance(value, np.ndarray):
        handle = device.copy_in(bytes_of(value))
    elif isinstance(value, Scratch):
        handle = device.allocate(max(value.nbytes * threads, 1))
    else:
        handle = device.allocate(max(value.nbytes, 1))
    held.append(handle)
    if isinstance(value, Out):
        outs.append((handle, value))
    return Pointer(handle)


def _threads(device: Device, items: int, arguments: Sequence[Any]) -> int:
    """Returns the number of threads for ``items`` items: one on the CPU, which loops."""
    if device.name == "cpu":
        return 1
    scratch = [value.nbytes for value in arguments if isinstance(value, Scratch)]
    if not scratch:
        return items
    fitting = SCRATCH_BYTES // max(sum(scratch), 1)
    return min(items, max(FEWER_THREADS, min(fitting, THREADS_WITH_SCRATCH)))


def _room(device: Device, items: int, arguments: Sequence[Any]) -> int:
    """Returns the bytes of device memory that ``arguments`` need, without constants, which stay on the device."""
    threads = _threads(device, items, arguments)
    return sum(
        value.nbytes * (threads if isinstance(value, Scratch) else 1)
        for value in arguments
        if isinstance(value, Out | Scratch | np.ndarray)
    )
