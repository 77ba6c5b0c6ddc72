"""Edit distance of two texts in each row.

The table of distances is computed a strip of 128 rows at a time, column by column, in two words of 64 bits that hold
the differences between neighbouring cells. A strip that is not full stands at the words' upper end: rows below it have
no character, and hand on what comes from above. So every strip gives the differences of its last row at one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpuspark.kernels.spec import CallError, Out, Scratch, array_function, column_kernel, nulls_of, texts
from gpuspark.kernels.utf8 import count, is_ascii, packed, width

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["levenshtein"]

_STRIP = 128
"""Rows of a strip: characters of the text that stands downwards."""
_SLOTS = 256
"""Places for a strip's different characters: at most half of them are taken."""
_FAR = 2**31 - 1


def _slot(character, taken):
    """The place of a character among those of the strip, or the free one where it would stand."""
    slot = (character ^ character >> 2) & (_SLOTS - 1)
    while taken[slot] != 0 and taken[slot] != character + 1:
        slot = (slot + 1) & (_SLOTS - 1)
    return slot


def _note(text, at, end, rows, plain, taken, matches):
    """Notes for each character in which of the strip's rows it stands. Where the next strip begins in the text."""
    for k in range(_STRIP * 2 if plain else _SLOTS * 2):
        matches[k] = 0
    if not plain:
        for k in range(_SLOTS):
            taken[k] = 0
    for bit in range(_STRIP - rows, _STRIP):
        size = np.int64(1)
        slot = np.int64(text[at])
        if not plain:
            size = width(text, at, end)
            character = packed(text, at, size)
            slot = _slot(character, taken)
            taken[slot] = character + 1
        matches[2 * slot + (bit >> 6)] |= np.int64(1) << (bit & 63)
        at += size
    return at


def _sweep(text, at, end, rows, plain, first, last, allowed, taken, matches, carries):
    """One strip, along the whole text that stands across. By how much the last cell of its last row exceeds the first;
    more than is allowed as soon as that is certain."""
    change = np.int64(0)
    falls_0 = np.int64(0)  # where a cell is 1 less than the one above it
    falls_1 = np.int64(0)
    rises_0 = np.int64(0)  # where it is 1 more
    rises_1 = np.int64(-1)
    if rows > 64:
        rises_0 = np.int64(-1) << (_STRIP - rows)
    else:
        rises_1 = np.int64(-1) << (64 - rows)
    column = 0
    more = np.int64(1)  # what the row above does from the column before to this one
    less = np.int64(0)
    while at < end:
        size = np.int64(1)
        slot = np.int64(text[at])
        if not plain:
            size = width(text, at, end)
            slot = _slot(packed(text, at, size), taken)
        if not first:
            carry = np.int64(carries[column])
            more = carry & 1
            less = carry >> 1
        equal = matches[2 * slot]
        vertical = equal | falls_0
        equal |= less
        diagonal = (((equal & rises_0) + rises_0) ^ rises_0) | equal
        plus = falls_0 | ~(diagonal | rises_0)
        minus = rises_0 & diagonal
        plus_out = plus >> 63 & 1
        minus_out = minus >> 63 & 1
        plus = plus << 1 | more
        minus = minus << 1 | less
        rises_0 = minus | ~(vertical | plus)
        falls_0 = plus & vertical

        equal = matches[2 * slot + 1]
        vertical = equal | falls_1
        equal |= minus_out
        diagonal = (((equal & rises_1) + rises_1) ^ rises_1) | equal
        plus = falls_1 | ~(diagonal | rises_1)
        minus = rises_1 & diagonal
        above = plus_out
        below = minus_out
        plus_out = plus >> 63 & 1
        minus_out = minus >> 63 & 1
        plus = plus << 1 | above
        minus = minus << 1 | below
        rises_1 = minus | ~(vertical | plus)
        falls_1 = plus & vertical

        change += plus_out - minus_out
        if change + column > allowed:
            break
        if not last:
            carries[column] = plus_out | minus_out << 1
        column += 1
        at += size
    return change


def _steps(rows, columns):
    """What a table of distances of this height and width takes."""
    return (rows + _STRIP - 1) // _STRIP * columns


@array_function
def _distance(row, left_at, left, right_at, right, cutoff, taken, matches, carries, out):
    down, start, end = left, left_at[row], left_at[row + 1]
    across, first, last = right, right_at[row], right_at[row + 1]
    plain = is_ascii(down, start, end) and is_ascii(across, first, last)
    if plain:  # what both begin and end with costs nothing
        while start < end and first < last and down[start] == across[first]:
            start += 1
            first += 1
        while start < end and first < last and down[end - 1] == across[last - 1]:
            end -= 1
            last -= 1
    if _steps(last - first, end - start) < _steps(end - start, last - first):
        down, across = across, down
        start, first = first, start
        end, last = last, end
    height = end - start if plain else count(down, start, end)
    length = last - first if plain else count(across, first, last)
    if height == 0 or abs(height - length) > cutoff:
        distance = max(height, length)
    else:
        distance = height
        done = np.int64(0)
        at = start
        while done < height:
            rows = _STRIP if done > 0 else (height - 1) % _STRIP + 1
            at = _note(down, at, end, rows, plain, taken, matches)
            final = done + rows == height
            allowed = cutoff - height + length - 1 if final else np.int64(2**62)
            change = _sweep(across, first, last, rows, plain, done == 0, final, allowed, taken, matches, carries)
            done += rows
            distance = height + change
    out[row] = distance if distance <= cutoff else -1


@column_kernel(
    "int",
    parameters={
        "left": "texts",
        "right": "texts, each to be compared with the one beside it",
        "cutoff": "the largest distance of interest, in characters",
    },
    unit="characters",
    reference="G. Myers, A Fast Bit-Vector Algorithm for Approximate String Matching, JACM 46 (3), 1999; in blocks: "
    "H. Hyyrö, A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances, Nordic J. of Computing "
    "10 (1), 2003",
)
def levenshtein(left: pa.Array, right: pa.Array, *, cutoff: int | None = None) -> pa.Array:
    """The least number of characters to insert, delete or replace that makes one text the other.

    Characters are code points, as in Spark's function of this name: accents that are characters of their own count.
    ``cutoff``: the distance beyond which the answer is -1, much sooner known. A null text gives null. Raises
    :class:`~gpuspark.errors.CallError` for a cut-off that is not a whole number.

    >>> import pyarrow as pa
    >>> levenshtein(pa.array(["kitten", "Zürich"]), pa.array(["sitting", "Zurich"])).to_pylist()
    [3, 1]
    """
    import pyarrow as pa

    if cutoff is not None and (not isinstance(cutoff, int) or isinstance(cutoff, bool)):
        raise CallError(f"levenshtein: cutoff is a whole number of characters, or None, not {cutoff!r}")
    limit = _FAR if cutoff is None else max(-1, min(cutoff, _FAR))
    left_at, a = texts(left, "left")
    right_at, b = texts(right, "right")
    values = _distance(
        len(left), left_at, a, right_at, b, limit,
        Scratch("int64", _SLOTS), Scratch("int64", 2 * _SLOTS), Scratch("uint8", _carries(left_at, right_at)),
        Out("int32", len(left)),
    )  # fmt: skip
    return pa.array(values, mask=nulls_of(left, right))


def _carries(*offsets: Any) -> int:
    """At least the columns of the widest table that has several strips; a power of 4, since it is part of the program,
    and programs shall be few."""
    longest = max(int(np.diff(at).max(initial=0)) for at in offsets)
    room = 1
    while _STRIP < longest > room:
        room *= 4
    return room
