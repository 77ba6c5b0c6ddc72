"""Where groups begin in sorted batches, compared with a loop over Python values, for every type that the worker
compares."""

from __future__ import annotations

import datetime
import decimal
import itertools
import math
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuspark.dialects.group_starts import FIRST, GroupStarts, marked_by_spark

OTHER_NAN = struct.unpack("<d", bytes([1, 0, 0, 0, 0, 0, 0xF8, 0xFF]))[0]
DECIMALS = [decimal.Decimal("-1.25"), decimal.Decimal("0.00"), decimal.Decimal("99999999.99")]
KEYS: dict[Any, list[Any]] = {
    pa.bool_(): [True, False],
    pa.int8(): [-128, 0, 127],
    pa.int64(): [-(2**63), 0, 2**63 - 1, 2**53, 2**53 + 1],
    pa.float32(): [0.0, -0.0, math.nan, math.inf, 1.5],
    pa.float64(): [0.0, -0.0, math.nan, OTHER_NAN, -math.inf, 5e-324],
    pa.decimal128(10, 2): DECIMALS,
    pa.decimal128(38, 2): DECIMALS,
    pa.date32(): [datetime.date(1, 1, 1), datetime.date(2020, 1, 1)],
    pa.timestamp("us"): [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, microsecond=1)],
    pa.timestamp("us", "UTC"): [datetime.datetime(1969, 1, 1), datetime.datetime(2020, 1, 1)],
    pa.duration("us"): [datetime.timedelta(0), datetime.timedelta(microseconds=-1)],
    pa.binary(): [b"", b"\0", b"a"],
    pa.string(): ["", "\0", "a", "A", "é", "e\u0301"],
    pa.large_string(): ["", "a"],
}


def equal(a, b) -> bool:
    """Returns whether Spark's ``groupBy`` takes two values for one key."""
    if a is None or b is None:
        return a is b
    return a == b or (a != a and b != b)


@st.composite
def keys_in_batches(draw):
    """One or two columns of keys with nulls, in runs, and how many rows the batches have."""
    rows = draw(st.integers(1, 40))
    columns = {}
    for name in "kj"[: draw(st.integers(1, 2))]:
        of = draw(st.sampled_from(list(KEYS)))
        values = st.lists(st.sampled_from([None, *KEYS[of]]), min_size=rows, max_size=rows)
        columns[name] = pa.array(draw(values), of)
    return pa.record_batch({**columns, "x": np.arange(rows)}), draw(st.lists(st.integers(0, 5), min_size=1))


@given(keys_in_batches())
def test_starts_are_where_a_key_changes(case) -> None:
    rows, lengths = case
    names = [name for name in rows.schema.names if name != "x"]
    starts, begin, found = GroupStarts(names), 0, []
    for length in itertools.cycle([*lengths, 3]):
        given_rows = rows.slice(begin, length)
        same_rows, places = starts(given_rows)
        assert same_rows is given_rows
        found += [begin + int(place) for place in places]
        begin += length
        if begin >= rows.num_rows:
            break
    keys = list(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
    changes = [n for n in range(1, len(keys)) if not all(map(equal, keys[n - 1], keys[n]))]
    assert found == [0, *changes]


@pytest.mark.parametrize("of", KEYS, ids=str)
def test_every_pair_of_values_in_one_batch_and_across_two(of) -> None:
    for a, b in itertools.product([None, *KEYS[of]], repeat=2):
        keys = pa.record_batch({"k": pa.array([a, b], of)})
        expected = [0] if equal(a, b) else [0, 1]
        assert GroupStarts(["k"])(keys)[1].tolist() == expected, (a, b)
        starts = GroupStarts(["k"])
        assert starts(keys.slice(0, 1))[1].tolist() == [0]
        assert starts(keys.slice(0, 0))[1].tolist() == []
        assert starts(keys.slice(1))[1].tolist() == [n - 1 for n in expected[1:]], (a, b)


def test_sparks_marks_are_read_and_removed() -> None:
    rows = pa.record_batch({"k": [1, 1, 2], FIRST: [True, False, True], "x": [1, 2, 3]})
    kept, places = marked_by_spark(rows)
    assert kept.schema.names == ["k", "x"]
    assert places.tolist() == [0, 2]
