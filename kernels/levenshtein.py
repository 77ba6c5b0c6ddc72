"""Edit distance of two texts in each row.

The table of distances is computed a strip of 128 rows at a time, column by column, in two words of 64 bits that hold
the differences between neighbouring cells. A strip that is not full uses the upper bits: the rows of the lower bits
have no character, and pass on the differences from above. So the last row of every strip has the same bit.
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
"""The number of rows of a strip: characters of the text along the rows."""
_SLOTS = 256
"""The size of the hash table of a strip's different characters; at most half of it is used."""
_FAR = 2**31 - 1


def _slot(character, taken):
    """Returns the slot of a character in the hash table of the strip, or the free one where it belongs."""
    slot = (character ^ character >> 2) & (_SLOTS - 1)
    while taken[slot] != 0 and taken[slot] != character + 1:
        slot = (slot + 1) & (_SLOTS - 1)
    return slot


def _note(text, at, end, rows, plain, taken, matches):
    """Writes for each character the rows of the strip that hold it. Returns where the next strip begins in the text."""
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


def _advance(equal, falls, rises, more, less):
    """Takes 64 rows of a strip to the next column. ``more`` and ``less``: whether the row above rises or falls.

    Returns where a cell is now 1 less, and 1 more, than the one above it, and whether the last row rises, and falls.
    """
    vertical = equal | falls
    equal |= less
    diagonal = (((equal & rises) + rises) ^ rises) | equal
    plus = falls | ~(diagonal | rises)
    minus = rises & diagonal
    above = plus << 1 | more
    below = minus << 1 | less
    return above & vertical, below | ~(vertical | above), plus >> 63 & 1, minus >> 63 & 1


def _sweep(text, at, end, rows, plain, first, last, allowed, taken, matches, carries):
    """Computes one strip along the whole text across. Returns by how much the last cell of its last row exceeds the
    first, or a number above ``allowed`` as soon as that is certain."""
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
    more = np.int64(1)  # whether the row above rises from the column before to this one
    less = np.int64(0)  # whether it falls
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
        falls_0, rises_0, plus, minus = _advance(matches[2 * slot], falls_0, rises_0, more, less)
        falls_1, rises_1, plus, minus = _advance(matches[2 * slot + 1], falls_1, rises_1, plus, minus)
        change += plus - minus
        if change + column > allowed:
            break
        if not last:
            carries[column] = plus | minus << 1
        column += 1
        at += size
    return change


def _steps(rows, columns):
    """Returns the number of steps that a table of distances of this height and width takes."""
    return (rows + _STRIP - 1) // _STRIP * columns


@array_function
def _distance(row, left_at, left, right_at, right, cutoff, taken, matches, carries, out):
    down, start, end = left, left_at[row], left_at[row + 1]
    across, first, last = right, right_at[row], right_at[row + 1]
    plain = is_ascii(down, start, end) and is_ascii(across, first, last)
    if plain:  # leaves out what both begin or end with
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
        "right": "texts, compared row by row with the left ones",
        "cutoff": "the largest distance of interest; beyond it the result is -1",
    },
    unit="characters",
    reference="G. Myers, A Fast Bit-Vector Algorithm for Approximate String Matching, JACM 46 (3), 1999; in blocks: "
    "H. Hyyrö, A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances, Nordic J. of Computing "
    "10 (1), 2003",
)
def levenshtein(left: pa.Array, right: pa.Array, *, cutoff: int | None = None) -> pa.Array:
    """Returns the least number of characters to insert, delete or replace that turns one text into the other.

    Characters are code points, as in Spark's function of this name, so a combining accent counts as a character. With
    ``cutoff`` distances beyond it are -1, which is much faster. A null text gives null. Raises
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
    distances = _distance(
        len(left),
        left_at=left_at,
        left=a,
        right_at=right_at,
        right=b,
        cutoff=limit,
        taken=Scratch("int64", _SLOTS),
        matches=Scratch("int64", 2 * _SLOTS),
        carries=Scratch("uint8", _carries(left_at, right_at)),
        out=Out("int32", len(left)),
    )
    return pa.array(distances, mask=nulls_of(left, right))


def _carries(*offsets: Any) -> int:
    """Returns at least the columns of the widest table that has several strips. It is part of the program, so it is a
    power of 4, to keep programs few."""
    longest = max(int(np.diff(at).max(initial=0)) for at in offsets)
    room = 1
    while _STRIP < longest > room:
        room *= 4
    return room
