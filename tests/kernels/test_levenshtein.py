"""Edit distances against rapidfuzz and Spark's own, on every device."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

import gpuspark as gs
from gpuspark import functions, kernels
from gpuspark.errors import CallError
from gpuspark.testing import on_device
from tests.support.devices import CUDA, DEVICES

# One to four bytes; NUL; a letter and its accent as two code points; and characters that share a place in the table.
LETTERS = st.sampled_from(["ab", "abc\0", "aäö€𝄞", "e\u0301éĀ", "xü¼ļ老耀"])
TEXTS = LETTERS.flatmap(lambda letters: st.text(letters, max_size=9))
ROWS = st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=6)


def expected(a: str | None, b: str | None, cutoff: int | None) -> int | None:
    if a is None or b is None:
        return None
    distance = Levenshtein.distance(a, b)
    return -1 if cutoff is not None and distance > cutoff else distance


def check(device: str, left: pa.Array, right: pa.Array, cutoff: int | None) -> None:
    with on_device(device):
        result = kernels.levenshtein(left, right, cutoff=cutoff)
    assert result.type == pa.int32()
    pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
    assert result.to_pylist() == [expected(a, b, cutoff) for a, b in pairs]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=20)
@given(
    rows=ROWS,
    skipped=st.integers(0, 2),
    cutoff=st.none() | st.integers(0, 9),
    text=st.sampled_from([pa.string(), pa.large_string()]),
)
def test_every_device_counts_as_rapidfuzz_does(
    device: str, rows: list[tuple[Any, Any]], skipped: int, cutoff: int | None, text: pa.DataType
) -> None:
    left, right = (pa.array([row[n] for row in rows], text).slice(skipped) for n in (0, 1))
    check(device, left, right, cutoff)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("letters", ["ab", "abcdefgh ", "aäö€𝄞bcdefg", "".join(map(chr, range(0x4E00, 0x5200)))])
@pytest.mark.parametrize("cutoff", [None, 0, 20, 200])
def test_texts_of_any_length(device: str, letters: str, cutoff: int | None) -> None:
    """Around the words' and the strips' ends, and far beyond."""
    draw = random.Random(7)
    lengths = [1, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 640]
    left, right = [], []
    for height in lengths:
        for length in lengths:
            left.append("".join(draw.choices(letters, k=height)))
            changed = list(left[-1])
            for _ in range(draw.choice([0, 3, 30])):
                changed[draw.randrange(height)] = draw.choice(letters)
            right.append(draw.choice(["".join(draw.choices(letters, k=length)), "".join(changed), left[-1][3:] + "a"]))
    check(device, pa.array(left), pa.array(right), cutoff)


@pytest.mark.parametrize("device", ["emulated", "python"])
def test_long_texts_in_several_strips(device: str) -> None:
    check(device, pa.array(["ab" * 70, "aä" * 66]), pa.array(["ba" * 65 + "c", "b" * 135]), None)


def test_what_is_refused_is_named() -> None:
    texts = pa.array(["a"])
    with pytest.raises(CallError, match="right is a column of int64"):
        kernels.levenshtein(texts, pa.array([1]))
    with pytest.raises(CallError, match=r"cutoff is a whole number of characters, or None, not 1\.5"):
        kernels.levenshtein(texts, texts, cutoff=1.5)


@pytest.mark.parametrize("device", ["cpu", "emulated", "python"])
def test_sparks_own_counts_the_same(spark: Any, device: str) -> None:
    from pyspark.sql import functions as spark_functions

    spark.conf.set("spark.gpuspark.device", device)
    rows = [("kitten", "sitting"), ("Zürich", "Zu\u0308rich"), ("𝄞a", "a€"), ("", "abc"), ("", ""), (None, "a")]
    frame = spark.createDataFrame(rows, "a string, b string").coalesce(1)
    gs.ledger(spark).clear()
    cutoffs = (None, 0, 2, 3)
    ours = [functions.levenshtein("a", right="b", cutoff=cutoff) for cutoff in cutoffs]
    theirs = [spark_functions.levenshtein("a", "b", cutoff) for cutoff in cutoffs]
    for row in frame.select(*ours, *theirs).collect():
        assert tuple(row)[: len(cutoffs)] == tuple(row)[len(cutoffs) :]
    records = gs.ledger(spark).records
    assert {(r.function, r.device) for r in records} == {("levenshtein", device)}
    assert sum(r.rows for r in records) == len(cutoffs) * len(rows)


# Samples: see tests/support/kernel_samples.py


def sample_levenshtein() -> Any:
    left, right = pa.array(["kitten", None, "", "Zürich"]), pa.array(["sitting", "a", "b", "Zurich"])
    return kernels.levenshtein(left, right, cutoff=2)
