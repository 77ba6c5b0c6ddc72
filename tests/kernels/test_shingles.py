"""MinHash, bands and Jaccard against Python's sets and datasketch, on every device."""

from __future__ import annotations

import random
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import CUDA, DEVICES

TEXTS = st.sampled_from(["ab", "ab\0", "aäö€𝄞", "e\u0301é"]).flatmap(lambda letters: st.text(letters, max_size=9))
SIZES = 128
"""Numbers of a signature where errors are measured."""


def shingles(text: str, length: int) -> set[str]:
    return {text[i : i + length] for i in range(max(len(text) - length + 1, 1))} if text else set()


def exact(a: str | None, b: str | None, length: int) -> float | None:
    if a is None or b is None:
        return None
    x, y = shingles(a, length), shingles(b, length)
    return len(x & y) / len(x | y) if x | y else 1.0


def signed(word: int) -> int:
    return (word + 2**63) % 2**64 - 2**63


def mixed(word: int) -> int:
    """The finalizer of SplitMix64, in whole numbers of any size."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def signature(text: str | None, length: int, permutations: int, seed: int) -> list[int] | None:
    """What the kernel's docstring and references say, word by word."""
    if text is None:
        return None
    hashes = []
    for shingle in shingles(text, length):
        fnv = 0xCBF29CE484222325
        for byte in shingle.encode():
            fnv = (fnv ^ byte) * 0x100000001B3 % 2**64
        hashes.append(mixed(fnv) >> 32)
    drawn = [mixed((seed + n * 0x9E3779B97F4A7C15) % 2**64) for n in range(1, 2 * permutations + 1)]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return [min((signed((a | 1) * h + b) for h in hashes), default=2**63 - 1) for a, b in pairs]


def similar_texts(pairs: int) -> list[tuple[str, str]]:
    """A text of a few hundred characters, and what is left of it after up to fifty changes."""
    draw = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz äöü€"
    made = []
    for _ in range(pairs):
        text = draw.choices(letters, k=draw.randint(100, 400))
        changed = list(text)
        for _ in range(draw.randint(0, 50)):
            changed[draw.randrange(len(text))] = draw.choice(letters)
        made.append(("".join(text), "".join(changed)))
    return made


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(
    rows=st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=6),
    skipped=st.integers(0, 2),
    length=st.integers(1, 5),
    type_=st.sampled_from([pa.string(), pa.large_string()]),
)
def test_every_device_finds_what_pythons_sets_share(
    device: str, rows: list[tuple[Any, Any]], skipped: int, length: int, type_: pa.DataType
) -> None:
    left, right = (pa.array([row[n] for row in rows], type_).slice(skipped) for n in (0, 1))
    with on_device(device):
        result = kernels.jaccard(left, right, shingle=length)
    assert result.to_pylist() == [exact(a, b, length) for a, b in rows[skipped:]]


@pytest.mark.parametrize("device", DEVICES)
def test_a_text_shorter_than_a_shingle_is_one_of_its_own(device: str) -> None:
    """And not the beginning of another: in so many rows that they meet at one place of the table."""
    numbers = [f"{n:06}" for n in range(0, 100_000, 1_000)]
    rows = [("abc", "abc"), ("", "abc"), ("", ""), *((n, n[:3]) for n in numbers), *((n[:3], n) for n in numbers)]
    with on_device(device):
        result = kernels.jaccard(*(pa.array(column) for column in zip(*rows, strict=True)), shingle=5)
    assert result.to_pylist() == [1.0, 0.0, 1.0] + [0.0] * 200


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("length", [1, 3, 40, 1000])
def test_similarity_of_longer_texts(device: str, length: int) -> None:
    rows = similar_texts(200)
    with on_device(device):
        result = kernels.jaccard(*(pa.array(column) for column in zip(*rows, strict=True)), shingle=length)
    assert result.to_pylist() == [exact(a, b, length) for a, b in rows]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(
    rows=st.lists(st.none() | TEXTS, max_size=5),
    skipped=st.integers(0, 2),
    length=st.integers(1, 5),
    permutations=st.integers(1, 5),
    seed=st.integers(-(2**63), 2**64 - 1),
)
def test_signatures_are_what_the_formula_says(
    device: str, rows: list[Any], skipped: int, length: int, permutations: int, seed: int
) -> None:
    """To the bit, everywhere: signatures may be stored."""
    with on_device(device):
        result = kernels.minhash(
            pa.array(rows, pa.string()).slice(skipped), permutations=permutations, shingle=length, seed=seed
        )
    assert result.type == pa.list_(pa.int64())
    assert result.to_pylist() == [signature(text, length, permutations, seed) for text in rows[skipped:]]


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_estimates_err_as_a_binomial_does_and_as_datasketch(device: str, seed: int) -> None:
    rows = similar_texts(300)
    true = np.array([exact(a, b, 5) for a, b in rows])
    with on_device(device):
        ours = [
            np.array(kernels.minhash(pa.array(column), seed=seed).to_pylist()) for column in zip(*rows, strict=True)
        ]
    estimates = (ours[0] == ours[1]).mean(axis=1)
    theirs = []
    for pair in rows:
        sketches = [MinHash(SIZES, seed=seed) for _ in pair]
        for sketch, text in zip(sketches, pair, strict=True):
            sketch.update_batch([shingle.encode() for shingle in shingles(text, 5)])
        theirs.append(sketches[0].jaccard(sketches[1]))
    assert (estimates[true == 1] == 1).all()
    between = (true > 0) & (true < 1)
    for result in (estimates, np.array(theirs)):
        deviations = (result - true)[between] / np.sqrt((true * (1 - true))[between] / SIZES)
        assert abs(deviations).max() < 5
        assert abs(deviations.mean()) < 0.5  # texts of one language share hashes, so errors are not independent
        assert 0.7 < sqrt((deviations**2).mean()) < 1.3


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=25)
@given(
    rows=st.lists(st.none() | st.lists(st.integers(0, 2) | st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6)),
    bands=st.sampled_from([1, 2, 3, 6]),
    skipped=st.integers(0, 2),
)
def test_keys_are_equal_where_their_numbers_are(device: str, rows: list[Any], bands: int, skipped: int) -> None:
    signatures = pa.array(rows, pa.list_(pa.int64())).slice(skipped)
    with on_device(device):
        result = kernels.lsh_bands(signatures, bands=bands)
    assert result.type == pa.list_(pa.int64())
    numbers: dict[int, tuple[Any, ...]] = {}
    parts = set()
    length = 6 // bands
    for row, made in zip(rows[skipped:], result.to_pylist(), strict=True):
        if row is None:
            assert made is None
            continue
        assert len(made) == bands
        for band, key in enumerate(made):
            part = (band, *row[band * length : (band + 1) * length])
            assert numbers.setdefault(key, part) == part  # one key, one band and its numbers
            parts.add(part)
    assert set(numbers.values()) == parts
    assert len(numbers) == len(parts)


def test_similar_texts_share_a_key_as_often_as_the_curve_says() -> None:
    rows = [pair for pair in similar_texts(2000) if 0.3 < (exact(*pair, 5) or 0) < 0.8]
    with on_device("cpu"):
        left, right = (
            np.array(kernels.lsh_bands(kernels.minhash(pa.array(column)), bands=32).to_pylist())
            for column in zip(*rows, strict=True)
        )
    met = (left == right).any(axis=1)
    chances = np.array([1 - (1 - (exact(*pair, 5) or 0) ** 4) ** 32 for pair in rows])
    assert len(rows) > 500
    assert abs(met.sum() - chances.sum()) < 5 * sqrt((chances * (1 - chances)).sum())


@pytest.mark.parametrize("option", [{"permutations": 0}, {"shingle": -1}, {"shingle": 2.5}, {"permutations": True}])
def test_options_that_are_no_positive_whole_numbers(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(CallError, match=f"minhash: {name} is a positive whole number, not {value}"):
        kernels.minhash(pa.array(["a"]), **option)


def test_what_is_refused_is_named() -> None:
    with pytest.raises(CallError, match="row 1 of the batch has a signature of 6 numbers, which cannot be cut into 4"):
        kernels.lsh_bands(pa.array([None, [1] * 6]), bands=4)
    with pytest.raises(CallError, match="row 0 of the batch has a signature of 0 numbers"):
        kernels.lsh_bands(pa.array([[]], pa.list_(pa.int64())), bands=4)
    with pytest.raises(CallError, match="text is a column of int64"):
        kernels.minhash(pa.array([1]))


@pytest.mark.parametrize("device", ["cpu"])
def test_on_spark_columns(spark: Any, device: str) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    frame = spark.createDataFrame([("kitten", "mitten"), (None, "a"), ("", "")], "a string, b string").coalesce(1)
    gs.ledger(spark).clear()
    made = frame.select(
        functions.minhash("a", permutations=4, shingle=3).alias("signature"),
        functions.lsh_bands(functions.minhash("b", permutations=4, shingle=3), bands=2).alias("keys"),
        functions.jaccard("a", right="b", shingle=3).alias("similarity"),
    )
    assert made.schema.simpleString() == "struct<signature:array<bigint>,keys:array<bigint>,similarity:double>"
    rows = made.collect()
    assert [r.signature for r in rows] == [signature(text, 3, 4, 1) for text in ("kitten", None, "")]
    assert [len(r["keys"]) for r in rows] == [2, 2, 2]
    assert [r.similarity for r in rows] == [0.6, None, 1.0]
    records = gs.ledger(spark).records
    assert {(r.function, r.device) for r in records} == {(n, device) for n in ("minhash", "lsh_bands", "jaccard")}
    assert sum(r.rows for r in records) == 4 * len(rows)


# Samples: see tests/support/kernel_samples.py


def sample_jaccard() -> Any:
    left, right = pa.array(["kitten", None, "", "Zürich"]), pa.array(["sitting", "a", "b", "Zurich"])
    return kernels.jaccard(left, right, shingle=3)


def sample_lsh_bands() -> Any:
    return kernels.lsh_bands(pa.array([[1, 2, 3, 4], None]), bands=2)


def sample_minhash() -> Any:
    return kernels.minhash(pa.array(["kitten", None, "", "Zürich"]), permutations=4, shingle=3)
