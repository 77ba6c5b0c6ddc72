"""Runs a scalar function over Arrow columns: compiled on a device, or row by row in Python.

Every row stands for itself, so a batch may be halved when a device has no room, and single rows may be
computed again in Python where the program marked them.
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
    """Calls the body once per row, as plain PySpark does; with ``nulls="propagate"`` not for rows with a null.

    An error of the body keeps its type and traceback; a note says which function and row it was, by the
    row's number in ``numbers`` (by its place in the batch if not given).
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
        """Returns the bytes of device memory that ``columns`` and their results take."""
        inputs: int = sum(column.nbytes for column in columns)
        return inputs + len(columns[0]) * (_result_width(self.function.result) + 1)

    def run(self, columns: Sequence[pa.Array], first_row: int, work: Work) -> pa.Array:
        """Returns the results for ``columns``, whose first row is row ``first_row`` of the task.

        Rows that the program marked are computed again in Python. Raises :class:`~gpuspark.errors.OutOfMemory` where
        the device has no room.
        """
        rows, start = len(columns[0]), time.perf_counter()
        if any(map(near_the_calendars_ends, columns)):
            result = interpret(self.function, columns, range(first_row, first_row + rows))
            work.ran("python", rows)
            work.reasons.append("python: dates or timestamps at the ends of Python's calendar, or beyond them")
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
        """Returns the Arrow column of the results, and the places of the rows that the program marked."""
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
    """The words of the program's columns: where their values and, if asked for, validity bits are."""
    words: list[Pointer | int] = []

    def give(host: Bytes) -> Pointer:
        handle = device.copy_in(host)
        held.append(handle)
        return Pointer(handle)

    for column, column_type in zip(columns, types, strict=True):
        validity, data = column.buffers()
        if column_type.kind == "boolean":
            bits, first = _bits(data, column.offset, len(column))
            words += [give(bits), first]
        else:
            width = column_type.bits // 8
            start, end = column.offset * width, (column.offset + len(column)) * width
            values = np.frombuffer(data, np.uint8)[start:end]
            words.append(give(values if data.address % width == 0 else values.copy()))
        if nullable:
            if validity is None:
                bits, first = np.full((len(column) + 7) // 8, 255, np.uint8), 0
            else:
                bits, first = _bits(validity, column.offset, len(column))
            words += [give(bits), first]
    return words


def _bits(buffer: pa.Buffer, offset: int, rows: int) -> tuple[Bytes, int]:
    """The bytes that hold ``rows`` bits from bit ``offset`` on, and the place of the first bit in them."""
    whole = np.frombuffer(buffer, np.uint8)
    return whole[offset // 8 : (offset + rows + 7) // 8], offset % 8


def _result_width(result: ColumnType) -> int:
    """Bytes per result in device memory: a boolean takes one, a date and an interval eight."""
    return result.bits // 8 if result.kind in ("integer", "float") else 1 if result.kind == "boolean" else 8


def _all_valid(columns: Sequence[pa.Array]) -> pa.Array | None:
    """Where no column is null; ``None`` if nowhere is one."""
    valid = None
    for column in columns:
        if column.null_count:
            valid = _both(valid, column.is_valid())
    return valid


def _both(one: pa.Array | None, other: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return other if one is None else pc.and_(one, other)


def _column(function: ScalarFunction, values: Bytes, valid: pa.Array | None, rows: int) -> pa.Array:
    """An Arrow column over the program's results."""
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
    places: NDArray[np.intp],
    work: Work,
    first_row: int,
) -> pa.Array:
    """``result`` with Python's answers at ``places``, where Python may raise, or have another answer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(places):
        return result
    start = time.perf_counter()
    parts = [column.take(pa.array(places)) for column in columns]
    answers = interpret(function, parts, [first_row + int(place) for place in places])
    mask = np.zeros(len(result), bool)
    mask[places] = True
    result = pc.replace_with_mask(result, pa.array(mask), answers)
    work.retries += 1
    work.reasons.append("python: rows with overflow, division by zero, a domain error or raise were computed again")
    if function.body and function.body.left_to_python:
        work.reasons[-1] += f", and those that come to {', '.join(function.body.left_to_python)}"
    work.lap("run", start)
    return result
