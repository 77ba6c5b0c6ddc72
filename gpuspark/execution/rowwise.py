"""Runs a scalar function over Arrow columns: compiled on a device, or row by row in Python.

Rows are independent of each other, so a batch can be halved if a device has no room, and single rows that the program
marked can be computed again in Python.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.accounting.work import Work
from gpuspark.columns.types import ColumnType
from gpuspark.columns.values import from_python, near_the_calendars_ends, to_python
from gpuspark.devices.protocol import Bytes, Device, Handle, Pointer, Program
from gpuspark.errors import OutOfMemory, ResultError, locate
from gpuspark.execution.scalar import ScalarFunction
from gpuspark.execution.user_types import refuse_stored

if TYPE_CHECKING:
    import pyarrow as pa

_NULL_RESULT, _MARKED = 1, 2


def interpret(function: ScalarFunction, columns: Sequence[pa.Array], numbers: Sequence[int] | None = None) -> pa.Array:
    """Returns the results of calling the body once per row, as plain PySpark does; with ``nulls="propagate"``, not for
    rows with a null.

    An error of the body keeps its type and traceback; a note names the function and the row, by its number in
    ``numbers``, or by its position in the batch.
    """
    propagate = function.nulls == "propagate"
    numbers = range(len(columns[0])) if numbers is None else numbers
    for name, column in zip(function.columns, columns, strict=True):
        refuse_stored(function.name, name, column.type)
    values: list[Any] = []
    for row, arguments in zip(numbers, zip(*map(to_python, columns), strict=True), strict=True):
        if propagate and any(argument is None for argument in arguments):
            values.append(None)
            continue
        try:
            values.append(function.call(arguments))
        except Exception as error:
            locate(error, function=function.name, row=row, device="python", **_shown(function, arguments))
            raise
    try:
        return from_python(values, function.result, function.arrow)
    except ResultError as error:
        locate(error, function=function.name, row=numbers[getattr(error, "row", 0)])
        raise


def _shown(function: ScalarFunction, arguments: Sequence[Any]) -> dict[str, str]:
    return {name: repr(value)[:80] for name, value in zip(function.columns, arguments, strict=True)}


@dataclass(frozen=True)
class RowwiseProgram:
    """A scalar function compiled for columns of ``types``, and the device that runs it."""

    function: ScalarFunction
    types: tuple[ColumnType, ...]
    program: Program
    device: Device

    def room(self, columns: Sequence[pa.Array]) -> int:
        """Returns the bytes of device memory that ``columns`` and their results need."""
        inputs: int = sum(column.nbytes for column in columns)
        return inputs + len(columns[0]) * (_result_width(self.function.result) + 1)

    def run(self, columns: Sequence[pa.Array], first_row: int, work: Work) -> pa.Array:
        """Returns the results for ``columns``, whose first row is row ``first_row`` of the task.

        Rows that the program marked are computed again in Python. Raises :class:`~gpuspark.errors.OutOfMemory` if the
        device has no room.
        """
        rows, start = len(columns[0]), time.perf_counter()
        if any(map(near_the_calendars_ends, columns)):
            result = interpret(self.function, columns, range(first_row, first_row + rows))
            work.ran("python", rows)
            work.reasons.append("python: dates or timestamps near the ends of Python's calendar, or beyond them")
            work.lap("run", start)
            return result
        try:
            values, states = self._launch(columns, work)
        except OutOfMemory:
            work.lap("copy_in", start)
            raise
        result, marked = self._result(columns, values, states, work)
        result = _recompute(self.function, columns, result, marked, work, first_row)
        work.ran(self.device.name, rows)
        return result

    def _launch(self, columns: Sequence[pa.Array], work: Work) -> tuple[Bytes, Bytes]:
        """Returns the bytes of the results and the status of each row."""
        rows, device, held = len(columns[0]), self.device, list[Handle]()
        start = time.perf_counter()
        try:
            arguments = _arguments(device, columns, self.types, held, nullable=self.function.nulls == "pass")
            out = device.allocate(rows * _result_width(self.function.result))
            held.append(out)
            status = device.allocate(rows)
            held.append(status)
            start = work.lap("copy_in", start)
            device.launch(self.program, [*arguments, Pointer(out), Pointer(status)], rows)
            device.synchronize()
            start = work.lap("run", start)
            copies = device.copy_out(out), device.copy_out(status)
        finally:
            for handle in held:
                device.free(handle)
        work.lap("copy_out", start)
        return copies

    def _result(
        self, columns: Sequence[pa.Array], values: Bytes, states: Bytes, work: Work
    ) -> tuple[pa.Array, NDArray[np.intp]]:
        """Returns the Arrow array of the results, and the indices of the rows that the program marked."""
        import pyarrow as pa

        start, rows = time.perf_counter(), len(columns[0])
        valid = _all_valid(columns) if self.function.nulls == "propagate" else None
        marked = (states & _MARKED) != 0
        if states.any():
            if valid is not None:
                marked &= valid.to_numpy(zero_copy_only=False)
            valid = _both(valid, pa.array((states & _NULL_RESULT) == 0))
        result = _column(self.function, values, valid, rows)
        work.lap("copy_out", start)
        return result, np.flatnonzero(marked)


def _arguments(
    device: Device, columns: Sequence[pa.Array], types: Sequence[ColumnType], held: list[Handle], *, nullable: bool
) -> list[Pointer | int]:
    """Returns the launch arguments for the columns: pointers to their values and, if ``nullable``, validity bits. The
    memory allocated for them is added to ``held``."""
    arguments: list[Pointer | int] = []

    def copy(host: Bytes) -> Pointer:
        handle = device.copy_in(host)
        held.append(handle)
        return Pointer(handle)

    for column, column_type in zip(columns, types, strict=True):
        validity, data = column.buffers()
        if column_type.kind == "boolean":
            bits, first = _bits(data, column.offset, len(column))
            arguments += [copy(bits), first]
        else:
            width = column_type.bits // 8
            start, end = column.offset * width, (column.offset + len(column)) * width
            values = np.frombuffer(data, np.uint8)[start:end]
            arguments.append(copy(values if data.address % width == 0 else values.copy()))
        if nullable:
            if validity is None:
                bits, first = np.full((len(column) + 7) // 8, 255, np.uint8), 0
            else:
                bits, first = _bits(validity, column.offset, len(column))
            arguments += [copy(bits), first]
    return arguments


def _bits(buffer: pa.Buffer, offset: int, rows: int) -> tuple[Bytes, int]:
    """Returns the bytes that contain ``rows`` bits from bit ``offset`` on, and the position of the first bit."""
    whole = np.frombuffer(buffer, np.uint8)
    return whole[offset // 8 : (offset + rows + 7) // 8], offset % 8


def _result_width(result: ColumnType) -> int:
    """Returns the bytes per result in device memory: one for a boolean, eight for a date or an interval."""
    return result.bits // 8 if result.kind in ("integer", "float") else 1 if result.kind == "boolean" else 8


def _all_valid(columns: Sequence[pa.Array]) -> pa.Array | None:
    """Returns for each row whether no column is null; ``None`` if there are no nulls at all."""
    valid = None
    for column in columns:
        if column.null_count:
            valid = _both(valid, column.is_valid())
    return valid


def _both(left: pa.Array | None, right: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return right if left is None else pc.and_(left, right)


def _column(function: ScalarFunction, values: Bytes, valid: pa.Array | None, rows: int) -> pa.Array:
    """Returns an Arrow array of the program's results."""
    import pyarrow as pa

    kind = function.result.kind
    if kind == "boolean":
        values = np.packbits(values, bitorder="little")
    elif kind == "date":
        values = values.view(np.int64).astype(np.int32).view(np.uint8)
    mask = None if valid is None else pa.py_buffer(np.packbits(valid.to_numpy(zero_copy_only=False), bitorder="little"))
    return pa.Array.from_buffers(function.arrow, rows, [mask, pa.py_buffer(values)])


def _recompute(
    function: ScalarFunction,
    columns: Sequence[pa.Array],
    result: pa.Array,
    indices: NDArray[np.intp],
    work: Work,
    first_row: int,
) -> pa.Array:
    """Returns ``result`` with the rows at ``indices`` computed by Python, which may raise or have another answer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(indices):
        return result
    start = time.perf_counter()
    parts = [column.take(pa.array(indices)) for column in columns]
    answers = interpret(function, parts, [first_row + int(index) for index in indices])
    mask = np.zeros(len(result), bool)
    mask[indices] = True
    result = pc.replace_with_mask(result, pa.array(mask), answers)
    work.retries += 1
    work.reasons.append("python: rows with overflow, division by zero, a domain error or raise were computed again")
    if function.body and function.body.left_to_python:
        work.reasons[-1] += f", and those that reach {', '.join(function.body.left_to_python)}"
    work.lap("run", start)
    return result
