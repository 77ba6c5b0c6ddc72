"""What compares programs with Python sees every kind of difference, and excuses last bits only."""

from __future__ import annotations

import math

import pytest

import gpuspark as gs
from gpuspark.columns.types import parse
from gpuspark.devices.cpu import CpuDevice
from tests.support.last_bits import Answer, answer, excused, moved
from tests.support.row_by_row import columns_of, compare_rows

KINDS = [parse("double")]


def doubled(a):
    return math.sqrt(a) * 2.0


def steep(a):
    return (math.exp(a) - 1.0) * 1e12


def steep_power(a):
    return 2.0**a % 1e-9


FUNCTION = gs.udf("double")(doubled).scalar_function("a")


def compared(rows, known):
    return compare_rows(FUNCTION, KINDS, list(zip(rows, known, strict=True)), CpuDevice())


def test_equal_answers_and_errors_are_no_difference() -> None:
    rows = [(4.0,), (math.nan,), (-1.0,), (math.inf,)]
    known = [answer(FUNCTION, columns_of(KINDS, [row])) for row in rows]
    assert [one.error for one in known] == ["", "", "ValueError", ""]
    result = compared(rows, known)
    assert (result.rows, result.recomputed, result.excused, result.differences) == (4, 1, 0, [])


@pytest.mark.parametrize(
    ("row", "wrong", "told"),
    [
        ((4.0,), Answer(4.0000000000000009), "a=4.0: 4.0, in Python 4.000000000000001"),
        ((4.0,), Answer(4), "a=4.0: 4.0, in Python 4"),
        ((4.0,), Answer(None), "a=4.0: 4.0, in Python None"),
        ((4.0,), Answer(None, "ValueError"), "a=4.0: 4.0, in Python ValueError"),
        ((-1.0,), Answer(2.0), "a=-1.0: ValueError, in Python 2.0"),
        ((-1.0,), Answer(None, "TypeError"), "a=-1.0: ValueError, in Python TypeError"),
    ],
    ids=str,
)
def test_each_difference_is_told(row, wrong: Answer, told: str) -> None:
    right = answer(FUNCTION, columns_of(KINDS, [(9.0,)]))
    result = compared([(9.0,), row], [right, wrong])
    assert result.differences == [told]


@pytest.mark.parametrize(("body", "value"), [(steep, 1e-13), (steep_power, 0.3)])
def test_last_bits_are_excused_and_more_is_not(body, value: float) -> None:
    function = gs.udf("double")(body).scalar_function("a")
    columns = columns_of(KINDS, [(value,)])
    theirs, other = answer(function, columns), moved(body, 1)(value)
    assert theirs.value != other
    assert excused(function, columns, Answer(other), theirs)
    assert not excused(function, columns, Answer(other + 1.0), theirs)
    assert not excused(function, columns, Answer(None, "ValueError"), theirs)
