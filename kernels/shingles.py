"""Near-duplicates: texts as sets of their shingles (runs of characters), and how alike two such sets are.

:func:`minhash` makes a short signature of a text's set, :func:`lsh_bands` keys by which texts with similar signatures
meet in a join, and :func:`jaccard` the exact similarity of the pairs that met.

A text with fewer characters than a shingle is a shingle itself; an empty one has none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpuspark.kernels.spec import (
    CallError,
    Constant,
    Out,
    Scratch,
    array_function,
    column_kernel,
    list_array,
    lists,
    nulls_of,
    texts,
)
from gpuspark.kernels.utf8 import width

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["jaccard", "lsh_bands", "minhash"]

_BASIS = -3750763034362895579
_PRIME = 1099511628211
"""Of FNV-1a for 64 bits: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, RFC 9923. The basis as a signed number."""
_EMPTY = 2**63 - 1
"""What every number of an empty text's signature is."""


def _mixed(word):
    """The 64 bits of a word so that each depends on all: S. Vigna's variant 13 of MurmurHash3's finalizer."""
    word = (word ^ word >> 30 & 0x3FFFFFFFF) * -4658895280553007687
    word = (word ^ word >> 27 & 0x1FFFFFFFFF) * -7723592293110705685
    return word ^ word >> 31 & 0x1FFFFFFFF


def _first(text, start, end, shingle):
    """Where the first shingle ends."""
    stop = start
    for _ in range(shingle):
        if stop < end:
            stop += width(text, stop, end)
    return stop


def _hash(text, start, stop):
    found = np.int64(_BASIS)
    for at in range(start, stop):
        found = (found ^ np.int64(text[at])) * np.int64(_PRIME)
    return _mixed(found)


@array_function
def _hashes(row, text_at, text, shingle, begin, hashes, counts):
    """The upper half of each shingle's hash, from where the row may write on; and how many they are."""
    at, end = text_at[row], text_at[row + 1]
    stop = _first(text, at, end, shingle)
    found = np.int64(0)
    while at < end:
        hashes[begin[row] + found] = np.uint32(_hash(text, at, stop) >> 32 & 0xFFFFFFFF)
        found += 1
        if stop == end:
            break
        at += width(text, at, end)
        stop += width(text, stop, end)
    counts[row] = found


@array_function
def _minima(item, permutations, factors, begin, hashes, counts, out):
    """For one row and one permutation, the least of the row's permuted hashes."""
    row = item // permutations
    factor = factors[2 * (item % permutations)]
    term = factors[2 * (item % permutations) + 1]
    least = np.int64(_EMPTY)
    for k in range(begin[row], begin[row] + counts[row]):
        least = min(least, factor * np.int64(hashes[k]) + term)
    out[item] = least


@array_function
def _bands(item, bands, begin, numbers, keys):
    """The key of one band of one row: a hash of the band's numbers and of which band it is."""
    row = item // bands
    band = item % bands
    length = (begin[row + 1] - begin[row]) // bands
    found = _mixed(np.int64(_BASIS) + band)
    for k in range(begin[row] + band * length, begin[row] + (band + 1) * length):
        found = _mixed(found ^ numbers[k]) * np.int64(_PRIME)
    keys[item] = _mixed(found)


def _equal(text, start, stop, other, at, end, shingle):
    """Whether the shingle from ``start`` to ``stop`` is the one that begins at ``at`` in the other text."""
    if at + stop - start > end:
        return False
    for k in range(stop - start):
        if text[start + k] != other[at + k]:
            return False
    return _first(other, at, end, shingle) - at == stop - start


@array_function
def _similarity(row, left_at, left, right_at, right, shingle, table, out):
    """Counts by a table of places: n for a shingle at n - 1 of the left text, -n for one of the right text."""
    left_start, left_end = left_at[row], left_at[row + 1]
    right_start, right_end = right_at[row], right_at[row + 1]
    size = 4
    while size < 2 * (left_end - left_start + right_end - right_start):
        size *= 2
    for k in range(size):
        table[k] = 0
    either = np.int64(0)
    both = np.int64(0)
    for side in range(2):
        text = right if side else left
        start = right_start if side else left_start
        end = right_end if side else left_end
        at = start
        stop = _first(text, start, end, shingle)
        while at < end:
            slot = _hash(text, at, stop) & (size - 1)
            while table[slot] != 0:
                place = np.int64(table[slot])
                if place > 0 and _equal(text, at, stop, left, left_start + place - 1, left_end, shingle):
                    break
                if place < 0 and _equal(text, at, stop, right, right_start - place - 1, right_end, shingle):
                    break
                slot = (slot + 1) & (size - 1)
            if table[slot] == 0:
                either += 1
                table[slot] = start - at - 1 if side else at - start + 1
            elif side and table[slot] > 0:
                both += 1
                table[slot] = start - at - 1  # counted: from now on it is one of the right text's
            if stop == end:
                break
            at += width(text, at, end)
            stop += width(text, stop, end)
    out[row] = both / either if either > 0 else 1.0


_SHINGLE = "characters of a shingle"
_BRODER = "A. Z. Broder, On the Resemblance and Containment of Documents, SEQUENCES 1997"


@column_kernel(
    "array<bigint>",
    parameters={
        "text": "texts", "permutations": "numbers of a signature", "shingle": _SHINGLE, "seed": "of the permutations",
    },
    unit="least values of permuted hashes",
    reference=f"{_BRODER}; the permutations are those of M. Dietzfelbinger, Universal Hashing and k-wise Independent "
    "Random Variables via Integer Arithmetic without Primes, STACS 1996",
)  # fmt: skip
def minhash(text: pa.Array, *, permutations: int = 128, shingle: int = 5, seed: int = 1) -> pa.Array:
    """Signatures of the texts' sets of shingles: the share of places at which two signatures are equal estimates the
    :func:`jaccard` similarity of the sets, with a standard error of ``sqrt(j * (1 - j) / permutations)``.

    A shingle is ``shingle`` characters (code points) in a row. Signatures compare only where ``permutations``,
    ``shingle`` and ``seed`` are the same; they are the same on every device and machine, so they may be stored. Texts
    are taken as they are: bring them to one case and one spacing before. An empty text's signature is the same number
    throughout; a null text gives null. Raises :class:`~gpuspark.errors.CallError` for options that are not positive
    whole numbers.

    >>> import pyarrow as pa
    >>> a, b = minhash(pa.array(["a rose is a rose", "a rose is a nose"]), shingle=3).to_pylist()
    >>> sum(x == y for x, y in zip(a, b)) / 128  # they have 10 of 13 shingles in common
    0.7109375
    """
    permutations = _positive("minhash", "permutations", permutations)
    shingle = _positive("minhash", "shingle", shingle)
    begin, data = texts(text, "text")
    rows = len(text)
    hashes, counts = _hashes(
        rows, begin, data, shingle, begin - begin[0], Out("uint32", begin[-1] - begin[0]), Out("int64", rows)
    )
    numbers = _minima(
        rows * permutations, permutations, _permutations(permutations, seed), begin - begin[0], hashes, counts,
        Out("int64", rows * permutations),
    )  # fmt: skip
    return list_array(np.arange(rows + 1) * permutations, numbers, nulls_of(text))


@column_kernel(
    "array<bigint>",
    parameters={"signature": "signatures of minhash", "bands": "keys of a row; a divisor of the signature's length"},
    unit="hashes",
    reference="J. Leskovec, A. Rajaraman, J. Ullman, Mining of Massive Datasets, 3rd edition, 2020, section 3.4",
)
def lsh_bands(signature: pa.Array, *, bands: int) -> pa.Array:
    """Keys by which rows with similar signatures meet: explode them, and join on them.

    The signature is cut into ``bands`` equal parts, and each gives a key. Sets of similarity ``j`` share at least one
    with probability ``1 - (1 - j ** r) ** bands``, where ``r`` is the length of a part; half of those with
    ``j = (1 / bands) ** (1 / r)`` or a little more do. A null signature gives null. Raises
    :class:`~gpuspark.errors.CallError` for signatures that cannot be so cut.

    >>> import pyarrow as pa
    >>> a, b = lsh_bands(pa.array([[1, 2, 3, 4], [1, 2, 3, 5]]), bands=2).to_pylist()
    >>> a[0] == b[0], a[1] == b[1], a[0] == a[1]
    (True, False, False)
    """
    bands = _positive("lsh_bands", "bands", bands)
    begin, numbers = lists(signature, np.int64, "signature")
    nulls = nulls_of(signature)
    lengths = np.diff(begin)
    wrong = (lengths % bands != 0) | (lengths == 0)
    if nulls is not None:
        wrong &= ~nulls
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise CallError(
            f"row {row} of the batch has a signature of {lengths[row]} numbers, which cannot be cut into {bands} equal "
            "parts: let bands divide the permutations of minhash"
        )
    keys = _bands(len(signature) * bands, bands, begin, numbers, Out("int64", len(signature) * bands))
    return list_array(np.arange(len(signature) + 1) * bands, keys, nulls)


@column_kernel(
    "double",
    parameters={"left": "texts", "right": "texts, each to be compared with the one beside it", "shingle": _SHINGLE},
    unit="none: between 0 and 1",
    reference=_BRODER,
)
def jaccard(left: pa.Array, right: pa.Array, *, shingle: int = 5) -> pa.Array:
    """The share of shingles that two texts have in common, among those that either has; 1 for two empty texts.

    It is exact: shingles are compared, not their hashes. A null text gives null. Raises
    :class:`~gpuspark.errors.CallError` for a ``shingle`` that is no positive whole number.

    >>> import pyarrow as pa
    >>> jaccard(pa.array(["abcd"]), pa.array(["abce"]), shingle=3).to_pylist()
    [0.3333333333333333]
    """
    import pyarrow as pa

    shingle = _positive("jaccard", "shingle", shingle)
    left_at, a = texts(left, "left")
    right_at, b = texts(right, "right")
    longest = int((np.diff(left_at) + np.diff(right_at)).max(initial=0))
    places = 256  # a power of 4, and at least twice as many as shingles: it is part of the program, so let it be few
    while places < 2 * longest:
        places *= 4
    values = _similarity(
        len(left), left_at, a, right_at, b, shingle, Scratch("int32", places), Out("float64", len(left))
    )
    return pa.array(values, mask=nulls_of(left, right))


@lru_cache(maxsize=8)
def _permutations(count: int, seed: int) -> Constant:
    """A factor, which is odd, and a term for each permutation; they are numbers of the generator SplitMix64."""
    steps = np.arange(1, 2 * count + 1, dtype=np.int64) * np.int64(-7046029254386353131)
    drawn: NDArray[np.int64] = _mixed(steps + np.uint64(seed % 2**64).astype(np.int64))
    drawn[::2] |= 1
    return Constant(drawn)


def _positive(kernel: str, option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise CallError(f"{kernel}: {option} is a positive whole number, not {value!r}")
    return int(value)
