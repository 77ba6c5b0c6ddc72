"""Near-duplicates: texts as sets of their shingles (runs of characters), and the similarity of two such sets.

:func:`minhash` computes a short signature of a text, :func:`lsh_bands` keys on which texts with similar signatures are
joined, and :func:`jaccard` the exact similarity of the joined pairs.

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
"""Every number in the signature of an empty text."""


def _mixed(word):
    """Returns a word whose bits all depend on all 64 bits: S. Vigna's variant 13 of MurmurHash3's finalizer."""
    word = (word ^ word >> 30 & 0x3FFFFFFFF) * -4658895280553007687
    word = (word ^ word >> 27 & 0x1FFFFFFFFF) * -7723592293110705685
    return word ^ word >> 31 & 0x1FFFFFFFF


def _first(text, start, end, shingle):
    """Returns where the first shingle ends."""
    stop = start
    for _ in range(shingle):
        if stop < end:
            stop += width(text, stop, end)
    return stop


def _hash(text, start, stop):
    """Returns the hash of a shingle."""
    value = np.int64(_BASIS)
    for at in range(start, stop):
        value = (value ^ np.int64(text[at])) * np.int64(_PRIME)
    return _mixed(value)


@array_function
def _hashes(row, text_at, text, shingle, begin, hashes, counts):
    """Writes the upper halves of the hashes of a row's shingles, from ``begin`` on, and their number."""
    at, end = text_at[row], text_at[row + 1]
    stop = _first(text, at, end, shingle)
    count = np.int64(0)
    while at < end:
        hashes[begin[row] + count] = np.uint32(_hash(text, at, stop) >> 32 & 0xFFFFFFFF)
        count += 1
        if stop == end:
            break
        at += width(text, at, end)
        stop += width(text, stop, end)
    counts[row] = count


@array_function
def _minima(item, permutations, factors, begin, hashes, counts, out):
    """Writes the least of one row's hashes after one permutation."""
    row = item // permutations
    factor = factors[2 * (item % permutations)]
    term = factors[2 * (item % permutations) + 1]
    least = np.int64(_EMPTY)
    for k in range(begin[row], begin[row] + counts[row]):
        least = min(least, factor * np.int64(hashes[k]) + term)
    out[item] = least


@array_function
def _bands(item, bands, begin, numbers, keys):
    """Writes the key of one band of one row: a hash of the band's numbers and its position."""
    row = item // bands
    band = item % bands
    length = (begin[row + 1] - begin[row]) // bands
    key = _mixed(np.int64(_BASIS) + band)
    for k in range(begin[row] + band * length, begin[row] + (band + 1) * length):
        key = _mixed(key ^ numbers[k]) * np.int64(_PRIME)
    keys[item] = _mixed(key)


def _equal(text, start, stop, other, at, end, shingle):
    """Returns whether the shingle from ``start`` to ``stop`` equals the one that begins at ``at`` in the other text."""
    if at + stop - start > end:
        return False
    for k in range(stop - start):
        if text[start + k] != other[at + k]:
            return False
    return _first(other, at, end, shingle) - at == stop - start


@array_function
def _similarity(row, left_at, left, right_at, right, shingle, table, out):
    """Counts shingles in a hash table of positions: n for a shingle at n - 1 of the left text, -n in the right."""
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
                position = np.int64(table[slot])
                if position > 0 and _equal(text, at, stop, left, left_start + position - 1, left_end, shingle):
                    break
                if position < 0 and _equal(text, at, stop, right, right_start - position - 1, right_end, shingle):
                    break
                slot = (slot + 1) & (size - 1)
            if table[slot] == 0:
                either += 1
                table[slot] = start - at - 1 if side else at - start + 1
            elif side and table[slot] > 0:
                both += 1
                table[slot] = start - at - 1  # counted: from now on it belongs to the right text
            if stop == end:
                break
            at += width(text, at, end)
            stop += width(text, stop, end)
    out[row] = both / either if either > 0 else 1.0


_SHINGLE = "number of characters in a shingle"
_BRODER = "A. Z. Broder, On the Resemblance and Containment of Documents, SEQUENCES 1997"


@column_kernel(
    "array<bigint>",
    parameters={
        "text": "texts",
        "permutations": "number of permutations: the length of a signature",
        "shingle": _SHINGLE,
        "seed": "seed of the permutations",
    },
    unit="the least hash for each permutation",
    reference=f"{_BRODER}; the permutations are those of M. Dietzfelbinger, Universal Hashing and k-wise Independent "
    "Random Variables via Integer Arithmetic without Primes, STACS 1996",
)
def minhash(text: pa.Array, *, permutations: int = 128, shingle: int = 5, seed: int = 1) -> pa.Array:
    """Returns a signature of each text's set of shingles. The share of positions at which two signatures are equal
    estimates the :func:`jaccard` similarity ``j`` of the sets, with a standard error of
    ``sqrt(j * (1 - j) / permutations)``.

    A shingle is ``shingle`` characters (code points) in a row. Signatures are comparable only if ``permutations``,
    ``shingle`` and ``seed`` are the same. They are the same on every device and machine, so they may be stored. Texts
    are not normalised: bring case and spacing into one form first. All numbers in the signature of an empty text are
    the same. A null text gives null. Raises :class:`~gpuspark.errors.CallError` for options that are not positive
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
        rows,
        text_at=begin,
        text=data,
        shingle=shingle,
        begin=begin - begin[0],
        hashes=Out("uint32", begin[-1] - begin[0]),
        counts=Out("int64", rows),
    )
    numbers = _minima(
        rows * permutations,
        permutations=permutations,
        factors=_permutations(permutations, seed),
        begin=begin - begin[0],
        hashes=hashes,
        counts=counts,
        out=Out("int64", rows * permutations),
    )
    return list_array(np.arange(rows + 1) * permutations, numbers, nulls_of(text))


@column_kernel(
    "array<bigint>",
    parameters={
        "signature": "signatures of minhash",
        "bands": "number of keys for each row; a divisor of the length of a signature",
    },
    unit="hashes",
    reference="J. Leskovec, A. Rajaraman, J. Ullman, Mining of Massive Datasets, 3rd edition, 2020, section 3.4",
)
def lsh_bands(signature: pa.Array, *, bands: int) -> pa.Array:
    """Returns keys that rows with similar signatures probably share: explode them, and join on them.

    The signature is cut into ``bands`` equal parts, and each part gives a key. Two sets of similarity ``j`` share a key
    with probability ``1 - (1 - j ** r) ** bands``, where ``r`` is the length of a part. That is about one half at
    ``j = (1 / bands) ** (1 / r)``. A null signature gives null. Raises :class:`~gpuspark.errors.CallError` for
    signatures that cannot be cut into equal parts.

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
    parameters={"left": "texts", "right": "texts, compared row by row with the left ones", "shingle": _SHINGLE},
    unit="none: between 0 and 1",
    reference=_BRODER,
)
def jaccard(left: pa.Array, right: pa.Array, *, shingle: int = 5) -> pa.Array:
    """Returns the number of different shingles in both texts, divided by that in either; 1 for two empty texts.

    It is exact: shingles are compared, not their hashes. A null text gives null. Raises
    :class:`~gpuspark.errors.CallError` for a ``shingle`` that is not a positive whole number.

    >>> import pyarrow as pa
    >>> jaccard(pa.array(["abcd"]), pa.array(["abce"]), shingle=3).to_pylist()
    [0.3333333333333333]
    """
    import pyarrow as pa

    shingle = _positive("jaccard", "shingle", shingle)
    left_at, a = texts(left, "left")
    right_at, b = texts(right, "right")
    longest = int((np.diff(left_at) + np.diff(right_at)).max(initial=0))
    slots = 256  # at least twice the shingles; part of the program, so a power of 4, to keep programs few
    while slots < 2 * longest:
        slots *= 4
    similarities = _similarity(
        len(left),
        left_at=left_at,
        left=a,
        right_at=right_at,
        right=b,
        shingle=shingle,
        table=Scratch("int32", slots),
        out=Out("float64", len(left)),
    )
    return pa.array(similarities, mask=nulls_of(left, right))


@lru_cache(maxsize=8)
def _permutations(count: int, seed: int) -> Constant:
    """Returns an odd factor and a term for each permutation, drawn from the generator SplitMix64."""
    steps = np.arange(1, 2 * count + 1, dtype=np.int64) * np.int64(-7046029254386353131)
    drawn: NDArray[np.int64] = _mixed(steps + np.uint64(seed % 2**64).astype(np.int64))
    drawn[::2] |= 1
    return Constant(drawn)


def _positive(kernel: str, option: str, value: Any) -> int:
    """Returns the value of an option that must be a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise CallError(f"{kernel}: {option} is a positive whole number, not {value!r}")
    return int(value)
