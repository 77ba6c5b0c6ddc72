"""One array function in one task: where it runs, and how it is launched there."""

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
from gpuspark.execution.placement import Placement
from gpuspark.execution.plan import Plan
from gpuspark.execution.scalar import TARGETS

THREADS_WITH_SCRATCH = 16_384
"""Threads at work at a time where each needs memory of its own: enough to fill today's largest GPU twice."""
in_python: ContextVar[bool] = ContextVar("in_python", default=False)
"""Whether Python runs an array function: those that it calls are then plain functions."""


class PlacedArray:
    """An array function for arguments of certain types, as :class:`~gpuspark.execution.placement.Placeable`."""

    uses_rapids = False
    left_to_python = ()

    def __init__(self, name: str, function: FunctionType, parameters: tuple[Parameter, ...]) -> None:
        self.name, self.function, self.parameters = name, function, parameters

    @cached_property
    def key(self) -> Hashable:
        """The name, the parameters and what the compiled program depends on."""
        return (self.name, self.parameters, fingerprint_or_reason(self.function))

    def obstacles(self, device: DeviceName) -> Sequence[str]:
        """What keeps the function off ``device``: why it does not compile."""
        try:
            self.program(device)
        except CannotCompile as refusal:
            return [str(refusal)]
        return []

    def program(self, device: DeviceName) -> Program:
        """Returns the program for ``device``. Raises :class:`~gpuspark.compiler.source.CannotCompile`."""
        return compile_program(ArrayRequest(self.function, self.parameters), TARGETS[device])


class ArrayRunner:
    """One array function in one task. Its inputs are never written, so a run that a device did not finish is made
    again, whole, elsewhere."""

    def __init__(self, name: str, function: FunctionType, parameters: tuple[Parameter, ...], config: Config) -> None:
        self._placed = PlacedArray(name, function, parameters)
        self.placement = Placement(self._placed, config)
        self._programs: dict[DeviceName, Program] = {}

    @property
    def plan(self) -> Plan:
        """The decision that holds now."""
        return self.placement.plan

    def run(self, items: int, arguments: Sequence[Any], work: Work) -> list[NDArray[Any]]:
        """Returns what the function wrote, for each :class:`Out` among ``arguments``."""
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
    """Calls ``function`` in Python, item by item, over NumPy arrays; returns what it wrote, for each :class:`Out`."""
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
        with np.errstate(all="ignore"):  # machine arithmetic: integers wrap, floats become infinite, none is an error
            for item in range(items):
                function(item, *values)
    finally:
        in_python.reset(before)
    return outs


def launch(program: Program, device: Device, items: int, arguments: Sequence[Any], work: Work) -> list[NDArray[Any]]:
    """Runs ``program`` on ``device``; returns what it wrote, for each :class:`Out` among ``arguments``."""
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
    """One argument of a program; the memory that was taken for it goes to ``held``."""
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
    """Returns how many threads work on ``items`` items: on the CPU one, in a loop."""
    if device.name == "cpu":
        return 1
    return min(items, THREADS_WITH_SCRATCH) if any(isinstance(value, Scratch) for value in arguments) else items


def _room(device: Device, items: int, arguments: Sequence[Any]) -> int:
    """Returns the bytes of device memory that ``arguments`` take, constants aside, which stay there."""
    threads = _threads(device, items, arguments)
    return sum(
        value.nbytes * (threads if isinstance(value, Scratch) else 1)
        for value in arguments
        if isinstance(value, Out | Scratch | np.ndarray)
    )
