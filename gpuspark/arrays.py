"""``gs.array_function``: a function of whole arrays that is called once for each item, on every device.

An item may be a row, a group, a pair of texts, a query: whatever one thread of a GPU shall do. The function is given
the item's number and then the arrays, and writes into those that it was given to write into::

    @gs.array_function
    def smoothed(group, values, offsets, alpha, out):
        level = values[offsets[group]]
        for row in range(offsets[group], offsets[group + 1]):
            level += alpha * (values[row] - level)
            out[row] = level

    result = smoothed(len(segments), segments["x"], segments.offsets, 0.3, gs.Out("float64", segments.num_rows))

On the CPU it is a loop over the items in machine code; on CUDA, and on the emulated device, one thread for each; on
``python`` the function itself. It is written for a machine: arrays are indexed from 0 and have no length, integers of
64 bits wrap, nothing is allocated, and no two items write to one place. Nulls do not exist: pass validity as an array
of bytes, and give a result for it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.columns import this_task
from gpuspark.compiler import ArrayRequest, CannotCompile, Parameter, compile_program
from gpuspark.compiler.arrays import fingerprint_or_reason
from gpuspark.compiler.source import HoldsItemBody
from gpuspark.config import Config
from gpuspark.decorated import name_after
from gpuspark.devices import open_device
from gpuspark.devices.permits import permit
from gpuspark.devices.protocol import Device, Handle, Pointer, Program
from gpuspark.errors import CallError, DeviceError, DeviceFault, DeviceLost, DeviceUnavailable, OutOfMemory
from gpuspark.plan import DeviceName, Plan, devices_of, enforce, plan
from gpuspark.rowwise import Work
from gpuspark.scalar import TARGETS
from gpuspark.session import task_config, task_facts

if TYPE_CHECKING:
    from gpuspark.devices.protocol import Target

THREADS_WITH_SCRATCH = 16_384
"""Threads at work at a time where each needs memory of its own: enough to fill today's largest GPU twice."""
_in_python: ContextVar[bool] = ContextVar("in_python", default=False)
"""Whether Python runs an array function: those that it calls are then plain functions."""


class Out:
    """An array that the function writes and the caller gets: ``length`` values of ``dtype``. It holds anything at
    first, so every one must be written."""

    def __init__(self, dtype: Any, length: int) -> None:
        self.dtype, self.length = np.dtype(dtype), int(length)


class Scratch:
    """Memory for one item's work, ``length`` values of ``dtype``. It holds anything at first."""

    def __init__(self, dtype: Any, length: int) -> None:
        self.dtype, self.length = np.dtype(dtype), int(length)


class Constant:
    """An array that is the same for many batches: a matrix, a model, an index. It travels to the workers with the
    function (Spark broadcasts what is large), and lies on a GPU once for each process, for as long as that lives.

    >>> Constant([1.0, 2.0]).array
    array([1., 2.])
    """

    def __init__(self, array: Any) -> None:
        self.array: NDArray[Any] = np.ascontiguousarray(array)
        self.array.flags.writeable = False

    @cached_property
    def digest(self) -> str:
        """The same for equal arrays."""
        return hashlib.sha256(f"{self.array.dtype} {self.array.shape}".encode() + self.array.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<gpuspark Constant of {self.array.shape} {self.array.dtype}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"array": self.array, "digest": self.digest}


def array_function(function: Callable[..., None]) -> ArrayFunction:
    """Makes a function of arrays run once for each item, on every device; see this module.

    Call it with the number of items and an argument for each parameter but the first: columns of a batch without
    nulls, NumPy and Arrow arrays, :class:`Constant`, whole numbers and floats, :class:`Out` and :class:`Scratch`.
    It gives what was written: an array, or a tuple of them where there are several ``Out``.

    Raises :class:`~gpuspark.errors.CallError` for a wrong number of arguments, or one of another kind.

    >>> @array_function
    ... def doubled(i, x, out):
    ...     out[i] = 2 * x[i]
    >>> doubled(3, np.array([1, 2, 3]), Out("int64", 3))
    array([2, 4, 6])
    """
    return ArrayFunction(function)


class ArrayFunction(HoldsItemBody):
    """A decorated function of arrays. Call it from other array functions, too, as the function that it is."""

    def __init__(self, function: Callable[..., None]) -> None:
        if not isinstance(function, FunctionType):
            raise CallError(f"gs.array_function takes a plain function, not a {type(function).__name__}")
        self.__gpuspark_body__ = function
        name_after(self, function)
        self.name = function.__name__
        self.parameters = function.__code__.co_varnames[1 : function.__code__.co_argcount]

    def __repr__(self) -> str:
        return f"<gpuspark array function {self.name}({', '.join(self.parameters)})>"

    def __call__(self, items: int, *arguments: Any) -> Any:
        if _in_python.get():
            return self.__gpuspark_body__(items, *arguments)
        if len(arguments) != len(self.parameters):
            raise CallError(
                f"{self!r} was given {len(arguments)} arguments. Give the number of items, and one for each parameter."
            )
        given = [_argument(self, name, value) for name, value in zip(self.parameters, arguments, strict=True)]
        kinds = tuple(_parameter(value) for value in given)
        task, work = this_task(), Work()
        key = (self, kinds, fingerprint_or_reason(self.__gpuspark_body__))
        runner: ArrayRunner | None = task.calls.get(key)
        if runner is None:
            runner = task.calls[key] = ArrayRunner(self, kinds, task_config())
            work.seconds["compile"] = runner.preparing
        try:
            results = runner.run(items, given, work)
        except DeviceFault as fault:
            if task.inside is not None:
                task.inside.found(runner, [str(fault)])
            raise
        if task.inside is not None:
            task.inside.add(runner, work)
        return results[0] if len(results) == 1 else tuple(results)

    def program(self, kinds: tuple[Parameter, ...], target: Target) -> Program:
        """The program for arguments of these kinds. Raises ``CannotCompile``."""
        return compile_program(ArrayRequest(self.__gpuspark_body__, kinds), target)


class ArrayRunner:
    """One array function in one task: the plan for its parameters' types, and the device that it runs on.

    Its inputs are never written, so a run that a device could not finish is made again, whole, elsewhere.
    """

    def __init__(self, function: ArrayFunction, kinds: tuple[Parameter, ...], config: Config) -> None:
        self.function, self.kinds, self.config = function, kinds, config
        self._failed: dict[DeviceName, str] = {}
        start = time.perf_counter()
        self._settle()
        self.preparing = time.perf_counter() - start

    def _settle(self) -> None:
        self.device: Device | None = None
        self.plan, self.program = decide(self.function, self.kinds, self.config, self._failed)
        enforce(self.plan, self.config)
        self.reasons = [str(reason) for reason in self.plan.reasons]
        if self.program is None:
            return
        facts = task_facts()
        try:
            self.device = open_device(self.plan.device, self.config, facts.gpus[0] if facts and facts.gpus else None)
        except (DeviceUnavailable, DeviceLost, OutOfMemory) as error:
            self._leave(error)

    def _leave(self, error: DeviceError) -> None:
        self._failed[self.plan.device] = str(error)
        self._settle()

    def run(self, items: int, given: Sequence[Any], work: Work) -> list[NDArray[Any]]:
        """What the function wrote, for each :class:`Out` among ``given``."""
        start = time.perf_counter()
        if self.device is None or self.program is None:
            results = interpret(self.function, items, given)
            work.lap("run", start)
            return results
        if self.device.name == "cpu":
            return launch(self.program, self.device, items, given, work)
        try:
            with permit(self.device.identity, self.config.max_concurrent_tasks):
                work.lap("wait", start)
                results = launch(self.program, self.device, items, given, work)
                self.device.trim()
                return results
        except (DeviceLost, DeviceUnavailable, OutOfMemory) as error:
            work.retries += 1
            forget_constants(self.device)
            self._leave(error)
            return self.run(items, given, work)


def decide(
    function: ArrayFunction,
    kinds: tuple[Parameter, ...],
    config: Config,
    failed: Mapping[DeviceName, str] = MappingProxyType({}),
) -> tuple[Plan, Program | None]:
    """The plan, and the program where there is one."""
    absent: dict[DeviceName, str] = {}
    if set(devices_of(config)) & {"cuda", "emulated"}:
        from gpuspark.devices.discover import discover

        absent = discover().absent()
    obstacles: dict[DeviceName, Sequence[str]] = {device: [why] for device, why in failed.items()}
    program = None
    for device in devices_of(config):
        if device in absent or device in failed or device not in TARGETS:
            continue
        try:
            program = function.program(kinds, TARGETS[device])
            break
        except CannotCompile as refusal:
            obstacles[device] = [str(refusal)]
    return plan(function.name, obstacles, config, absent), program


def planned_device() -> DeviceName:
    """Where the running task's array functions run, if that device is well: for a caller who cuts its work into few
    large items on a CPU, whose caches like them, and into many small ones on a GPU."""
    config, absent = task_config(), {}
    if set(devices_of(config)) & {"cuda", "emulated"}:
        from gpuspark.devices.discover import discover

        absent = discover().absent()
    return next(device for device in devices_of(config) if device not in absent)


def interpret(function: ArrayFunction, items: int, given: Sequence[Any]) -> list[NDArray[Any]]:
    """Calls the function in Python, item by item, over NumPy arrays."""
    outs: list[NDArray[Any]] = []
    arguments: list[Any] = []
    for value in given:
        if isinstance(value, Out):
            outs.append(np.empty(value.length, value.dtype))
            arguments.append(outs[-1])
        elif isinstance(value, Scratch):
            arguments.append(np.zeros(value.length, value.dtype))
        else:
            arguments.append(value.array.reshape(-1) if isinstance(value, Constant) else value)
    body = function.__gpuspark_body__
    before = _in_python.set(True)
    try:
        with np.errstate(all="ignore"):  # machine arithmetic: integers wrap, floats become infinite, none is an error
            for item in range(items):
                body(item, *arguments)
    finally:
        _in_python.reset(before)
    return outs


def launch(program: Program, device: Device, items: int, given: Sequence[Any], work: Work) -> list[NDArray[Any]]:
    """Runs the program on ``device``, and brings back what it wrote."""
    held: list[Handle] = []
    outs: list[tuple[Handle, Out]] = []
    scratch = any(isinstance(value, Scratch) for value in given)
    threads = 1 if device.name == "cpu" else min(items, THREADS_WITH_SCRATCH) if scratch else items
    start = time.perf_counter()
    try:
        words = [_word(value, device, threads, held, outs) for value in given]
        start = work.lap("copy_in", start)
        if items:
            device.launch(program, [*words, items], threads)
            device.synchronize()
        start = work.lap("run", start)
        results = [device.copy_out(handle)[: out.length * out.dtype.itemsize].view(out.dtype) for handle, out in outs]
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
        return Pointer(_on_device(value, device))
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(np.float64(value).view(np.int64))
    if isinstance(value, np.ndarray):
        handle = device.copy_in(_bytes(value))
    elif isinstance(value, Scratch):
        handle = device.allocate(max(value.length * value.dtype.itemsize * threads, 1))
    else:
        handle = device.allocate(max(value.length * value.dtype.itemsize, 1))
    held.append(handle)
    if isinstance(value, Out):
        outs.append((handle, value))
    return Pointer(handle)


_constants: dict[tuple[int, str], dict[str, tuple[Device, Handle, int]]] = {}
"""What lies on each device of this process: by digest, the memory and its size in bytes."""


def _on_device(constant: Constant, device: Device) -> Handle:
    if device.name == "cpu":
        return device.copy_in(_bytes(constant.array))
    lying = _constants.setdefault((os.getpid(), device.identity), {})
    if constant.digest not in lying or lying[constant.digest][0] is not device:
        handle = device.copy_in(_bytes(constant.array))
        lying[constant.digest] = (device, handle, constant.array.nbytes)
    return lying[constant.digest][1]


def forget_constants(device: Device) -> None:
    """Frees the constants on ``device``, or forgets them where it is lost."""
    for owner, handle, _ in _constants.pop((os.getpid(), device.identity), {}).values():
        try:
            owner.free(handle)
        except DeviceLost:
            return


def constant_bytes(device: Device) -> int:
    """Bytes that constants of this process take on ``device``."""
    return sum(size for _, _, size in _constants.get((os.getpid(), device.identity), {}).values())


def _argument(function: ArrayFunction, name: str, value: Any) -> Any:
    """``value`` as a flat array, a number, or what it is."""
    if isinstance(value, Out | Scratch | Constant):
        return value
    if isinstance(value, bool | int | np.integer | np.bool_):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if hasattr(value, "null_count"):
        if value.null_count:
            raise CallError(
                f"{function.name}: {name} has {value.null_count} nulls, and an array function has none. Pass "
                "column.values, and column.validity beside them."
            )
        from gpuspark.batch import Column

        value = Column(value.to_arrow() if isinstance(value, Column) else value).values
    if hasattr(value, "get"):  # CuPy's
        value = value.get()
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
        flat = np.ascontiguousarray(value).reshape(-1)
        return flat.view(np.uint8) if flat.dtype == bool else flat
    raise CallError(
        f"{function.name}: {name} is a {type(value).__name__}. An array function takes arrays and columns of numbers, "
        "numbers, gs.Constant, gs.Out and gs.Scratch."
    )


def _parameter(value: Any) -> Parameter:
    if isinstance(value, int):
        return Parameter("int64", False)
    if isinstance(value, float):
        return Parameter("float64", False)
    if isinstance(value, Scratch):
        return Parameter(str(value.dtype), True, value.length)
    dtype = value.array.dtype if isinstance(value, Constant) else value.dtype
    return Parameter("uint8" if dtype.kind == "b" else str(dtype), True)  # a truth value is a byte


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    flat = array.reshape(-1)
    return flat.view(np.uint8) if flat.size else np.zeros(8, np.uint8)
